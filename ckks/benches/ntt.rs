//! Our transform against `tfhe-ntt`: `cargo bench -p chiffre-ckks --bench ntt`. One prime with
//! everything in the second level cache, then 24 primes in turn, as key switching goes through
//! them. Calls alternate; minimum and median in microseconds.

use chiffre_ckks::Isa;
use chiffre_ckks::ring::{Modulus, NttTable, RnsPoly, primes::ntt_primes_below};
use std::time::Instant;

const CALLS: usize = 480;

type Transform = fn(&NttTable, &mut [u64]);

fn main() {
    println!("{:<18} {:>8} {:>8} {:>17} {:>17} {:>7}", "", "bits", "primes", "ours", "tfhe-ntt", "ratio");
    for log_n in [15, 16] {
        for (name, transform) in [("forward", NttTable::forward as Transform), ("inverse", NttTable::inverse as Transform)] {
            for (bits, primes) in [(49, 1), (50, 1), (49, 24), (50, 24)] {
                line(log_n, name, transform, bits, primes);
            }
        }
    }
}

fn line(log_n: u32, name: &str, transform: Transform, bits: u32, primes: usize) {
    let chain = ntt_primes_below(bits, log_n, primes, &[]).expect("enough primes");
    // Only AVX-512 IFMA has a kernel of ours; the library finds its instruction set by itself.
    let tables = [Isa::detect(), Isa::Scalar].map(|isa| {
        let table = |&q: &u64| NttTable::with_isa(1 << log_n, Modulus::new(q), isa).expect("friendly prime");
        chain.iter().map(table).collect::<Vec<_>>()
    });
    let mut poly = RnsPoly::new_unspecified(1 << log_n, primes);
    for (limb, q) in poly.iter_mut().zip(&chain) {
        (1u64..).zip(limb).for_each(|(i, v)| *v = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % q);
    }
    let mut times = [vec![], vec![]];
    for _ in 0..CALLS / primes {
        for (tables, times) in tables.iter().zip(&mut times) {
            for (row, table) in tables.iter().enumerate() {
                let start = Instant::now();
                transform(table, poly.row_mut(row));
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    let [ours, theirs] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        (t[0], t[t.len() / 2])
    });
    let ratio = theirs.1 / ours.1;
    println!(
        "{:<18} {bits:>8} {primes:>8} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {ratio:>7.2}",
        format!("{name} 2^{log_n}"),
        ours.0,
        ours.1,
        theirs.0,
        theirs.1
    );
}
