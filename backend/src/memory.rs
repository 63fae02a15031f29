//! Memory plan: bytes live at each step.

use crate::predict::{Work, work_of};
use chiffre_ir::consts::{ConstKind, ConstType};
use chiffre_ir::program::{PROCESS_BYTES, Program, ProgramOp, Step, peak, with_gaps};

/// Predicted memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Largest sum of live ciphertexts and scratch over the steps.
    pub working: usize,
    /// Expanded evaluation keys.
    pub keys: usize,
    /// Constants of the program.
    pub constants: usize,
    /// The encrypted input, in seeded form.
    pub input: usize,
}

impl MemoryPlan {
    /// All together.
    pub fn peak(&self) -> usize {
        self.working + self.keys + self.constants + self.input + PROCESS_BYTES
    }
}

/// Plans memory for a run on `images` images: ciphertexts by liveness, and what each step needs
/// beside them, which `extra` tells from the instruction's shape, the number of units it computes
/// at once, and the bytes of its operands that end with it.
pub fn plan(p: &Program, images: usize, extra: impl Fn(&Work, usize, usize) -> usize) -> MemoryPlan {
    let unit_bytes = |v: usize| {
        let t = &p.nodes[v].ty;
        t.layout.unit_cts() * 2 * (t.limbs << (p.header.log_n + 3))
    };
    let works: Vec<Option<Work>> = p.nodes.iter().map(|n| work_of(p, n)).collect();
    let of_step = |s: &Step, freed: usize| match &works[s.node] {
        None => unit_bytes(s.node) * s.units.len(),
        Some(w) => extra(w, s.units.len(), freed),
    };
    let working = peak(&p.steps(images), unit_bytes, of_step);
    let constants = p.consts.iter().map(|(_, c)| constant_bytes(&c.ty)).sum();
    let inputs = p.nodes.iter().enumerate().filter(|(_, n)| matches!(n.op, ProgramOp::Input {}));
    let input = inputs.map(|(v, n)| unit_bytes(v) / 2 * n.ty.layout.units_for(images)).sum();
    let [working, keys] = [working, p.key_bytes()].map(|bytes| with_gaps(bytes, p.header.log_n));
    MemoryPlan { working, keys, constants, input }
}

/// Bytes of a constant while it is in use. A table is with its prepared form then, in which every
/// slot of a mask is a number.
fn constant_bytes(ty: &ConstType) -> usize {
    let each = match ty.kind() {
        ConstKind::F32 | ConstKind::Table => 4,
        ConstKind::F64 | ConstKind::I64 => 8,
    };
    each * ty.len()
}
