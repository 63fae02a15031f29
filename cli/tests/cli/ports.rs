//! Several inputs and outputs, by name, from the files of the data owner and back to them.

use crate::common::{fails, ok, refused};
use crate::onnx::{Onnx, int, noise};
use chiffre::logits::write_logits;
use chiffre::outputs::{self, Output};
use std::path::Path;

/// A table and a vector in; a softmax, the square of one input and a picture of both out.
fn model() -> Vec<u8> {
    Onnx::new(17, &[0, 3])
        .input("t", 1, &[0, 4])
        .weights("w", &[7, 5])
        .weights("v", &[4, 2])
        .node("Concat", "x t", "c", &[int("axis", 1)])
        .node("MatMul", "c w", "l", &[])
        .node("Softmax", "l", "y", &[])
        .node("Mul", "t t", "s", &[])
        .node("MatMul", "s v", "z", &[])
        .node("ArgMax", "l", "best", &[int("axis", 1), int("keepdims", 0)])
        .outputs("y z best")
}

fn array(name: &str, values: &[f32], per: usize) -> Output {
    Output { name: name.into(), values: values.to_vec(), shape: vec![per] }
}

/// What the outputs must be.
fn clear(dir: &Path, x: &[f32], t: &[f32]) -> Vec<Vec<f32>> {
    let model = chiffre_frontend::load(&dir.join("m.onnx")).unwrap();
    let joined: Vec<f32> = x.chunks(3).zip(t.chunks(4)).flat_map(|(a, b)| [a, b].concat()).collect();
    let row = chiffre_frontend::Reference::load(&dir.join("m.onnx")).unwrap().run(&joined, 5).unwrap();
    let all = outputs::of(&model.interface(), &row, row.len() / 5);
    all.into_iter().map(|o| o.values).collect()
}

#[test]
fn inputs_and_outputs_go_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("m.onnx"), model()).unwrap();
    let (x, t) = (noise(15, 1), noise(20, 2));
    write_logits(&dir.join("x.npy"), &x, 3).unwrap();
    outputs::write(&dir.join("all.npz"), &[array("t", &t, 4), array("x", &x, 3)], &[]).unwrap();
    let row = |r: &[f32]| r.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    std::fs::write(dir.join("t.csv"), format!("a,b,c,\"d, e\"\n{}\n", t.chunks(4).map(row).collect::<Vec<_>>().join("\n"))).unwrap();

    let text = ok(dir, &["compile", "m.onnx", "-o", "p.chf", "--batch", "8", "--log-n", "10", "--allow-insecure"]);
    for line in
        ["input        \"x\", 3 for", "input        \"t\", 4 for", "output       \"y\", 5 for", "output       \"best\", one value for"]
    {
        assert!(text.contains(line), "{text}");
        assert!(ok(dir, &["inspect", "p.chf"]).contains(line));
    }
    ok(dir, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e.key", "--allow-insecure"]);
    let want = clear(dir, &x, &t);
    for inputs in [&["--input", "t=t.csv", "--input", "x=x.npy"][..], &["--input", "all.npz"]] {
        let head = ["encrypt", "p.chf", "--secret", "s.key", "-o", "in.ct", "--allow-insecure"];
        ok(dir, &[&head[..], inputs].concat());
        ok(dir, &["run", "p.chf", "--eval", "e.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"]);
        let decrypt = ["decrypt", "p.chf", "--secret", "s.key", "--input", "out.ct", "--allow-insecure", "--receipt", "in.ct.receipt"];
        let top = ok(dir, &[&decrypt[..], &["-o", "out.npz", "--top", "1"]].concat());
        let like = [array("y", &[], 5), array("z", &[], 2), Output { name: "best".into(), values: vec![], shape: vec![] }];
        let got = outputs::load(&dir.join("out.npz"), &like).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got.values.len(), want.len(), "{}", got.name);
            assert!(got.values.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-3), "{got:?} {want:?}");
        }
        assert!(got[0].values.chunks(5).all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        // Classes are shown with their probabilities.
        let shown: f32 = top.lines().next().unwrap().split(['(', ')']).nth(1).unwrap().parse().unwrap();
        assert!((shown - want[0][..5].iter().copied().fold(0.0, f32::max)).abs() < 2e-3, "{top}");
        refused(dir, &[&decrypt[..], &["-o", "out.npy"]].concat(), "the outputs y, z, best need a file whose name ends in .npz");
        let sim = ok(dir, &[&["simulate", "p.chf", "--answers", "out.npz", "--model", "m.onnx"][..], inputs].concat());
        assert!(sim.contains("output \"y\": argmax as simulated on 100.00 %") && sim.contains("output \"z\": argmax"), "{sim}");
    }
    let bench =
        ["bench", "m.onnx", "--batch", "8", "--log-n", "10", "--allow-insecure", "--data", "x=x.npy", "--data", "t=t.csv", "--json"];
    let report = ok(dir, &bench);
    assert!(report.contains("\"agreement\":1.0"), "{report}");
    ok(dir, &["interp", "m.onnx", "--input", "all.npz", "-o", "clear.npy"]);
    let y = chiffre::data::load_logits(&dir.join("clear.0.npy"), 5).unwrap();
    assert!(y.iter().zip(&want[0]).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn only_what_is_asked_for_is_computed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("m.onnx"), model()).unwrap();
    let compile = ["compile", "m.onnx", "-o", "p.chf", "--batch", "8", "--log-n", "10", "--allow-insecure"];
    let all = ok(dir, &compile);
    let text = ok(dir, &[&compile[..], &["--select-output", "y"]].concat());
    assert!(all.contains("1 products") && text.contains("0 products") && !text.contains("output       \"z\""), "{text}");
    let error = fails(dir, 2, &[&compile[..], &["--select-output", "q"]].concat());
    assert!(error.contains("it has no output \"q\"; its outputs are y, z, best"), "{error}");

    // One output again: a plain file, and labels may be asked for.
    write_logits(&dir.join("x.npy"), &noise(15, 1), 3).unwrap();
    write_logits(&dir.join("t.npy"), &noise(20, 2), 4).unwrap();
    ok(dir, &["simulate", "p.chf", "--input", "x=x.npy", "--input", "t=t.npy", "-o", "y.npy"]);
    let y = chiffre::data::load_logits(&dir.join("y.npy"), 5).unwrap();
    let want = clear(dir, &noise(15, 1), &noise(20, 2));
    assert!(y.len() == 25 && y.iter().zip(&want[0]).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn data_that_are_not_those_of_the_inputs_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    std::fs::write(dir.join("m.onnx"), model()).unwrap();
    ok(dir, &["compile", "m.onnx", "-o", "p.chf", "--batch", "8", "--log-n", "10", "--allow-insecure"]);
    write_logits(&dir.join("x.npy"), &noise(15, 1), 3).unwrap();
    write_logits(&dir.join("t.npy"), &noise(20, 2), 4).unwrap();
    write_logits(&dir.join("short.npy"), &noise(16, 2), 4).unwrap();
    outputs::write(&dir.join("half.npz"), &[array("x", &noise(15, 1), 3)], &[]).unwrap();
    let with = |files: &[&str], message: &str| {
        let inputs = files.iter().flat_map(|f| ["--input", f]);
        refused(dir, &["simulate", "p.chf"].into_iter().chain(inputs).collect::<Vec<_>>(), message);
    };
    with(&["x.npy"], "no data for the input \"x\": the model has 2 inputs (x, t); give NAME=FILE for each");
    with(&["x=x.npy"], "no data for the input \"t\"");
    with(&["x=x.npy", "t=t.npy", "x=x.npy"], "the input \"x\" 2 times");
    with(&["x=x.npy", "t=t.npy", "t.npy"], "t.npy is for none of the inputs");
    with(&["x=x.npy", "t=short.npy"], "short.npy: 4 images, where x.npy has 5");
    with(&["x=t.npy", "t=t.npy"], "t.npy: has shape 5x4");
    with(&["half.npz"], "it has the arrays [x]; name the images `t`");
    with(&["x=missing.npy", "t=t.npy"], "missing.npy: cannot be read");
}

