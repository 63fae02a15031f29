//! The memory model: bytes live at each step of a run, from what its instructions are and how they
//! depend on each other.

use crate::cost::{CostModel, Counts, Work};
use chiffre_ir::consts::{ConstKind, ConstType};
use chiffre_ir::program::{Flow, PROCESS_BYTES, Step, order, peak, with_gaps};

/// Predicted memory of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemoryPlan {
    /// Largest sum of live ciphertexts and scratch over the steps.
    pub working: usize,
    /// Most expanded weights of a step. They are kept apart from what holds ciphertexts, so that
    /// neither takes the place of the other.
    pub weights: usize,
    /// Expanded evaluation keys.
    pub keys: usize,
    /// Constants of the program.
    pub constants: usize,
    /// Encoded diagonals of bootstraps.
    pub diagonals: usize,
    /// The encrypted input, in seeded form.
    pub input: usize,
    /// What the process has besides.
    pub process: usize,
}

impl MemoryPlan {
    /// All together.
    pub fn peak(&self) -> usize {
        self.working + self.weights + self.keys + self.constants + self.diagonals + self.input + self.process
    }
}

/// A value of a run: what a unit of it takes, and the work that computes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Bytes of a unit.
    pub unit_bytes: usize,
    /// The work; inputs do none.
    pub work: Option<Work>,
}

/// What a run consists of: all that its predicted time and memory depend on. A plan that is not
/// built yet has one as well as a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    /// log2 of the ring degree, for programs on polynomials.
    pub ring: Option<u32>,
    /// How values depend on each other, unit by unit.
    pub flow: Vec<Flow>,
    /// The values, in the order of `flow`.
    pub values: Vec<Value>,
    /// Indices of the results.
    pub outputs: Vec<usize>,
    /// Bytes of the expanded keys, without the gaps between rows.
    pub keys: usize,
    /// Bytes of constants.
    pub constants: usize,
}

impl Outline {
    /// Ring degree; 1 without a ring.
    fn degree(&self) -> usize {
        self.ring.map_or(1, |log_n| 1 << log_n)
    }
    /// Counted work of each value, in limbs of the ring; in numbers without one.
    pub fn counts(&self) -> Vec<Counts> {
        let one = |(v, f): (&Value, &Flow)| v.work.as_ref().map_or(Counts::default(), |w| w.counts(f));
        self.values.iter().zip(&self.flow).map(one).collect()
    }
    /// Predicted time, seconds.
    pub fn seconds(&self, machine: &CostModel) -> f64 {
        machine.time(self.counts().into_iter().sum(), self.ring.unwrap_or(0))
    }
    /// The steps, in order.
    pub fn steps(&self) -> Vec<Step> {
        order(&self.flow, &self.outputs)
    }
    /// Predicted memory.
    pub fn memory(&self) -> MemoryPlan {
        let n = self.degree();
        let unit_bytes = |v: usize| self.values[v].unit_bytes;
        let of_step = |s: &Step, freed: usize| match &self.values[s.node].work {
            None => unit_bytes(s.node) * s.units.len(),
            Some(w) => w.extra(n, s.units.len(), freed),
        };
        let working = peak(&self.steps(), unit_bytes, of_step);
        let inputs = self.values.iter().zip(&self.flow).filter(|(v, _)| v.work.is_none());
        let input = inputs.map(|(v, f)| v.unit_bytes / 2 * f.units).sum();
        let rows = |bytes: usize| self.ring.map_or(bytes, |log_n| with_gaps(bytes, log_n));
        let weights = self.values.iter().filter_map(|v| v.work.as_ref()).map(Work::weight_bytes).max().unwrap_or(0);
        let (working, keys) = (rows(working), rows(self.keys));
        MemoryPlan { working, weights, keys, constants: self.constants, diagonals: self.diagonals(), input, process: PROCESS_BYTES }
    }
    /// Bytes of the diagonals of bootstraps, of which there is one with complex slots at most, and
    /// one with real ones.
    fn diagonals(&self) -> usize {
        let of = |complex: bool| {
            let shapes = self.values.iter().filter_map(|v| match &v.work {
                Some(Work::Series(s)) if s.complex == complex => s.bootstrap.as_ref(),
                _ => None,
            });
            shapes.map(|b| b.diagonal_bytes()).max().unwrap_or(0)
        };
        of(true) + of(false)
    }
}

/// Bytes of a constant while it is in use. A table is with its prepared form then, in which every
/// slot of a mask is a number.
pub fn constant_bytes(ty: &ConstType) -> usize {
    let each = match ty.kind() {
        ConstKind::F32 | ConstKind::Table => 4,
        ConstKind::F64 | ConstKind::I64 => 8,
    };
    each * ty.len()
}
