//! What the caller asks of a compilation.

use crate::stop::Stop;
pub use chiffre_backend::facts::{CkksFacts, ParameterFacts, REFRESH_BASE};
pub use chiffre_params::bootstrap::BootstrapWish;
use std::collections::BTreeMap;
use std::sync::Arc;

/// log2 of the scale of values where primes have their full size.
const LOG_SCALE: i32 = 27;

/// Sizes of primes and scales, bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrimeSizes {
    /// The bottom prime.
    pub bottom: u32,
    /// All other primes of the chain.
    pub prime: u32,
    /// The special primes: a bit more than the chain's keeps the noise of key switching below that
    /// of rescaling.
    pub special: u32,
    /// log2 of the scale of values behind a linear map that no series reads.
    pub log_scale: i32,
    /// log2 of the scale of a bootstrap's operand.
    pub refresh_log_scale: i32,
    /// Limbs of an output.
    pub output: usize,
}

impl PrimeSizes {
    /// For a network with Chebyshev series and with bootstraps.
    ///
    /// Squares share a prime with the linear map behind them, so that primes are as large as they
    /// can be. A series rescales once a level, so that primes are as large as its scale; the
    /// special primes are as large as the bottom one, which is a digit of its own at the last
    /// level. A bootstrap needs a level of about 36 bits for each of some twelve products; its
    /// bottom prime holds a bare angle, and the primes of SlotsToCoeffs carry the precision of the
    /// convolution before as well.
    pub fn of(opts: &CompileOptions, series: bool, refresh: bool) -> PrimeSizes {
        let quadratic = PrimeSizes {
            bottom: opts.prime_bits,
            prime: opts.prime_bits,
            special: opts.special_bits,
            log_scale: opts.log_scale.unwrap_or(LOG_SCALE),
            refresh_log_scale: 0,
            output: 1,
        };
        match (series, refresh) {
            (_, true) => PrimeSizes { bottom: 30, prime: 36, special: 37, log_scale: 32, refresh_log_scale: 54, output: 2 },
            (true, false) => PrimeSizes { bottom: 50, prime: 40, special: 50, ..quadratic },
            (false, false) => quadratic,
        }
    }
    /// Bits of a chain of so many primes.
    pub fn chain(&self, primes: usize) -> f64 {
        f64::from(self.bottom) + primes.saturating_sub(1) as f64 * f64::from(self.prime)
    }
}

/// Refreshed ciphertexts of a run that prices assume before layouts are known: at N = 2^15 and a
/// bound of 2^-40 the bootstrap is the same for 2 to 20,000.
pub const PRICED_REFRESHES: usize = 1 << 12;

/// Parts of a packing that the caller fixes instead of leaving them to the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackingWish {
    /// Low bits of rows and columns that select the ciphertext.
    pub phases: Option<[usize; 2]>,
    /// Channel bits in the slots.
    pub channels: Option<usize>,
    /// Channel bits in gaps.
    pub fill: Option<usize>,
    /// Images that pass an instruction together.
    pub tile: Option<usize>,
}

/// How one activation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationPlan {
    /// Behind a bootstrap: the polynomial takes the sine of its operand, which keeps it bounded.
    pub refresh: bool,
    /// Degree of the polynomial, at least 1.
    pub degree: usize,
}

impl Default for ActivationPlan {
    fn default() -> Self {
        ActivationPlan { refresh: true, degree: 7 }
    }
}

/// What a fit minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitMethod {
    /// The mean square error under the measured density, and a little uniform weight.
    LeastSquares,
    /// The largest error over the range.
    Minimax,
}

/// How polynomials are fitted to activations; ranges are multiples of a channel's (or layer's)
/// largest calibrated absolute value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// What is minimised.
    pub method: FitMethod,
    /// A range and a polynomial for each channel, or one for all channels of a layer.
    pub per_channel: bool,
    /// Range of a bootstrapped activation: values beyond count as outside.
    pub margin: f64,
    /// Largest angle within the range of a bootstrapped activation with [`FitMethod::Minimax`],
    /// radians; below π/2, where the sine turns. Least squares search angles.
    pub angle: f64,
    /// Range of a levelled activation, on which its polynomial is fitted.
    pub reach: f64,
    /// Total weight of the uniform part of a levelled activation's density, beside 1 for the
    /// measured part. A series that no sine keeps bounded needs it.
    pub uniform: f64,
    /// The same, as a share, behind a bootstrap.
    pub uniform_refreshed: f64,
    /// Ranges around the middle of the calibrated values instead of around zero.
    pub centred: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            method: FitMethod::LeastSquares,
            per_channel: true,
            margin: 1.2,
            angle: 1.27,
            reach: 2.0,
            uniform: 1e-3,
            uniform_refreshed: 3e-5,
            centred: true,
        }
    }
}

