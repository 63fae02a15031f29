//! What `inspect` knows of a program, as data: the source of its JSON (`docs/inspect-schema.md`) and of its page.

use crate::pipeline::{bootstraps, counts, linear_shape, memory_plan};
use crate::trace::live_bytes;
use chiffre_backend::memory::MemoryPlan;
use chiffre_backend::predict::{Work, work_of};
use chiffre_ir::graph::Op;
use chiffre_ir::he::PrimeIndex;
use chiffre_ir::program::Program;
use chiffre_ir::program::file::ProgramFile;
use chiffre_params::bootstrap::{BootstrapSpec, CALIBRATED_RADIANS};
use chiffre_params::{Gadget, KeyTarget};
use chiffre_passes::cost::{CostModel, Counts};
use serde::Serialize;

/// A program. Times are the cost model's for two Zen 4 cores, scaled to what the program itself predicts.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Name of the network.
    pub name: String,
    /// Digest of the program file.
    pub digest: String,
    /// Digest of the model.
    pub model: String,
    /// log2 of the ring degree.
    pub log_n: usize,
    /// Primes of the chain, bottom first.
    pub q: Vec<u64>,
    /// Special primes.
    pub p: Vec<u64>,
    /// log2 of the product of all primes.
    pub log_qp: f64,
    /// Largest log2 QP at 128 bits of security; null if the table has no such ring.
    pub max_log_qp: Option<f64>,
    /// Bits of security; 0 if below the table.
    pub security_bits: u32,
    /// True if the parameters are below 128-bit security.
    pub insecure: bool,
    /// Levels of the chain.
    pub levels: usize,
    /// Ciphertexts that are bootstrapped in a full batch.
    pub bootstraps: usize,
    /// How ciphertexts are refreshed; null in programs that do not.
    pub bootstrap: Option<BootstrapSpec>,
    /// log2 of the probability that the bootstrap of a ciphertext fails.
    pub log2_failure: Option<f64>,
    /// Standard deviation of the error that a bootstrap leaves, radians.
    pub refresh_noise: Option<f64>,
    /// Images per run.
    pub batch: usize,
    /// Images that pass an instruction together.
    pub tile: usize,
    /// Images per unit, where that changes along the network.
    pub unit_batches: Vec<usize>,
    /// Steps of a full batch.
    pub steps: usize,
    /// Layout of the input.
    pub input_layout: String,
    /// Number of linear maps.
    pub linear_maps: usize,
    /// Number of products.
    pub products: usize,
    /// Number of evaluation keys.
    pub keys: usize,
    /// Those of them that rotate.
    pub rotation_keys: usize,
    /// Bytes of the evaluation keys as a file.
    pub eval_key_bytes: usize,
    /// Predicted memory of a run on a full batch.
    pub memory: MemoryPlan,
    /// Counted work for one image of a full batch.
    pub per_image: PerImage,
    /// Predicted time of a run on a full batch, seconds.
    pub predicted_run_s: f64,
    /// Predicted peak memory of that run.
    pub predicted_peak_bytes: usize,
    /// Normalisation of pixels.
    pub normalisation: Option<String>,
    /// Text of the range certificate, if the file holds one.
    pub certificate: Option<String>,
    /// Instructions in order.
    pub nodes: Vec<NodeView>,
    /// Indices of the results.
    pub outputs: Vec<u32>,
    /// Evaluation keys by shape.
    pub key_groups: Vec<KeyGroup>,
    /// The steps of a full batch.
    pub schedule: Vec<StepView>,
}

/// Counted work for one image.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PerImage {
    /// (ciphertext, rotation) pairs, hoisted.
    pub rotations: f64,
    /// Conjugations and relinearisations.
    pub product_key_switches: f64,
    /// Transforms of one limb.
    pub transforms: f64,
    /// Products of one word with a weight.
    pub multiply_accumulates: f64,
}

