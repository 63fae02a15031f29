//! Operators that are linear maps by index relations, and operands that broadcast, against the
//! clear reference or against numbers that are worked out here.

mod common;

use chiffre_ir::tensor::interp;
use common::*;

/// The output of an imported model on one image.
fn run(o: &Onnx, x: &[f32]) -> Vec<f32> {
    let model = chiffre_frontend::load_bytes("dir/test.onnx", &o.bytes()).unwrap_or_else(|e| panic!("{e}"));
    interp(&model.graph, x, x.len() / model.input_shape.iter().product::<usize>()).unwrap().remove(0)
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn values_broadcast() {
    // A gate for each channel, one for each position, and one number for an image.
    let base = || Onnx::new(13, &[0, 3, 4, 5]).node("GlobalAveragePool", "x", "g", &[]);
    for op in ["Add", "Sub", "Mul"] {
        assert!(ops(&check(&base().node(op, "x g", "y", &[]))).ends_with(&op.to_lowercase()));
        check(&base().node(op, "g x", "y", &[]));
        check(&base().node("ReduceMean", "x", "p", &[ints("axes", &[1])]).node(op, "x p", "y", &[]));
        check(&base().node("ReduceMean", "x", "p", &[ints("axes", &[1, 2, 3])]).node(op, "p x", "y", &[]));
        check(&base().node("ReduceMean", "x", "p", &[ints("axes", &[2])]).node(op, "g p", "y", &[]));
    }
    // A constant may be wider than the value.
    let o = base().floats("c", &[1, 3, 2, 1], &[1., 2., 3., 4., 5., 6.]);
    check(&o.clone().node("Mul", "g c", "y", &[]));
    check(&o.node("Add", "g c", "y", &[]));
    // A factor for each position.
    let o = Onnx::new(13, &[0, 2, 3, 4]).weights("c", &[1, 2, 3, 4]).weights("r", &[3, 1]);
    check(&o.clone().node("Mul", "x c", "y", &[]));
    check(&o.node("Mul", "x r", "y", &[]));
}

#[test]
fn excitation_of_channels() {
    let o = Onnx::new(17, &[0, 4, 6, 6]).weights("w", &[2, 4, 1, 1]).weights("v", &[4, 2, 1, 1]).node("GlobalAveragePool", "x", "p", &[]);
    let o = o.node("Conv", "p w", "a", &[]).node("Relu", "a", "r", &[]).node("Conv", "r v", "b", &[]);
    check(&o.node("HardSigmoid", "b", "s", &[]).node("Mul", "s x", "y", &[]));
}

#[test]
fn transposed_convolutions() {
    let conv = |shape: &[i64], attrs: &[Message]| {
        let out = shape[1] * attrs.iter().find_map(|a| (a.0[2..7] == *b"group").then_some(2)).unwrap_or(1);
        let o = Onnx::new(17, &[0, 4, 5, 6]).weights("w", shape).weights("bias", &[out]);
        assert_eq!(ops(&check(&o.node("ConvTranspose", "x w bias", "y", attrs))), "linear_map");
    };
    conv(&[4, 3, 2, 2], &[ints("strides", &[2, 2])]);
    conv(&[4, 3, 3, 3], &[ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1]), ints("output_padding", &[1, 1])]);
    conv(&[4, 2, 3, 2], &[int("group", 2), ints("strides", &[1, 2]), ints("dilations", &[2, 1]), ints("pads", &[0, 1, 1, 0])]);
    let line = Onnx::new(17, &[0, 4, 7]).weights("w", &[4, 3, 4]);
    check(&line.node("ConvTranspose", "x w", "y", &[ints("strides", &[2]), ints("pads", &[1, 1])]));
}

