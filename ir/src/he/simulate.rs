//! The program's values in the clear, with the noise model, and a count of those that leave the
//! range of an activation.

use super::interp::{Noise, run_watched};
use super::{HeGraph, HeOp};
use crate::error::InterpError;
use crate::packed::interp::by_batches;
use crate::tensor::{Excess, OperandRange, Simulation};

/// Runs `n` images (`n·C·H·W` values, image-major) as [`interp`](super::interp) does, and watches
/// the operands of all `chebyshev` and `refresh`: `range` gives the operands that the one with this
/// ONNX node is meant for.
///
/// # Errors
/// As [`interp`](super::interp).
pub fn simulate(
    g: &HeGraph,
    images: &[f32],
    n: usize,
    mut noise: Option<&mut Noise>,
    range: impl Fn(&str) -> OperandRange,
) -> Result<Simulation, InterpError> {
    let is_series = |op: &HeOp| matches!(op, HeOp::Chebyshev { .. } | HeOp::Refresh { .. });
    let mut excess: Vec<Excess> =
        g.nodes.iter().filter(|n| is_series(&n.op)).map(|n| Excess { source: n.source.clone(), images: 0, largest: 0.0 }).collect();
    let inputs: Vec<_> = g.nodes.iter().filter(|n| matches!(n.op, HeOp::Input {})).map(|n| &n.ty.layout).collect();
    let layouts: Vec<_> = g.outputs.iter().map(|o| &g.ty(*o).layout).collect();
    let batch = inputs.first().map_or(1, |l| l.batch);
    let mut left = vec![false; n];
    let mut first = 0;
    let outputs = by_batches(&inputs, &layouts, images, n, |bundles| {
        let count = batch.min(n - first);
        let mut all = excess.iter_mut();
        let out = run_watched(g, &bundles, noise.as_deref_mut(), |node, operand| {
            let Some(seen) = is_series(&node.op).then(|| all.next()).flatten() else { return };
            let range = range(&node.source);
            // Activations have the layout of their operand.
            let values = node.ty.layout.unpack(operand, count);
            for (i, image) in values.chunks(values.len() / count.max(1)).enumerate() {
                let largest = range.excess(image.iter().map(|&x| f64::from(x)), node.ty.layout.shape[0]);
                if largest > 1.0 {
                    seen.images += 1;
                    left[first + i] = true;
                }
                seen.largest = seen.largest.max(largest);
            }
        });
        first += count;
        out
    })?;
    Ok(Simulation { outputs, excess, outside: (0..n).filter(|&i| left[i]).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::he::{He, interp, verify};

    const NET: &str = "he @h {
        const @c : f32[1x2] = [0, 1]
        %0 = input : ct<limbs=3 scale=2^30 parts=2> slots[b0 x0] cts[c0] shape=2x1x2 batch=2 ; \"in\"
        %1 = refresh %0 {coeffs=@c} : ct<limbs=2 scale=2^30 parts=2> slots[b0 x0] cts[c0] shape=2x1x2 batch=2 ; \"a\"
        %2 = chebyshev %1 {coeffs=@c} : ct<limbs=1 scale=2^30 parts=2> slots[b0 x0] cts[c0] shape=2x1x2 batch=2 ; \"b\"
        return %2
        }";

    #[test]
    fn images_outside_are_counted_over_batches() {
        let g = verify(crate::text::parse::<He>(NET).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        // Three images in batches of two; the second leaves the range of "a", the third that of
        // "b".
        let x = [0.1, 0.2, 0.3, 0.4, 0.1, -3.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0];
        let s = simulate(&g, &x, 3, None, |node| OperandRange(if node == "a" { vec![[-2.0, 2.0]] } else { vec![[-0.9, 0.9]] })).unwrap();
        assert_eq!(s.outputs, interp(&g, &x, 3, None).unwrap());
        assert_eq!(s.outside, [1, 2]);
        assert_eq!(s.excess[0], Excess { source: "a".into(), images: 1, largest: 1.5 });
        assert_eq!((s.excess[1].images, s.excess[1].source.as_str()), (1, "b"));
    }
}
