//! Operation counts and predicted time of a program.

use chiffre_ir::program::{Program, ProgramOp};
use std::collections::BTreeSet;

/// Shape of one instruction, for a cost model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A linear map.
    Linear {
        /// Ciphertexts under a non-zero rotation.
        rotated: usize,
        /// (ciphertext, non-zero rotation) pairs.
        rows: usize,
        /// Non-zero (row, output) cells.
        cells: usize,
        /// Output ciphertexts.
        outputs: usize,
        /// Limbs of the operands.
        limbs: usize,
        /// Limbs dropped.
        drop: usize,
        /// Special primes, 0 without rotations.
        alpha: usize,
    },
    /// Products of a bundle.
    Product {
        /// Ciphertexts.
        cts: usize,
        /// Limbs.
        limbs: usize,
        /// Special primes.
        alpha: usize,
        /// Complex-packed: a second key switch.
        complex: bool,
    },
}

/// The work of each instruction, in order (inputs do none).
pub fn work(p: &Program) -> Vec<Work> {
    p.iter()
        .filter_map(|(_, n)| {
            let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
            let cts = n.ty.layout.ct_count();
            match &n.op {
                ProgramOp::Input {} => None,
                ProgramOp::Linear { taps, rows, entries, masks, drop, gadget, .. } => {
                    let t = chiffre_ir::packed::table_of(&p.consts, *rows, *entries, *masks, taps, cts, n.args.len()).ok()?;
                    let turned: Vec<_> = t.rows.iter().filter(|r| t.taps[r.tap as usize] != 0).collect();
                    let rotated: BTreeSet<_> = turned.iter().map(|r| (r.operand, r.ct)).collect();
                    let cells: BTreeSet<_> = t.entries.iter().map(|e| (e.row, e.output)).collect();
                    Some(Work::Linear {
                        rotated: rotated.len(),
                        rows: turned.len(),
                        cells: cells.len(),
                        outputs: cts,
                        limbs,
                        drop: *drop,
                        alpha: gadget.map_or(0, |g| g[1]),
                    })
                }
                ProgramOp::Mul { gadget, .. } | ProgramOp::Square { gadget, .. } => {
                    Some(Work::Product { cts, limbs, alpha: gadget[1], complex: n.ty.layout.complex.is_some() })
                }
            }
        })
        .collect()
}