#[test]
fn tables_are_refused_by_line_and_column() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let onnx = Onnx::new(17, &[0, 3]).weights("w", &[3, 2]).node("MatMul", "x w", "y", &[]);
    std::fs::write(dir.join("m.onnx"), onnx.bytes()).unwrap();
    let table = |text: &str| std::fs::write(dir.join("t.csv"), text).unwrap();
    let interp = ["interp", "m.onnx", "--input", "t.csv", "-o", "y.npy"];
    for (text, message) in [
        ("a,b,c\n1,2,3\n4,five,6\n", "line 3, column 2 (\"b\"): \"five\" is no number"),
        ("a,b,c\n1,2,3\n\n4,5,inf\n", "line 4, column 3 (\"c\"): \"inf\" is no finite number"),
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 fields, where the first line has 3"),
        ("a,b\n1,2\n", "it has 2 columns, and the model takes 3 values"),
        ("1,2,3\n4,5,6\n", "its first line holds numbers"),
        ("a,b,c,label\n1,2,3,cat\n", "line 2, column 4 (\"label\"): \"cat\" is no class"),
        ("a,b,c,d\n1,2,3,4\n", "it has 4 columns"),
        ("a,b,c\n", "holds no images"),
        ("", "it has 0 columns"),
    ] {
        table(text);
        refused(dir, &interp, message);
    }
    std::fs::write(dir.join("t.csv"), b"a,b,c\n1,2,\xff\n").unwrap();
    refused(dir, &interp, "line 2");
    table("a, b ,c,Label\n1, 2,3,1\n-4,5e-1,6,0\n");
    ok(dir, &interp);
    write_logits(&dir.join("same.npy"), &[1.0, 2.0, 3.0, -4.0, 0.5, 6.0], 3).unwrap();
    ok(dir, &["interp", "m.onnx", "--input", "same.npy", "-o", "z.npy"]);
    assert_eq!(std::fs::read(dir.join("y.npy")).unwrap(), std::fs::read(dir.join("z.npy")).unwrap());
    // Labels, a count, and a table as calibration and as data of a run.
    let bench = ["bench", "m.onnx", "--data", "t.csv", "--count", "1", "--batch", "2", "--log-n", "10", "--allow-insecure", "--json"];
    assert!(ok(dir, &bench).contains("\"top1\":"));
    refused(dir, &[&interp[..], &["--count", "3"]].concat(), "has 2 images, and 3 are asked for");
}