#[test]
fn three_axes_of_positions() {
    // A 3-D convolution of a cube, position by position.
    let (c, d, h, w) = (2, 3, 4, 5);
    let o = Onnx::new(17, &[0, c, d, h, w]).weights("w", &[3, 2, 2, 3, 2]);
    let attrs = [ints("pads", &[1, 0, 1, 0, 1, 0]), ints("strides", &[1, 2, 1]), ints("dilations", &[1, 1, 2])];
    let x = noise((c * d * h * w) as usize, 3);
    let weights = noise(3 * 2 * 12, 1);
    let got = run(&o.clone().node("Conv", "x w", "y", &attrs), &x);
    let [od, oh, ow] = [3, 2, 4];
    let at = |c: i64, z: i64, y: i64, v: i64| match (0..d).contains(&z) && (0..h).contains(&y) && (0..w).contains(&v) {
        true => x[(((c * d + z) * h + y) * w + v) as usize],
        false => 0.0,
    };
    for o in 0..3 {
        for (z, y, v) in (0..od).flat_map(|z| (0..oh).flat_map(move |y| (0..ow).map(move |v| (z, y, v)))) {
            let mut want = 0.0;
            for (i, kz, ky, kx) in
                (0..2).flat_map(|i| (0..2).flat_map(move |z| (0..3).flat_map(move |y| (0..2).map(move |x| (i, z, y, x)))))
            {
                want += weights[(((o * 2 + i) * 2 + kz) * 6 + ky * 2 + kx) as usize] * at(i, z + kz - 1, 2 * y + ky, v + 2 * kx - 1);
            }
            let found = got[(((o * od + z) * oh + y) * ow + v) as usize];
            assert!((found - want).abs() < 1e-5, "{o} {z} {y} {v}: {found} {want}");
        }
    }
    let normalised = o.weights("g", &[3]).floats("v", &[3], &[0.5, 1., 2.]).node("Conv", "x w", "c", &attrs);
    let normalised = normalised.node("BatchNormalization", "c g g g v", "b", &[]).node("Relu", "b", "r", &[]);
    let pooled = run(&normalised.node("GlobalAveragePool", "r", "p", &[]).node("Flatten", "p", "y", &[]), &x);
    assert_eq!(pooled.len(), 3);
    // Pooling: the largest and the mean of all 2×2×2 cubes.
    let cube =
        |op: &str| Onnx::new(17, &[0, 1, 2, 2, 4]).node(op, "x", "y", &[ints("kernel_shape", &[2, 2, 2]), ints("strides", &[2, 2, 2])]);
    assert_eq!(run(&cube("MaxPool"), &numbers(16)), [13., 15.]);
    assert_eq!(run(&cube("LpPool"), &[2.; 16]), [32f32.sqrt(); 2]);
    assert_eq!(run(&cube("AveragePool"), &numbers(16)), [6.5, 8.5]);
}

#[test]
fn windows_of_every_other_position() {
    // Padding is no element of a window: the largest of what is negative stays negative.
    let pool =
        |attrs: &[Message]| Onnx::new(17, &[0, 1, 1, 5]).node("MaxPool", "x", "y", &[&[ints("kernel_shape", &[1, 3])], attrs].concat());
    let dilated = pool(&[ints("dilations", &[1, 2]), ints("pads", &[0, 1, 0, 1])]);
    assert_eq!(run(&dilated, &[-5., -3., -4., -1., -2.]), [-1., -2., -1.]);
    check(&pool(&[ints("dilations", &[1, 2])]));
    let deep = Onnx::new(17, &[0, 96, 9, 9]).weights("w", &[96, 1, 3, 3]).weights("b", &[96]);
    let attrs = [int("group", 96), ints("dilations", &[2, 1]), ints("pads", &[2, 1, 2, 1]), ints("strides", &[1, 2])];
    let model = check(&deep.node("Conv", "x w b", "y", &attrs));
    assert_eq!(ops(&model), "linear_map");
    // Its kernel holds no zeros between groups.
    assert!(model.graph.consts.iter().all(|(_, c)| c.shape().iter().product::<usize>() <= 96 * 15));
}

#[test]
fn sizes_change() {
    let o = |opset| Onnx::new(opset, &[0, 2, 4, 5]).floats("none", &[0], &[]).floats("twice", &[4], &[1., 1., 2., 2.]);
    for attrs in [
        &[string("mode", "nearest"), string("coordinate_transformation_mode", "asymmetric"), string("nearest_mode", "floor")][..],
        &[string("mode", "linear"), string("coordinate_transformation_mode", "half_pixel")],
        &[string("mode", "linear"), string("coordinate_transformation_mode", "align_corners")],
        &[string("mode", "linear"), string("coordinate_transformation_mode", "asymmetric")],
    ] {
        assert_eq!(ops(&check(&o(13).node("Resize", "x none twice", "y", attrs))), "linear_map");
    }
    // Of a line of four, the middle of three and the ends.
    let line = |attrs: &[Message], size: f32| {
        let o = Onnx::new(18, &[0, 1, 1, 4]).int64("sizes", &[1, 1, 1, size as i64]).node("Resize", "x - - sizes", "y", attrs);
        run(&o, &[0., 1., 2., 3.])
    };
    let linear = |mode: &str| [string("mode", "linear"), string("coordinate_transformation_mode", mode)];
    assert_eq!(line(&linear("align_corners"), 7.0), [0., 0.5, 1., 1.5, 2., 2.5, 3.]);
    assert_eq!(line(&linear("half_pixel"), 2.0), [0.5, 2.5]);
    assert_eq!(line(&[&linear("half_pixel")[..], &[int("antialias", 1)]].concat(), 2.0), [0.625, 2.375]);
    let o = Onnx::new(9, &[0, 1, 2, 2]).floats("s", &[4], &[1., 1., 2., 1.]).node("Upsample", "x s", "y", &[]);
    assert_eq!(run(&o, &numbers(4)), [0., 1., 0., 1., 2., 3., 2., 3.]);
}

