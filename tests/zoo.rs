//! The networks of `../shared/zoo`, as exporters write them, against the answers that lie beside
//! them: each is imported and gives these answers, or is refused for the reason that is listed.

use chiffre_frontend::{Model, Reference, load};
use chiffre_ir::tensor::interp;
use chiffre_testing::shared;
use std::io::Read;
use std::path::{Path, PathBuf};

#[path = "zoo/encrypted.rs"]
mod encrypted;

/// Files that are refused, and a phrase of the reason.
const REFUSED: &[(&str, &str)] = &[];

/// Files whose stored answers are no answers of the model: its exporter's runtime refused it.
const UNANSWERED: &[&str] = &["double", "nobatch"];

/// An array of an archive.
struct Stored {
    name: String,
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// All arrays, as single-precision numbers.
fn arrays(path: &Path) -> Vec<Stored> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<String> = zip.file_names().map(str::to_string).collect();
    names
        .into_iter()
        .map(|name| {
            let mut bytes = vec![];
            zip.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
            let (shape, data) = array(&bytes);
            Stored { name: name.trim_end_matches(".npy").into(), shape, data }
        })
        .collect()
}

fn array(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    let at = if bytes[6] == 1 { 10 } else { 12 };
    let len = if bytes[6] == 1 {
        u16::from_le_bytes([bytes[8], bytes[9]]) as usize
    } else {
        u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize
    };
    let header = std::str::from_utf8(&bytes[at..at + len]).unwrap();
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let data = &bytes[at + len..];
    let half = |h: u16| {
        let (sign, e, f) = (if h >> 15 == 1 { -1.0 } else { 1.0 }, i32::from(h >> 10 & 31), f32::from(h & 1023));
        sign * if e == 0 { f * 2f32.powi(-24) } else { (1.0 + f / 1024.0) * 2f32.powi(e - 15) }
    };
    let kind = header.split_once("'descr': '").unwrap().1.split_once('\'').unwrap().0;
    let data = match kind {
        "<f4" => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        "<f8" => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
        "<f2" => data.chunks_exact(2).map(|b| half(u16::from_le_bytes(b.try_into().unwrap()))).collect(),
        "<i8" => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
        other => panic!("elements of type {other}"),
    };
    (shape, data)
}

/// N×H×W×C as N×C×H×W, where the file takes the former.
fn images(model: &Model, x: &Stored) -> Vec<f32> {
    let s = &model.input_shape;
    if x.shape.len() != 4 || x.shape[1..] == s[..] {
        return x.data.clone();
    }
    let (h, w, c) = (x.shape[1], x.shape[2], x.shape[3]);
    assert_eq!([c, h, w], s[..]);
    let at = |i: usize| (i / (c * h * w) * h * w + i % (h * w)) * c + i / (h * w) % c;
    (0..x.data.len()).map(|i| x.data[at(i)]).collect()
}

/// Several inputs, in the order of the file, as the graph takes them.
fn together(model: &Model, inputs: &[&Stored]) -> Vec<f32> {
    let part = |(x, port): (&&Stored, &chiffre::InputPort)| chiffre::Images::new(x.data.clone(), port.shape).unwrap();
    chiffre::data::joined(inputs.iter().zip(&model.inputs).map(part).collect(), &model.inputs).unwrap().pixels
}

/// Compares the first output, its tail applied, with what is stored.
fn compare(model: &Model, path: &Path, stored: &[Stored]) -> String {
    let inputs: Vec<&Stored> = stored.iter().filter(|a| a.name != "out").collect();
    let (x, n) = match &inputs[..] {
        [one] => (images(model, one), one.shape[0]),
        several => (together(model, several), several[0].shape[0]),
    };
    let ours = interp(&model.graph, &x, n).unwrap().remove(0);
    let unanswered = UNANSWERED.iter().any(|f| path.file_stem().is_some_and(|s| s == *f));
    let (ours, want) = if unanswered {
        (ours, Reference::load(path).unwrap().run(&x, n).unwrap())
    } else {
        let tail = &model.outputs[0].tail;
        let per = ours.len() / n;
        let ours = ours.chunks(per).flat_map(|image| tail.iter().fold(image.to_vec(), |v, op| op.apply(&v))).collect();
        (ours, stored.iter().find(|a| a.name == "out").unwrap().data.clone())
    };
    assert_eq!(ours.len(), want.len(), "{}", path.display());
    let range = want.iter().fold(0f32, |m, y| m.max(y.abs())).max(1e-6);
    let worst = ours.iter().zip(&want).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / range;
    // Half precision is computed in single here.
    let bound = if path.ends_with("half_io.onnx") { 1e-2 } else { 1e-3 };
    assert!(worst <= bound, "{}: {worst}", path.display());
    format!("{} ops, difference {worst:.0e}", model.graph.nodes.len())
}

/// The model files with their names, in order.
fn files(zoo: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = std::fs::read_dir(zoo).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    files.into_iter().map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), p)).collect()
}

#[test]
fn every_file_gives_its_answers_or_is_refused_for_a_reason() {
    let Some(zoo) = shared("zoo") else { return };
    let files = files(&zoo);
    let mut wrong = vec![];
    let mut imported = 0;
    for (name, path) in &files {
        let answers = path.with_extension("npz");
        let line = match (load(path), REFUSED.iter().find(|(f, _)| f == name)) {
            (Ok(model), None) => {
                imported += 1;
                if answers.exists() { compare(&model, path, &arrays(&answers)) } else { format!("{} ops", model.graph.nodes.len()) }
            }
            (Ok(_), Some(_)) => {
                wrong.push(format!("{name} is imported now"));
                "imported".into()
            }
            (Err(e), expected) => {
                if !expected.is_some_and(|(_, why)| e.to_string().contains(why)) {
                    wrong.push(e.to_string());
                }
                format!("refused: {e}")
            }
        };
        println!("{name:28} {line}");
    }
    println!("{imported} of {} are imported", files.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
