//! Our transforms against `tfhe-ntt`: `cargo bench -p chiffre-ckks --bench ntt`. One prime with
//! everything in the second level cache, then 24 primes in turn, as key switching goes through
//! them. Calls alternate; minimum and median in microseconds. The library finds its instruction set
//! by itself, whatever ours is.

use chiffre_ckks::Isa;
use chiffre_ckks::ring::{Modulus, NttTable, RnsPoly, primes::ntt_primes_below};
use std::time::Instant;

const CALLS: usize = 480;

type Transform = fn(&NttTable, &mut [u64]);

fn main() {
    // Portable code stands for the library, which it uses.
    let names = Isa::available().into_iter().map(|isa| if isa == Isa::Scalar { "tfhe-ntt" } else { isa.name() });
    println!("{:<15} {:>4} {:>6} {}", "", "bits", "primes", names.map(|n| format!("{n:>17}")).collect::<String>());
    for log_n in [15, 16] {
        for (name, transform) in [("forward", NttTable::forward as Transform), ("inverse", NttTable::inverse as Transform)] {
            for (bits, primes) in [(36, 1), (49, 1), (50, 1), (36, 24), (49, 24), (50, 24)] {
                line(log_n, name, transform, bits, primes);
            }
        }
    }
}

fn line(log_n: u32, name: &str, transform: Transform, bits: u32, primes: usize) {
    let chain = ntt_primes_below(bits, log_n, primes, &[]).expect("enough primes");
    let tables = |isa| {
        let table = |&q: &u64| NttTable::with_isa(1 << log_n, Modulus::new(q), isa).expect("friendly prime");
        chain.iter().map(table).collect::<Vec<_>>()
    };
    let tables: Vec<Vec<NttTable>> = Isa::available().into_iter().map(tables).collect();
    let mut poly = RnsPoly::new_unspecified(1 << log_n, primes);
    for (limb, q) in poly.iter_mut().zip(&chain) {
        (1u64..).zip(limb).for_each(|(i, v)| *v = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % q);
    }
    let mut times = vec![vec![]; tables.len()];
    for _ in 0..CALLS / primes {
        for (tables, times) in tables.iter().zip(&mut times) {
            for (row, table) in tables.iter().enumerate() {
                let start = Instant::now();
                transform(table, poly.row_mut(row));
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    let columns = times.into_iter().map(|mut t| {
        t.sort_by(f64::total_cmp);
        format!("{:>8.1} {:>8.1}", t[0], t[t.len() / 2])
    });
    println!("{:<15} {bits:>4} {primes:>6} {}", format!("{name} 2^{log_n}"), columns.collect::<Vec<_>>().join(" "));
}
