//! The library as someone embeds it: two sides, files between them, and errors by class. A tiny
//! ring (insecure, marked) keeps it to seconds.

use chiffre::{Answers, Class, Client, Images, Options, Program, ResultBatch, Server};
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
    let (encrypted, receipt) = client.encrypt(&images).unwrap();

    let server = Server::load(&program, file("eval.key")).unwrap();
    let result = server.run(encrypted).unwrap();
    result.save(program.session(), &file("out.ct")).unwrap();

    let client = Client::load(&program, file("secret.key")).unwrap();
    let answers = client.decrypt(&ResultBatch::load(program.session(), &file("out.ct")).unwrap(), &receipt).unwrap();
    let clear = chiffre_frontend::Reference::load(&shipped("tiny_mlp.onnx")).unwrap().run(&images.pixels, images.n).unwrap();
    assert_eq!((answers.rows().count(), answers.logits.len()), (5, clear.len()));
    let worst = answers.logits.iter().zip(&clear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.02, "{worst}");
    let best: Vec<_> = clear.chunks(answers.classes).map(chiffre::logits::argmax).collect();
    assert_eq!(answers.best(), best);

    // Another client's images are refused before anything is computed, and so is another program's
    // image.
    let other = Client::new(&program).unwrap();
    assert_eq!(server.run(other.encrypt(&images).unwrap().0).unwrap_err().class(), Class::Mismatch);
    assert_eq!(other.decrypt_unbound(&result).unwrap_err().class(), Class::Mismatch);
    let wide = Images::new(vec![0.0; 3 * 8 * 8], [3, 8, 8]).unwrap();
    assert_eq!(other.encrypt(&wide).unwrap_err().class(), Class::Input);
}

/// What a server answers to images.
fn answers(client: &Client, server: &Server, images: &Images) -> Answers {
    let (batch, receipt) = client.encrypt(images).unwrap();
    client.decrypt(&server.run(batch).unwrap(), &receipt).unwrap()
}

/// In memory, too, a result answers one batch; and canaries have answers of their own, which are
/// compared and left out.
#[test]
fn results_are_bound_to_their_batches() {
    let program = chiffre::compile(shipped("tiny_mlp.onnx"), &options()).unwrap();
    let client = Client::new(&program).unwrap();
    let server = Server::new(&program, client.evaluation_keys().unwrap()).unwrap();
    let images = Images::load(shipped("tiny1_test.npz"), &program.data_options().unwrap().first(5)).unwrap();
    let (first, first_receipt) = client.encrypt(&images).unwrap();
    let (second, second_receipt) = client.encrypt(&images).unwrap();
    let (first, second) = (server.run(first).unwrap(), server.run(second).unwrap());
    let answers = client.decrypt(&first, &first_receipt).unwrap();
    assert!(answers.names.iter().enumerate().all(|(i, n)| *n == format!("tiny1_test.npz[{i}]")));
    let refused = |result: &ResultBatch, message: &str| {
        let e = client.decrypt(result, &second_receipt).unwrap_err();
        assert!(matches!(e.class(), Class::Mismatch | Class::Input) && e.to_string().contains(message), "{e}");
    };
    refused(&first, "another batch");
    // Who copies the nonce and the digest is not found out; who cuts answers off is.
    let copied = ResultBatch { nonce: second.nonce, input: second.input.clone(), ..first.clone() };
    assert!(client.decrypt(&copied, &second_receipt).is_ok());
    refused(&ResultBatch { images: 4, ..second.clone() }, "truncated: 4 answers");
    refused(&ResultBatch { nonce: None, ..second.clone() }, "does not say which batch");
    refused(&ResultBatch { input: None, ..second.clone() }, "changed one");
    refused(&ResultBatch { cts: vec![], ..second.clone() }, "does not have 1 units");
    for polynomial in 0..2 {
        let mut transparent = second.clone();
        transparent.cts[0][0].polys[polynomial].iter_mut().for_each(|row| row.fill(0));
        refused(&transparent, "transparent");
        assert_eq!(client.decrypt_unbound(&transparent).unwrap_err().class(), Class::Input);
    }

    // With canaries, copying does not help.
    let (hidden, receipt) = client.encrypt_with_canaries(&images).unwrap();
    assert_eq!((hidden.images, receipt.canaries(), receipt.names().len()), (6, 1, 5));
    let result = server.run(hidden).unwrap();
    let with = client.decrypt(&result, &receipt).unwrap();
    assert!(with.report.affected().is_empty() && with.best() == answers.best(), "{:?}", with.report);
    let bound = receipt.bound().unwrap();
    println!("bound {bound}");
    assert!(with.logits.iter().zip(&answers.logits).all(|(a, b)| f64::from((a - b).abs()) < 2.0 * bound));
    assert_eq!(with.labels(bound), answers.best());
    assert!(with.labels(1e3).iter().all(Option::is_none));
    let (other, other_receipt) = client.encrypt_with_canaries(&images).unwrap();
    let other = server.run(other).unwrap();
    let copied = ResultBatch { nonce: result.nonce, input: result.input.clone(), ..other };
    let replayed = client.decrypt(&copied, &receipt).unwrap();
    assert!(replayed.report.refused.len() == 1 && replayed.best().iter().all(Option::is_none), "{:?}", replayed.report);
    assert!(client.decrypt(&result, &other_receipt).is_err());
    // Every unit has a place less.
    let all = Images::load(shipped("tiny1_test.npz"), &program.data_options().unwrap().first(8)).unwrap();
    let e = client.encrypt_with_canaries(&all).unwrap_err();
    assert!(e.class() == Class::Input && e.to_string().contains("takes at most 7 images"), "{e}");
}

