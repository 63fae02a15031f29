//! What a network is compiled for.

use crate::cost::CostModel;
use crate::facts::ParameterFacts;
use crate::memory::{MemoryPlan, Outline};
use crate::property::Property;
use chiffre_ir::error::{InterpError, VerifyError};
use chiffre_ir::he::HeGraph;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::packed::PackedGraph;
use chiffre_ir::program::ChannelStatistics;
use chiffre_ir::quant::QuantGraph;
use chiffre_ir::tensor::TensorGraph;
use chiffre_params::Gadget;
use chiffre_params::bootstrap::BootstrapSpec;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// A target: a scheme, or a machine, that programs are made for.
///
/// The passes know targets by this trait only, so that a crate of its own can add one: see
/// `docs/write-a-target.md`.
pub trait Target: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;
    /// One line for lists of targets.
    fn summary(&self) -> &'static str;
    /// What passes may know of the parameters that programs have.
    fn facts(&self) -> &dyn ParameterFacts;
    /// The pipeline that lowers a network for this target, `schedule` included, as text.
    fn lower(&self) -> &'static str;
    /// What must hold of a network before [`Target::schedule`].
    fn takes(&self) -> &'static [Property];
    /// The program of a network that has the properties of [`Target::takes`].
    ///
    /// # Errors
    /// [`ScheduleError::Refused`] for a network that the target has no program for,
    /// [`ScheduleError::Broken`] for a bug.
    fn schedule(&self, network: &Lowered) -> Result<Arc<dyn Executable>, ScheduleError>;
    /// Predicted time of a run on `images` images, seconds.
    fn cost(&self, program: &dyn Executable, machine: &CostModel, images: usize) -> f64 {
        program.outline(images).seconds(machine)
    }
    /// Predicted memory of a run on `images` images.
    fn memory(&self, program: &dyn Executable, images: usize) -> MemoryPlan {
        program.outline(images).memory()
    }
}

/// A program in the form of its target.
pub trait Executable: Any + Debug + Send + Sync {
    /// What a run on `images` images consists of, for the cost model and the memory model.
    fn outline(&self, images: usize) -> Outline;
    /// The text form.
    fn text(&self) -> String;
    /// The program as IR, for targets whose programs are IR of some level.
    fn graph(&self) -> Option<AnyGraph> {
        None
    }
    /// Answers in the clear, without encryption or its noise: for images `[n, C, H, W]`, `n`
    /// results for each output.
    ///
    /// # Errors
    /// An input of another size, a constant without data.
    fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError>;
}

impl dyn Executable {
    /// The program, if it has this form.
    pub fn downcast<T: Executable>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Where a network comes from, and what is known of its inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Digest of the model file; anything that names the network, where there is no file.
    pub model: String,
    /// Normalisation of pixel data, in the text form of the model's metadata.
    pub normalisation: Option<String>,
    /// The inputs that the program is for, as in its header.
    pub input_range: Option<Vec<[f64; 2]>>,
    /// Figures of the calibration images, as in the program's header.
    pub calibrated: Option<Vec<ChannelStatistics>>,
}

/// Concrete parameters for a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// The chain, bottom first.
    pub q: Vec<u64>,
    /// Special primes.
    pub p: Vec<u64>,
    /// Limbs of an op → its key shape.
    pub gadgets: BTreeMap<usize, Gadget>,
    /// Outside the security table.
    pub insecure: bool,
    /// The bootstrap of all refreshes.
    pub bootstrap: Option<BootstrapSpec>,
}

impl Params {
    /// log2 of the product of all primes.
    pub fn log_qp(&self) -> f64 {
        self.q.iter().chain(&self.p).map(|&p| (p as f64).log2()).sum()
    }
}

/// A network as the passes leave it for a target: what [`Target::takes`] names is there.
#[derive(Clone, Copy, Debug)]
pub struct Lowered<'a> {
    /// Tensor IR.
    pub tensor: Option<&'a TensorGraph>,
    /// Quant IR.
    pub quant: Option<&'a QuantGraph>,
    /// Packed IR.
    pub packed: Option<&'a PackedGraph>,
    /// HE IR.
    pub he: Option<&'a HeGraph>,
    /// Parameters.
    pub params: Option<&'a Params>,
    /// Images per run of the program.
    pub batch: usize,
    /// Images that pass an instruction together.
    pub tile: usize,
    /// Where the network comes from.
    pub origin: &'a Origin,
    /// Unit times of the machine that predictions are for.
    pub machine: &'a CostModel,
}

impl<'a> Lowered<'a> {
    /// Something that [`Target::takes`] names.
    ///
    /// # Errors
    /// [`ScheduleError::Refused`] if it is not there after all.
    pub fn need<T>(&self, what: Option<&'a T>, of: Property) -> Result<&'a T, ScheduleError> {
        what.ok_or_else(|| ScheduleError::Refused { node: String::new(), message: format!("needs {of}") })
    }
}

/// Why there is no program.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// The network has a form that no instruction of the target covers.
    #[error("node \"{node}\": {message}")]
    Refused {
        /// The ONNX node; empty if no single one is at fault.
        node: String,
        /// What is wrong.
        message: String,
    },
    /// The target's verifier objects to the target's own program.
    #[error("bug in the compiler, please report it: {0}")]
    Broken(VerifyError),
}
