//! Measuring a machine: unit times of the cost model from encrypted runs of a small synthetic
//! network on this machine.

use crate::Error;
use crate::pipeline::{self, Request};
use chiffre_backend::cost::CostModel;
use chiffre_backend::cost::{Sample, fit};
use chiffre_client::ClientKey;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::input;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType};
use chiffre_passes::options::{CompileOptions, PackingWish};
use chiffre_runtime::server::{Event, Server};
use chiffre_runtime::{Engine, Session};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A machine's unit times as a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    /// One transform at N = 2^16 on one thread, microseconds.
    ntt_2_16_us: f64,
    /// Nanoseconds per word on one thread: products with weights.
    mac_ns: f64,
    /// Products of base conversions.
    convert_ns: f64,
    /// Inner products with keys.
    word_ns: f64,
    /// Element-wise passes.
    pass_ns: f64,
    /// Expansion of weights.
    expand_ns: f64,
    /// Threads, and how well they share the work.
    threads: f64,
}

/// Reads a machine file.
///
/// # Errors
/// A file that cannot be read or does not hold positive numbers.
pub fn load(path: &Path) -> Result<CostModel, Error> {
    let text = input::read_to_string(path).map_err(|e| Error::read(path, e))?;
    let m: MachineFile = serde_json::from_str(&text).map_err(|e| Error::input_in(path, e))?;
    let all = [m.ntt_2_16_us, m.mac_ns, m.convert_ns, m.word_ns, m.pass_ns, m.expand_ns, m.threads];
    if all.iter().any(|x| !x.is_finite() || *x <= 0.0) {
        return Err(Error::input_in(path, "unit times must be positive numbers"));
    }
    Ok(CostModel {
        ntt_2_16: m.ntt_2_16_us * 1e-6,
        mac: m.mac_ns * 1e-9,
        convert: m.convert_ns * 1e-9,
        word: m.word_ns * 1e-9,
        pass: m.pass_ns * 1e-9,
        expand: m.expand_ns * 1e-9,
        threads: m.threads,
    })
}

/// The text of a machine file.
///
/// # Errors
/// None in practice: numbers have a text.
pub fn text(c: &CostModel) -> Result<String, Error> {
    let m = MachineFile {
        ntt_2_16_us: c.ntt_2_16 * 1e6,
        mac_ns: c.mac * 1e9,
        convert_ns: c.convert * 1e9,
        word_ns: c.word * 1e9,
        pass_ns: c.pass * 1e9,
        expand_ns: c.expand * 1e9,
        threads: c.threads,
    };
    serde_json::to_string_pretty(&m).map_err(Error::failed)
}

/// A convolution with made-up weights.
fn conv(g: &mut TensorGraph, x: ValueId, out: usize, stride: usize, name: &str) -> ValueId {
    let [c, h, w] = g.ty(x).chw();
    let scale = 0.5 / ((c * 9) as f32).sqrt();
    let data = (0..out * c * 9).map(|i| scale * ((i * 37 % 101) as f32 / 50.0 - 1.0)).collect();
    let weight = g.consts.add(name, Array::new(vec![out, c, 3, 3], data));
    let op = TensorOp::Conv2d { weight, bias: None, stride: [stride, stride], pad: [1, 1, 1, 1], dilation: [1, 1] };
    g.push(op, vec![x], TensorType::new(vec![out, h / stride, w / stride]), name)
}

/// The network: convolutions of two sizes, with and without a stride, and squares.
fn network() -> TensorGraph {
    let mut g = TensorGraph::new("calibration");
    let mut x = g.push(TensorOp::Input {}, vec![], TensorType::new(vec![4, 32, 32]), "input");
    for (i, (out, stride)) in [(16, 1), (16, 1), (32, 2), (32, 1), (8, 1)].into_iter().enumerate() {
        x = conv(&mut g, x, out, stride, &format!("conv{i}"));
        if i < 4 {
            let ty = g.ty(x).clone();
            x = g.push(TensorOp::Square {}, vec![x], ty, &format!("square{i}"));
        }
    }
    g.outputs = vec![x];
    g
}

/// Measures this machine with the threads and the instruction set of an engine.
///
/// # Errors
/// Bugs only: the network is fixed.
pub fn measure(engine: impl Into<Arc<Engine>>) -> Result<CostModel, Error> {
    let start = Instant::now();
    measure_by(engine, || start.elapsed())
}

/// As [`measure`], by another clock than that on the wall. Processor time makes sense for an engine
/// with one thread, and other work on the machine disturbs it less.
///
/// # Errors
/// As [`measure`].
pub fn measure_by(engine: impl Into<Arc<Engine>>, clock: impl Fn() -> Duration) -> Result<CostModel, Error> {
    let engine = engine.into();
    let prior = CostModel::default().on_threads(engine.threads());
    let graph = network();
    let mut samples = vec![];
    for phases in [[0, 0], [1, 1]] {
        let packing = PackingWish { phases: Some(phases), channels: Some(0), fill: Some(0), tile: None };
        let options = CompileOptions { batch: 64, packing, ..CompileOptions::default() };
        let request = Request { options, ..Request::default() };
        let compiled = engine.install(|| pipeline::compile_graph(&graph, "", &request))?;
        let file = ProgramFile::in_memory(compiled.program, compiled.stages).map_err(Error::bug)?;
        let session = Arc::new(Session::on(engine.clone(), file, false)?);
        let client = ClientKey::generate(&session)?;
        let keys = client.evaluation_keys(&session)?.prepare(&session);
        let (batch, p) = (64, session.program());
        let pixels: Vec<f32> = (0..batch * 4096).map(|i| (i * 29 % 97) as f32 / 97.0).collect();
        let encrypted = Arc::new(client.encrypt_unscreened(&session, &pixels, batch, false)?.0);
        let counts = pipeline::counts(p, batch);
        let steps = |node: usize| p.steps(batch).iter().filter(|s| s.node == node).count().max(1) as f64;
        let server = Server::new(session.clone(), keys, 0)?;
        // The first run touches all memory; the second counts.
        for round in 0..2 {
            let mut before = clock();
            let sample = |e: &Event| {
                let seconds = clock().saturating_sub(before).as_secs_f64();
                before = clock();
                let c = counts[e.instruction] * (1.0 / steps(e.instruction));
                if round == 1 && c.ntt > 0.0 {
                    samples.push(Sample { counts: c, log_n: p.header.log_n, seconds });
                }
                ControlFlow::Continue(())
            };
            let _ = server.start(encrypted.clone()).and_then(|mut run| run.drive(sample))?;
        }
    }
    Ok(fit(&samples, &prior))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    #[test]
    fn machine_files_are_read_back_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine.json");
        let machine = CostModel { mac: 0.0625e-9, threads: 2.5, ..CostModel::default() };
        std::fs::write(&path, text(&machine).unwrap()).unwrap();
        let read = load(&path).unwrap();
        assert!((read.mac / machine.mac - 1.0).abs() < 1e-12 && read.threads == 2.5, "{read:?}");
        let good = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("2.5", "0"), ("2.5", "-1"), ("2.5", "\"two\""), ("threads", "cores"), ("{", "[")] {
            assert!(good.contains(from));
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let e = load(&path).unwrap_err();
            assert_eq!((e.class(), e.file()), (Class::Input, Some(path.as_path())), "{from} → {to}: {e}");
        }
        assert!(load(&dir.path().join("none.json")).is_err());
    }
}
