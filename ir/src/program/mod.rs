//! Programs: the scheduled instruction list that the runtime executes, with parameters, keys and
//! memory plan.
//!
//! A program is a graph of instructions on whole batches, and a tile: so many images pass an
//! instruction together. From these follows the order in which (instruction, units) pairs are
//! executed, and where every buffer ends ([`Program::steps`]). Rescaling is merged into `linear`
//! (`drop` limbs), relinearisation into the products.

mod bootstrap;
mod bounds;
pub mod file;
mod input_free;
mod inputs;
mod interp;
mod magnitudes;
mod sections;
mod spill;
mod steps;
mod verify;

pub use bounds::bounds;
pub use inputs::{ChannelStatistics, LARGEST_INPUT};
pub use interp::{interp, visit};
pub use sections::{Harm, Section, Sections};
pub use spill::{ALLOWED, Spill, Verdict};
pub use steps::{Flow, MAX_STEPS, Step, live, live_bytes, order, peak};
pub use verify::verify;

use crate::consts::{ConstId, TableId};
use crate::define_ops;
use crate::graph::{Dialect, Graph, HeaderText, Verified};
use crate::he::{HeType, Scale};
use crate::ops::{Attr, AttrValue, take_attr};
use chiffre_params::bootstrap::{BootstrapSpec, SpecError};
use chiffre_params::work::ROW_GAP;
use chiffre_params::{Chain, Gadget, KeyTarget};
use std::collections::BTreeSet;

define_ops! {
    /// Instructions of a program.
    pub enum ProgramOp {
        /// Takes the encrypted input.
        Input = "input" (0) {},
        /// `linear` of the HE IR on the first limbs of its operands, then a rescale by `drop`
        /// primes; rotations use the keys of `gadget` `[limbs, special primes]`. With `giants` the
        /// table's outputs are partial sums, which are rotated by these steps and added
        /// ([`giants`](crate::giants)); they use the keys of `giant_gadget`, at the limbs of the
        /// result.
        Linear = "linear" (1 +) { taps: Vec<i64>, table: TableId, bias: Option<ConstId>, scales: Vec<Scale>, drop: usize, gadget: Option<Gadget>, giants: Option<Vec<i64>>, giant_gadget: Option<Gadget> },
        /// Product with relinearisation (and conjugation if complex-packed).
        Mul = "mul" (2) { gadget: Gadget },
        /// Square with relinearisation (and conjugation if complex-packed).
        Square = "square" (1) { gadget: Gadget },
        /// Chebyshev series of each channel without bootstrap; keys of `gadget` relinearise, and
        /// conjugate if complex-packed.
        Chebyshev = "chebyshev" (1) { coeffs: ConstId, gadget: Gadget },
        /// Bootstrap with a Chebyshev series of the sine, with the header's bootstrap and its keys.
        Refresh = "refresh" (1) { coeffs: ConstId },
    }
}

/// Parameters, provenance and predictions of a program.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ProgramHeader {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Primes of the modulus chain, bottom first.
    pub q: Vec<u64>,
    /// Special primes.
    pub p: Vec<u64>,
    /// True if the parameters are outside the security table; such programs run only with
    /// `--allow-insecure`.
    pub insecure: bool,
    /// Images per run.
    pub batch: usize,
    /// Images that pass an instruction together, where units are smaller.
    pub tile: usize,
    /// Normalisation of pixel data, as in the model's metadata.
    pub normalisation: Option<String>,
    /// The inputs that the program is for: `[lowest, highest]` of each channel, or once for all.
    /// Encryption refuses others. `None` if nobody has said.
    pub input_range: Option<Vec<[f64; 2]>>,
    /// Figures of each channel over the calibration images, where there were any.
    pub calibrated: Option<Vec<ChannelStatistics>>,
    /// BLAKE3 digest of the model file.
    pub model: String,
    /// How ciphertexts are refreshed, in programs that do.
    pub bootstrap: Option<BootstrapSpec>,
    /// Predicted peak memory of `run`, bytes.
    pub predicted_bytes: usize,
    /// Predicted time of `run` on the machine the cost model was made for, microseconds.
    pub predicted_us: usize,
}

impl HeaderText for ProgramHeader {
    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        let primes = |v: &[u64]| Attr::List(v.iter().map(|&x| Attr::Int(x as i64)).collect());
        let mut out = vec![("log_n", Attr::Int(self.log_n as i64)), ("q", primes(&self.q)), ("p", primes(&self.p))];
        if self.insecure {
            out.push(("insecure", Attr::Word("true".into())));
        }
        out.push(("batch", Attr::Int(self.batch as i64)));
        out.push(("tile", Attr::Int(self.tile as i64)));
        if let Some(n) = &self.normalisation {
            out.push(("normalisation", Attr::Str(n.clone())));
        }
        out.extend(self.input_range.to_attr().map(|a| ("input_range", a)));
        out.extend(self.calibrated.to_attr().map(|a| ("calibrated", a)));
        out.push(("model", Attr::Str(self.model.clone())));
        out.extend(self.bootstrap.as_ref().map(|b| ("bootstrap", bootstrap::to_attr(b))));
        out.push(("predicted_bytes", Attr::Int(self.predicted_bytes as i64)));
        out.push(("predicted_us", Attr::Int(self.predicted_us as i64)));
        out
    }
    fn build(attrs: &mut Vec<(String, Attr)>) -> Result<Self, String> {
        fn take<T: AttrValue>(attrs: &mut Vec<(String, Attr)>, name: &str) -> Result<T, String> {
            take_attr(attrs, name).map_err(|e| format!("header attribute {e}"))
        }
        let primes = |v: Vec<i64>| {
            v.into_iter().map(|x| u64::try_from(x).map_err(|_| "a prime is negative".to_string())).collect::<Result<Vec<u64>, _>>()
        };
        let log_n = take(attrs, "log_n")?;
        let bootstrap = attrs.iter().position(|(n, _)| n == "bootstrap").map(|i| attrs.remove(i).1);
        Ok(ProgramHeader {
            log_n,
            q: primes(take(attrs, "q")?)?,
            p: primes(take(attrs, "p")?)?,
            insecure: take(attrs, "insecure")?,
            batch: take(attrs, "batch")?,
            tile: take(attrs, "tile")?,
            normalisation: take(attrs, "normalisation")?,
            input_range: take(attrs, "input_range")?,
            calibrated: take(attrs, "calibrated")?,
            model: take(attrs, "model")?,
            bootstrap: bootstrap
                .map(|a| bootstrap::from_attr(a, log_n))
                .transpose()
                .map_err(|e| format!("header attribute bootstrap {e}"))?,
            predicted_bytes: take(attrs, "predicted_bytes")?,
            predicted_us: take(attrs, "predicted_us")?,
        })
    }
}

