//! `chiffre plan-cluster`.

use crate::common::{fails, ok, shipped};
use crate::interrupted::PASSES;
use chiffre_cli::args::{Cli, Command, PlanClusterArgs};
use clap::Parser;
use serde_json::Value;

fn parsed(option: &str, value: &str) -> Option<PlanClusterArgs> {
    let more = if option == "--images" { ["--workers", "1"] } else { ["--images", "1"] };
    let all = [&["chiffre", "plan-cluster", "p.chf", option, value], &more[..]].concat();
    match Cli::try_parse_from(all).ok()?.command {
        Command::PlanCluster(args) => Some(args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn times_and_counts_are_read_with_units() {
    for (text, seconds) in [("90min", 5400.0), ("1.5h", 5400.0), ("2 d", 172_800.0), ("12", 12.0), ("0.5s", 0.5)] {
        assert_eq!(parsed("--deadline", text).and_then(|a| a.deadline), Some(seconds), "{text}");
    }
    for wrong in ["", "h", "-1h", "0", "1e999", "4 weeks", "nan"] {
        assert!(parsed("--deadline", wrong).is_none(), "{wrong}");
    }
    assert_eq!(parsed("--images", "1e6").map(|a| a.images.get()), Some(1_000_000));
    for wrong in ["0", "1.5", "-3", "1e30", "many"] {
        assert!(parsed("--images", wrong).is_none(), "{wrong}");
    }
}

#[test]
fn a_plan_says_time_and_bytes_and_the_better_batch() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, model, data) = (tmp.path(), shipped("tiny_resnet.onnx"), shipped("tiny3_test.npz"));
    // In units of 8 images, so that half of a batch takes half of the time.
    let compile = ["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "128", "--log-n", "11", "--passes", PASSES];
    ok(dir, &[&compile[..], &["--allow-insecure"]].concat());
    ok(dir, &["keygen", "p.chf", "--secret", "s.key", "--eval", "e.key", "--allow-insecure"]);
    ok(dir, &["encrypt", "p.chf", "--secret", "s.key", "--input", data.to_str().unwrap(), "-o", "in.ct", "--allow-insecure"]);
    ok(dir, &["run", "p.chf", "--eval", "e.key", "--input", "in.ct", "-o", "out.ct", "--allow-insecure"]);
    let plan = |more: &[&str]| -> Value {
        serde_json::from_str(&ok(dir, &[&["plan-cluster", "p.chf", "--images", "1e6", "--json"], more].concat())).unwrap()
    };
    let all = plan(&["--workers", "16", "--run", "2min", "--prepare", "6s", "--bandwidth", "1MiB"]);
    let of = |v: &Value, path: &str| v.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {v}"));
    let (unit, worker, plan_) = (&all["plan"]["unit"], &all["worker"], &all["plan"]);
    assert_eq!((of(unit, "/batch"), of(unit, "/run_s"), of(plan_, "/batches"), of(worker, "/prepare_s")), (128.0, 120.0, 7813.0, 6.0));
    // Bytes are those of the files, but for their headers.
    for (file, bytes) in [("in.ct", of(unit, "/batch_bytes")), ("out.ct", of(unit, "/answer_bytes")), ("e.key", of(worker, "/key_bytes"))] {
        let size = std::fs::metadata(dir.join(file)).unwrap().len() as f64;
        assert!(size >= bytes && size < bytes + 10_000.0 + 0.01 * bytes, "{file}: {size}, planned {bytes}");
    }
    let each = 120.0 + (of(unit, "/batch_bytes") + of(unit, "/answer_bytes")) / 1048576.0;
    assert!((of(plan_, "/total_s") - (of(plan_, "/start_s") + 489.0 * each)).abs() < 1e-6, "{all}");
    // For people; with less work than workers, a batch that all of them have a part of.
    let shown = ok(dir, &["plan-cluster", "p.chf", "--images", "300", "--workers", "100", "--run", "4h"]);
    for part in ["300 in 3 batches of 128", "97 workers have no batch", "encrypt --count ", "measured", "4.00 h"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // A deadline: the workers that keep it, and one that nobody can.
    let four = plan(&["--deadline", "4h", "--run", "2min", "--prepare", "6s"]);
    assert!(of(&four, "/plan/total_s") <= 4.0 * 3600.0 && of(&four, "/plan/workers") >= 65.0, "{four}");
    let soon = ["plan-cluster", "p.chf", "--images", "1e6", "--deadline", "1s", "--prepare", "6s"];
    assert!(fails(dir, 2, &soon).contains("no number of workers"));
    assert!(fails(dir, 2, &["plan-cluster", "p.chf", "--images", "1e6"]).contains("--workers"));
}
