use super::parse::parse_mapped;
use super::{parse, print};
use crate::consts::Array;
use crate::graph::ValueId;
use crate::tensor::{Tensor, TensorGraph, TensorOp, TensorType};

const TEXT: &str = r#"
tensor @net {   # comment
  const @w : f32[2x1x1x1] = [1, -2.5]
  %0 = input : f32[1x8x8] ; "in\"put"
  %7 = conv2d %0 {weight=@w, stride=[1, 1], pad=[0, 0, 0, 0], dilation=[1, 1]} : f32[2x8x8]
  %8 = activation %7 {kind=relu} : f32[2x8x8]
  return %8
}
"#;

#[test]
fn round_trip() {
    let g: TensorGraph = parse(TEXT).unwrap();
    assert_eq!(g.nodes[0].source, "in\"put");
    assert_eq!(g.consts.array(crate::consts::ConstId(0)).unwrap(), &Array::new(vec![2, 1, 1, 1], vec![1.0, -2.5]));
    let again: TensorGraph = parse(&print(&g)).unwrap();
    assert_eq!(again, g);
    assert_eq!(print(&again), print(&g));
}

#[test]
fn errors_have_positions() {
    let cases = [
        ("tensor @n {\n  %0 = inptu : f32[1]\n  return %0\n}", 2, 8, "did you mean `input`"),
        ("tensor @n {\n  %0 = input : f32[0]\n  return %0\n}", 2, 16, "bad type"),
        ("tensor @n {\n  %1 = square %0 : f32[1]\n}", 2, 16, "not defined above"),
        ("packed @n {}", 1, 1, "expected `tensor`"),
        ("tensor @n {\n  %0 = input {x=1} : f32[1]\n}", 2, 15, "`input` has no attribute `x`"),
        ("tensor @n {\n  %0 = input : f32[1]\n  %1 = square {} %0 : f32[1]\n}", 3, 18, "expected `:`, found `%0`"),
        ("tensor @n {\n  %0 = slice {strt=[0, 0, 0]} : f32[1]\n}", 2, 15, "`slice` has no attribute `strt`; did you mean `start`?"),
        ("tensor @n {\n  %0 = slice {start=[0, 0], count=[1, 1, 1], step=[1, 1, 1]} : f32[1]\n}", 2, 15, "must have 3 entries, not 2"),
        ("tensor @n {\n  %0 = slice {start=[0, 0, 0]} : f32[1]\n}", 2, 8, "attribute count is missing"),
        ("tensor @n {\n  %0 = frobnicate : f32[1]\n}", 2, 8, "unknown op `frobnicate` (it is one of: input, conv2d"),
        ("tensor @n {\n  const @bias : f32[1] = [1]\n  %0 = linear {weight=@bais} : f32[1]\n}", 3, 24, "did you mean `bias`?"),
        ("tensr @n {}", 1, 1, "no level of the IR, expected `tensor`; did you mean `tensor`?"),
        ("tensor @n {\n  return %0", 2, 11, "not defined"),
        ("tensor @n {\n  %0 = input : f32[1] ; \"abc", 2, 25, "does not end"),
    ];
    for (text, line, column, message) in cases {
        let e = parse::<crate::tensor::Tensor>(text).unwrap_err();
        assert!(e.message.contains(message), "{e}");
        assert_eq!((e.line, e.column), (line, column), "{}", e.with_caret(text));
    }
}

#[test]
fn prune_drops_dead_nodes_and_constants() {
    let mut g = TensorGraph::new("p");
    let ty = TensorType::new([1, 4, 4]);
    let x = g.push(TensorOp::Input {}, vec![], ty.clone(), "x");
    let dead = g.consts.add("dead", Array::zeros(vec![1]));
    g.push(TensorOp::Affine { scale: dead, shift: dead }, vec![x], ty.clone(), "");
    let live = g.consts.add("live", Array::new(vec![1], vec![2.0]));
    let y = g.push(TensorOp::Affine { scale: live, shift: live }, vec![x], ty, "");
    g.outputs.push(y);
    g.prune(|op| matches!(op, TensorOp::Input {}));
    assert_eq!(g.nodes.len(), 2);
    assert_eq!(g.outputs, [ValueId(1)]);
    assert_eq!(g.consts.len(), 1);
}

#[test]
fn findings_point_at_their_line() {
    let text = "# a comment\ntensor @n {\n  %0 = input : f32[2]\n  %5 = square %0 : f32[3] ; \"sq\"\n  return %5\n}";
    let (g, map) = super::parse_mapped::<crate::tensor::Tensor>(text).unwrap();
    let found = map.locate(&crate::tensor::verify(g).unwrap_err());
    assert_eq!(
        found[0].with_caret(text),
        "line 4, column 3: node \"sq\": square: declared f32[3], but the op yields f32[2]\n    %5 = square %0 : f32[3] ; \"sq\"\n    ^"
    );
    let (g, map) = super::parse_mapped::<crate::tensor::Tensor>("tensor @n {\n  %0 = input : f32[2]\n  return\n}").unwrap();
    let found = map.locate(&crate::tensor::verify(g).unwrap_err());
    assert_eq!((found[0].line, found[0].column, found[0].message.as_str()), (3, 3, "the graph has no output"));
}

#[test]
fn small_constants_print_their_values() {
    let g: TensorGraph = parse(TEXT).unwrap();
    let text = super::print_with_values(&g, 2);
    assert!(text.contains("const @w : f32[2x1x1x1] = [1, -2.5]\n"), "{text}");
    assert!(!super::print_with_values(&g, 1).contains("= [1, -2.5]"));
    assert_eq!(parse::<crate::tensor::Tensor>(&text).unwrap(), g);
}

/// Texts as long as a header may be are read in a time that grows with their length.
#[test]
fn long_texts_are_read_at_once() {
    let count = 100_000;
    let began = std::time::Instant::now();
    let nodes: String = (0..count).map(|i| format!("%{i} = input : f32[1] ; \"é\" ")).collect();
    let consts: String = (0..count).map(|i| format!("const @c{i} : f32[1] = [0] ")).collect();
    let (g, map) = parse_mapped::<Tensor>(&format!("tensor @long {{ {consts}\n {nodes} return %0 }}")).expect("a graph");
    assert_eq!((g.nodes.len(), g.consts.len()), (count, count));
    assert_eq!((map.nodes[0].line, map.nodes[0].column, map.nodes[1].column), (2, 2, 28));
    let unknown = format!("tensor @long {{ {nodes} return %{} }}", "x".repeat(count));
    assert!(parse::<Tensor>(&unknown).is_err_and(|e| e.message.contains("is not defined above")));
    let many: String = (0..count).map(|i| format!("a{i}=1, ")).collect();
    assert!(parse::<Tensor>(&format!("tensor @long({many})")).is_err_and(|e| e.message == "more than 64 attributes"));
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
