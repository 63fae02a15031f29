//! Fused operations on bundles of ciphertexts: hoisted linear maps and products with one
//! relinearisation.
//!
//! **Invariants**
//! * All polynomials are in NTT order with residues in `[0, q)`.
//! * Work goes limb by limb: rotated copies of a bundle never exist, and weights exist for one limb
//!   at a time.
//! * A row that nothing reads any more is freed at once: of extended digits, of sums, of operands
//!   given away ([`Input`]).
//! * Results do not depend on the number of threads or on the instruction set, bit by bit.
//!
//! A linear map decomposes each input once (hoisting, Halevi and Shoup 2018), accumulates in the
//! extended basis and divides by the special modulus once for each output polynomial, together with
//! the rescale (double hoisting, Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux 2021, section
//! 3.3).

mod classes;
mod digits;
mod error;
mod expand;
mod giants;
mod keys;
mod linear;
mod op;
mod panels;
mod part;
mod patterns;
mod product;
mod span;
mod sum;
mod sums;
mod switch;

pub(crate) use digits::Decomposition;
pub use error::BundleError;
pub use giants::GiantSteps;
pub use keys::{KeyProvider, PreparedKey, PreparedKeys};
pub use linear::apply_linear;
pub use op::LinearOp;
pub use panels::{LinearPlan, prepare_weights};
pub use patterns::{BiasPoly, EncodedTable, Patterns, masked_cells};
pub use product::{PAIR_FACTOR, mul_relin, pair_mul, pair_square, square_relin};
pub(crate) use span::{span_of, span_order};
pub(crate) use sum::{Factor, Multiple, Product, Sum};
#[cfg(test)]
pub(crate) use sums::RELINEARISED;
pub(crate) use sums::{combine_halves, relinearised_sums, rescaled_sums, split_halves};
pub(crate) use switch::{check_gadget, switch_bundle};
pub use switch::{conjugate, key_switch, rotate};

use crate::ciphertext::Ciphertext;
use crate::ring::RnsPoly;

/// The two polynomials of a ciphertext. They may have more rows than an operation uses.
#[derive(Clone, Copy, Debug)]
pub struct CtRef<'a> {
    /// Constant component.
    pub c0: &'a RnsPoly,
    /// Component at s.
    pub c1: &'a RnsPoly,
}

impl<'a> CtRef<'a> {
    /// The components of a relinearised ciphertext.
    ///
    /// # Errors
    /// [`BundleError::NotRelinearised`] when there are not exactly two polynomials.
    pub fn new(ciphertext: &'a Ciphertext) -> Result<Self, BundleError> {
        match &ciphertext.polys[..] {
            [c0, c1] => Ok(Self { c0, c1 }),
            polys => Err(BundleError::NotRelinearised(polys.len())),
        }
    }
}

impl<'a> From<&'a [RnsPoly; 2]> for CtRef<'a> {
    fn from([c0, c1]: &'a [RnsPoly; 2]) -> Self {
        Self { c0, c1 }
    }
}

/// An operand of an operation that may be its last use.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody needs it afterwards.
    Borrowed(CtRef<'a>),
    /// Its memory serves the operation as soon as it has been read.
    Owned([RnsPoly; 2]),
}

impl Input<'_> {
    /// Its polynomials.
    pub fn view(&self) -> CtRef<'_> {
        match self {
            Self::Borrowed(ct) => *ct,
            Self::Owned(pair) => pair.into(),
        }
    }

    /// Frees row `row` of both polynomials if they are owned.
    pub(crate) fn free_row(&mut self, row: usize) {
        if let Self::Owned(pair) = self {
            pair.iter_mut().for_each(|p| p.free_row(row));
        }
    }

    /// Frees the rows from `rows` on if they are owned.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if let Self::Owned(pair) = self {
            pair.iter_mut().for_each(|p| p.truncate(rows));
        }
    }

    /// All of them borrowed.
    pub fn borrowed<'a>(inputs: &[CtRef<'a>]) -> Vec<Input<'a>> {
        inputs.iter().map(|&ct| Input::Borrowed(ct)).collect()
    }
}

impl<'a> From<CtRef<'a>> for Input<'a> {
    fn from(ct: CtRef<'a>) -> Self {
        Self::Borrowed(ct)
    }
}

impl From<[RnsPoly; 2]> for Input<'_> {
    fn from(pair: [RnsPoly; 2]) -> Self {
        Self::Owned(pair)
    }
}

/// Checks that all inputs have at least `limbs` rows of degree `n`.
pub(crate) fn check_inputs(n: usize, inputs: &[Input<'_>], limbs: usize) -> Result<(), BundleError> {
    for (input, ct) in inputs.iter().enumerate() {
        let ct = ct.view();
        for poly in [ct.c0, ct.c1] {
            if poly.n() != n || poly.rows() < limbs {
                return Err(BundleError::InputShape { input, rows: poly.rows(), n: poly.n(), limbs });
            }
        }
    }
    Ok(())
}
