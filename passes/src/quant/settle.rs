//! Bits of values that only have to satisfy their readers.

use chiffre_ir::quant::{QuantGraph, QuantOp, QuantType};

/// The fewest bits that hold a range.
pub fn bits_for(range: [i64; 2]) -> u32 {
    let width = (range[1] - range[0]).max(0) as u64;
    // 2^(bits+1) integers.
    (u64::BITS - width.leading_zeros()).max(2) - 1
}

/// Gives inputs, results of look-ups, and linear maps that no look-up reads the fewest bits that
/// hold their range and what reads them.
pub fn settle(g: &mut QuantGraph) {
    let users = g.users();
    for v in (0..g.nodes.len()).rev() {
        let read_by = &users[v];
        let fixed = matches!(g.nodes[v].op, QuantOp::Round { .. })
            || read_by.iter().any(|u| matches!(g.node(*u).op, QuantOp::Round { .. } | QuantOp::Lookup { .. }));
        if !fixed {
            let wanted = read_by.iter().map(|u| g.ty(*u).bits).max().unwrap_or(0);
            let ty: &mut QuantType = &mut g.nodes[v].ty;
            ty.bits = wanted.max(bits_for(ty.range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fit_their_bits() {
        for (range, bits) in [([0, 0], 1), ([0, 3], 1), ([0, 4], 2), ([-4, 3], 2), ([-4, 4], 3), ([0, 255], 7), ([1, 256], 7)] {
            assert_eq!(bits_for(range), bits, "{range:?}");
        }
    }
}
