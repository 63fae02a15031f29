//! Random material of the right shapes: timings do not depend on its meaning.
#![allow(dead_code)] // each bench uses a part

use chiffre_ckks::bundle::{EncodedTable, PreparedKey, PreparedKeys};
use chiffre_ckks::encode::Encoder;
use chiffre_ckks::keys::{KeyTarget, SwitchingKey};
use chiffre_ckks::ring::{Gadget, Galois, Ring, RnsPoly, primes::ntt_primes_below};
use chiffre_params::table::{DiagTable, Entry, Masks, Row, TableLiteral, WeightType};
use rayon::prelude::*;

/// A ring with `limbs` Q primes and `alpha` special primes of 50 bits.
pub fn ring(log_n: u32, limbs: usize, alpha: usize) -> Ring {
    let primes = ntt_primes_below(50, log_n, limbs + alpha, &[]).expect("enough primes");
    Ring::new(log_n, &primes[..limbs], &primes[limbs..]).expect("valid chain")
}

/// A polynomial of uniform residues.
pub fn poly(ring: &Ring, limbs: usize, specials: usize, seed: u64) -> RnsPoly {
    let mut poly = RnsPoly::new_unspecified(ring.n(), limbs + specials);
    poly.par_iter_mut().enumerate().for_each(|(row, limb)| {
        let q = ring.moduli()[ring.modulus_index(row, limbs)].q();
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
    let rotations = taps.iter().map(|&t| KeyTarget::from(Galois::rotation(t, ring.log_n())));
    let targets = rotations.chain([KeyTarget::Relinearization, Galois::conjugation(ring.log_n()).into()]);
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

/// A dense convolution with one mask of period `period` for each tap (0: scalars).
pub fn conv_table(ring: &Ring, taps: &[isize], inputs: usize, outputs: usize, period: usize) -> EncodedTable {
    let mut table = literal(taps, outputs, period);
    for (tap, &offset) in (0u32..).zip(taps) {
        for ct in 0..inputs as u32 {
            let row = table.rows.len();
            table.rows.push(Row { operand: 0, ct, tap });
            for output in 0..outputs {
                let mask = (period > 0 && offset != 0).then_some(tap);
                let weight = ((row * 31 + output * 7) as f64).cos();
                table.entries.push(Entry { row: row as u32, output: output as u32, mask, weight });
            }
        }
    }
    encoded(ring, table)
}

/// A table without rows, with a mask for each tap unless the period is 0.
pub fn literal(taps: &[isize], outputs: usize, period: usize) -> TableLiteral {
    let mut masks = Masks::new(period.max(1)).expect("a power of two");
    if period > 0 {
        (0..taps.len()).for_each(|t| masks.push((0..period).filter(|j| (t * 131 + j * 17) % 5 < 3)));
    }
    TableLiteral { taps: taps.iter().map(|&t| t as i64).collect(), outputs, masks, weights: WeightType::F64, ..TableLiteral::default() }
}

/// The table of one operand.
pub fn encoded(ring: &Ring, table: TableLiteral) -> EncodedTable {
    let table = DiagTable::new(table).expect("a table");
    EncodedTable::new(&Encoder::new(ring.log_n()), table.into(), vec![0]).expect("encoded")
}
