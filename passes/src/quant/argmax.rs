//! `argmax`: the answer of a network becomes the index of its largest value, and nothing else.
//!
//! Every two values are compared by the sign of their difference, exactly: low bits are removed and
//! the rest is looked up. The one that wins all its comparisons is the largest; of equal values the
//! first wins. `C` values take `C(C − 1)/2` comparisons and `C` look-ups that find the winner.

use super::settle::{bits_for, settle};
use crate::error::PassError;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::quant::{MAX_BITS, QuantGraph, QuantOp, QuantType};
use chiffre_ir::tensor::{Reads, TensorType};

const PASS: &str = "argmax";
/// Most values that are compared, each with each.
const MOST: usize = 128;
/// Bits of tables of signs where the network has no look-ups of its own.
const SIGN_BITS: u32 = 4;

/// The graph with an output of one integer, the index of the largest value of what was its output.
///
/// # Errors
/// Several outputs; an output of one value, of more than 128, of more than one position, or whose
/// channels have scales of their own, so that their integers cannot be compared.
pub fn argmax(g: &QuantGraph) -> Result<QuantGraph, PassError> {
    let [output] = g.outputs[..] else {
        return Err(PassError::at(PASS, "", "there is an index of the largest value of one output, and this network has several".into()));
    };
    let (ty, source) = (g.ty(output).clone(), g.node(output).source.clone());
    let [c, h, w] = ty.chw();
    let refuse = |m: String| Err(PassError::at(PASS, &source, m));
    if [h, w] != [1, 1] || !(2..=MOST).contains(&c) {
        return refuse(format!("the largest of 2 to {MOST} values is found, and the output has the shape {c}×{h}×{w}: ask for all of it"));
    }
    if ty.scale.iter().any(|s| *s != ty.scale[0]) {
        return refuse("the values of the output have different scales".into());
    }
    let mut b = Builder { out: g.clone(), source: source.clone() };
    let pairs: Vec<(usize, usize)> = (0..c).flat_map(|i| (i + 1..c).map(move |j| (i, j))).collect();
    // Negative, where the later value is the larger one.
    let width = ty.range[1] - ty.range[0];
    let bits = bits_for([-width, width]);
    if bits > MAX_BITS {
        return refuse(format!("differences of {bits} bits, and {MAX_BITS} are the most"));
    }
    let widest = g.nodes.iter().filter(|n| matches!(n.op, QuantOp::Lookup { .. })).map(|n| g.ty(n.args[0]).bits).max();
    let table = widest.unwrap_or(SIGN_BITS).min(bits);
    let removed = bits - table;
    let row = |(i, j): &(usize, usize)| (0..c).map(|k| i64::from(k == *i) - i64::from(k == *j)).collect::<Vec<_>>();
    // Rounding is to the nearest, and the sign that of what is rounded down.
    let down = if removed > 0 { -(1i64 << (removed - 1)) } else { 0 };
    let kernel = Array::new(vec![pairs.len(), c, 1, 1], pairs.iter().flat_map(row).collect());
    let mut x = b.map(output, kernel, vec![down; pairs.len()], bits, [-width + down, width + down]);
    if removed > 0 {
        let range = [-width, width].map(|x| x >> removed);
        let ty = b.ty(table, range, pairs.len());
        x = b.out.push(QuantOp::Round { slack: None }, vec![x], ty, &b.source);
    }
    let signs = b.lookup(x, vec![0; 1 << table], 1, [0, 1]);
    let won = |k: usize| {
        let sign = move |(i, j): &(usize, usize)| i64::from(*j == k) - i64::from(*i == k);
        pairs.iter().map(sign).collect::<Vec<_>>()
    };
    let last = c as i64 - 1;
    let kernel = Array::new(vec![c, pairs.len(), 1, 1], (0..c).flat_map(won).collect());
    // A comparison is won by the earlier value unless the sign says otherwise.
    let wins = usize::BITS - (c - 1).leading_zeros();
    let x = b.map(signs, kernel, (0..c as i64).map(|k| last - k).collect(), wins, [0, last]);
    let hits = b.lookup(x, (0..1i64 << wins).map(|i| i64::from(i == last)).collect(), 1, [0, 1]);
    let kernel = Array::new(vec![1, c, 1, 1], (0..=last).collect());
    let index = b.map(hits, kernel, vec![0], bits_for([0, last]), [0, last]);
    b.out.outputs = vec![index];
    settle(&mut b.out);
    match b.out.nodes.iter().find(|n| n.ty.bits > MAX_BITS) {
        Some(n) => Err(PassError::at(PASS, &n.source, format!("a value of {} bits, and {MAX_BITS} are the most", n.ty.bits))),
        None => Ok(b.out),
    }
}

