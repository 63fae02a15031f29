//! The text form: `parse(print(g)) == g` for random graphs of every level, and no text makes the
//! parser panic.

mod common;
mod graphs;

use chiffre_ir::graph::{Dialect, Graph, Type};
use chiffre_ir::he::{He, HeType, Scale};
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::Packed;
use chiffre_ir::program::Prog;
use chiffre_ir::quant::{Quant, QuantType};
use chiffre_ir::tensor::{Tensor, TensorType};
use chiffre_ir::text::{parse, print, print_with_values};
use chiffre_ir::{he, packed, program, quant, tensor};
use common::Rng;
use proptest::prelude::*;

fn round_trip<D: Dialect>(g: Graph<D>) {
    let text = print(&g);
    let again: Graph<D> = parse(&text).unwrap_or_else(|e| panic!("{}\n{text}", e.with_caret(&text)));
    assert_eq!(again, g, "{text}");
    assert_eq!(print(&again), text);
    // With its values, which come back to the same bits: a hash covers them.
    let text = print_with_values(&g, usize::MAX);
    let again: Graph<D> = parse(&text).unwrap_or_else(|e| panic!("{}\n{text}", e.with_caret(&text)));
    assert_eq!(again, g, "{text}");
    assert!(again.consts.iter().all(|(_, c)| c.data.is_some()), "{text}");
}

/// Parses and, if that works, verifies: a graph or an error, never a panic.
fn survives(text: &str) {
    fn one<D: Dialect, T, E>(text: &str, verify: impl Fn(Graph<D>) -> Result<T, E>) {
        match parse::<D>(text) {
            Ok(g) => {
                let printed = print(&g);
                assert_eq!(print(&parse::<D>(&printed).unwrap_or_else(|e| panic!("{}", e.with_caret(&printed)))), printed);
                let _ = verify(g);
            }
            Err(e) => assert!(e.line > 0 && e.column > 0 && !e.with_caret(text).is_empty()),
        }
    }
    one::<Tensor, _, _>(text, tensor::verify);
    one::<Quant, _, _>(text, quant::verify);
    one::<Packed, _, _>(text, packed::verify);
    one::<He, _, _>(text, he::verify);
    one::<Prog, _, _>(text, program::verify);
}

