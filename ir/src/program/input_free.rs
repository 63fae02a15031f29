//! Which ciphertexts of a program's result no image has a part in.

use super::{Program, ProgramOp};
use crate::giants;
use crate::he::{PrimeIndex, Scale};
use crate::packed::interp::series_rows;
use crate::table::DiagTable;
use std::collections::BTreeSet;

impl Program {
    /// For each ciphertext of a unit of the result, true if no image has a part in it: classes
    /// without a weight, places that hold no element. Whoever runs the program leaves a constant
    /// there, which needs no key to be read; anywhere else, that is no result.
    ///
    /// Weights that round to zero at their scale count as none. Constants without data count as
    /// read.
    pub fn input_free(&self) -> Vec<bool> {
        let mut free: Vec<Vec<bool>> = vec![];
        for n in &self.nodes {
            let count = n.ty.layout.unit_cts();
            let args: Vec<&[bool]> = n.args.iter().map(|a| free[a.index()].as_slice()).collect();
            free.push(match &n.op {
                ProgramOp::Input {} => vec![false; count],
                ProgramOp::Linear { table, scales, giants: steps, .. } => match self.consts.table(*table) {
                    Ok(t) => {
                        let omega: Vec<f64> = scales.iter().map(|s| self.size(s)).collect();
                        let sums = through(t, &args, |operand| omega.get(operand).copied().unwrap_or(f64::INFINITY));
                        match steps.as_ref().map(|s| giants::table(s, count)) {
                            None => sums,
                            Some(Ok(second)) => through(&second, &[&sums], |_| f64::INFINITY),
                            Some(Err(_)) => vec![false; count],
                        }
                    }
                    Err(_) => vec![false; count],
                },
                ProgramOp::Mul { .. } => args[0].iter().zip(args[1]).map(|(a, b)| *a && *b).collect(),
                ProgramOp::Square { .. } => args[0].to_vec(),
                ProgramOp::Chebyshev { coeffs, .. } | ProgramOp::Refresh { coeffs } => {
                    let level = |row: Vec<f64>| row.iter().skip(1).all(|c| *c == 0.0);
                    let level: Vec<bool> = self.consts.array(*coeffs).map_or(vec![], |c| series_rows(c).map(level).collect());
                    let row = |c: usize| level.get(c.min(level.len().saturating_sub(1))).is_some_and(|x| *x);
                    // All channels of a ciphertext.
                    let slots: BTreeSet<usize> = n.ty.layout.channel_of_slots().into_iter().collect();
                    let all = |channel: usize| slots.iter().all(|s| row(channel + s));
                    args[0].iter().zip(n.ty.layout.channel_of_cts()).map(|(free, channel)| *free || all(channel)).collect()
                }
            });
        }
        self.outputs.first().and_then(|o| free.get(o.index()).cloned()).unwrap_or_default()
    }

    /// A scale as a number.
    fn size(&self, scale: &Scale) -> f64 {
        let log2 = |PrimeIndex(i): PrimeIndex| self.header.q.get(i as usize).map_or(0.0, |&q| (q as f64).log2());
        2f64.powf(scale.log2_with(log2))
    }
}

/// The outputs of a table without a weight on anything that an image has a part in. Operands come
/// with the ciphertexts of one unit; a table that merges units reads each of them so often.
fn through(t: &DiagTable, operands: &[&[bool]], scale: impl Fn(usize) -> f64) -> Vec<bool> {
    let mut free = vec![true; t.outputs];
    for e in &t.entries {
        let r = t.rows[e.row as usize];
        let operand = operands[r.operand as usize];
        let counts = (e.weight * scale(r.operand as usize)).abs() >= 0.5;
        free[e.output as usize] &= !counts || operand[r.ct as usize % operand.len().max(1)];
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Prog;
    use crate::table::{Entry, Row, TableLiteral};

    /// Three ciphertexts to three, of which the weights are given.
    fn linear(entries: &[(u32, u32, f64)], giants: Option<Vec<i64>>) -> Vec<bool> {
        let rows = (0..3).map(|ct| Row { operand: 0, ct, tap: 0 }).collect();
        let entries = entries.iter().map(|&(row, output, weight)| Entry { row, output, mask: None, weight }).collect();
        let outputs = giants::partial_sums(3, giants.as_ref().map(Vec::len));
        let table = DiagTable::new(TableLiteral { taps: vec![0], rows, outputs, entries, ..TableLiteral::default() }).unwrap();
        let text = "program @p (log_n=3, q=[97, 193], p=[257], batch=2, tile=2, model=\"m\", predicted_bytes=0, predicted_us=0) {
            %0 = input : ct<limbs=2 scale=2^10 parts=2> slots[b0 _] cts[c1 c0] shape=3x1x1 batch=2 ; \"in\"
            return %0
            }";
        let mut p: Program = crate::text::parse::<Prog>(text).unwrap_or_else(|e| panic!("{}", e.with_caret(text)));
        let table = p.consts.add_table("t", table);
        let (ty, args) = (p.nodes[0].ty.clone(), vec![crate::graph::ValueId(0)]);
        let scales = vec!["2^10".parse().unwrap()];
        let op = ProgramOp::Linear { taps: vec![0], table, bias: None, scales, drop: 1, gadget: None, giants, giant_gadget: None };
        p.nodes.push(crate::graph::Node { op, args, ty, source: "fc".into() });
        p.outputs = vec![crate::graph::ValueId(1)];
        p.input_free()
    }

    #[test]
    fn classes_without_a_weight_are_found() {
        assert_eq!(linear(&[(0, 0, 1.0), (1, 2, -0.5)], None), [false, true, false]);
        // 2^-12 at scale 2^10 is no weight, and 2^-11 is the least that rounds to one.
        assert_eq!(linear(&[(0, 0, 1.0), (1, 1, 2f64.powi(-12)), (1, 2, 2f64.powi(-11))], None), [false, true, false]);
        // Partial sums of step k are 4k and what follows.
        assert_eq!(linear(&[(0, 0, 1.0), (1, 5, 1.0)], Some(vec![0, 1])), [false, false, true]);
    }
    #[test]
    fn a_constant_series_needs_all_channels_of_its_ciphertext() {
        // Channels 0 and 2 have constants for series; two channels share a ciphertext, or none do.
        for (slots, cts, free) in [("c0 x0", "c1", [false, false]), ("c1 x0", "c0", [true, false])] {
            let layout = format!("slots[{slots}] cts[{cts}] shape=4x1x2 batch=1");
            let text = format!(
                "program @p (log_n=3, q=[97, 193], p=[257], batch=1, tile=1, model=\"m\", predicted_bytes=0, predicted_us=0) {{
                const @c : f32[4x2] = [1, 0, 0, 1, 2, 0, 0, 3]
                %0 = input : ct<limbs=2 scale=2^10 parts=2> {layout} ; \"in\"
                %1 = chebyshev %0 {{coeffs=@c, gadget=[2, 1]}} : ct<limbs=1 scale=2^10 parts=2> {layout} ; \"act\"
                return %1
                }}"
            );
            let p: Program = crate::text::parse::<Prog>(&text).unwrap_or_else(|e| panic!("{}", e.with_caret(&text)));
            assert_eq!(p.input_free(), free, "{layout}");
        }
    }
}
