//! The networks that ship with the project import and agree with the clear reference.

mod common;

#[test]
fn shipped_models_import() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        // Networks of quadratic activations diverge on strong noise.
        let model = common::check_within(&std::fs::read(&path).unwrap(), 0.25);
        assert!(model.normalisation.is_some(), "{} has no normalisation", path.display());
        println!("{}: {}", path.display(), common::ops(&model));
    }
}