struct Builder {
    out: QuantGraph,
    source: String,
}

impl Builder {
    fn ty(&self, bits: u32, range: [i64; 2], channels: usize) -> QuantType {
        QuantType { bits, range, scale: vec![1.0], shape: TensorType::new([channels]) }
    }
    fn map(&mut self, of: ValueId, kernel: Array<i64>, bias: Vec<i64>, bits: u32, range: [i64; 2]) -> ValueId {
        let ty = self.ty(bits, range, bias.len());
        let kernels = vec![self.out.consts.add_ints("argmax", kernel)];
        let bias = Some(self.out.consts.add_ints("bias", Array::new(vec![bias.len()], bias)));
        let (strides, origins) = (vec![[1, 1]], vec![[0, 0]]);
        self.out.push(
            QuantOp::LinearMap { kernels, strides, origins, bias, reads: Reads::default(), groups: None },
            vec![of],
            ty,
            &self.source,
        )
    }
    fn lookup(&mut self, of: ValueId, table: Vec<i64>, flip: i64, range: [i64; 2]) -> ValueId {
        let ty = self.ty(bits_for(range), range, self.out.ty(of).chw()[0]);
        let table = self.out.consts.add_ints("table", Array::new(vec![1, table.len()], table));
        self.out.push(QuantOp::Lookup { table, flip }, vec![of], ty, &self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::quant::{Quant, run_integers, verify};

    /// On all values that differ by little, equal ones among them, and on the ends of the range.
    #[test]
    fn the_first_of_the_largest_is_found() {
        for (channels, bits) in [(2usize, 3u32), (3, 2), (5, 6), (10, 7)] {
            let top = (1i64 << bits) - 1;
            let text = format!("quant @t {{\n%0 = input : int<bits={bits} range={}..{top} scale=0.5> {channels}\nreturn %0\n}}", -top - 1);
            let g = chiffre_ir::text::parse::<Quant>(&text).unwrap();
            let g = verify(argmax(&g).unwrap()).unwrap_or_else(|e| panic!("{e}"));
            let mut state = 11u64;
            let mut value = |spread: i64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) as i64).rem_euclid(spread)
            };
            for case in 0..300 {
                let image: Vec<i64> = (0..channels)
                    .map(|_| match case % 3 {
                        0 => value(2) * (2 * top + 1) - top - 1,
                        1 => value(3),
                        _ => value(2 * top + 2) - top - 1,
                    })
                    .collect();
                let most = image.iter().max().unwrap();
                let want = image.iter().position(|x| x == most).unwrap() as i64;
                let found = run_integers(&g, &image.iter().map(|x| *x as f32 * 0.5).collect::<Vec<_>>(), 1).unwrap();
                assert_eq!(found, [vec![want]], "{image:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (ty, what) in [("scale=0.5,0.25> 2", "different scales"), ("scale=1.0> 1", "2 to 128"), ("scale=1.0> 2x2x2", "2×2×2")] {
            let text = format!("quant @t {{\n%0 = input : int<bits=3 range=0..7 {ty}\nreturn %0\n}}");
            let refused = argmax(&chiffre_ir::text::parse::<Quant>(&text).unwrap()).unwrap_err().to_string();
            assert!(refused.contains(what), "{refused}");
        }
    }
}
