//! Pages of the documentation agree with the sources: what the compiler prints, its tables, the
//! example of a pass, the JSON.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the pages that are made from tables, and the IR of
//! the data path.

#[path = "docs/data_path.rs"]
mod data_path;
#[path = "docs/estimates.rs"]
mod estimates;
#[path = "docs/figures.rs"]
mod figures;
#[path = "docs/operators.rs"]
mod operators;

use std::path::Path;

#[test]
fn data_path_page_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/data-path.md")).unwrap();
    let (text, blocks) = data_path::rebuilt(root, &page);
    assert_eq!(blocks, 5, "tensor IR as read and as packed, packed IR, HE IR, program");
    fresh("data-path.md", &text);
}

/// The page under `docs/`, written anew if asked for.
fn fresh(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/{page} is not what the source says: UPDATE_DOCS=1 cargo test --test docs writes it");
}

/// Every set of parameters that the compiler may choose has been estimated, and the page says so.
#[test]
fn estimates_of_attacks_cover_all_parameters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = estimates::Estimates::read(root);
    assert_eq!(estimates::chosen().len(), 8 + 6);
    let faults = known.all_faults();
    assert!(faults.is_empty(), "docs/security-estimates does not show 128 bits of security:\n{}", faults.join("\n"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    fresh("security.md", &estimates::page(&page, &known));
    estimates::can_fail();
}

#[test]
fn tables_of_ops_are_fresh() {
    use chiffre_ir::graph::Op;
    use chiffre_ir::ops::markdown_table;
    let level = |title: &str, what: &str, table: &str| format!("\n## {title}\n\n{what}\n\n{table}");
    let text = "# Ops\n\nMade from the op tables of `ir` (`define_ops!`) by `tests/docs.rs`. [ir-language.md](ir-language.md) explains the text form.\n".to_string()
        + &level("Tensor IR", "Values are tensors of one image.", &markdown_table(chiffre_ir::tensor::TensorOp::TABLE))
        + &level("Quant IR", "Values are tensors of integers of one image.", &markdown_table(chiffre_ir::quant::QuantOp::TABLE))
        + &level("Packed IR", "Values are bundles of slot vectors under a layout.", &markdown_table(chiffre_ir::packed::PackedOp::TABLE))
        + &level("HE IR", "Values are bundles of ciphertexts.", &markdown_table(chiffre_ir::he::HeOp::TABLE))
        + &level("Program", "Instructions on whole batches.", &markdown_table(chiffre_ir::program::ProgramOp::TABLE));
    fresh("ops.md", &text);
}

#[test]
fn tables_of_passes_are_fresh() {
    use chiffre_passes::registry::{PASSES, markdown_table};
    let head = "# Passes\n\nMade from the pass table (`passes/src/registry.rs`) by `tests/docs.rs`; `chiffre passes` prints the same. The default pipeline:\n\n    ";
    fresh("passes.md", &format!("{head}{}\n\n{}", chiffre_passes::pipeline::DEFAULT, markdown_table(PASSES, &chiffre::pipeline::CKKS)));
}

/// Every Rust block and every case of the tutorials is part of a test that runs.
#[test]
fn the_tutorials_show_code_that_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    for (page, test, count) in
        [("docs/write-a-pass.md", "passes/tests/own_pass.rs", 2), ("docs/write-a-target.md", "passes/tests/own_target.rs", 1)]
    {
        let (text, code) = (read(page), read(test));
        let blocks: Vec<&str> = text.split("```rust\n").skip(1).filter_map(|b| b.split("```").next()).collect();
        assert_eq!(blocks.len(), count, "{page}");
        for b in blocks {
            assert!(code.contains(b), "{page} shows code that {test} does not have:\n{b}");
        }
    }
    let (page, case) = (read("docs/write-a-pass.md"), read("passes/tests/own_pass/then_folded.tir"));
    let indented: String = case.lines().map(|l| format!("    {l}\n")).collect();
    assert!(page.contains(&indented), "the case of the tutorial is not passes/tests/own_pass/then_folded.tir");
}

/// Figures of the README and of all pages are those of the records in `docs/bench-log`.
#[test]
fn figures_come_from_the_log() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let log = figures::Log::read(root);
    let pages = std::fs::read_dir(root.join("docs")).unwrap().flatten().map(|e| e.path());
    let mut faults = vec![];
    let mut total = 0;
    for path in pages.chain([root.join("README.md")]).filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let page = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (wrong, right) = log.check(&page);
        faults.extend(wrong.into_iter().map(|w| format!("{name}: {w}")));
        if ["README.md", "performance.md"].contains(&name.as_str()) {
            faults.extend(figures::unsourced(&page).into_iter().map(|f| format!("{name}: {f} links to no record")));
        }
        total += right;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{total} figures agree with their records");
    assert!(total > 100, "{total}");
}

/// The README's table of operators is what the conformance tests found.
#[test]
fn operators_are_those_of_the_conformance_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    fresh("../README.md", &operators::filled(&read("README.md"), &read("docs/onnx-support.md")));
}

/// The README's ten lines are the example that is compiled, and that the first documentation test
/// runs.
#[test]
fn the_readme_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let example = std::fs::read_to_string(root.join("examples/ten_lines.rs")).unwrap();
    let code = example.lines().skip_while(|l| l.starts_with("//!") || l.is_empty()).collect::<Vec<_>>().join("\n");
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).filter_map(|b| b.split("\n```").next()).collect();
    assert!(blocks.contains(&code.as_str()), "README.md does not show examples/ten_lines.rs");
}
