//! The tools that look into the compiler and into a run, as a user calls them, on a shipped tiny
//! network.

use crate::common::{chiffre, fails, ok, root, shipped};
use serde_json::Value;

const REST: &str = "tensor(fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// `--explain` names the ONNX node, both expressions, and each rule with its reason; results are
/// the same with and without.
#[test]
fn explain_prints_rules_with_reasons() {
    let tmp = tempfile::tempdir().unwrap();
    let case = root().join("passes/tests/filetests/minimise-products/cubic_sigmoid.tir");
    let run = ["opt", case.to_str().unwrap(), "--passes=tensor(recognise-activation,minimise-products)"];
    let out = chiffre(tmp.path(), &[&run[..], &["--explain"]].concat());
    let explained = String::from_utf8(out.stderr).unwrap();
    for part in
        ["\"sigmoid3/Add_1\"", "was  poly3(conv1)", "now  conv1·(", "by   split-cubic: p(x) = ", "because two products in two levels"]
    {
        assert!(explained.contains(part), "`{part}` is not in\n{explained}");
    }
    assert_eq!(String::from_utf8(out.stdout).unwrap(), ok(tmp.path(), &run));
    let model = shipped("tiny_cnn.onnx");
    let to = tmp.path().join("p.chf");
    let tiny = ["compile", model.to_str().unwrap(), "-o", to.to_str().unwrap(), "--log-n", "11", "--allow-insecure", "--explain"];
    let out = chiffre(tmp.path(), &tiny);
    assert!(String::from_utf8(out.stderr).unwrap().contains("minimise-products: nothing to gain"));
}

/// From a model through every level, each step on what the one before has written.
#[test]
fn levels_are_files_that_compute_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model) = (tmp.path(), shipped("tiny_cnn.onnx"));
    let model = model.to_str().unwrap();
    let first = ["opt", model, "--passes=tensor(recognise-activation,fold-affine,compose-linear)", "--verify-each", "-o", "a.tir"];
    ok(dir, &first);
    let insecure = ["--log-n", "11", "--batch", "8", "--allow-insecure"];
    let rest = format!("--passes={REST}");
    ok(dir, &[&["opt", "a.tir", &rest, "--verify-each", "-o", "b.prog"], &insecure[..]].concat());
    let steps = [
        ("a.tir", "fold-scales", "c.tir"),
        ("c.tir", "choose-layout,lower-linear", "c.pir"),
        ("c.pir", "he(assign-levels,place-relin)", "c.hir"),
    ];
    for (from, passes, to) in steps {
        let passes = format!("--passes={passes}");
        ok(
            dir,
            &[&["opt", from, &passes, "--verify-each", "-o", to][..], if from.ends_with("tir") { &insecure[..] } else { &insecure[5..] }]
                .concat(),
        );
    }
    let answers = |file: &str| -> Vec<f32> {
        let text = ok(dir, &["interp", file, "--noise", "2"]);
        text.split_whitespace().filter_map(|w| w.parse().ok()).collect()
    };
    let clear = answers(model);
    assert_eq!(clear.len(), 2 * 4);
    for file in ["a.tir", "b.prog", "c.tir", "c.pir", "c.hir"] {
        let got = answers(file);
        assert!(got.len() == clear.len() && got.iter().zip(&clear).all(|(a, b)| (a - b).abs() < 1e-2), "{file}: {got:?} {clear:?}");
    }
    // Constants that are not beside the text are found where the user says, and missed with a word
    // where to look.
    std::fs::rename(dir.join("c.hir.consts"), dir.join("elsewhere.consts")).unwrap();
    assert!(fails(dir, 2, &["interp", "c.hir", "--noise", "1"]).contains("--consts FILE"));
    ok(dir, &["interp", "c.hir", "--noise", "1", "--consts", "elsewhere.consts"]);
    let dumps = [
        "compile",
        model,
        "-o",
        "p.chf",
        "--batch",
        "8",
        "--log-n",
        "11",
        "--allow-insecure",
        "--dump-ir",
        "after:lower-linear",
        "--dump-to",
        "dumps",
    ];
    ok(dir, &dumps);
    ok(dir, &["interp", "dumps/00-after-lower-linear.pir", "--noise", "1"]);
}