#[test]
fn elements_move() {
    let image = || Onnx::new(13, &[0, 8, 3, 2]);
    for mode in ["DCR", "CRD"] {
        check(&image().node("DepthToSpace", "x", "y", &[int("blocksize", 2), string("mode", mode)]));
    }
    check(&Onnx::new(13, &[0, 3, 4, 6]).node("SpaceToDepth", "x", "y", &[int("blocksize", 2)]));
    check(&image().int64("r", &[1, 2, 1, 3]).node("Tile", "x r", "y", &[]));
    check(&image().node("ReduceMean", "x", "g", &[ints("axes", &[3])]).int64("s", &[1, 8, 3, 4]).node("Expand", "g s", "y", &[]));
    check(&image().int64("i", &[2, -1, 0]).node("Gather", "x i", "y", &[int("axis", 2)]));
    // Rows become columns; an axis of positions is cut, joined and turned round.
    check(&image().node("Transpose", "x", "t", &[ints("perm", &[0, 1, 3, 2])]).node("Relu", "t", "y", &[]));
    check(&image().node("Transpose", "x", "y", &[ints("perm", &[0, 3, 1, 2])]));
    check(&image().node("Concat", "x x", "y", &[int("axis", 2)]));
    check(&image().node("Concat", "x x", "y", &[int("axis", -1)]));
    check(&image().weights("c", &[1, 8, 3, 1]).node("Split", "x", "a b", &[int("axis", 3)]).node("Sub", "b a", "y", &[]));
    let o = image().int64("s", &[-1]).int64("e", &[-100]).int64("a", &[2]).int64("t", &[-1]);
    check(&o.node("Slice", "x s e a t", "y", &[]));
    for mode in ["reflect", "edge"] {
        check(&Onnx::new(13, &[0, 2, 4, 5]).int64("p", &[0, 1, 2, 1, 0, 0, 1, 3]).node("Pad", "x p", "y", &[string("mode", mode)]));
    }
    let o = Onnx::new(13, &[0, 2, 4, 5]).int64("p", &[0, 0, 1, 1, 0, 0, 0, 2]).floats("v", &[], &[1.5]);
    check(&o.node("Pad", "x p v", "y", &[]));
    check(&Onnx::new(13, &[0, 6, 4]).int64("s", &[0, 2, 3, 4]).node("Reshape", "x s", "r", &[]).node("Relu", "r", "y", &[]));
    let o = Onnx::new(13, &[0, 2, 3]).floats("c", &[1, 2, 2], &[7., 8., 9., 10.]).node("Concat", "x c", "y", &[int("axis", 2)]);
    assert_eq!(run(&o, &numbers(6)), [0., 1., 2., 7., 8., 3., 4., 5., 9., 10.]);
}

#[test]
fn sums_by_places() {
    // Two windows of two on a line of three share its middle.
    let o = Onnx::new(18, &[0, 2, 2]).int64("image", &[1, 3]).int64("block", &[1, 2]).node("Col2Im", "x image block", "y", &[]);
    assert_eq!(run(&o, &[1., 2., 10., 20.]), [1., 12., 20.]);
    let o = Onnx::new(14, &[0, 4]).int64("a", &[1]).node("CumSum", "x a", "y", &[int("reverse", 1)]);
    assert_eq!(run(&o, &[1., 2., 3., 4.]), [10., 9., 7., 4.]);
    let o = Onnx::new(14, &[0, 2, 3]).node("Trilu", "x", "y", &[int("upper", 0)]);
    assert_eq!(run(&o, &numbers(6)), [0., 0., 0., 3., 4., 0.]);
    let o = Onnx::new(11, &[1, 1, 2, 2]).init(int_tensor("i", &[1, 1, 2, 2], &[5, 7, 13, 15]));
    let unpooled = run(&o.node("MaxUnpool", "x i", "y", &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]), &[1., 2., 3., 4.]);
    assert_eq!(unpooled, [0., 0., 0., 0., 0., 1., 0., 2., 0., 0., 0., 0., 0., 3., 0., 4.]);
    let o = Onnx::new(18, &[0, 4, 4]).int64("s", &[2, 6]).node("CenterCropPad", "x s", "y", &[ints("axes", &[1, 2])]);
    assert_eq!(run(&o, &numbers(16)), [0., 4., 5., 6., 7., 0., 0., 8., 9., 10., 11., 0.]);
}

