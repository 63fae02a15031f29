//! Random material of the right shapes: timings do not depend on its meaning.
#![allow(dead_code)] // each bench uses a part

use chiffre_ckks::bundle::{LinearEntry, LinearTable, PreparedKey, PreparedKeys};
use chiffre_ckks::keys::{KeyTarget, SwitchingKey};
use chiffre_ckks::ring::{Gadget, Galois, Ring, RnsPoly, primes::ntt_primes_below};
use rayon::prelude::*;

/// A ring with `limbs` Q primes and `alpha` special primes of 50 bits.
pub fn ring(log_n: u32, limbs: usize, alpha: usize) -> Ring {
    let primes = ntt_primes_below(50, log_n, limbs + alpha, &[]).expect("enough primes");
    Ring::new(log_n, &primes[..limbs], &primes[limbs..]).expect("valid chain")
}

/// A polynomial of uniform residues.
pub fn poly(ring: &Ring, limbs: usize, specials: usize, seed: u64) -> RnsPoly {
    let mut poly = RnsPoly::new_unspecified(ring.n, limbs + specials);
    poly.par_iter_mut().enumerate().for_each(|(row, limb)| {
        let q = ring.moduli[ring.modulus_index(row, limbs)].q;
        let mut state = seed << 20 | row as u64;
        for v in limb {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *v = (((z ^ (z >> 31)) as u128 * q as u128) >> 64) as u64;
        }
    });
    poly
}

/// Ciphertexts of uniform residues.
pub fn ciphertexts(ring: &Ring, limbs: usize, count: usize) -> Vec<[RnsPoly; 2]> {
    (0..count as u64).map(|i| [poly(ring, limbs, 0, 2 * i), poly(ring, limbs, 0, 2 * i + 1)]).collect()
}

/// Keys for rotations by `taps`, conjugation and relinearisation.
pub fn keys(ring: &Ring, gadget: Gadget, taps: &[isize]) -> PreparedKeys {
    let rotations = taps.iter().map(|&t| KeyTarget::from(Galois::rotation(t, ring.log_n)));
    let targets = rotations.chain([KeyTarget::Relinearization, Galois::conjugation(ring.log_n).into()]);
    (1000u64..)
        .zip(targets)
        .map(|(seed, target)| {
            let digit = |d: u64| [2 * d, 2 * d + 1].map(|i| poly(ring, gadget.limbs, gadget.alpha, (seed << 8) + i));
            let digits = (0..gadget.digits() as u64).map(digit).collect();
            PreparedKey::new(ring, SwitchingKey { gadget, target, digits })
        })
        .collect()
}

/// The taps of a 3x3 convolution on rows of `side` pixels.
pub fn conv_taps(side: isize) -> Vec<isize> {
    vec![0, 1, -1, side, -side, side + 1, -side - 1, side - 1, 1 - side]
}

/// A dense convolution with one pattern of period `period` for each tap (0: scalars).
pub fn conv_table(taps: &[isize], inputs: usize, outputs: usize, period: usize) -> LinearTable {
    let mut table = LinearTable { taps: taps.to_vec(), outputs, period, ..LinearTable::default() };
    if period > 0 {
        let wave = |t: usize, j: usize| ((t * 131 + j * 17) as f64).sin() / (1.0 + j as f64);
        table.patterns = (0..taps.len()).map(|t| (0..period).map(|j| wave(t, j)).collect()).collect();
    }
    for (tap, &offset) in taps.iter().enumerate() {
        for input in 0..inputs {
            let row = table.rows.len();
            table.rows.push((input as u32, tap as u16));
            for output in 0..outputs {
                let pattern = if period == 0 || offset == 0 { u32::MAX } else { tap as u32 };
                let weight = ((row * 31 + output * 7) as f64).cos();
                table.entries.push(LinearEntry { row: row as u32, output: output as u32, pattern, weight });
            }
        }
    }
    table
}