#[test]
fn opt_shows_what_passes_do_and_points_at_errors() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path();
    let text = "tensor @t {\n  const @s : f32[1] = [2]\n  %0 = input : f32[2x4x4] ; \"x\"\n  %1 = affine %0 {scale=@s, shift=@s} : f32[2x4x4] ; \"a\"\n  return %1\n}\n";
    std::fs::write(dir.join("t.tir"), text).unwrap();
    let out = chiffre(
        dir,
        &[
            "opt",
            "t.tir",
            "--passes=fold-affine",
            "--dump-ir",
            "all",
            "--dump-ir",
            "before:fold-affine",
            "--print-stats",
            "--time-passes",
            "--values",
            "4",
        ],
    );
    let stderr = String::from_utf8(out.stderr).unwrap();
    for part in ["# before all passes", "# before fold-affine", "# after fold-affine", "(start) ", "1 affine, 1 input", " ms\n"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(String::from_utf8(out.stdout).unwrap().contains("const @s : f32[1] = [2]"));
    std::fs::write(dir.join("bad.tir"), text.replace("shift=", "shfit=")).unwrap();
    let e = fails(dir, 2, &["opt", "bad.tir", "--passes=fold-affine"]);
    assert!(
        e.contains("bad.tir: line 4, column 29: `affine` has no attribute `shfit`; did you mean `shift`?\n") && e.ends_with("^\n"),
        "{e}"
    );
    std::fs::write(dir.join("bad.tir"), text.replace("f32[2x4x4] ; \"a\"", "f32[2x4x5] ; \"a\"")).unwrap();
    let e = fails(dir, 2, &["interp", "bad.tir", "--noise", "1"]);
    assert!(e.contains("line 4, column 3: node \"a\": affine: declared f32[2x4x5]"), "{e}");
    assert!(fails(dir, 2, &["passes", "fold-afine"]).contains("did you mean `fold-affine`?"));
    // A refusal can be reduced as well.
    let relu = "tensor @t {\n  %0 = input : f32[4x8x8] ; \"x\"\n  %1 = square %0 : f32[4x8x8] ; \"s\"\n  %2 = activation %1 {kind=relu} : f32[4x8x8] ; \"r\"\n  return %2\n}\n";
    std::fs::write(dir.join("relu.tir"), relu).unwrap();
    let small = ok(dir, &["reduce", "relu.tir", "--passes=compose-linear,fold-scales,choose-layout,lower-linear", "--test", "refused"]);
    assert!(
        small.starts_with("# run: compose-linear")
            && small.contains("kind=relu")
            && !small.contains("square")
            && small.contains("f32[1x1x1]"),
        "{small}"
    );
    assert!(fails(dir, 2, &["reduce", "t.tir", "--passes=fold-affine"]).contains("nothing to reduce"));
}

/// Compiles a small program; its folder.
fn program() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    let model = shipped("tiny_cnn.onnx");
    ok(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "8", "--log-n", "11", "--allow-insecure"]);
    tmp
}

#[test]
fn a_run_is_traced_profiled_and_probed() {
    let tmp = program();
    let (dir, data) = (tmp.path(), shipped("tiny1_test.npz"));
    let data = data.to_str().unwrap();
    ok(dir, &["keygen", "p.chf", "--secret", "secret.key", "--eval", "eval.key", "--allow-insecure"]);
    ok(dir, &["encrypt", "p.chf", "--secret", "secret.key", "--input", data, "--count", "8", "-o", "in.ct", "--allow-insecure"]);
    let run = [
        "run",
        "p.chf",
        "--eval",
        "eval.key",
        "--input",
        "in.ct",
        "-o",
        "out.ct",
        "--allow-insecure",
        "--progress",
        "none",
        "--profile",
        "--trace",
        "t.json",
    ];
    let table = ok(dir, &run);
    for part in ["kind of operation", "ONNX node", "conv2 (linear)", "predicted", "ratio", "all "] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|e| e["ph"] == phase).collect::<Vec<_>>();
    let bars = of("X");
    assert!(
        bars.len() >= 6 && bars.iter().all(|e| e["ts"].is_number() && e["dur"].as_f64().unwrap() >= 0.0 && e["args"]["limbs"].is_number())
    );
    assert!(bars.iter().any(|e| e["name"] == "conv2" && e["cat"] == "linear"));
    assert!(of("C").iter().any(|e| e["args"]["bytes"].as_u64().unwrap() > 0) && !of("M").is_empty());
    // The data owner sees where precision goes.
    let table = ok(dir, &["debug", "p.chf", data, "--secret", "secret.key", "--allow-insecure"]);
    assert!(table.starts_with("8 images, decrypted after every instruction") && table.contains("least precision:"), "{table}");
    let rows: Value =
        serde_json::from_str(&ok(dir, &["debug", "p.chf", data, "--secret", "secret.key", "--allow-insecure", "--json", "--count", "3"]))
            .unwrap();
    for r in rows.as_array().unwrap() {
        let number = |k: &str| r[k].as_f64().unwrap();
        assert!(number("precision_bits") > 4.0 && number("headroom_bits") > 2.0 && number("max_error") < 0.1, "{r}");
    }
    assert!(rows.as_array().unwrap().iter().any(|r| r["node"] == "conv2"));
    assert_eq!(
        chiffre(dir, &["debug", "p.chf", data, "--secret", "eval.key", "--allow-insecure"]).status.code(),
        Some(2),
        "not a secret key"
    );
}