/// An instruction.
#[derive(Clone, Debug, Serialize)]
pub struct NodeView {
    /// Its index.
    pub value: u32,
    /// Mnemonic.
    pub op: &'static str,
    /// ONNX node.
    pub node: String,
    /// Instructions read.
    pub args: Vec<u32>,
    /// C, H, W.
    pub shape: [usize; 3],
    /// Layout.
    pub layout: String,
    /// Limbs of the result.
    pub limbs: usize,
    /// Scale of the result.
    pub scale: String,
    /// log2 of the scale.
    pub log2_scale: f64,
    /// Ciphertexts of one unit.
    pub ciphertexts: usize,
    /// Units of a full batch.
    pub units: usize,
    /// Units of the operand that one unit merges.
    pub merges: usize,
    /// (ciphertext, rotation) pairs of one unit.
    pub rotations: usize,
    /// Distinct rotations.
    pub rotation_keys: usize,
    /// True if ciphertexts are bootstrapped.
    pub refresh: bool,
    /// Predicted time for a full batch, seconds.
    pub predicted_s: f64,
}

/// Evaluation keys of one shape.
#[derive(Clone, Debug, Serialize)]
pub struct KeyGroup {
    /// Limbs that the keys serve.
    pub limbs: usize,
    /// Special primes.
    pub special_primes: usize,
    /// Rotations.
    pub rotations: Vec<usize>,
    /// Other uses, in words.
    pub others: Vec<&'static str>,
    /// Bytes on disk.
    pub bytes: usize,
}

/// A step of the schedule.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// The instruction.
    pub value: usize,
    /// First unit.
    pub first_unit: usize,
    /// Number of units.
    pub units: usize,
    /// Predicted begin, seconds.
    pub at_s: f64,
    /// Predicted time, seconds.
    pub predicted_s: f64,
    /// Bytes of ciphertexts that are live before the step.
    pub live_bytes: usize,
}

impl View {
    /// Of a program file.
    pub fn of(file: &ProgramFile) -> View {
        let (p, h) = (&*file.program, &file.program.header);
        let memory = memory_plan(p, h.batch);
        let predicted_run_s = h.predicted_us as f64 / 1e6;
        let work = counts(p, h.batch);
        let seconds: Vec<f64> = work.iter().map(|c| CostModel::default().time(*c, h.log_n)).collect();
        // The program may have been compiled for another machine.
        let factor = if predicted_run_s > 0.0 { predicted_run_s / seconds.iter().sum::<f64>().max(1e-12) } else { 1.0 };
        let seconds: Vec<f64> = seconds.iter().map(|s| s * factor).collect();
        let nodes: Vec<NodeView> = p.iter().map(|(v, n)| node(p, v.0, n, seconds[v.index()])).collect();
        let count = |ops: &[&str]| nodes.iter().filter(|n| ops.contains(&n.op)).count();
        let keys = p.keys();
        let mut unit_batches: Vec<usize> = p.nodes.iter().map(|n| n.ty.layout.unit_batch()).collect();
        unit_batches.dedup();
        View {
            name: p.name.clone(),
            digest: file.digest.clone(),
            model: h.model.clone(),
            log_n: h.log_n,
            q: h.q.clone(),
            p: h.p.clone(),
            log_qp: p.log_qp(),
            max_log_qp: chiffre_ckks::security::max_log_qp(h.log_n as u32),
            security_bits: chiffre_ckks::security::security_bits(h.log_n as u32, p.log_qp()),
            insecure: h.insecure,
            levels: h.q.len() - 1,
            bootstraps: bootstraps(p, h.batch),
            bootstrap: h.bootstrap.clone(),
            log2_failure: h.bootstrap.as_ref().map(|b| b.log2_failure_of_run(1.0)),
            refresh_noise: h.refresh_noise(CALIBRATED_RADIANS).ok().filter(|n| *n > 0.0),
            batch: h.batch,
            tile: h.tile,
            unit_batches,
            steps: p.steps(h.batch).len(),
            input_layout: p.nodes.first().map(|n| n.ty.layout.to_string()).unwrap_or_default(),
            linear_maps: count(&["linear"]),
            products: count(&["mul", "square"]),
            keys: keys.len(),
            rotation_keys: keys.iter().filter(|(u, _)| u.rotation_offset(h.log_n as u32).is_some()).count(),
            eval_key_bytes: p.key_bytes() / 2,
            memory,
            per_image: per_image(p, work.into_iter().sum()),
            predicted_run_s,
            predicted_peak_bytes: h.predicted_bytes,
            normalisation: h.normalisation.clone(),
            certificate: file.stages.get("certificate").cloned(),
            schedule: schedule(p, &seconds),
            nodes,
            outputs: p.outputs.iter().map(|o| o.0).collect(),
            key_groups: key_groups(p),
        }
    }
}

