//! Memory plan: bytes live at each instruction.

use chiffre_ir::program::{Program, ProgramOp};

/// Predicted memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Largest sum of live ciphertexts and scratch over the instructions.
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

/// Plans memory for a program: ciphertexts by liveness, scratch of each instruction by its shape.
pub fn plan(p: &Program) -> MemoryPlan {
    let poly = |limbs: usize| limbs << (p.header.log_n + 3);
    let size = |v: usize| {
        let t = &p.nodes[v].ty;
        t.layout.ct_count() * 2 * poly(t.limbs)
    };
    let mut live = 0;
    let mut working = 0;
    for (v, n) in p.iter() {
        let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(n.ty.limbs);
        let inputs: usize = n.args.iter().map(|a| p.ty(*a).layout.ct_count()).sum();
        let outputs = n.ty.layout.ct_count();
        let (scratch, free): (usize, &[usize]) = match &n.op {
            ProgramOp::Input {} => (0, &[]),
            ProgramOp::Linear { gadget, free, rows, entries, masks, .. } => {
                let alpha = gadget.map_or(0, |g| g[1]);
                let digits = if alpha == 0 { 0 } else { limbs.div_ceil(alpha) };
                // Digits of the inputs, accumulators of the outputs, and one limb's expanded weights.
                let period = masks.map_or(1, |m| 2 * p.consts.get(m).shape[1]);
                let cells = p.consts.get(*rows).shape[0] * outputs;
                let weights = 8 * if masks.is_some() { period * cells } else { p.consts.get(*entries).shape[0] };
                (inputs * digits * poly(limbs + alpha) + 2 * outputs * poly(limbs + alpha) + weights, free)
            }
            ProgramOp::Mul { gadget, free } | ProgramOp::Square { gadget, free } => {
                let digits = limbs.div_ceil(gadget[1]);
                (outputs * (digits * poly(limbs + gadget[1]) + 2 * poly(limbs + gadget[1]) + 5 * poly(limbs)), free)
            }
        };
        live += size(v.index());
        working = working.max(live + scratch);
        live -= free.iter().map(|&f| size(f)).sum::<usize>();
    }
    let constants = p.consts.iter().map(|(_, c)| 4 * c.shape.iter().product::<usize>()).sum();
    MemoryPlan { working, keys: p.key_bytes(), constants }
}
