//! TFHE: programs on integers with one table look-up for each activation. This target compiles,
//! predicts and runs in the clear; the crate `chiffre-tfhe` runs its programs encrypted.

mod demand;

pub use demand::{Norms, demand, is_approximate, lookups, norms, read_deviations};

use crate::cost::{CostModel, Counts, Work};
use crate::facts::ParameterFacts;
use crate::memory::{MemoryPlan, Outline, Value, constant_bytes};
use crate::property::Property;
use crate::target::{Executable, Lowered, ScheduleError, Target};
use chiffre_ir::error::InterpError;
use chiffre_ir::graph::{Node, Op};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::Flow;
use chiffre_ir::quant::{Quant, QuantOp, Quantised, interp, verify};
use chiffre_ir::text;
use chiffre_params::tfhe::{Demand, Found, TfheParams, Unreachable, find};
use std::sync::Arc;

/// The pipeline of the target.
pub const PIPELINE: &str = "tensor(recognise-activation,lower-max-pool{form=rectified},fold-affine,compose-linear,remove-dead-channels),\
     quant(quantise,fit-accumulators,select-tfhe-params),schedule";

/// What a process has besides keys and values.
const PROCESS: usize = 40 << 20;

/// The target.
#[derive(Clone, Copy)]
pub struct Tfhe;

/// The facts of TFHE: there is no ring to choose, and one search for parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct TfheFacts;

impl ParameterFacts for TfheFacts {
    fn max_log_qp(&self, _: u32) -> Option<f64> {
        None
    }
    fn primes(&self, _: u32, _: u32, _: usize, _: &[u64]) -> Option<Vec<u64>> {
        None
    }
    fn tfhe(&self, demand: &Demand) -> Option<Result<Found, Unreachable>> {
        Some(find(demand))
    }
}

impl Target for Tfhe {
    fn name(&self) -> &'static str {
        "tfhe"
    }
    fn summary(&self) -> &'static str {
        "integers for TFHE: quantised networks, exactly, one table look-up for each activation"
    }
    fn facts(&self) -> &dyn ParameterFacts {
        &TfheFacts
    }
    fn lower(&self) -> &'static str {
        PIPELINE
    }
    fn takes(&self) -> &'static [Property] {
        &[Property::Quantised, Property::Selected]
    }
    fn memory(&self, program: &dyn Executable, images: usize) -> MemoryPlan {
        let plan = program.outline(images).memory();
        let seeded = program.downcast::<TfheProgram>().map_or(0, |p| p.params.seeded_key_bytes());
        // Keys as they were read go one after the other while they are expanded.
        MemoryPlan { keys: plan.keys + seeded, process: PROCESS, ..plan }
    }
    fn schedule(&self, network: &Lowered) -> Result<Arc<dyn Executable>, ScheduleError> {
        let mut graph = network.need(network.quant, Property::Quantised)?.clone();
        graph.header.normalisation = network.origin.normalisation.clone();
        graph.header.model = network.origin.model.clone();
        let graph = verify(graph).map_err(ScheduleError::Broken)?;
        let params = graph.header.params.ok_or_else(|| refused("needs parameters".into()))?;
        Ok(Arc::new(TfheProgram { graph, params }))
    }
}

fn refused(message: String) -> ScheduleError {
    ScheduleError::Refused { node: String::new(), message }
}

/// A program on integers with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct TfheProgram {
    /// The program.
    pub graph: Quantised,
    /// The parameters that its header names.
    pub params: TfheParams,
}

impl Executable for TfheProgram {
    /// Images pass the program one by one, each value's elements on all threads.
    fn outline(&self, images: usize) -> Outline {
        let flow = |n: &Node<Quant>| Flow { args: n.args.iter().map(|a| a.index()).collect(), unit_bits: 0, units: images, together: 1 };
        Outline {
            ring: None,
            flow: self.graph.nodes.iter().map(flow).collect(),
            values: self.graph.nodes.iter().map(|n| self.value(n)).collect(),
            outputs: self.graph.outputs.iter().map(|o| o.index()).collect(),
            keys: self.params.key_bytes(),
            constants: self.graph.consts.iter().map(|(_, c)| constant_bytes(&c.ty)).sum(),
        }
    }
    fn text(&self) -> String {
        text::print(&*self.graph)
    }
    fn graph(&self) -> Option<AnyGraph> {
        Some(AnyGraph::Quant((*self.graph).clone()))
    }
    fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
        interp(&self.graph, images, n)
    }
}

impl TfheProgram {
    /// Bytes of a value of one image, and the work that computes it. An input is a word for each
    /// element, until its readers expand it.
    fn value(&self, n: &Node<Quant>) -> Value {
        let bytes = |len: usize| len * self.params.ciphertext_bytes();
        if matches!(n.op, QuantOp::Input {}) {
            return Value { unit_bytes: 16 * n.ty.shape.len(), work: None };
        }
        let operands = n.args.iter().map(|a| self.graph.node(*a)).filter(|a| matches!(a.op, QuantOp::Input {}));
        let expanded: usize = operands.map(|a| bytes(a.ty.shape.len())).sum();
        let seconds = match &n.op {
            QuantOp::LinearMap { .. } => self.multiplications(n) as f64 * self.params.multiply_add_seconds(),
            QuantOp::Round { .. } => lookups(&self.graph, n) as f64 * self.params.removal_seconds(),
            _ => lookups(&self.graph, n) as f64 * self.params.lookup_seconds(),
        };
        // The cost model counts multiply-accumulates on a machine whose figures it knows.
        let counts = Counts { mac: seconds / CostModel::default().mac, ..Counts::default() };
        let unit_bytes = bytes(n.ty.shape.len());
        Value { unit_bytes, work: Some(Work::Counted { counts, bytes: unit_bytes + expanded }) }
    }
    /// Multiplications of ciphertexts by weights in a linear map: a kernel's for each position.
    fn multiplications(&self, n: &Node<Quant>) -> usize {
        let [_, h, w] = n.ty.chw();
        let weights = |c: chiffre_ir::consts::ConstId| self.graph.consts.get(c).shape();
        n.op.consts().into_iter().map(weights).filter(|s| s.len() == 4).map(|s| s.iter().product::<usize>() * h * w).sum()
    }
}
