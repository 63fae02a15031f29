//! Shapes of a program's instructions, for a cost model.

use chiffre_ir::graph::Node;
use chiffre_ir::he::series_depth;
use chiffre_ir::program::{Bootstrap, Prog, Program, ProgramOp};
use chiffre_ir::table::DiagTable;
use std::sync::Arc;

/// Giant steps of a linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct Giants {
    /// The steps.
    pub steps: Vec<i64>,
    /// Ciphertexts of a unit of the result.
    pub outputs: usize,
    /// Special primes, 0 without rotations.
    pub alpha: usize,
}

/// Shape of one instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A linear map by a table, on operands of so many limbs.
    Linear {
        /// The table, for one unit of the result.
        table: Arc<DiagTable>,
        /// Limbs of the operands.
        limbs: usize,
        /// Limbs dropped.
        drop: usize,
        /// Special primes, 0 without rotations.
        alpha: usize,
        /// How partial sums are rotated and added, if the table makes such.
        giants: Option<Giants>,
    },
    /// A Chebyshev series of a unit's ciphertexts, behind a bootstrap or without.
    Series {
        /// Ciphertexts.
        cts: usize,
        /// Limbs of the operand of the series: behind the sine, where there is a bootstrap.
        limbs: usize,
        /// Coefficients.
        coefficients: usize,
        /// Special primes.
        alpha: usize,
        /// Complex-packed: two series, and a conjugation that parts them.
        complex: bool,
        /// The bootstrap.
        bootstrap: Option<Box<Bootstrap>>,
    },
    /// Products of a unit's ciphertexts.
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

/// The work of an instruction; inputs do none.
pub fn work_of(p: &Program, n: &Node<Prog>) -> Option<Work> {
    let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
    let cts = n.ty.layout.unit_cts();
    match &n.op {
        ProgramOp::Input {} => None,
        ProgramOp::Linear { table, drop, gadget, giants, giant_gadget, .. } => {
            let table = p.consts.table(*table).ok()?.clone();
            let alpha = |g: &Option<[usize; 2]>| g.map_or(0, |g| g[1]);
            let giants = giants.clone().map(|steps| Giants { steps, outputs: cts, alpha: alpha(giant_gadget) });
            Some(Work::Linear { table, limbs, drop: *drop, alpha: alpha(gadget), giants })
        }
        ProgramOp::Chebyshev { coeffs, gadget } => Some(Work::Series {
            cts,
            limbs,
            coefficients: p.consts.get(*coeffs).shape().get(1).copied().unwrap_or(1),
            alpha: gadget[1],
            complex: n.ty.layout.complex.is_some(),
            bootstrap: None,
        }),
        ProgramOp::Refresh { coeffs } => {
            let b = p.header.bootstrap.clone()?;
            let coefficients = p.consts.get(*coeffs).shape().get(1).copied().unwrap_or(1);
            Some(Work::Series {
                cts,
                limbs: n.ty.limbs + series_depth(coefficients),
                coefficients,
                alpha: b.gadget[1],
                complex: n.ty.layout.complex.is_some(),
                bootstrap: Some(Box::new(b)),
            })
        }
        ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } => {
            Some(Work::Product { cts, limbs, alpha: gadget[1], complex: n.ty.layout.complex.is_some() })
        }
    }
}
