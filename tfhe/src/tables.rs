//! Tables of look-ups as polynomials.

use chiffre_ir::error::InterpError;
use chiffre_ir::graph::Node;
use chiffre_ir::quant::{Quant, QuantGraph, QuantOp};

/// The table of one node: a polynomial for each channel, or one for all.
#[derive(Debug)]
pub(crate) struct Table {
    polynomials: Vec<u64>,
    degree: usize,
    /// What is added to the operand's body, so that an entry's interval begins where the entry's
    /// value was.
    pub(crate) before: u64,
    /// What is added to the result's body.
    pub(crate) after: u64,
}

impl Table {
    /// Of a `lookup` under ring degree `degree`; of other nodes, none.
    ///
    /// A rotation yields coefficients with their negatives half a turn further. With h half of the
    /// flip, a table of entry − h, to which h is added, therefore has flip − entry there.
    ///
    /// # Errors
    /// A table without data.
    pub(crate) fn of(g: &QuantGraph, n: &Node<Quant>, degree: usize) -> Result<Option<Table>, InterpError> {
        let QuantOp::Lookup { table, flip } = n.op else { return Ok(None) };
        let (from, to) = (g.ty(n.args[0]).bits, n.ty.bits);
        let entries = &g.consts.ints(table)?.data;
        let run = degree >> from;
        // Twice the entry at half the scale of the result, so that half of the flip is an integer.
        let half = 62 - to;
        let coefficient = |&x: &i64| (x.wrapping_mul(2).wrapping_sub(flip) as u64) << half;
        let polynomials = entries.iter().flat_map(|x| std::iter::repeat_n(coefficient(x), run)).collect();
        Ok(Some(Table { polynomials, degree, before: 1 << (62 - from), after: (flip as u64) << half }))
    }
    /// The polynomial of channel c.
    pub(crate) fn of_channel(&self, c: usize) -> &[u64] {
        let channels = self.polynomials.len() / self.degree;
        let at = (c % channels) * self.degree;
        &self.polynomials[at..at + self.degree]
    }
}
