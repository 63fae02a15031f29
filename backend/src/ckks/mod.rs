//! RNS-CKKS: programs of instructions on bundles of ciphertexts.

mod peaks;
mod schedule;
mod work;

pub use peaks::{Task, peak};
pub use schedule::schedule;
pub use work::{bootstraps, outline, work_of};

use crate::cost::CostModel;
use crate::facts::ParameterFacts;
use crate::memory::{MemoryPlan, Outline};
use crate::property::Property;
use crate::target::{Executable, Lowered, Params, ScheduleError, Target};
use chiffre_ir::error::InterpError;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::{Program, ProgramHeader, VerifiedProgram, interp, verify};
use chiffre_ir::text;
use std::sync::Arc;

/// The pipeline of this target. Why here:
/// * `recognise-activation` first: it needs the chains as the exporter wrote them, before affine
///   maps move;
/// * `minimise-products` where polynomials have one normal form, and sums are still ops of their
///   own: `compose-linear` hides them in kernels;
/// * `fold-affine` gives convolutions their batch norm, so that dumps read like the trained
///   network;
/// * `compose-linear` before `fold-scales`: completing the square needs one linear map before and
///   behind each activation;
/// * `remove-dead-channels` where every residual sum is one linear map, and before anything is
///   measured or fitted for dead channels;
/// * `place-bootstraps` on the composed graph, where every linear map is one op: its plans name
///   nodes;
/// * `calibrate-activations` right before `approximate-activations`: its figures belong to that
///   very graph;
/// * `choose-layout` needs the final shape of the linear maps, `lower-linear` needs layouts;
/// * `assign-levels` before `place-relin`: limbs tell what a key switch costs;
/// * `select-params` when all levels are known: it needs every key's limbs;
/// * `schedule` ends every pipeline.
pub const PIPELINE: &str = "tensor(recognise-activation,lower-max-pool,minimise-products,fold-affine,compose-linear,remove-dead-channels,place-bootstraps,calibrate-activations,approximate-activations,fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// The target, with parameters from a table.
#[derive(Clone, Copy)]
pub struct Ckks<'a> {
    facts: &'a dyn ParameterFacts,
}

impl<'a> Ckks<'a> {
    /// With these facts about parameters.
    pub const fn new(facts: &'a dyn ParameterFacts) -> Ckks<'a> {
        Ckks { facts }
    }
}

impl Target for Ckks<'_> {
    fn name(&self) -> &'static str {
        "ckks"
    }
    fn summary(&self) -> &'static str {
        "encrypted, RNS-CKKS"
    }
    fn facts(&self) -> &dyn ParameterFacts {
        self.facts
    }
    fn lower(&self) -> &'static str {
        PIPELINE
    }
    fn takes(&self) -> &'static [Property] {
        &[Property::Relinearised, Property::Parameters]
    }
    fn schedule(&self, network: &Lowered) -> Result<Arc<dyn Executable>, ScheduleError> {
        let he = network.need(network.he, Property::He)?;
        let params = network.need(network.params, Property::Parameters)?;
        let mut program = schedule(he, Self::header(params, network), &params.gadgets)?;
        let outline = outline(&program, network.batch);
        program.header.predicted_bytes = outline.memory().peak();
        program.header.predicted_us = (outline.seconds(network.machine) * 1e6) as usize;
        verify(program).map(|p| Arc::new(p) as Arc<dyn Executable>).map_err(ScheduleError::Broken)
    }
}

impl Ckks<'_> {
    /// The header of a program, without its predictions.
    fn header(params: &Params, network: &Lowered) -> ProgramHeader {
        let Params { log_n, q, p, insecure, bootstrap, .. } = params.clone();
        ProgramHeader {
            log_n,
            q,
            p,
            insecure,
            batch: network.batch,
            tile: network.tile,
            normalisation: network.origin.normalisation.clone(),
            input_range: network.origin.input_range.clone(),
            calibrated: network.origin.calibrated.clone(),
            model: network.origin.model.clone(),
            bootstrap,
            predicted_bytes: 0,
            predicted_us: 0,
        }
    }
}

impl Executable for VerifiedProgram {
    fn outline(&self, images: usize) -> Outline {
        outline(self, images)
    }
    fn text(&self) -> String {
        text::print(&**self)
    }
    fn graph(&self) -> Option<AnyGraph> {
        Some(AnyGraph::Program((**self).clone()))
    }
    fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
        interp(self, images, n)
    }
}

/// Predicted memory of a run of a program on `images` images.
pub fn memory(p: &Program, images: usize) -> MemoryPlan {
    outline(p, images).memory()
}

/// Predicted time of a run of a program on `images` images, seconds.
pub fn seconds(p: &Program, machine: &CostModel, images: usize) -> f64 {
    outline(p, images).seconds(machine)
}
