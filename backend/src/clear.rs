//! In the clear: the network's own ops, run by the interpreter of the tensor IR on the plain
//! images.
//!
//! It takes every network that can be read, activations and max pooling as they are, and tells what
//! encryption and approximation change.

use crate::cost::{Counts, Work};
use crate::facts::{NoFacts, ParameterFacts};
use crate::memory::{Outline, Value, constant_bytes};
use crate::property::Property;
use crate::target::{Executable, Lowered, Origin, ScheduleError, Target};
use chiffre_ir::error::InterpError;
use chiffre_ir::graph::{Node, Op};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::Flow;
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp, interp};
use chiffre_ir::{tensor, text};
use std::sync::Arc;

/// The target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clear;

impl Target for Clear {
    fn name(&self) -> &'static str {
        "clear"
    }
    fn summary(&self) -> &'static str {
        "in the clear, by the interpreter: any network, its activations as they are"
    }
    fn facts(&self) -> &dyn ParameterFacts {
        &NoFacts
    }
    fn lower(&self) -> &'static str {
        "tensor(recognise-activation,fold-affine),schedule"
    }
    fn takes(&self) -> &'static [Property] {
        &[Property::Tensor]
    }
    fn schedule(&self, network: &Lowered) -> Result<Arc<dyn Executable>, ScheduleError> {
        let mut graph = network.need(network.tensor, Property::Tensor)?.clone();
        graph.header.normalisation = network.origin.normalisation.clone();
        let graph = tensor::verify(graph).map_err(ScheduleError::Broken)?.into_inner();
        Ok(Arc::new(ClearProgram { graph, origin: network.origin.clone() }))
    }
}

/// A network to be run in the clear.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearProgram {
    /// The network.
    pub graph: TensorGraph,
    /// Where it comes from.
    pub origin: Origin,
}

/// Bytes of an element: the interpreter computes in f64.
const ELEMENT: usize = 8;
/// Multiply-accumulates of the encrypted kernels that take as long as one of the interpreter.
const INTERPRETED: f64 = 16.0;

impl Executable for ClearProgram {
    /// Images pass the network one by one, as many at a time as there are threads.
    fn outline(&self, images: usize) -> Outline {
        let together = images.min(std::thread::available_parallelism().map_or(1, usize::from));
        let value = |n: &Node<Tensor>| {
            let bytes = ELEMENT * n.ty.len();
            let work = (!matches!(n.op, TensorOp::Input {})).then(|| Work::Counted { counts: self.counts(n), bytes });
            Value { unit_bytes: bytes, work }
        };
        let flow = |n: &Node<Tensor>| Flow { args: n.args.iter().map(|a| a.index()).collect(), unit_bits: 0, units: images, together };
        Outline {
            ring: None,
            flow: self.graph.nodes.iter().map(flow).collect(),
            values: self.graph.nodes.iter().map(value).collect(),
            outputs: self.graph.outputs.iter().map(|o| o.index()).collect(),
            keys: 0,
            constants: self.graph.consts.iter().map(|(_, c)| constant_bytes(&c.ty)).sum(),
        }
    }
    fn text(&self) -> String {
        text::print(&self.graph)
    }
    fn graph(&self) -> Option<AnyGraph> {
        Some(AnyGraph::Tensor(self.graph.clone()))
    }
    fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
        interp(&self.graph, images, n)
    }
}

impl ClearProgram {
    /// Work of a value for one image: as many multiply-accumulates per element as its constants
    /// have weights for it.
    fn counts(&self, n: &Node<Tensor>) -> Counts {
        let outputs = n.ty.len();
        let weights: usize = n.op.consts().iter().map(|c| self.graph.consts.get(*c).ty.len()).sum();
        let channels = n.ty.chw()[0].max(1);
        let macs = outputs * (weights / channels).max(1);
        Counts { mac: INTERPRETED * macs as f64, passes: outputs as f64, ..Counts::default() }
    }
}
