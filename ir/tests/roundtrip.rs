//! The text form: `parse(print(g)) == g` for random graphs of every level, and no text makes the parser panic.

mod common;

use chiffre_ir::graph::{Dialect, Graph, Type};
use chiffre_ir::he::{He, HeType, Scale};
use chiffre_ir::layout::Layout;
use chiffre_ir::packed::Packed;
use chiffre_ir::program::Prog;
use chiffre_ir::tensor::{Tensor, TensorType};
use chiffre_ir::text::{parse, print};
use chiffre_ir::{he, packed, program, tensor};
use common::Rng;
use proptest::prelude::*;

fn round_trip<D: Dialect>(g: Graph<D>) {
    let text = print(&g);
    let again: Graph<D> = parse(&text).unwrap_or_else(|e| panic!("{}\n{text}", e.with_caret(&text)));
    assert_eq!(again, g, "{text}");
    assert_eq!(print(&again), text);
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
    one::<Packed, _, _>(text, packed::verify);
    one::<He, _, _>(text, he::verify);
    one::<Prog, _, _>(text, program::verify);
}

/// Deletes, repeats, replaces or inserts a few pieces of a text.
fn mutate(text: &str, r: &mut Rng) -> String {
    const PIECES: [&str; 30] = [
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
        for text in [print(&r.tensor()), print(&r.packed()), print(&r.he()), print(&r.program())] {
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
fn names_that_the_text_cannot_hold_are_replaced() {
    for name in ["", "torch jit (1)", "#1", "a{b", "tab\tnew\nline"] {
        let mut g = tensor::TensorGraph::new(name);
        g.push(tensor::TensorOp::Input {}, vec![], TensorType::new([1]), name);
        round_trip(g);
    }
}