/// What is made with a program in memory fits its file, and the other way round.
#[test]
fn a_program_in_memory_is_the_one_in_its_file() {
    for model in ["tiny_mlp.onnx", "tiny_cnn.onnx"] {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let compiled = chiffre::compile(shipped(model), &options()).unwrap();
        compiled.save(file("p.chf")).unwrap();
        let loaded = Program::load_insecure(file("p.chf")).unwrap();
        assert_eq!(compiled.session().file.digest, loaded.session().file.digest);
        loaded.save(file("again.chf")).unwrap();
        assert!(std::fs::read(file("p.chf")).unwrap() == std::fs::read(file("again.chf")).unwrap());

        // Compiled, encrypted, run and decrypted without a file, then with the files of that.
        let images = Images::load(shipped("tiny1_test.npz"), &compiled.data_options().unwrap().first(3)).unwrap();
        let client = Client::new(&compiled).unwrap();
        let server = Server::new(&compiled, client.evaluation_keys().unwrap()).unwrap();
        let first = answers(&client, &server, &images);
        client.save(file("secret.key")).unwrap();
        let kept = client.save(file("secret.key")).expect_err("a secret key is not overwritten");
        assert!(kept.to_string().contains("secret.key"), "{kept}");
        server.save_prepared(file("server.chf")).unwrap();
        let (client, server) =
            (Client::load(&loaded, file("secret.key")).unwrap(), Server::load_prepared(&loaded, file("server.chf")).unwrap());
        let again = answers(&client, &server, &images);
        assert_eq!(first.best(), again.best());
    }
    // Another program has another digest, also where only an earlier level differs.
    let a = chiffre::compile(shipped("tiny_mlp.onnx"), &options()).unwrap();
    let b = chiffre::compile(shipped("tiny_mlp.onnx"), &Options { batch: 7, ..options() }).unwrap();
    assert_ne!(a.session().file.digest, b.session().file.digest);
    let stages = std::collections::BTreeMap::from([("tensor".to_string(), "other".to_string())]);
    let p = a.session().program().clone();
    assert_ne!(chiffre_ir::program::file::ProgramFile::in_memory(p, stages).unwrap().digest, a.session().file.digest);
}

