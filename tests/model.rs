//! The cost model and the memory model against runs in this process. One run at a time: both look
//! at the whole process.

#[path = "../passes/tests/common/mod.rs"]
mod common;

use chiffre::machine::measure_by;
use chiffre::memory::{human_bytes, peak_rss_bytes};
use chiffre::pipeline::{Compiled, Request, bootstraps, compile, compile_graph, memory_plan, predicted_seconds};
use chiffre_client::ClientKey;
use chiffre_ir::program::file::{self, ProgramFile};
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType};
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_runtime::server::Server;
use chiffre_runtime::{Batch, Engine, ServerKeys, Session};
use common::{Net, Rng, residual_net, with_series};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Held by the test whose run is looked at.
static ALONE: Mutex<()> = Mutex::new(());

/// An engine of so many threads.
fn engine(threads: usize) -> Arc<Engine> {
    Arc::new(Engine::builder().threads(NonZeroUsize::new(threads).unwrap()).build().unwrap())
}

fn insecure(batch: usize, log_n: u32) -> CompileOptions {
    CompileOptions { batch, log_n: Some(log_n), allow_insecure: true, ..CompileOptions::default() }
}

/// Linear maps and squares on units that strides merge, of which two pass an instruction together.
fn quadratic(batch: usize, log_n: u32, tile: usize) -> Compiled {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let model = chiffre_frontend::load(&models.join("tiny_resnet.onnx")).unwrap();
    let packing = PackingWish { phases: Some([0, 0]), fill: Some(0), tile: Some(tile), ..PackingWish::default() };
    compile(&model, &Request { options: CompileOptions { packing, ..insecure(batch, log_n) }, ..Request::default() }).unwrap()
}

/// A network whose activations are series behind bootstraps, on units that strides merge.
fn bootstrapped(batch: usize, log_n: u32) -> Compiled {
    let g = with_series(residual_net(1), 1, 7, |_| true);
    let packing = PackingWish { phases: Some([0, 0]), channels: Some(0), ..PackingWish::default() };
    let options = CompileOptions { packing, ..insecure(batch, log_n) };
    compile_graph(&g, "test", &Request { options, ..Request::default() }).unwrap()
}

/// A fully connected layer behind a convolution, on one image: as many weights as slots, which are
/// kept apart from ciphertexts.
fn dense(log_n: u32) -> Compiled {
    let mut n = Net { g: TensorGraph::new("dense"), rng: Rng(1) };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, 32, 32]), "x");
    let c = n.conv(x, 8, 3, 1, "conv");
    let y = n.poly(c, "act");
    let flat = n.g.push(TensorOp::Flatten {}, vec![y], TensorType::new([8 * 32 * 32]), "flat");
    let weight = n.rng.array(&[10, 8 * 32 * 32], 0.01);
    let weight = n.g.consts.add("fc", weight);
    let y = n.g.push(TensorOp::Linear { weight, bias: None }, vec![flat], TensorType::new([10]), "fc");
    n.g.outputs.push(y);
    compile_graph(&n.g, "test", &Request { options: insecure(1, log_n), ..Request::default() }).unwrap()
}

/// The files of a program, keys and a full batch.
fn files(folder: &Path, compiled: Compiled, engine: Arc<Engine>) {
    let session = Session::on(engine, ProgramFile::in_memory(compiled.program, compiled.stages).unwrap(), true).unwrap();
    file::save(&folder.join("p.chf"), session.program(), &session.file.stages).unwrap();
    let client = ClientKey::generate(&session).unwrap();
    client.evaluation_keys(&session).unwrap().save(&session, &folder.join("eval.key")).unwrap();
    let n = session.program().header.batch;
    let mut rng = Rng(7);
    let pixels: Vec<f32> = (0..n * session.input_layout().unwrap().shape.iter().product::<usize>()).map(|_| rng.next()).collect();
    client.encrypt(&session, &pixels, n).unwrap().0.save(&session, &folder.join("in.ct")).unwrap();
}

