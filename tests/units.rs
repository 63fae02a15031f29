//! Batches that fill a program's units in part: what no image needs is not computed, and what a
//! merge lacks changes no answer.

use chiffre::data::{DataOptions, load};
use chiffre::pipeline::{Request, compile};
use chiffre_client::ClientKey;
use chiffre_ir::program::file::ProgramFile;
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_runtime::Session;
use chiffre_runtime::server::Server;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

#[test]
fn units_without_images_are_not_computed() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let model = chiffre_frontend::load(&models.join("tiny_resnet.onnx")).unwrap();
    for tile in [1, 32] {
        let packing = PackingWish { phases: Some([0, 0]), fill: Some(0), tile: Some(tile), ..PackingWish::default() };
        let options = CompileOptions { batch: 200, log_n: Some(9), packing, allow_insecure: true, ..CompileOptions::default() };
        let program = compile(&model, &Request { options, ..Request::default() }).unwrap();
        let session = Arc::new(Session::new(ProgramFile::in_memory(program.program, program.stages).unwrap(), true).unwrap());
        let p = session.program();
        let [first, last] = [&p.nodes[0], p.node(p.outputs[0])].map(|n| n.ty.layout.unit_batch());
        assert_eq!([first, last], [8, 32], "strides merge four units into one");
        let client = ClientKey::generate(&session).unwrap();
        let keys = client.evaluation_keys(&session).unwrap().prepare(&session);
        let server = Server::new(session.clone(), keys, 1 << 20).unwrap();
        let whole = p.steps(200).len();
        // Three of the four units of a merge; one image; full units; nine units, of which the last
        // merge has one.
        for images in [20, 1, 32, 70] {
            let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse().unwrap());
            let options = DataOptions { shape: [3, 8, 8], normalisation, count: Some(images) };
            let pixels = load(&models.join("tiny3_test.npz"), &options).unwrap().pixels;
            let (batch, receipt) = client.encrypt(&session, &pixels, images).unwrap();
            let mut done = vec![];
            let mut run = server.start(batch).unwrap();
            while let Some(e) = run.step().unwrap() {
                done.push((e.instruction, e.units.clone(), e.steps));
            }
            let result = run.finish().unwrap().result;
            let steps = p.steps(images).len();
            assert!(
                done.len() == steps && done.iter().all(|d| d.2 == steps) && steps < whole,
                "{images} images: {} of {whole}",
                done.len()
            );
            let units: BTreeSet<usize> = done.iter().filter(|d| d.0 == 0).flat_map(|d| d.1.clone()).collect();
            assert_eq!(units, (0..images.div_ceil(first)).collect());
            assert_eq!(result.cts.len(), images.div_ceil(last));
            let answers = client.decrypt(&session, &result, &receipt).unwrap();
            assert!(answers.report.affected().is_empty(), "{images} images: {:?}", answers.report);
            let clear = chiffre_frontend::Reference::load(&models.join("tiny_resnet.onnx")).unwrap().run(&pixels, images).unwrap();
            let error = answers.logits.iter().zip(&clear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(answers.logits.len() == clear.len() && error < 0.02, "{images} images: {error}");
        }
    }
}
