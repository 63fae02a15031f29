//! What a placement sees of a network: ops, data flow, and how many ciphertexts each value has.

use crate::error::PassError;
use crate::tensor::linear_form::{Kernel, Spec};
use chiffre_backend::cost::LinearShape;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// An op of the network.
#[derive(Clone, Debug, PartialEq)]
pub enum SiteOp {
    /// An input.
    Input,
    /// A linear map: its shape with no limbs yet, and how often it runs.
    Linear(LinearShape, f64),
    /// A product or square.
    Product,
    /// An activation: coefficients of its series behind a bootstrap, and without one.
    Activation {
        /// Behind a bootstrap.
        refreshed: usize,
        /// Without; `None` if it is always bootstrapped.
        levelled: Option<usize>,
    },
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// ONNX node.
    pub source: String,
    /// What computes it.
    pub op: SiteOp,
    /// Values read, all defined before.
    pub args: Vec<usize>,
    /// Ciphertexts of the whole batch.
    pub cts: f64,
    /// What the error of computing an activation without a bootstrap is worth, seconds.
    pub price: f64,
}

/// A network for one ring and batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Values in order.
    pub sites: Vec<Site>,
    /// Results.
    pub outputs: Vec<usize>,
}

/// Squared error in the logits of an activation without a bootstrap, as a multiple of that of one
/// behind a bootstrap: of activations that read linear maps of the image, and of others. A series
/// that no sine keeps bounded is fitted to a wider range. Measured on a ResNet-20 of 19
/// activations: its squared logit error grows by 15 % with the first one levelled, and by 55 % with
/// the second.
const LEVELLED_ERROR: [f64; 2] = [3.0, 10.0];
/// What the logarithm of the squared error is worth in that of the time: the next degree halves the
/// error for a third more time.
const ERROR_IN_TIME: f64 = 0.25;

/// Number of units of a value of a shape, each with one ciphertext for every channel and two images
/// in a slot. A batch that fills less than one leaves room for several channels in a ciphertext: a
/// part of a unit, and at least one ciphertext.
fn units([c, h, w]: [usize; 3], log_n: u32, batch: usize) -> f64 {
    let pixels = h.next_power_of_two() * w.next_power_of_two();
    let per_unit = ((2usize << (log_n - 1)) / pixels).max(1);
    if batch < per_unit { (batch as f64 / per_unit as f64).max(1.0 / c as f64) } else { batch.div_ceil(per_unit) as f64 }
}

impl Network {
    /// From a composed tensor graph (`compose-linear`), with series of so many coefficients for its
    /// activations and polynomials.
    ///
    /// # Errors
    /// A constant without data.
    pub fn new(g: &TensorGraph, log_n: u32, batch: usize, refreshed: usize, levelled: usize) -> Result<Network, PassError> {
        let mut sites = vec![];
        for n in &g.nodes {
            let shape = n.ty.chw();
            let units_here = units(shape, log_n, batch);
            let op = match &n.op {
                TensorOp::LinearMap { kernels, .. } => {
                    let mut s = LinearShape {
                        inputs: 0,
                        rotated: 0,
                        taps: 0,
                        rows: 0,
                        cells: 0,
                        entries: 0,
                        weight_words: 1,
                        outputs: shape[0],
                        limbs: 0,
                        drop: 0,
                        alpha: 0,
                        giants: None,
                    };
                    for (j, a) in n.args.iter().enumerate() {
                        let w = g.consts.array(kernels[j]).map_err(|e| PassError::clear("place-bootstraps", &n.source, e))?;
                        let from = g.ty(*a).chw();
                        let k = Kernel::of(w, from, shape, Spec::of(&n.op, j));
                        // Units of the operand that one unit of the result merges.
                        let merged = (units(from, log_n, batch) / units_here).round().max(1.0) as usize;
                        let turned = k.moving();
                        s.inputs += from[0] * merged;
                        s.rotated += if turned > 0 || merged > 1 { from[0] * merged } else { 0 };
                        s.rows += from[0] * merged * if merged > 1 { k.taps.len() } else { turned };
                        s.cells += k.nonzeros() * merged;
                    }
                    SiteOp::Linear(s, units_here)
                }
                TensorOp::Activation { .. } | TensorOp::Function { .. } | TensorOp::Chebyshev { .. } => {
                    SiteOp::Activation { refreshed, levelled: Some(levelled) }
                }
                // Squares and bootstraps do not share a chain: their primes differ in size.
                TensorOp::Poly { .. } => SiteOp::Activation { refreshed, levelled: None },
                TensorOp::Input {} => SiteOp::Input,
                _ => SiteOp::Product,
            };
            let args = n.args.iter().map(|a| a.index()).collect();
            sites.push(Site { source: n.source.clone(), op, args, cts: shape[0] as f64 * units_here, price: 0.0 });
        }
        Ok(Network { sites, outputs: g.outputs.iter().map(|o| o.index()).collect() })
    }

    /// With prices for the error of activations without a bootstrap, for a run that takes about so
    /// many seconds. All activations are taken to make the same error behind bootstraps.
    pub fn priced(mut self, seconds: f64) -> Network {
        let is_activation = |s: &Site| matches!(s.op, SiteOp::Activation { .. });
        let count = self.sites.iter().filter(|s| is_activation(s)).count().max(1);
        // Values that some activation comes before.
        let mut behind = vec![false; self.sites.len()];
        for v in 0..self.sites.len() {
            behind[v] = self.sites[v].args.iter().any(|&a| behind[a] || is_activation(&self.sites[a]));
            let error = LEVELLED_ERROR[usize::from(behind[v])] / count as f64;
            self.sites[v].price = if is_activation(&self.sites[v]) { ERROR_IN_TIME * error * seconds } else { 0.0 };
        }
        self
    }
}