#[test]
fn matrices_meet_any_axis() {
    let base = || Onnx::new(13, &[0, 3, 4]).weights("b", &[4, 5]).weights("a", &[2, 3]).weights("each", &[1, 4, 2]).weights("v", &[4]);
    check(&base().node("MatMul", "x b", "y", &[]));
    check(&base().node("MatMul", "a x", "y", &[]));
    check(&base().node("MatMul", "x each", "y", &[]));
    check(&base().node("MatMul", "x v", "y", &[]));
    // Tokens are mixed, then features.
    let mixed = base().node("MatMul", "a x", "m", &[]).node("Relu", "m", "r", &[]).node("MatMul", "r b", "n", &[]);
    check(&mixed.weights("bias", &[5]).node("Add", "n bias", "y", &[]));
    // Inner products of two branches.
    let o = Onnx::new(13, &[0, 3, 4]).node("Transpose", "x", "t", &[ints("perm", &[0, 2, 1])]);
    assert!(ops(&check(&o.node("MatMul", "x t", "y", &[]))).contains("mul"));
}

#[test]
fn reductions_of_every_kind() {
    for op in ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSumExp"] {
        for axes in [&[1][..], &[2], &[2, 3], &[-1]] {
            let o = Onnx::new(11, &[0, 2, 3, 2]).node(op, "x", "y", &[ints("axes", axes), int("keepdims", (axes.len() % 2) as i64)]);
            let x = noise(12, 5);
            let model = chiffre_frontend::load_bytes("dir/test.onnx", &o.bytes()).unwrap_or_else(|e| panic!("{e}"));
            let got = interp(&model.graph, &x, 1).unwrap().remove(0);
            let axes: Vec<usize> = axes.iter().map(|&a| if a < 0 { 3 } else { a as usize }).collect();
            let at = |i: usize| [0, i / 6, i / 2 % 3, i % 2];
            let mut groups: std::collections::BTreeMap<Vec<usize>, Vec<f32>> = Default::default();
            for (i, &x) in x.iter().enumerate() {
                let key = (0..4).map(|d| if axes.contains(&d) { 0 } else { at(i)[d] }).collect();
                groups.entry(key).or_default().push(x);
            }
            let sum = |v: &[f32], f: fn(f32) -> f32| v.iter().map(|&x| f(x)).sum::<f32>();
            let want: Vec<f32> = groups
                .values()
                .map(|v| match op {
                    "ReduceL1" => sum(v, f32::abs),
                    "ReduceL2" => sum(v, |x| x * x).sqrt(),
                    "ReduceSumSquare" => sum(v, |x| x * x),
                    "ReduceMax" => v.iter().copied().fold(f32::MIN, f32::max),
                    "ReduceMin" => v.iter().copied().fold(f32::MAX, f32::min),
                    "ReduceProd" => v.iter().product(),
                    _ => sum(v, f32::exp).ln(),
                })
                .collect();
            assert_eq!(got.len(), want.len(), "{op} {axes:?}");
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5), "{op} {axes:?}: {got:?} {want:?}");
        }
    }
}

#[test]
fn operators_before_opset_7_name_the_axis_where_they_broadcast() {
    let o = |attrs: &[Message]| Onnx::new(6, &[0, 3, 2]).floats("c", &[3], &[1., 2., 3.]).node("Add", "x c", "y", attrs);
    assert_eq!(run(&o(&[int("broadcast", 1), int("axis", 1)]), &[0.; 6]), [1., 1., 2., 2., 3., 3.]);
    let slopes = Onnx::new(6, &[0, 2, 2]).floats("s", &[2], &[0.5, 2.]).node("PRelu", "x s", "y", &[]);
    assert_eq!(run(&slopes, &[-1., 1., -1., 1.]), [-0.5, 1., -2., 1.]);
}

#[test]
fn what_would_be_too_much_is_refused() {
    let message = |o: &Onnx| error(&o.bytes());
    let o = Onnx::new(13, &[0, 64, 64]).node("Transpose", "x", "t", &[ints("perm", &[0, 2, 1])]).node("MatMul", "x t", "y", &[]);
    assert!(message(&o).contains("262144 products of encrypted numbers"), "{}", message(&o));
    let o = Onnx::new(13, &[2, 3, 4]).weights("w", &[2, 4, 5]).node("MatMul", "x w", "y", &[]);
    assert!(message(&o).contains("differ between the images of a batch"), "{}", message(&o));
    let o = Onnx::new(13, &[0, 3]).node("Concat", "x x", "y", &[int("axis", 0)]);
    assert!(message(&o).contains("mixes the images of a batch"), "{}", message(&o));
    let o = Onnx::new(13, &[0, 1, 600]).node("ReduceMax", "x", "y", &[ints("axes", &[2])]);
    assert!(message(&o).contains("600 values would be compared"), "{}", message(&o));
}
