//! Small good files of every kind.

use crate::{Kind, Life, life, program, tfhe};
use chiffre_runtime::hex;
use chiffre_testing::{Sealed, repository};
use image::{ImageFormat, RgbImage};
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Good files of a kind. The same in every process.
pub fn seeds(kind: Kind) -> Vec<Vec<u8>> {
    match kind {
        Kind::Model => ["tiny_cnn", "tiny_mlp", "tiny_resnet", "tiny_resnet_relu"].map(model).to_vec(),
        Kind::Text => texts(),
        Kind::Npy => arrays(),
        Kind::Npz => archives(),
        Kind::Picture => vec![picture(ImageFormat::Png), picture(ImageFormat::Jpeg)],
        Kind::Cifar => vec![[&[3][..], &[77; 3072]].concat(), [&[3, 70][..], &[77; 3072]].concat()],
        Kind::Program => life::networks().iter().map(|network| program::bytes(&life::compiled(network))).collect(),
        Kind::SecretKey => vec![of_life(|l, out| l.client.write(&l.session, out, "memory"))],
        Kind::EvaluationKeys => vec![of_life(|l, out| l.keys.write(&l.session, out, "memory"))],
        Kind::Batch => vec![of_life(|l, out| l.batch.write(&l.session, out, "memory"))],
        Kind::Result => vec![of_life(|l, out| l.result.write(&l.session, out, "memory"))],
        Kind::Receipt => receipts(),
        Kind::Journal => Life::get().journal.values().map(|file| file.to_bytes().expect("bytes")).collect(),
        Kind::TfheProgram => vec![tfhe::program()],
        Kind::TfheEvaluationKeys => vec![tfhe::keys()],
        Kind::TfheBatch => vec![tfhe::batch()],
        Kind::TfheResult => vec![tfhe::result()],
        Kind::Prepared => vec![of_life(|l, out| l.server.write(out, "memory"))],
    }
}

fn of_life<E: std::fmt::Debug>(write: impl FnOnce(&Life, &mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut out = vec![];
    write(Life::get(), &mut out).expect("bytes");
    out
}

fn model(name: &str) -> Vec<u8> {
    std::fs::read(repository().join(format!("models/{name}.onnx"))).expect("a shipped model")
}

/// The network and the program of the life on all levels, and the files of the passes' tests.
fn texts() -> Vec<Vec<u8>> {
    let mut out = vec![];
    for network in life::networks() {
        let file = life::compiled(&network);
        let levels = file.stages.iter().filter(|(name, _)| ["tensor", "packed", "he"].contains(&name.as_str()));
        out.extend(levels.map(|(_, text)| text.clone().into_bytes()));
        out.push(network.text.into_bytes());
        out.push(chiffre_ir::text::print(&*file.program).into_bytes());
    }
    let folders = std::fs::read_dir(repository().join("passes/tests/filetests")).expect("a folder").flatten();
    let mut files: Vec<_> = folders.flat_map(|d| std::fs::read_dir(d.path()).into_iter().flatten().flatten()).map(|f| f.path()).collect();
    files.sort();
    out.extend(files.iter().filter(|f| f.extension().is_some_and(|e| e != "snap")).map(|f| std::fs::read(f).expect("a file")));
    out
}

/// An array of NumPy.
fn array(descr: &str, fortran: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\0".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), elements].concat()
}

fn arrays() -> Vec<Vec<u8>> {
    let floats: Vec<u8> = (0..12).flat_map(|i| (i as f32 / 8.0).to_le_bytes()).collect();
    let doubles: Vec<u8> = (0..8).flat_map(|i| (f64::from(i) / 8.0).to_be_bytes()).collect();
    vec![
        array("<f4", "False", "3, 1, 2, 2", &floats),
        array("<f4", "True", "3, 2, 2, 1", &floats),
        array(">f8", "False", "2, 2, 2", &doubles),
        array("|u1", "False", "2, 2", &[0, 100, 200, 255]),
        array("<f4", "False", "4, 3", &floats),
    ]
}

fn archives() -> Vec<Vec<u8>> {
    let labels = array("<i8", "False", "3,", &[[1u8, 0, 0, 0, 0, 0, 0, 0]; 3].concat());
    let all = arrays();
    let zipped = |members: &[(&str, &[u8])]| {
        let mut out = ZipWriter::new(Cursor::new(vec![]));
        for (name, bytes) in members {
            out.start_file(*name, SimpleFileOptions::default()).expect("a member");
            out.write_all(bytes).expect("bytes");
        }
        out.finish().expect("an archive").into_inner()
    };
    vec![zipped(&[("images.npy", &all[0]), ("labels.npy", &labels)]), zipped(&[("a.npy", &all[3])])]
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(vec![]);
    let picture = RgbImage::from_fn(5, 4, |x, y| image::Rgb([(40 * x) as u8, (60 * y) as u8, 90]));
    picture.write_to(&mut out, format).expect("a picture");
    out.into_inner()
}

/// A receipt without canaries and one with them. Their random parts are replaced, so that they are
/// the same in every process.
fn receipts() -> Vec<Vec<u8>> {
    let l = Life::get();
    let s = &l.session;
    let image = |i: usize| (0..4).map(move |p| (i + p) as f32 / 16.0);
    let images = |n: usize| (0..n).flat_map(image).collect::<Vec<f32>>();
    let plain = l.client.encrypt(s, &images(life::IMAGES), life::IMAGES).expect("a batch").1;
    // As many in all as the result of the life has answers.
    let with_canaries = |n: usize| l.client.encrypt_with_canaries(s, &images(n), n).expect("a batch with canaries").1;
    let canaries = (1..life::IMAGES).rev().map(with_canaries).find(|r| r.names().len() + r.canaries() == life::IMAGES);
    let canaries = canaries.expect("as many");
    let fixed = |receipt: chiffre::Receipt| {
        let mut out = vec![];
        receipt.write(s, &mut out, "memory").expect("bytes");
        let mut sealed = Sealed::parse(&out).expect("a container");
        sealed.metadata.insert("nonce".into(), hex(&l.batch.nonce.unwrap_or_default()));
        sealed.metadata.insert("input".into(), l.batch.digest.clone());
        if let Some(bound) = sealed.metadata.get_mut("canary.bound") {
            *bound = "0.5".into();
        }
        sealed.tensors.values_mut().for_each(|t| t.bytes.fill(0));
        sealed.to_bytes().expect("bytes")
    };
    vec![fixed(plain), fixed(canaries)]
}
