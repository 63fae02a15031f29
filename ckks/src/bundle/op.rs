//! A linear map as it is applied: a table with what its use says about levels, scales and keys.

use super::giants::GiantSteps;
use super::panels::LinearPlan;
use super::{BiasPoly, Patterns};
use crate::ring::Gadget;
use chiffre_params::table::DiagTable;

/// A linear map at a level.
#[derive(Clone, Copy, Debug)]
pub struct LinearOp<'a> {
    /// The map.
    pub table: &'a DiagTable,
    /// The number of the first input of each operand of the table.
    pub first: &'a [u32],
    /// What stands for the table's masks.
    pub patterns: Patterns<'a>,
    /// Its plan for this ring and number of inputs, where one was made before; else it is planned
    /// for this operation alone.
    pub plan: Option<&'a LinearPlan>,
    /// For each input the factor by which its weights are multiplied before they are rounded.
    pub input_scales: &'a [f64],
    /// Q limbs to use; inputs may have more.
    pub limbs_in: usize,
    /// Constants to add to the rescaled outputs, one for each output.
    pub bias: Option<&'a [BiasPoly]>,
    /// Shape of the rotation keys.
    pub gadget: Gadget,
    /// Q limbs that the rescale drops.
    pub drop_limbs: usize,
    /// How the outputs of the table, if they are partial sums, are rotated and added.
    pub giants: Option<GiantSteps<'a>>,
}

impl LinearOp<'_> {
    /// Number of ciphertexts that come out.
    pub(super) fn outputs(&self) -> usize {
        self.giants.map_or(self.table.outputs, |g| g.outputs)
    }
}
