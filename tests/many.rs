//! Many batches: which process has which, where their answers go, and what they take on many
//! workers.

use chiffre::batches::{Pair, Shard, State, pairs};
use chiffre::cluster::{Cluster, Plan, Unit, Wish, Worker};
use chiffre::{Class, Client, Images, Options, Server, compile};
use std::collections::BTreeMap;

#[test]
fn shards_take_every_batch_once() {
    for count in 1..6 {
        let mut taken: Vec<usize> = (0..count).flat_map(|i| Shard::new(i, count).unwrap().of(0..17)).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..17).collect::<Vec<_>>(), "{count}");
    }
    assert_eq!("3/16".parse::<Shard>().map(|s| s.to_string()), Ok("3/16".into()));
    assert_eq!("1/3".parse::<Shard>().unwrap().of(10..20).collect::<Vec<_>>(), [11, 14, 17]);
    for wrong in ["16/16", "3", "a/4", "-1/4", "0/0", "1/2/3", ""] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
}

#[test]
fn folders_and_lists_name_the_same_batches() {
    let tmp = tempfile::tempdir().unwrap();
    let (inputs, outputs) = (tmp.path().join("in"), tmp.path().join("out"));
    std::fs::create_dir(&inputs).unwrap();
    for name in ["b.ct", "a.ct", "a.ct.receipt", ".hidden.ct", "notes.txt", "c.ct.x1y2z3.partial"] {
        std::fs::write(inputs.join(name), "").unwrap();
    }
    let found = pairs(&inputs, &outputs).unwrap();
    assert_eq!(found.iter().map(Pair::name).collect::<Vec<_>>(), ["a.ct", "b.ct"]);
    assert_eq!(found[0].failed(), outputs.join("a.ct.failed"));
    let list = tmp.path().join("list.txt");
    std::fs::write(&list, "# all\nin/a.ct\n\n  in/b.ct\n").unwrap();
    assert_eq!(pairs(&list, &outputs).unwrap(), found);
    std::fs::write(&list, "in/a.ct\nelsewhere/a.ct\n").unwrap();
    for (inputs, outputs, message) in [
        (&list, &outputs, "have the same name"),
        (&inputs, &inputs, "another folder for answers"),
        (&tmp.path().join("nowhere"), &outputs, "cannot read"),
        (&inputs.join("notes.txt"), &outputs, "names no batches"),
    ] {
        let e = pairs(inputs, outputs).unwrap_err().to_string();
        assert!(e.contains(message), "{e}");
    }
}

const WORKER: Worker = Worker { key_bytes: 1e9, prepare_s: 6.0, bytes_per_s: 125e6, peak_bytes: 5e9 };
const UNIT: Unit = Unit { batch: 512, run_s: 122.5, batch_bytes: 264e6, answer_bytes: 8e6 };

fn cluster() -> Cluster {
    let run = [122.5, 62.0, 40.0, 22.0, 20.0];
    let unit = |(k, run_s): (usize, &f64)| {
        let part = 2f64.powi(k as i32);
        Unit { batch: 512 >> k, run_s: *run_s, batch_bytes: UNIT.batch_bytes / part, answer_bytes: UNIT.answer_bytes / part }
    };
    Cluster { worker: WORKER, units: run.iter().enumerate().map(unit).collect() }
}

#[test]
fn a_million_images() {
    let (plan, other) = cluster().plan(1_000_000, Wish::Workers(16)).unwrap();
    assert_eq!((plan.batches, other), (1954, None));
    // Fetching takes 2.2 s of each batch, and 123 rounds are 122.125 of them and a rest.
    assert!((plan.start_s - 14.0).abs() < 1e-9 && (plan.each_s - 124.676).abs() < 1e-9, "{plan:?}");
    assert!((plan.total_s - (14.0 + 123.0 * 124.676)).abs() < 1e-6 && (plan.tail_s - 0.875 * 124.676).abs() < 1e-6, "{plan:?}");
    assert!((plan.total_s - plan.start_s - plan.work_s - plan.tail_s).abs() < 1e-6);
    assert!((0.97..0.98).contains(&plan.efficiency) && (plan.batch_bytes - 1954.0 * 264e6).abs() < 1.0, "{plan:?}");
    // The least number of workers that is done within this time, and no fewer.
    let (again, _) = cluster().plan(1_000_000, Wish::Deadline(plan.total_s + 1.0)).unwrap();
    assert_eq!(again.workers, 16);
    assert!(Plan::new(1_000_000, UNIT, WORKER, 15).total_s > plan.total_s + 1.0);
}

#[test]
fn fewer_batches_than_workers() {
    // Eight workers and one full batch: seven would have nothing to do.
    let (plan, other) = cluster().plan(512, Wish::Workers(8)).unwrap();
    let other = other.unwrap();
    assert_eq!((plan.batches, other.unit.batch, other.batches), (1, 64, 8));
    assert!(other.total_s < 0.3 * plan.total_s && other.worker_s() < plan.worker_s());
    // A deadline that only smaller batches keep, and one that nothing does.
    let (plan, _) = cluster().plan(512, Wish::Deadline(60.0)).unwrap();
    assert_eq!((plan.unit.batch, plan.workers), (128, 4));
    assert!(cluster().plan(512, Wish::Deadline(20.0)).unwrap_err().to_string().contains("no number of workers"));
}

/// Ends of workers that take the next of the batches, one by one, whenever they are free.
fn taken_in_turn(start_s: f64, durations: &[f64], workers: usize) -> f64 {
    let mut free = vec![start_s; workers];
    for d in durations {
        let next = (0..workers).min_by(|&a, &b| free[a].total_cmp(&free[b])).unwrap();
        free[next] += d;
    }
    free.into_iter().fold(0.0, f64::max)
}