/// Deletes, repeats, replaces or inserts a few pieces of a text.
fn mutate(text: &str, r: &mut Rng) -> String {
    const PIECES: [&str; 34] = [
        "%",
        "@",
        "{",
        "}",
        "[",
        "]",
        "[[",
        "(",
        ")",
        "=",
        ":",
        ";",
        "\"",
        "\\",
        "\n",
        "#",
        "-",
        "9999999999999999999",
        "0",
        "1e999",
        "NaN",
        "2^99999",
        "q4^-1",
        "x",
        "c39..c0",
        "_",
        "é",
        "const ",
        "return",
        "= [1, 2]",
        "table<",
        "masks=1x3",
        "f64",
        "= {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, _, 1]]}",
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..1 + r.below(4) {
        let at = r.below(chars.len().max(1)).min(chars.len());
        let end = (at + r.below(12)).min(chars.len());
        match r.below(4) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let piece = chars[at..end].to_vec();
                chars.splice(at..at, piece);
            }
            2 => drop(chars.splice(at..end, PIECES[r.below(PIECES.len())].chars())),
            _ => drop(chars.splice(at..at, PIECES[r.below(PIECES.len())].chars())),
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn graphs_of_every_level(seed in any::<u64>()) {
        let mut r = Rng(seed);
        round_trip(r.tensor());
        round_trip(r.quant());
        round_trip(r.packed());
        round_trip(r.he());
        round_trip(r.program());
    }

    #[test]
    fn types_and_scales(seed in any::<u64>()) {
        let mut r = Rng(seed);
        let l = r.layout();
        prop_assert_eq!(&Layout::parse(&l.to_string()).unwrap(), &l);
        for n in &r.he().nodes {
            prop_assert_eq!(&HeType::parse(&n.ty.to_string()).unwrap(), &n.ty);
            prop_assert_eq!(&n.ty.scale.to_string().parse::<Scale>().unwrap(), &n.ty.scale);
        }
        for n in &r.quant().nodes {
            prop_assert_eq!(&QuantType::parse(&n.ty.to_string()).unwrap(), &n.ty);
        }
        for n in &r.tensor().nodes {
            prop_assert_eq!(&TensorType::parse(&n.ty.to_string()).unwrap(), &n.ty);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutated_texts_do_not_panic(seed in any::<u64>()) {
        let mut r = Rng(seed);
        let values = if r.below(2) == 0 { 0 } else { usize::MAX };
        let (t, q, p, h, g) = (r.tensor(), r.quant(), r.packed(), r.he(), r.program());
        let texts = [
            print_with_values(&t, values),
            print_with_values(&q, values),
            print_with_values(&p, values),
            print_with_values(&h, values),
            print_with_values(&g, values),
        ];
        for text in texts {
            survives(&mutate(&text, &mut r));
        }
    }

    #[test]
    fn random_texts_do_not_panic(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survives(&text);
        survives(&String::from_utf8_lossy(&bytes));
        survives(&format!("tensor @t {{ {text}"));
        survives(&format!("he @t {{ %0 = input : ct<{text}"));
        survives(&format!("packed @t {{ %0 = input : slots[{text}"));
    }
}

#[test]
fn hostile_texts_are_errors() {
    let nested = format!("tensor @t {{ %0 = slice {{start={}", "[".repeat(1 << 20));
    let huge = "tensor @t { const @c : f32[99999999999x99999999999] = [1] return }";
    let missing = "tensor @t { const @c : f32[1000000000] = [1] return }";
    for (text, message) in [(nested.as_str(), "nested more than 8 deep"), (huge, "too large"), (missing, "expected 1000000000 numbers")] {
        assert!(parse::<Tensor>(text).unwrap_err().message.contains(message), "{message}");
    }
}

#[test]
fn hostile_constants_are_errors() {
    let types = [
        ("u8[2]", "`u8` is no type of a constant"),
        ("f31[2]", "did you mean `f32`?"),
        ("table<>", "lacks `weights`"),
        ("table<taps=1 rows=1 outputs=1 weights=f32>", "lacks `entries`"),
        ("table<taps=1 rows=1 outputs=1 entries=1 weights=f16>", "expected f32 or f64"),
        ("table<taps=1 taps=1 rows=1 outputs=1 entries=1 weights=f32>", "`taps` is given twice"),
        ("table<taps=-1 rows=1 outputs=1 entries=1 weights=f32>", "taps=-1: expected a number"),
        ("table<taps=1 rows=1 outputs=1 entries=1 masks=4 weights=f32>", "expected a number and a period"),
        ("table<taps=1 rows=1 outputs=1 entries=1 masks=4294967296x4294967296 weights=f32>", "too large"),
        ("table<taps=1 rows=1 outputs=1 entries=18446744073709551615 weights=f32>", "too large"),
        ("table<taps=1 rows=1 outputs=1 entries=1 weights=f32", "expected `>`"),
    ];
    for (ty, message) in types {
        let text = format!("tensor @t {{\n const @c : {ty}\n return }}");
        let e = parse::<Tensor>(&text).unwrap_err();
        assert!(e.message.contains(message), "{ty}: {e}");
    }
    let ty = "table<taps=1 rows=1 outputs=1 entries=1 masks=1x2 weights=f32>";
    let good = "{taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, 0, 2]], masks=[\"10\"]}";
    let table = |ty: &str, values: &str| parse::<Tensor>(&format!("tensor @t {{\n const @c : {ty} = {values}\n return }}"));
    assert!(table(ty, good).is_ok());
    let values = [
        ("[[0, 0, 0]]", "[[0, 0, 1]]", "row 0 names an operand, ciphertext or tap that does not exist"),
        ("[[0, 0, 0]]", "[[4096, 0, 0]]", "row 0 names an operand"),
        ("[[0, 0, 0]]", "[[0, 16777216, 0]]", "row 0 names an operand"),
        ("[[0, 0, 0]]", "[[0, 0, 0], [0, 0, 0]]", "row 1 is out of order"),
        ("[[0, 0, 0]]", "[[0, 0]]", "rows must have 3 entries, not 2"),
        ("[[0, 0, 0]]", "[[0, -1, 0]]", "-1 is out of range"),
        ("[[0, 0, 0, 2]]", "[[1, 0, 0, 2]]", "entry 0 names a row, output or mask that does not exist"),
        ("[[0, 0, 0, 2]]", "[[0, 1, 0, 2]]", "entry 0 names"),
        ("[[0, 0, 0, 2]]", "[[0, 0, 1, 2]]", "entry 0 names"),
        ("[[0, 0, 0, 2]]", "[[0, 0, 0, 2], [0, 0, 0, 2]]", "entry 1 is out of order"),
        ("[[0, 0, 0, 2]]", "[[0, 0, 0, 2], [0, 0, _, 2]]", "entry 1 is out of order"),
        ("[[0, 0, 0, 2]]", "[[0, 0, 0, 1e300]]", "the weight of entry 0 is not finite"),
        ("[[0, 0, 0, 2]]", "[[0, 0, x, 2]]", "must be lists [row, output, mask or _, weight]"),
        ("[[0, 0, 0, 2]]", "[]", "other sizes than declared"),
        ("taps=[1]", "taps=[1, 1]", "the tap 1 occurs twice"),
        ("taps=[1]", "taps=[1, 2]", "other sizes than declared"),
        ("taps=[1], ", "", "the table's taps is missing"),
        ("[\"10\"]", "[\"101\"]", "masks of 3 slots: a period is a power of two"),
        ("[\"10\"]", "[\"12\"]", "words of zeros and ones"),
        ("[\"10\"]", "[\"10\", \"1\"]", "of the same length"),
        (", masks=[\"10\"]", "", "entry 0 names"),
        ("masks", "marks", "no part `marks`"),
    ];
    for (from, to, message) in values {
        assert!(good.contains(from), "{from}");
        let e = table(ty, &good.replace(from, to)).unwrap_err();
        assert!(e.message.contains(message) && e.line == 2, "{from} → {to}: {e}");
    }
    for outputs in ["0", "65537"] {
        let e = table(&ty.replace("outputs=1", &format!("outputs={outputs}")), good).unwrap_err();
        assert!(e.message.contains("1 to 65536 are possible"), "{e}");
    }
}

#[test]
fn names_that_the_text_cannot_hold_are_replaced() {
    for name in ["", "torch jit (1)", "#1", "a{b", "tab\tnew\nline"] {
        let mut g = tensor::TensorGraph::new(name);
        g.push(tensor::TensorOp::Input {}, vec![], TensorType::new([1]), name);
        round_trip(g);
    }
}