/// When a degree is good enough, judged on the calibration images with the approximated
/// activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccuracyTarget {
    /// At most this loss: of top-1 where there are labels, else the share of images whose best
    /// class changes. In [0, 1]. The error of the logits has to be small as well: see
    /// [`ERROR_OF_LOSS`](crate::activation::degree::ERROR_OF_LOSS).
    Loss(f64),
    /// At most this error of the logits, as a share of their size.
    LogitError(f64),
}

impl AccuracyTarget {
    /// An error of the logits of 4.5 % on the calibration images, and nearly the same on others:
    /// about 99 % of a ResNet-20's answers stay the same.
    pub const ACCURATE: AccuracyTarget = AccuracyTarget::LogitError(0.045);
}

/// Images that ranges are measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationSet {
    /// Normalised values, image-major.
    pub images: Vec<f32>,
    /// Number of images.
    pub n: usize,
    /// A class for each image, if known.
    pub labels: Option<Vec<u32>>,
}

/// What becomes of activations that are not polynomials.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationOptions {
    /// Plans of single activations, by ONNX node.
    pub plans: BTreeMap<String, ActivationPlan>,
    /// Bootstrap before the activations that `plans` does not name. (Polynomials of degree 2 that
    /// it does not name stay as they are.)
    pub refresh: bool,
    /// Degree of those; chosen by `target` if absent.
    pub degree: Option<usize>,
    /// What the degree must achieve.
    pub target: AccuracyTarget,
    /// How polynomials are fitted.
    pub fit: FitOptions,
    /// Images to measure ranges on.
    pub calibration: Option<Arc<CalibrationSet>>,
    /// Random sums of the logits whose gradients weigh the values of each calibration image; 0 for
    /// equal weights.
    pub probes: usize,
}

impl Default for ActivationOptions {
    fn default() -> Self {
        ActivationOptions {
            plans: BTreeMap::new(),
            refresh: true,
            degree: None,
            target: AccuracyTarget::Loss(0.01),
            fit: FitOptions::default(),
            calibration: None,
            probes: 2,
        }
    }
}

/// How a network becomes one on integers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantOptions {
    /// Bits of inputs, weights and results of activations; without them, the fewest that keep the
    /// answers to the calibration images.
    pub bits: Option<[u32; 3]>,
    /// log2 of the entries of every table; without it, what is cheapest among those that keep the
    /// answers.
    pub table_bits: Option<u32>,
    /// What sums may reach, as a multiple of what they reach on the calibration images about the
    /// middle: beyond, they wrap.
    pub margin: f64,
    /// True where bits below those of a table are not removed: a look-up may then read a
    /// neighbour of the right entry.
    pub approximate: bool,
    /// True where all values of an output have the same scale, so that their integers can be
    /// compared.
    pub common_scale: bool,
}

impl Default for QuantOptions {
    fn default() -> Self {
        QuantOptions { bits: None, table_bits: None, margin: 1.2, approximate: false, common_scale: false }
    }
}

/// What stands for a maximum of two values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaximumForm {
    /// `(a + b + |a − b|)/2`, with rectifiers moved behind the pooling.
    #[default]
    Absolute,
    /// `b + max(a − b, 0)`, which has the scale and the range of `a` and `b`.
    Rectified,
}

/// Options of a compilation.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// How max pooling is written.
    pub maximum: MaximumForm,
    /// Images per run of the program.
    pub batch: usize,
    /// log2 of the ring degree; chosen if absent.
    pub log_n: Option<u32>,
    /// Parts of the packing that are not left to the search.
    pub packing: PackingWish,
    /// Memory that `run` may use, bytes.
    pub memory: Option<usize>,
    /// Allow rings outside the security table (tests only); such programs are marked.
    pub allow_insecure: bool,
    /// What bootstraps are to hold to.
    pub bootstrap: BootstrapWish,
    /// log2 of the scale of a value after rescaling; chosen if absent.
    pub log_scale: Option<i32>,
    /// Bits of precision that answers need if the primes are shorter than `prime_bits`, so that the
    /// ring can be smaller: log2 of how much the logits of an image differ from each other, over
    /// the error of one, both root mean squares. Without it primes have their usual sizes.
    pub precision: Option<f64>,
    /// Size of the chain's primes, bits, at most.
    pub prime_bits: u32,
    /// Size of the special primes, bits. A bit more than the chain's keeps the noise of key
    /// switching below that of rescaling.
    pub special_bits: u32,
    /// Activations that are not polynomials.
    pub activations: ActivationOptions,
    /// Integers, for targets that compute on these.
    pub quant: QuantOptions,
    /// By which another thread ends the compilation early.
    pub stop: Stop,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            maximum: MaximumForm::default(),
            batch: 64,
            log_n: None,
            packing: PackingWish::default(),
            memory: None,
            allow_insecure: false,
            bootstrap: BootstrapWish::default(),
            log_scale: None,
            precision: None,
            prime_bits: 49,
            special_bits: 50,
            activations: ActivationOptions::default(),
            quant: QuantOptions::default(),
            stop: Stop::default(),
        }
    }
}