fn per_image(p: &Program, total: Counts) -> PerImage {
    let per = 1.0 / p.header.batch as f64;
    let mut out = PerImage { transforms: total.ntt * per, multiply_accumulates: total.mac * per, ..PerImage::default() };
    for (n, f) in p.nodes.iter().zip(p.flow(p.header.batch)) {
        match work_of(p, n) {
            Some(w @ Work::Linear { .. }) => {
                out.rotations += (f.units * linear_shape(&w).map_or(0, |s| s.rotations())) as f64 * per;
            }
            Some(Work::Product { cts, complex, .. }) => {
                out.product_key_switches += (f.units * cts * if complex { 2 } else { 1 }) as f64 * per;
            }
            Some(Work::Series { .. }) | None => {}
        }
    }
    out
}

fn node(p: &Program, value: u32, n: &chiffre_ir::graph::Node<chiffre_ir::program::Prog>, predicted_s: f64) -> NodeView {
    let (layout, h) = (&n.ty.layout, &p.header);
    let (rotations, rotation_keys) = match work_of(p, n) {
        Some(w) => linear_shape(&w).map_or((0, 0), |s| (s.rotations(), s.taps + s.giants.map_or(0, |g| g.taps))),
        None => (0, 0),
    };
    let bits = n.args.iter().map(|a| p.ty(*a).layout.unit_bits()).max().unwrap_or(layout.unit_bits());
    NodeView {
        value,
        op: n.op.info().mnemonic,
        node: n.source.clone(),
        args: n.args.iter().map(|a| a.0).collect(),
        shape: layout.shape,
        layout: layout.to_string(),
        limbs: n.ty.limbs,
        scale: n.ty.scale.to_string(),
        log2_scale: n.ty.scale.log2_with(|PrimeIndex(i)| h.q.get(i as usize).map_or(0.0, |&q| (q as f64).log2())),
        ciphertexts: layout.unit_cts(),
        units: layout.units(),
        merges: 1 << (bits - layout.unit_bits()),
        rotations,
        rotation_keys,
        refresh: n.op.info().mnemonic == "refresh",
        predicted_s,
    }
}

fn key_groups(p: &Program) -> Vec<KeyGroup> {
    let mut out: Vec<KeyGroup> = vec![];
    for (target, gadget) in p.keys() {
        let Gadget { limbs, alpha: special_primes } = gadget;
        let bytes = target.key_bytes(gadget, 1 << p.header.log_n) / 2;
        let at = out.iter().position(|g| (g.limbs, g.special_primes) == (limbs, special_primes)).unwrap_or_else(|| {
            out.push(KeyGroup { limbs, special_primes, rotations: vec![], others: vec![], bytes: 0 });
            out.len() - 1
        });
        out[at].bytes += bytes;
        match target {
            KeyTarget::Galois(galois) => match galois.rotation_offset(p.header.log_n as u32) {
                Some(r) => out[at].rotations.push(r),
                None => out[at].others.push("conjugate"),
            },
            KeyTarget::Relinearization => out[at].others.push("relinearise"),
            KeyTarget::DenseToSparse => out[at].others.push("to the sparse secret"),
            KeyTarget::SparseToDense(_) => out[at].others.push("from the sparse secret"),
        }
    }
    out.iter_mut().for_each(|g| g.rotations.sort_unstable());
    out.sort_by_key(|g| std::cmp::Reverse((g.limbs, g.special_primes)));
    out
}

fn schedule(p: &Program, seconds: &[f64]) -> Vec<StepView> {
    let steps = p.steps(p.header.batch);
    let flow = p.flow(p.header.batch);
    let live = live_bytes(p, &steps);
    let mut at_s = 0.0;
    let mut one = |(s, live_bytes): (&chiffre_ir::program::Step, &usize)| {
        let predicted_s = seconds[s.node] * s.units.len() as f64 / flow[s.node].units.max(1) as f64;
        let v = StepView { value: s.node, first_unit: s.units.start, units: s.units.len(), at_s, predicted_s, live_bytes: *live_bytes };
        at_s += predicted_s;
        v
    };
    steps.iter().zip(&live).map(&mut one).collect()
}
