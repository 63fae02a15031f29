//! Imported graphs against the clear reference, on real networks and images where `../shared`
//! exists.

use chiffre_frontend::{ImportOptions, Model, Normalisation, Reference, load_with};
use chiffre_ir::tensor::interp;
use chiffre_testing::shared;
use std::path::Path;

/// The first `n` images of a CIFAR file with `labels` label bytes per image, or ramps where the
/// model is not for CIFAR.
fn images(data: &Path, model: &Model, n: usize) -> Vec<f32> {
    let plain = Normalisation::new(vec![0.0], vec![1.0]).unwrap();
    let norm = model.normalisation.as_ref().unwrap_or(&plain);
    let len: usize = model.input_shape.iter().product();
    let plane = len / model.input_shape[0];
    let classes = model.graph.ty(model.graph.outputs[0]).len();
    if len != 3072 {
        return (0..n * len).map(|i| norm.apply((i * 37 % 251) as u8, i / plane % model.input_shape[0])).collect();
    }
    let (file, labels) = if classes == 100 { ("cifar100_test_evalA1000.bin", 2) } else { ("cifar10_test_evalA1000.bin", 1) };
    let bytes = std::fs::read(data.join(file)).expect("the data file is readable");
    let pixels = bytes.chunks_exact(labels + 3072).take(n).flat_map(|r| r[labels..].iter().enumerate());
    pixels.map(|(i, &p)| norm.apply(p, i / 1024)).collect()
}

#[test]
fn imported_graphs_agree_with_the_reference() {
    let (Some(models), Some(data)) = (shared("models"), shared("data")) else { return };
    let mut models: Vec<_> = std::fs::read_dir(models).unwrap().map(|e| e.unwrap().path()).collect();
    models.sort();
    for path in models.iter().filter(|p| p.extension().is_some_and(|e| e == "onnx")) {
        let textline = path.ends_with("textline_orientation_mobilenetv3_ppocr.onnx");
        let options = ImportOptions { input_shape: textline.then(|| vec![3, 48, 192]), ..ImportOptions::default() };
        let model = load_with(path, &options).unwrap_or_else(|e| panic!("{e}"));
        let n = 8;
        let x = images(&data, &model, n);
        let t = std::time::Instant::now();
        let ours = interp(&model.graph, &x, n).unwrap().remove(0);
        let t_ours = t.elapsed();
        let theirs = Reference::load_with(path, &options).and_then(|r| r.run(&x, n)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(ours.len(), theirs.len());
        let scale = theirs.iter().fold(0f32, |a, x| a.max(x.abs()));
        let worst = ours.iter().zip(&theirs).fold(0f32, |a, (x, y)| a.max((x - y).abs())) / scale;
        println!("{:45} {:4} nodes, max difference {worst:.1e} of {scale:.1}, {t_ours:.1?}", model.graph.name, model.graph.nodes.len());
        assert!(worst <= 1e-3, "{}: {worst}", path.display());
    }
}
