//! Golden summaries of whole networks: sixteen lines that change only on purpose.

use chiffre::overview::Overview;
use chiffre::pipeline::{Request, compile};
use chiffre_passes::options::CompileOptions;
use std::path::Path;

fn summary(model: &str, batch: usize) -> String {
    let model = chiffre_frontend::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(model)).unwrap();
    let request = Request {
        options: CompileOptions { batch, ..CompileOptions::default() },
        normalisation: Some("as in the model".into()),
        ..Request::default()
    };
    Overview::of_program(&compile(&model, &request).unwrap().program).summary()
}

#[test]
fn resnet20_summary() {
    insta::assert_snapshot!(summary("resnet20_shapes.onnx", 64));
}

#[test]
fn resnet20_summary_512() {
    insta::assert_snapshot!(summary("resnet20_shapes.onnx", 512));
}