/// A run whose callback asks for a stop has no result, and says that it was stopped.
#[test]
fn a_run_that_is_stopped_is_cancelled() {
    let program = chiffre::compile(shipped("tiny_mlp.onnx"), &options()).unwrap();
    let client = Client::new(&program).unwrap();
    let images = Images::load(shipped("tiny1_test.npz"), &program.data_options().unwrap().first(3)).unwrap();
    let server = Server::new(&program, client.evaluation_keys().unwrap()).unwrap();
    let start = || server.start(client.encrypt(&images).unwrap().0).unwrap();
    let mut run = start();
    assert!(run.drive(|_| std::ops::ControlFlow::Break(())).unwrap().is_break());
    let e = chiffre::Error::from(run.finish().unwrap_err());
    assert!(e.class() == Class::Cancelled && e.to_string().starts_with("the run was stopped, with "), "{e}");
    let mut run = start();
    run.step().unwrap();
    assert_eq!(chiffre::Error::from(run.finish().unwrap_err()).class(), Class::Failed, "nobody has stopped it");
    // A run that was stopped and goes on has an end like any other.
    let mut run = start();
    assert!(run.drive(|_| std::ops::ControlFlow::Break(())).unwrap().is_break());
    assert!(run.drive(|_| std::ops::ControlFlow::Continue(())).unwrap().is_continue());
    assert!(run.finish().is_ok());
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
    assert_eq!(e.setting(), Some(chiffre::Setting::Calibration));
    let e = chiffre::compile(shipped("tiny_mlp.onnx"), &Options { memory: Some(1 << 10), ..options() }).unwrap_err();
    assert!(e.class() == Class::Budget && e.advice().is_some_and(|a| a.contains("or a smaller batch")), "{e}");
    assert_eq!(e.setting(), Some(chiffre::Setting::Memory));
    let e = chiffre::compile("none.onnx", &options()).unwrap_err();
    assert_eq!((e.class(), e.file()), (Class::Io, Some(Path::new("none.onnx"))));
    let e = Program::load(shipped("tiny_mlp.onnx")).unwrap_err();
    assert_eq!((e.class(), e.file()), (Class::Damaged, Some(shipped("tiny_mlp.onnx").as_path())));
}

/// A file computes the outputs that its network is said to have, or the error says that the export
/// is wrong, and where.
#[test]
fn an_export_is_compared_with_its_network() {
    use chiffre::data::Array;
    use chiffre::export::{Example, compare};
    let path = shipped("tiny_mlp.onnx");
    let (model, reference) = (chiffre_frontend::load(&path).unwrap(), chiffre_frontend::Reference::load(&path).unwrap());
    let program = chiffre::compile(&path, &options()).unwrap();
    let looks = program.data_options().unwrap();
    let images = Images::load(shipped("tiny1_test.npz"), &looks.clone().first(5)).unwrap();
    let clear = reference.run(&images.pixels, images.n).unwrap();
    let bytes = |v: &[f32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let pixels = bytes(&images.pixels);
    let compared = |outputs: &[f32], classes: usize| {
        let shape = [5, classes as u64];
        let outputs = bytes(outputs);
        let [x, y] = [("inputs", &[5, 1, 8, 8][..], &pixels), ("outputs", &shape[..], &outputs)].map(|(name, shape, bytes)| Array {
            name,
            descr: "<f4",
            shape,
            bytes,
        });
        let inputs = Images::from_arrays(&x, None, &looks).unwrap();
        compare(&model, &reference, "net.onnx", &Example::from_arrays(inputs, &[y], &model).unwrap())
    };
    assert_eq!(compared(&clear, 4).unwrap(), 0.0);
    let mut other = clear.clone();
    other[6] += 0.5;
    let e = compared(&other, 4).unwrap_err();
    assert_eq!(e.class(), Class::Input);
    let text = e.to_string();
    assert!(text.starts_with("net.onnx does not compute what the reference says: output 2 of image 1 is"), "{text}");
    assert!(text.contains("The export is wrong, not the encryption") && e.advice().is_some(), "{text}");
    other[6] = f32::NAN;
    assert!(compared(&other, 4).is_err());
    assert!(compared(&clear[..5], 1).unwrap_err().to_string().contains("1 outputs for each image, where net.onnx computes 4"));
}

/// A program says what it computes in the clear, and what is left to do behind decryption.
#[test]
fn a_program_runs_in_the_clear() {
    let program = chiffre::compile(shipped("tiny_mlp.onnx"), &options()).unwrap();
    let images = Images::load(shipped("tiny1_test.npz"), &program.data_options().unwrap().first(5)).unwrap();
    let (exact, none) = program.simulate(&images, None).unwrap();
    let (noisy, found) = program.simulate(&images, Some(1)).unwrap();
    assert!(none.is_none() && found.is_some() && exact.len() == 20);
    let off = exact.iter().zip(&noisy).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off > 0.0 && off < 0.05, "{off}");
    let [output] = &program.outputs(&exact, 4).unwrap()[..] else { panic!("one output") };
    assert_eq!((&output.name, &output.values, &output.shape[..]), (&program.interface().outputs[0].name, &exact, &[4][..]));
    assert_eq!(program.outputs(&exact, 5).unwrap_err().class(), Class::Input);
    let wide = Images::new(vec![0.0; 3 * 8 * 8], [3, 8, 8]).unwrap();
    assert_eq!(program.simulate(&wide, None).unwrap_err().class(), Class::Input);
}
