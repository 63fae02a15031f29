//! Memory plan: bytes live at each step.

use crate::predict::{Work, work_of};
use chiffre_ir::program::{Program, peak};

/// Predicted memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Largest sum of live ciphertexts and scratch over the steps.
    pub working: usize,
    /// Expanded evaluation keys.
    pub keys: usize,
    /// Constants of the program.
    pub constants: usize,
}

impl MemoryPlan {
    /// All together.
    pub fn peak(&self) -> usize {
        self.working + self.keys + self.constants
    }
}

/// Plans memory for a run on `images` images: ciphertexts by liveness, and the scratch of each step, which `scratch` tells from the
/// instruction's shape and the number of units it computes at once.
pub fn plan(p: &Program, images: usize, scratch: impl Fn(&Work, usize) -> usize) -> MemoryPlan {
    let unit_bytes = |v: usize| {
        let t = &p.nodes[v].ty;
        t.layout.unit_cts() * 2 * (t.limbs << (p.header.log_n + 3))
    };
    let works: Vec<Option<Work>> = p.nodes.iter().map(|n| work_of(p, n)).collect();
    let of_step = |node: usize, units: usize| works[node].as_ref().map_or(0, |w| scratch(w, units));
    let working = peak(&p.steps(images), unit_bytes, |s| of_step(s.node, s.units.len()));
    let constants = p.consts.iter().map(|(_, c)| 4 * c.shape.iter().product::<usize>()).sum();
    MemoryPlan { working, keys: p.key_bytes(), constants }
}
