//! HE IR: the packed data flow with limbs, scale and number of polynomials in the types, and
//! explicit `rescale`, `relin` and `mod_drop`.

mod interp;
mod simulate;
mod verify;

pub use interp::{Noise, interp, run};
pub use simulate::simulate;
pub use verify::{verify, verify_products_open};

pub use chiffre_params::scale::{IndexedScale as Scale, PrimeIndex};

use crate::consts::{ConstId, TableId};
use crate::define_ops;
use crate::graph::{Dialect, Graph, Type};
use crate::layout::Layout;
use std::fmt;

define_ops! {
    /// Operations of the HE IR.
    pub enum HeOp {
        /// An encrypted input.
        Input = "input" (0) {},
        /// As in the packed IR; operand k's weights are integers at scale `scales[k]`, the bias is
        /// added at the result's scale.
        Linear = "linear" (1 +) { taps: Vec<i64>, table: TableId, bias: Option<ConstId>, scales: Vec<Scale> },
        /// Product without relinearisation: three polynomials. On complex-packed bundles parts are
        /// multiplied separately (conjugation inside) and the scale gains 2^2.
        Mul = "mul" (2) {},
        /// Square without relinearisation; see `mul`.
        Square = "square" (1) {},
        /// Chebyshev series of channel c, `Σ_k coeffs[c][k]·T_k(x)` for |x| ≤ 1, without bootstrap:
        /// takes `⌈log2(degree+1)⌉` limbs; any scale of the result.
        Chebyshev = "chebyshev" (1) { coeffs: ConstId },
        /// Bootstrap with an activation: `Σ_k coeffs[c][k]·T_k(sin x)`, x in radians; the result
        /// has as many limbs as it needs, at any scale.
        Refresh = "refresh" (1) { coeffs: ConstId },
        /// Back to two polynomials.
        Relin = "relin" (1) {},
        /// Divides by the last prime and drops it.
        Rescale = "rescale" (1) {},
        /// Drops limbs without changing the scale.
        ModDrop = "mod_drop" (1) {},
    }
}

/// Type of an encrypted bundle, printed as `ct<limbs=21 scale=2^30 parts=2> slots[…] …`.
#[derive(Clone, PartialEq, Debug)]
pub struct HeType {
    /// Number of primes of the modulus (level + 1).
    pub limbs: usize,
    /// Values are integers after multiplication by this.
    pub scale: Scale,
    /// Number of polynomials per ciphertext: 2, or 3 before relinearisation.
    pub parts: usize,
    /// Layout.
    pub layout: Layout,
}
impl fmt::Display for HeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ct<limbs={} scale={} parts={}> {}", self.limbs, self.scale, self.parts, self.layout)
    }
}
impl Type for HeType {
    fn parse(s: &str) -> Result<Self, String> {
        let bad = || format!("bad type `{s}`: expected ct<limbs=… scale=… parts=…> slots[…] …");
        let (head, layout) = s.strip_prefix("ct<").and_then(|s| s.split_once('>')).ok_or_else(bad)?;
        let (mut limbs, mut scale, mut parts) = (None, None, None);
        for w in head.split_whitespace() {
            match w.split_once('=').ok_or_else(bad)? {
                ("limbs", v) => limbs = Some(v.parse().map_err(|_| bad())?),
                ("scale", v) => scale = Some(v.parse::<Scale>().map_err(|e| e.to_string())?),
                ("parts", v) => parts = Some(v.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        let (Some(limbs), Some(scale), Some(parts)) = (limbs, scale, parts) else { return Err(bad()) };
        Ok(HeType { limbs, scale, parts, layout: Layout::parse(layout)? })
    }
}

/// The HE level.
#[derive(Clone, Debug, PartialEq)]
pub struct He;
impl Dialect for He {
    const NAME: &'static str = "he";
    type Op = HeOp;
    type Type = HeType;
    type Header = ();
}
/// A graph of encrypted bundles.
pub type HeGraph = Graph<He>;

/// Scale gained by a product beyond the product of scales: complex-packed bundles are split as z ±
/// z̄.
pub fn product_scale(a: &HeType, b: &HeType) -> Scale {
    let s = &a.scale * &b.scale;
    if a.layout.complex.is_some() { &s * &Scale::pow2(2) } else { s }
}