/// The program level.
#[derive(Clone, Debug, PartialEq)]
pub struct Prog;
impl Dialect for Prog {
    const NAME: &'static str = "program";
    type Op = ProgramOp;
    type Type = HeType;
    type Header = ProgramHeader;
}
/// A scheduled program.
pub type Program = Graph<Prog>;
/// A program that the verifier has accepted.
pub type VerifiedProgram = Verified<Prog>;

/// Bytes of a process that runs a program, beside what the program needs: code, tables of the ring,
/// threads.
pub const PROCESS_BYTES: usize = 128 << 20;

/// Memory that rows of polynomials in a ring of degree `2^log_n` take, of so many bytes without
/// their gaps.
pub fn with_gaps(bytes: usize, log_n: u32) -> usize {
    bytes.saturating_add((bytes >> (log_n + 3)).saturating_mul(ROW_GAP))
}

impl ProgramHeader {
    /// Degree and primes.
    pub fn chain(&self) -> Chain {
        Chain { log_n: self.log_n, q: self.q.clone(), p: self.p.clone() }
    }

    /// Predicted standard deviation of the error that a refresh leaves in each real value, radians,
    /// for operands within so many radians.
    ///
    /// # Errors
    /// [`SpecError`] if there is a bootstrap that does not fit the chain; never in a verified
    /// program.
    pub fn refresh_noise(&self, radians: f64) -> Result<f64, SpecError> {
        self.bootstrap.as_ref().map_or(Ok(0.0), |b| b.predicted_noise(&self.chain(), radians))
    }
}

impl Program {
    /// The fewest images that share ciphertexts anywhere; none if images never do.
    pub fn fewest_together(&self) -> Option<usize> {
        self.nodes.iter().map(|n| n.ty.layout.unit_batch()).filter(|&images| images > 1).min()
    }
    /// The evaluation keys that the program uses, by what they are for, with their shapes.
    pub fn keys(&self) -> BTreeSet<(KeyTarget, Gadget)> {
        let log_n = self.header.log_n;
        let conjugation = KeyTarget::conjugation(log_n);
        let mut keys = BTreeSet::new();
        for n in &self.nodes {
            let slots = n.ty.layout.slot_count() as i64;
            match &n.op {
                ProgramOp::Linear { taps, gadget, giants, giant_gadget, .. } => {
                    for (taps, gadget) in [(Some(taps), gadget), (giants.as_ref(), giant_gadget)] {
                        let (Some(taps), Some(g)) = (taps, gadget) else { continue };
                        let turns = taps.iter().map(|t| t.rem_euclid(slots)).filter(|&t| t != 0);
                        keys.extend(turns.map(|t| (KeyTarget::rotation(t as isize, log_n), *g)));
                    }
                }
                ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } | ProgramOp::Chebyshev { gadget, .. } => {
                    keys.insert((KeyTarget::Relinearization, *gadget));
                    if n.ty.layout.complex.is_some() {
                        keys.insert((conjugation, *gadget));
                    }
                }
                ProgramOp::Refresh { .. } => keys.extend(self.header.bootstrap.iter().flat_map(BootstrapSpec::keys)),
                ProgramOp::Input {} => {}
            }
        }
        keys
    }
    /// Bytes of the expanded evaluation keys; the seeded form on disk has half.
    pub fn key_bytes(&self) -> usize {
        self.keys().iter().map(|(of, gadget)| of.key_bytes(*gadget, 1 << self.header.log_n)).sum()
    }
    /// Data flow between units, for a number of images.
    pub fn flow(&self, images: usize) -> Vec<Flow> {
        self.nodes.iter().map(|n| Flow::new(&n.args, &n.ty.layout, images, self.header.tile)).collect()
    }
    /// The schedule of a run on `images` images: every unit that holds one of them is computed
    /// once.
    pub fn steps(&self, images: usize) -> Vec<Step> {
        order(&self.flow(images), &self.outputs.iter().map(|o| o.index()).collect::<Vec<_>>())
    }
    /// log2 of the product of all primes.
    pub fn log_qp(&self) -> f64 {
        self.header.q.iter().chain(&self.header.p).map(|&p| (p as f64).log2()).sum()
    }
}