/// Ends of workers that take every so many-th batch.
fn dealt(start_s: f64, durations: &[f64], workers: usize) -> f64 {
    let end = |w: usize| start_s + durations.iter().skip(w).step_by(workers).sum::<f64>();
    (0..workers).map(end).fold(0.0, f64::max)
}

/// Durations of batches that ran, one after the other in one process, drawn again and again for
/// many workers: the plan, which knows their mean only, says when the last one ends.
#[test]
fn the_plan_is_what_recorded_durations_take() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bench-log/2026-12-01-batches.jsonl")).unwrap();
    let record: BTreeMap<String, serde_json::Value> = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let durations: Vec<f64> = record["durations_s"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(durations.len() >= 24, "{}", durations.len());
    let mean = durations.iter().sum::<f64>() / durations.len() as f64;
    let mut rng = chiffre_testing::Rng::new(1);
    let mut compared = 0;
    for workers in [1, 2, 4, 8, 16] {
        for rounds in [32, 64, 122] {
            let batches = workers * rounds - workers / 3;
            let drawn: Vec<f64> = (0..batches).map(|_| *rng.one_of(&durations)).collect();
            let unit = Unit { batch: 1, run_s: mean, batch_bytes: 0.0, answer_bytes: 0.0 };
            let worker = Worker { prepare_s: 0.1 * mean, key_bytes: 0.0, ..WORKER };
            let plan = Plan::new(batches, unit, worker, workers);
            for (how, took) in [("in turn", taken_in_turn(plan.start_s, &drawn, workers)), ("dealt", dealt(plan.start_s, &drawn, workers))]
            {
                let off = took / plan.total_s - 1.0;
                assert!(off.abs() < 0.05, "{workers} workers, {batches} batches {how}: {took:.2} s, planned {:.2} s", plan.total_s);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 30);
}

/// Sixteen workers with 24 batches each are busy for 97 % of the time, start included, if they take
/// the next batch whenever they are free, and end within 5 % of the plan: in the middle of a
/// hundred draws of recorded durations. Dealt out beforehand, 32 batches each are needed for the
/// same.
#[test]
fn sixteen_workers_are_busy() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bench-log/2026-12-01-batches.jsonl")).unwrap();
    let record: BTreeMap<String, serde_json::Value> = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let durations: Vec<f64> = record["durations_s"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let mean = durations.iter().sum::<f64>() / durations.len() as f64;
    let mut rng = chiffre_testing::Rng::new(2);
    type Way = fn(f64, &[f64], usize) -> f64;
    let ways: [(&str, usize, Way); 2] = [("in turn", 24, taken_in_turn), ("dealt", 32, dealt)];
    for (how, rounds, way) in ways {
        let (workers, start_s) = (16, 0.1 * mean);
        let batches = workers * rounds;
        let mut drawn = |_| {
            let drawn: Vec<f64> = (0..batches).map(|_| *rng.one_of(&durations)).collect();
            let took = way(start_s, &drawn, workers);
            (drawn.iter().sum::<f64>() / (workers as f64 * took), (took / (start_s + rounds as f64 * mean) - 1.0).abs())
        };
        let (mut busy, mut off): (Vec<f64>, Vec<f64>) = (0..100).map(&mut drawn).unzip();
        busy.sort_by(f64::total_cmp);
        off.sort_by(f64::total_cmp);
        assert!(busy[50] >= 0.97 && off[95] < 0.05, "{how}: {} of the time, {} off the plan", busy[50], off[95]);
    }
}

/// Runs of one batch in two places: the first answer stays, the same one again is fine, and another
/// one is an error.
#[test]
fn a_second_answer_is_the_same_or_an_error() {
    let models = chiffre_testing::repository().join("models");
    let options = Options { batch: 4, log_n: Some(11), allow_insecure: true, ..Options::default() };
    let program = compile(models.join("tiny_mlp.onnx"), &options).unwrap();
    let client = Client::new(&program).unwrap();
    let images = Images::load(models.join("tiny1_test.npz"), &program.data_options().unwrap().first(4)).unwrap();
    let server = Server::new(&program, client.evaluation_keys().unwrap()).unwrap();
    let tmp = tempfile::tempdir().unwrap();
    let made: Vec<_> = (0..2).map(|_| client.encrypt(&images).unwrap().0).collect();
    let pair = Pair { input: tmp.path().join("a.ct"), output: tmp.path().join("out.ct") };
    made[0].save(program.session(), &pair.input).unwrap();
    assert_eq!(pair.state().unwrap(), State::Missing);
    pair.set_aside("it failed").unwrap();
    assert_eq!(pair.state().unwrap(), State::Failed("it failed".into()));
    let [first, other] = [0, 1].map(|i| server.run(made[i].clone()).unwrap());
    for _ in 0..2 {
        pair.store(program.session(), &first).unwrap();
        assert_eq!(pair.state().unwrap(), State::Done);
    }
    let bytes = std::fs::read(&pair.output).unwrap();
    let error = pair.store(program.session(), &other).unwrap_err();
    assert!(error.class() == Class::Failed && error.to_string().contains("one of the machines is faulty"), "{error}");
    assert!(std::fs::read(&pair.output).unwrap() == bytes);
    // One that is not whole is made again; that of another batch is not touched.
    std::fs::write(&pair.output, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(pair.state().unwrap(), State::Damaged(_)));
    pair.store(program.session(), &first).unwrap();
    assert_eq!(pair.state().unwrap(), State::Done);
    other.save(program.session(), &pair.output).unwrap();
    assert!(matches!(pair.state().unwrap(), State::Foreign(_)));
}