/// A server from these files, with the memory that a run needs, and the batch.
fn server(folder: &Path, engine: Arc<Engine>) -> (Server, Arc<Batch>) {
    let session = Arc::new(Session::on(engine, file::load(&folder.join("p.chf")).unwrap(), true).unwrap());
    let batch = Arc::new(Batch::load(&session, &folder.join("in.ct")).unwrap());
    let buffers = memory_plan(session.program(), batch.images).working;
    let keys = ServerKeys::load(&session, &folder.join("eval.key")).unwrap();
    (Server::new(session, keys, buffers).unwrap(), batch)
}

/// Resident bytes now, from which the peak is counted anew; `None` where the system cannot.
fn forget_peak() -> Option<u64> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    peak_rss_bytes()
}

#[test]
fn predicted_memory_bounds_that_of_runs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if forget_peak().is_none() {
        return chiffre_testing::skip("the system does not let a process reset the peak of its memory");
    }
    for (name, compiled) in [("quadratic", quadratic(512, 13, 32)), ("bootstrapped", bootstrapped(128, 12)), ("dense", dense(13))] {
        let p = &compiled.program;
        let input = &p.nodes[0].ty.layout;
        let m = memory_plan(p, 1);
        let units = input.units_for(p.header.batch);
        assert!(if name == "dense" { m.weights > m.working / 4 } else { units > 1 }, "{name}: {units} units, {m:?}");
        assert_eq!(bootstraps(p, p.header.batch) > 0, name == "bootstrapped");
        let tmp = tempfile::tempdir().unwrap();
        files(tmp.path(), compiled, engine(2));
        let before = forget_peak().unwrap();
        let (server, batch) = server(tmp.path(), engine(2));
        let result = server.run(batch.clone()).unwrap();
        let grown = peak_rss_bytes().unwrap() - before;
        let predicted = memory_plan(server.session().program(), batch.images).peak() as u64;
        drop(result);
        println!("{name}: {} predicted, {} measured", human_bytes(predicted), human_bytes(grown));
        assert!(grown <= predicted, "{name}: the run has taken {grown} bytes, more than the predicted {predicted}");
        assert!(predicted <= 3 * grown, "{name}: {predicted} bytes are predicted, and the run has taken {grown}");
    }
}

/// Processor time of this process; `None` where the system does not tell.
fn processor_time() -> Option<Duration> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let one = |thread: std::fs::DirEntry| -> Option<u64> {
        // A thread that ends in the meantime has no file.
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let sum: u64 = threads.flatten().filter_map(one).sum();
    (sum > 0).then(|| Duration::from_nanos(sum))
}

/// How often the machine is measured and compared: other work on it slows its memory.
const TRIES: usize = 3;

#[test]
fn predicted_time_is_near_that_of_runs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if processor_time().is_none() {
        return chiffre_testing::skip("the system does not tell processor times of threads");
    }
    // The time of a thread that ends is no longer counted: one engine for everything.
    let (engine, clock) = (engine(1), || processor_time().unwrap_or_default());
    let cases = [("quadratic", quadratic(256, 13, 32)), ("bootstrapped", bootstrapped(16, 12))].map(|(name, compiled)| {
        let tmp = tempfile::tempdir().unwrap();
        files(tmp.path(), compiled, engine.clone());
        (name, server(tmp.path(), engine.clone()))
    });
    for round in 1..=TRIES {
        let machine = measure_by(engine.clone(), clock).unwrap();
        let near = cases.iter().map(|(name, (server, batch))| {
            let before = clock();
            server.run(batch.clone()).unwrap();
            let measured = clock().saturating_sub(before).as_secs_f64();
            let predicted = predicted_seconds(server.session().program(), &machine, batch.images);
            println!("{name}, round {round}: {predicted:.3} s predicted, {measured:.3} s measured");
            (0.5..2.0).contains(&(predicted / measured))
        });
        if near.collect::<Vec<bool>>().into_iter().all(|near| near) {
            return;
        }
    }
    panic!("in {TRIES} rounds the predicted times were never within a factor of two");
}
