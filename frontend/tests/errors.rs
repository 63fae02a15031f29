//! Every class of import error: the message names the file, the node and the operator, and says
//! why.

mod common;

use common::*;

const IMAGE: [i64; 4] = [0, 3, 6, 6];

fn base() -> Onnx {
    Onnx::new(17, &IMAGE)
}

#[test]
fn unsupported_operators_say_what_to_do() {
    insta::assert_snapshot!(error(&base().node("Softmax", "x", "s", &[]).node("Relu", "s", "y", &[]).bytes()), @r#"dir/test.onnx: node "/net/Softmax_s" (Softmax): this operator is not supported: in the middle of a network it divides by a sum over encrypted values; at an output it is computed after decryption"#);
    insta::assert_snapshot!(error(&base().named("loop", "Loop", "", "x", "y", &[]).bytes()), @r#"dir/test.onnx: node "loop" (Loop): this operator is not supported: control flow cannot depend on encrypted data; export a model without it"#);
    insta::assert_snapshot!(error(&base().named("", "FusedConv", "com.microsoft", "x", "y", &[]).bytes()), @r#"dir/test.onnx: node "y" (com.microsoft.FusedConv): this operator is not supported: replace it in the model by supported operators (convolution, batch normalisation, linear layers, sums, products, pooling, activations)"#);
}

#[test]
fn layers_that_do_not_fit() {
    let conv = |shape: &[i64], attrs: &[Message]| error(&base().weights("w", shape).node("Conv", "x w", "y", attrs).bytes());
    let cases = [
        (conv(&[6, 2, 3, 3], &[int("group", 3)]), "takes 2 channels in each of 3 groups, the input has 3"),
        (conv(&[4, 1, 3, 3], &[int("group", 3)]), "takes 1 channels in each of 3 groups"),
        (conv(&[4, 2, 3, 3], &[]), "weight \"w\" of shape [4, 2, 3, 3] takes 2 channels, the input has 3"),
        (conv(&[4, 3, 3], &[]), "does not fit an input of shape N×[3, 6, 6]"),
        (conv(&[4, 3, 9, 9], &[]), "a window of 9 does not fit the padded height 6"),
        (conv(&[4, 3, 3, 3], &[ints("strides", &[0, 1])]), "must be positive"),
        (conv(&[4, 3, 3, 3], &[ints("pads", &[1, 1])]), "attribute pads has 2 entries, expected 4"),
        (conv(&[4, 3, 3, 3], &[ints("pads", &[-1, 0, 0, 0])]), "pads holds -1"),
        (conv(&[4, 3, 3, 3], &[ints("dilations", &[i64::MAX, 1])]), "dilations holds 9223372036854775807"),
        (conv(&[4, 3, 3, 3], &[int("strides", 2)]), "attribute strides must be a list of integers"),
        (conv(&[4, 3, 3, 3], &[string("auto_pad", "SAME")]), "auto_pad SAME is unknown"),
        (conv(&[4, 3, 3, 3], &[ints("kernel_shape", &[5, 5])]), "contradicts the weight's [3, 3]"),
    ];
    for (text, want) in cases {
        assert!(text.starts_with("dir/test.onnx: node \"/net/Conv_y\" (Conv): ") && text.contains(want), "{text}\n{want}");
    }
    let cases = [
        (base().node("Conv", "x x", "y", &[]), "input \"x\" must be a constant"),
        (base().weights("w", &[4, 5]).node("MatMul", "x w", "y", &[]), "meets a matrix of 4 rows"),
        (
            base().node("Flatten", "x", "f", &[]).weights("w", &[4, 5]).node("Gemm", "f w", "y", &[]),
            "takes 4 features to 5, the input has 108",
        ),
        (base().node("Flatten", "x", "f", &[]).node("Gemm", "f f", "y", &[int("transA", 1)]), "the batch must stay the first dimension"),
        (base().floats("z", &[1], &[0.0]).node("Div", "x z", "y", &[]), "divisor \"z\" holds a zero"),
        (base().weights("m", &[4, 1, 1]).node("Add", "x m", "y", &[]), "does not broadcast"),
        (
            base().node("ReduceMean", "x", "g", &[ints("axes", &[1]), int("keepdims", 0)]).node("Mul", "x g", "y", &[]),
            "the batch would move",
        ),
        (base().node("ReduceMean", "x", "y", &[]), "mixes the images of a batch"),
        (base().node("Transpose", "x", "y", &[ints("perm", &[1, 0, 2, 3])]), "moves the batch"),
        (base().int64("s", &[-1, 100]).node("Reshape", "x s", "y", &[]), "cannot take this shape per image"),
        (base().int64("s", &[2, -1]).node("Reshape", "x s", "y", &[]), "must stay the batch"),
        (base().int64("p", &[1, 0, 0, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]), "padding the batch"),
        (base().int64("p", &[0; 8]).node("Pad", "x p", "y", &[string("mode", "mirror")]), "mode mirror is unknown"),
        (base().node("Concat", "x x", "y", &[int("axis", 0)]), "joining along axis 0 mixes the images of a batch"),
        (base().node("Relu", "gone", "y", &[]), "input \"gone\" is not defined"),
        (base().node("AveragePool", "x", "y", &[]), "kernel_shape is missing"),
        (base().node("Gelu", "x", "y", &[]), "it is read from opset 20 on, and the file follows opset 17"),
        (base().node("ThresholdedRelu", "x", "y", &[]), "it jumps"),
    ];
    for (o, want) in cases {
        let text = error(&o.bytes());
        assert!(text.starts_with("dir/test.onnx: node \"/net/") && text.contains(want), "{text}\n{want}");
    }
}

#[test]
fn weights_must_be_finite_and_inside_the_file() {
    let bn = |v: [f32; 3]| base().weights("g", &[3]).floats("v", &[3], &v).node("BatchNormalization", "x g g g v", "y", &[]).bytes();
    insta::assert_snapshot!(error(&bn([1.0, f32::NAN, 1.0])), @r#"dir/test.onnx: node "/net/BatchNormalization_y" (BatchNormalization): tensor "v": element 1 is NaN; weights must be finite"#);
    insta::assert_snapshot!(error(&bn([1.0, -2.0, 1.0])), @r#"dir/test.onnx: node "/net/BatchNormalization_y" (BatchNormalization): the variance of channel 1 is -2"#);
    let external = tensor("w", &[2, 3, 3, 3], &[]).int(14, 1).message(13, &Message::default().str(1, "location").str(2, "weights.bin"));
    insta::assert_snapshot!(error(&base().init(external).node("Conv", "x w", "y", &[]).bytes()), @r#"dir/test.onnx: node "/net/Conv_y" (Conv): tensor "w": its data lies in another file; store the weights inside the model"#);
    let short = tensor("w", &[2, 3, 3, 3], &[1.0]);
    insta::assert_snapshot!(error(&base().init(short).node("Conv", "x w", "y", &[]).bytes()), @r#"dir/test.onnx: node "/net/Conv_y" (Conv): tensor "w": it has 4 bytes of data for shape [2, 3, 3, 3]"#);
    let huge = tensor("w", &[1 << 40, 1 << 40], &[1.0]);
    insta::assert_snapshot!(error(&base().init(huge).node("Conv", "x w", "y", &[]).bytes()), @r#"dir/test.onnx: node "/net/Conv_y" (Conv): tensor "w": extent 1099511627776 is out of range"#);
    let huge = base().int64("s", &[1 << 20, 1 << 20]).node("ConstantOfShape", "s", "c", &[]).node("Add", "x c", "y", &[]);
    insta::assert_snapshot!(error(&huge.bytes()), @r#"dir/test.onnx: node "/net/Add_y" (Add): a constant of shape 1048576×1048576 does not broadcast to a value of shape N×[3, 6, 6]"#);
    let quantised = Message::default().int(1, 1).int(2, 21).str(8, "w").bytes(9, &[1]);
    insta::assert_snapshot!(error(&base().init(quantised).node("Conv", "x w", "y", &[]).bytes()), @r#"dir/test.onnx: node "/net/Conv_y" (Conv): tensor "w": elements of type UINT4 are not supported; export the model in float32"#);
}

#[test]
fn models_that_do_not_fit_as_a_whole() {
    let relu = |o: Onnx| o.node("Relu", "x", "y", &[]).bytes();
    let old = Onnx::new(5, &IMAGE).weights("c", &[3]).node("Add", "x c", "y", &[]);
    insta::assert_snapshot!(error(&old.bytes()), @r#"dir/test.onnx: node "/net/Add_y" (Add): it is read from opset 6 on, and the file follows opset 5: export it with a later one"#);
    insta::assert_snapshot!(error(&relu(Onnx::new(29, &IMAGE))), @"dir/test.onnx: opset 29 is not supported: export the model with opset 1 to 28");
    insta::assert_snapshot!(error(&relu(Onnx::new(17, &[0, 3, 0, 6]))), @r#"dir/test.onnx: input "x" must have fixed extents beside the batch; give the shape of one image, or export the model with a fixed image size"#);
    insta::assert_snapshot!(error(&relu(Onnx::new(17, &[0, 3]).input("mask", 7, &[0, 3]))), @r#"dir/test.onnx: input "mask" does not take floating-point numbers"#);
    insta::assert_snapshot!(error(&relu(Onnx::new(17, &[0, 1 << 23, 1 << 23, 2]))), @"dir/test.onnx: an input of shape [8388608, 8388608, 2] is too large");
    insta::assert_snapshot!(error(&relu(Onnx::new(17, &[1 << 40, 3]))), @r#"dir/test.onnx: input "x" fixes a batch over 4096"#);
    insta::assert_snapshot!(error(&relu(base().metadata("normalisation", "imagenet"))), @r#"dir/test.onnx: metadata key normalisation: "imagenet" is not of the form `(px/255-mean)/std mean=M,… std=S,…` or `(px/255-M)/S`"#);
    insta::assert_snapshot!(error(&base().node("Relu", "x", "z", &[]).bytes()), @r#"dir/test.onnx: no node yields the output "y""#);
    insta::assert_snapshot!(error(&base().floats("y", &[1], &[1.0]).bytes()), @r#"dir/test.onnx: output "y" does not depend on the input"#);
    let int_input = Onnx { opset: 17, graph: Message::default(), model: Message::default() }.input("x", 7, &IMAGE);
    insta::assert_snapshot!(error(&relu(int_input)), @r#"dir/test.onnx: input "x" does not take floating-point numbers"#);
}

#[test]
fn bytes_that_are_not_a_model() {
    insta::assert_snapshot!(error(b""), @"dir/test.onnx: not an ONNX model: it holds no graph");
    insta::assert_snapshot!(error(b"PK\x03\x04 not a protobuf"), @"dir/test.onnx: not an ONNX model: failed to decode Protobuf message: invalid tag value: 0 (is the file truncated?)");
    let whole = base().weights("w", &[2, 3, 3, 3]).node("Conv", "x w", "y", &[]).bytes();
    insta::assert_snapshot!(error(&whole[..whole.len() - 7]), @"dir/test.onnx: not an ONNX model: failed to decode Protobuf message: ModelProto.graph: buffer underflow (is the file truncated?)");
    insta::assert_snapshot!(chiffre_frontend::load(std::path::Path::new("no/such.onnx")).unwrap_err(), @"no/such.onnx: No such file or directory (os error 2)");
}

/// Nothing that happens to a file's bytes may panic, hang or allocate without bound.
#[test]
fn damaged_files_give_errors() {
    let o = base().weights("w", &[2, 3, 3, 3]).node("Conv", "x w", "c", &[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])]);
    let o = o.int64("s", &[-1, 18]).node("Reshape", "c s", "f", &[]).weights("fc", &[18, 4]);
    let whole = o.node("Gemm", "f fc", "y", &[]).bytes();
    for n in 0..whole.len() {
        assert!(chiffre_frontend::load_bytes("cut", &whole[..n]).is_err(), "cut at {n}");
    }
    for i in 0..whole.len() {
        for flip in [1, 16, 128, 255] {
            let mut b = whole.clone();
            b[i] ^= flip;
            let _ = chiffre_frontend::load_bytes("flipped", &b);
        }
    }
}

/// All that stands in the way is in one message, with what is behind it where that can be known.
#[test]
fn all_obstacles_are_found_at_once() {
    let o = base().weights("w", &[3, 3, 1, 1]).node("Softmax", "x", "a", &[]).node("Conv", "a w", "b", &[int("group", 2)]);
    let o = o.node("Softmax", "b", "c", &[]).node("Hardmax", "c", "d", &[]).node("Foo", "d", "e", &[]).node("Relu", "e", "y", &[]);
    insta::assert_snapshot!(error(&o.bytes()), @r#"
    dir/test.onnx: 4 things stand in the way:
      * 2 nodes "/net/Softmax_a", "/net/Softmax_c" (Softmax): this operator is not supported: in the middle of a network it divides by a sum over encrypted values; at an output it is computed after decryption
      * node "/net/Conv_b" (Conv): weight "w" of shape [3, 3, 1, 1] takes 3 channels in each of 2 groups, the input has 3
      * node "/net/Hardmax_d" (Hardmax): this operator is not supported: in the middle of a network it divides by a sum over encrypted values; at an output it is computed after decryption
      * node "/net/Foo_e" (Foo): this operator is not supported: replace it in the model by supported operators (convolution, batch normalisation, linear layers, sums, products, pooling, activations)
    "#);
    insta::assert_snapshot!(error(&Onnx::new(17, &[0, 3, 0, 6]).node("Foo", "x", "y", &[]).bytes()), @r#"
    dir/test.onnx: 2 things stand in the way:
      * input "x" must have fixed extents beside the batch; give the shape of one image, or export the model with a fixed image size
      * node "/net/Foo_y" (Foo): this operator is not supported: replace it in the model by supported operators (convolution, batch normalisation, linear layers, sums, products, pooling, activations)
    "#);
}
