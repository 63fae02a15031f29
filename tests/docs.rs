//! The data-path page shows what the compiler really prints.

use chiffre::pipeline::{Request, compile};
use chiffre_passes::options::CompileOptions;
use std::path::Path;

#[test]
fn data_path_page_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = chiffre_frontend::load(&root.join("models/tiny_cnn.onnx")).unwrap();
    let page = std::fs::read_to_string(root.join("docs/data-path.md")).unwrap();
    let passes = page.split("--passes '").nth(1).and_then(|p| p.split('\'').next()).expect("the page says how it was made");
    assert!(page.contains("compile models/tiny_cnn.onnx -o tiny.chf --batch 128 "));
    let options = CompileOptions { batch: 128, ..CompileOptions::default() };
    let compiled = compile(&model, &Request { options, passes: Some(passes.into()), ..Request::default() }).unwrap();
    let mut real = chiffre_ir::text::print(&compiled.program);
    compiled.stages.values().for_each(|s| real += s);
    // Types and ONNX names of all quoted instructions; attributes are shortened on the page.
    let quoted: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("    ") && l.contains(" ; \""))
        .filter_map(|l| l.rsplit_once(" : ").or(l.split_once(": ")).map(|(_, t)| t))
        .collect();
    assert!(quoted.len() >= 6, "the page quotes instructions of all levels");
    for t in quoted {
        assert!(real.contains(t), "docs/data-path.md quotes `{t}`, which the compiler does not print");
    }
}