#[test]
fn interp_normalises_pixels_as_the_model_says() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model, data) = (tmp.path(), shipped("tiny_cnn.onnx"), shipped("tiny1_test.npz"));
    let (model, data) = (model.to_str().unwrap(), data.to_str().unwrap());
    ok(dir, &["opt", model, "--passes=recognise-activation", "-o", "net.tir"]);
    let said = ok(dir, &["interp", model, "--input", data, "--count", "1"]);
    let given = ["interp", "net.tir", "--input", data, "--count", "1", "--mean", "0.5", "--std", "0.25"];
    let numbers = |text: &str| text.split_whitespace().filter_map(|w| w.parse().ok()).collect::<Vec<f32>>();
    let (said, given) = (numbers(&said), numbers(&ok(dir, &given)));
    assert!(said.len() == 4 && said.iter().zip(&given).all(|(a, b)| (a - b).abs() < 1e-4), "{said:?} {given:?}");
    assert!(fails(dir, 2, &["interp", "net.tir", "--input", data]).contains("(--mean, --std)"), "a text does not say");
}

#[test]
fn inspect_writes_a_page() {
    let tmp = program();
    ok(tmp.path(), &["inspect", "p.chf", "--html", "p.html"]);
    let page = std::fs::read_to_string(tmp.path().join("p.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("conv2") && page.ends_with("</html>\n"));
    assert!(fails(tmp.path(), 2, &["inspect", "p.chf", "--html", "no/such/folder/p.html"]).contains("no/such/folder/p.html"));
}

#[test]
fn the_schema_describes_the_json() {
    let tmp = program();
    let json: Value = serde_json::from_str(&ok(tmp.path(), &["inspect", "p.chf", "--json"])).unwrap();
    let schema = std::fs::read_to_string(root().join("docs/inspect-schema.md")).unwrap();
    fn keys(v: &Value, out: &mut std::collections::BTreeSet<String>) {
        match v {
            Value::Object(o) => o.iter().for_each(|(k, v)| {
                out.insert(k.clone());
                keys(v, out);
            }),
            Value::Array(a) => a.iter().for_each(|v| keys(v, out)),
            _ => {}
        }
    }
    let mut all = std::collections::BTreeSet::new();
    keys(&json, &mut all);
    assert!(all.len() > 50);
    for k in all {
        assert!(schema.contains(&format!("`{k}`")), "docs/inspect-schema.md does not name `{k}`");
    }
    let top = schema.lines().filter(|l| l.starts_with("| `")).flat_map(|l| l.split('|').nth(1).unwrap().split(','));
    for field in top.map(|f| f.trim().trim_matches('`')) {
        assert!(json.get(field).is_some(), "docs/inspect-schema.md names `{field}`, which is not there");
    }
    assert!(ok(tmp.path(), &["inspect", "p.chf", "--dot"]).starts_with("digraph"));
    assert!(ok(tmp.path(), &["inspect", "p.chf", "--stage", "he", "--json"]).contains("\"level\":\"he\""));
}
