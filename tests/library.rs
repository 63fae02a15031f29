//! The library as someone embeds it: two sides, files between them, and errors by class. A tiny
//! ring (insecure, marked) keeps it to seconds.

use chiffre::{Class, Client, Images, Options, Program, ResultBatch, Server};
use std::path::Path;

fn shipped(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(file)
}

fn options() -> Options {
    Options { batch: 8, log_n: Some(11), allow_insecure: true, ..Options::default() }
}

#[test]
fn both_sides_work_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let compiled = chiffre::compile(shipped("tiny_mlp.onnx"), &options()).unwrap();
    compiled.save(file("p.chf")).unwrap();
    assert_eq!(Program::load(file("p.chf")).unwrap_err().class(), Class::Security);
    let program = Program::load_insecure(file("p.chf")).unwrap();
    assert!(program.page().starts_with("<!DOCTYPE html>"));

    let client = Client::new(&program).unwrap();
    client.save(file("secret.key")).unwrap();
    client.evaluation_keys().unwrap().save(program.session(), &file("eval.key")).unwrap();
    let images = Images::load(shipped("tiny1_test.npz"), &program.data_options().unwrap().first(5)).unwrap();
    let encrypted = client.encrypt(&images).unwrap();

    let server = Server::load(&program, file("eval.key")).unwrap();
    let result = server.run(encrypted).unwrap();
    result.save(program.session(), &file("out.ct")).unwrap();

    let client = Client::load(&program, file("secret.key")).unwrap();
    let answers = client.decrypt(&ResultBatch::load(program.session(), &file("out.ct")).unwrap()).unwrap();
    let clear = chiffre_frontend::Reference::load(&shipped("tiny_mlp.onnx")).unwrap().run(&images.pixels, images.n).unwrap();
    assert_eq!((answers.rows().count(), answers.logits.len()), (5, clear.len()));
    let worst = answers.logits.iter().zip(&clear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.02, "{worst}");
    let best: Vec<_> = clear.chunks(answers.classes).map(chiffre::logits::argmax).collect();
    assert_eq!(answers.best(), best);

    // Another client's images are refused before anything is computed, and so is another program's
    // image.
    let other = Client::new(&program).unwrap();
    assert_eq!(server.run(other.encrypt(&images).unwrap()).unwrap_err().class(), Class::Mismatch);
    assert_eq!(other.decrypt(&result).unwrap_err().class(), Class::Mismatch);
    let wide = Images::new(vec![0.0; 3 * 8 * 8], [3, 8, 8]).unwrap();
    assert_eq!(other.encrypt(&wide).unwrap_err().class(), Class::Input);
}

#[test]
fn images_in_memory_are_checked() {
    let images = Images::new(vec![0.5; 2 * 12], [3, 2, 2]).unwrap();
    assert_eq!((images.n, images.image(1).len(), images.names.len()), (2, 12, 2));
    for (values, shape) in [(vec![0.0; 13], [3, 2, 2]), (vec![], [3, 2, 2]), (vec![0.0], [0, 1, 1]), (vec![f32::NAN], [1, 1, 1])] {
        assert_eq!(Images::new(values, shape).unwrap_err().class(), Class::Input);
    }
}

#[test]
fn errors_name_node_file_and_what_to_do() {
    let model = shipped("tiny_resnet_relu.onnx");
    let e = chiffre::compile(&model, &options()).unwrap_err();
    assert_eq!(e.class(), Class::Input, "{e}");
    assert!(e.node().is_some_and(|n| e.to_string().contains(n)), "{e}");
    let e = chiffre::compile(shipped("tiny_mlp.onnx"), &Options { memory: Some(1 << 10), ..options() }).unwrap_err();
    assert!(e.class() == Class::Budget && e.advice().is_some_and(|a| a.contains("--memory")), "{e}");
    let e = chiffre::compile("none.onnx", &options()).unwrap_err();
    assert_eq!((e.class(), e.file()), (Class::Io, Some(Path::new("none.onnx"))));
    let e = Program::load(shipped("tiny_mlp.onnx")).unwrap_err();
    assert_eq!((e.class(), e.file()), (Class::Damaged, Some(shipped("tiny_mlp.onnx").as_path())));
}
