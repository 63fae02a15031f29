//! What there is to know of a program, as data: the source of `inspect`'s summary, of its JSON
//! (`docs/inspect-schema.md`) and of its page.

use crate::memory::human_bytes;
use crate::pipeline::{bootstraps, counts, memory_plan};
use chiffre_backend::ckks::work_of;
use chiffre_backend::cost::{CostModel, Counts};
use chiffre_backend::memory::MemoryPlan;
use chiffre_ir::graph::Op;
use chiffre_ir::he::PrimeIndex;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::program::{self, Program, Step};
use chiffre_params::bootstrap::{BootstrapSpec, CALIBRATED_RADIANS};
use chiffre_params::{Gadget, KeyTarget};
use serde::Serialize;

/// A program. Times are the cost model's for two Zen 4 cores, scaled to what the program itself
/// predicts.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Name of the network.
    pub name: String,
    /// Digest of the program file.
    pub digest: String,
    /// Digest of the model.
    pub model: String,
    /// log2 of the ring degree.
    pub log_n: u32,
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
    /// log2 of the probability that the bootstrap of a ciphertext fails; `None` if it cannot.
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
    pub nodes: Vec<Instruction>,
    /// Indices of the results.
    pub outputs: Vec<u32>,
    /// Evaluation keys by shape.
    pub key_groups: Vec<KeyGroup>,
    /// The steps of a full batch.
    pub schedule: Vec<TimedStep>,
}

/// Bytes of ciphertexts that are live before each step of a run, and after the last.
pub fn live_bytes(p: &Program, steps: &[Step]) -> Vec<usize> {
    let unit = |v: usize| (p.nodes[v].ty.layout.unit_cts() * p.nodes[v].ty.limbs) << (p.header.log_n + 4);
    program::live_bytes(steps, unit)
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
pub struct Instruction {
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
pub struct TimedStep {
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

impl Overview {
    /// Of a program file.
    pub fn of(file: &ProgramFile) -> Overview {
        Overview {
            digest: file.digest.clone(),
            certificate: file.stages.get("certificate").cloned(),
            ..Overview::of_program(&file.program)
        }
    }

    /// Of a program that is no file yet: without digest and certificate.
    pub fn of_program(p: &Program) -> Overview {
        let h = &p.header;
        let memory = memory_plan(p, h.batch);
        let predicted_run_s = h.predicted_us as f64 / 1e6;
        let work = counts(p, h.batch);
        let seconds: Vec<f64> = work.iter().map(|c| CostModel::default().time(*c, h.log_n)).collect();
        // The program may have been compiled for another machine.
        let factor = if predicted_run_s > 0.0 { predicted_run_s / seconds.iter().sum::<f64>().max(1e-12) } else { 1.0 };
        let seconds: Vec<f64> = seconds.iter().map(|s| s * factor).collect();
        let nodes: Vec<Instruction> = p.iter().map(|(v, n)| node(p, v.0, n, seconds[v.index()])).collect();
        let count = |ops: &[&str]| nodes.iter().filter(|n| ops.contains(&n.op)).count();
        let keys = p.keys();
        let mut unit_batches: Vec<usize> = p.nodes.iter().map(|n| n.ty.layout.unit_batch()).collect();
        unit_batches.dedup();
        Overview {
            name: p.name.clone(),
            digest: String::new(),
            model: h.model.clone(),
            log_n: h.log_n,
            q: h.q.clone(),
            p: h.p.clone(),
            log_qp: p.log_qp(),
            max_log_qp: chiffre_ckks::security::max_log_qp(h.log_n),
            security_bits: chiffre_ckks::security::security_bits(h.log_n, p.log_qp()),
            insecure: h.insecure,
            levels: h.q.len() - 1,
            bootstraps: bootstraps(p, h.batch),
            bootstrap: h.bootstrap.clone(),
            log2_failure: h.bootstrap.as_ref().map(|b| b.log2_failure_of_run(1.0)).filter(|p| p.is_finite()),
            refresh_noise: h.refresh_noise(CALIBRATED_RADIANS).ok().filter(|n| *n > 0.0),
            batch: h.batch,
            tile: h.tile,
            unit_batches,
            steps: p.steps(h.batch).len(),
            input_layout: p.nodes.first().map(|n| n.ty.layout.to_string()).unwrap_or_default(),
            linear_maps: count(&["linear"]),
            products: count(&["mul", "square"]),
            keys: keys.len(),
            rotation_keys: keys.iter().filter(|(u, _)| u.rotation_offset(h.log_n).is_some()).count(),
            eval_key_bytes: p.key_bytes() / 2,
            memory,
            per_image: per_image(p, &nodes, work.into_iter().sum()),
            predicted_run_s,
            predicted_peak_bytes: h.predicted_bytes,
            normalisation: h.normalisation.clone(),
            certificate: None,
            schedule: schedule(p, &seconds),
            nodes,
            outputs: p.outputs.iter().map(|o| o.0).collect(),
            key_groups: key_groups(p),
        }
    }

    /// The summary for people: sixteen lines.
    pub fn summary(&self) -> String {
        let log_q: f64 = self.q.iter().map(|&q| (q as f64).log2()).sum();
        let security = match self.max_log_qp {
            _ if self.insecure => "below 128 bits: for tests only".to_string(),
            Some(max) => format!("{} bits (log2 QP {:.0} of {max})", self.security_bits, self.log_qp),
            None => "not in the table".into(),
        };
        let units: Vec<String> = self.unit_batches.iter().map(usize::to_string).collect();
        let output = self.outputs.first().and_then(|o| self.nodes.get(*o as usize));
        let (w, batch, run_s) = (&self.per_image, self.batch, self.predicted_run_s);
        [
            format!("network      {}", self.name),
            format!("ring         N = 2^{}, {} slots", self.log_n, 1usize << (self.log_n - 1)),
            format!("chain        {} primes, log2 Q = {log_q:.0}, {} special primes", self.q.len(), self.p.len()),
            format!("security     {security}"),
            format!("depth        {} levels, {}", self.levels, self.bootstraps_in_words()),
            format!("batch        {batch} images; {} steps, units of {} images, {} at a time", self.steps, units.join(" → "), self.tile),
            format!("input        {}", self.input_layout),
            format!("output       {}", output.map(|n| n.layout.as_str()).unwrap_or_default()),
            format!("instructions {} linear maps, {} products", self.linear_maps, self.products),
            format!(
                "keys         {} ({} rotation keys), {} on disk, {} in memory",
                self.keys,
                self.rotation_keys,
                human_bytes(self.eval_key_bytes as u64),
                human_bytes(self.memory.keys as u64)
            ),
            format!(
                "work         per image: {:.1} rotations, {:.1} key switches of products, {:.0} transforms, {:.2}·10^9 multiply-accumulates",
                w.rotations,
                w.product_key_switches,
                w.transforms,
                w.multiply_accumulates / 1e9
            ),
            format!("constants    {}", human_bytes(self.memory.constants as u64)),
            format!("memory       {} predicted peak of `run`", human_bytes(self.memory.peak() as u64)),
            format!("time         {run_s:.1} s predicted ({:.3} s per image)", run_s / batch as f64),
            format!("pixels       {}", self.normalisation.as_deref().unwrap_or("not stated")),
            format!("model        {}", self.model),
        ]
        .join("\n")
    }

    /// What the summary says of bootstraps.
    fn bootstraps_in_words(&self) -> String {
        let Some(b) = &self.bootstrap else { return "no bootstraps".into() };
        let count = self.bootstraps;
        let failure = match b.log2_failure_of_run(count.max(1) as f64) {
            never if never == f64::NEG_INFINITY => "none of which can fail".to_string(),
            p => format!("at most 2^{p:.0} that one of them fails"),
        };
        format!(
            "{count} bootstraps ({:.2} per image) under an ephemeral secret of weight {}, {failure}",
            count as f64 / self.batch as f64,
            b.weight
        )
    }
}

fn per_image(p: &Program, nodes: &[Instruction], total: Counts) -> PerImage {
    let per = 1.0 / p.header.batch as f64;
    let mut out = PerImage {
        transforms: total.ntt * per,
        multiply_accumulates: total.mac * (1u64 << p.header.log_n) as f64 * per,
        ..PerImage::default()
    };
    for ((n, instruction), f) in p.nodes.iter().zip(nodes).zip(p.flow(p.header.batch)) {
        out.rotations += (f.units * instruction.rotations) as f64 * per;
        out.product_key_switches += (f.units * work_of(p, n).map_or(0, |w| w.product_switches())) as f64 * per;
    }
    out
}

fn node(p: &Program, value: u32, n: &chiffre_ir::graph::Node<chiffre_ir::program::Prog>, predicted_s: f64) -> Instruction {
    let (layout, h) = (&n.ty.layout, &p.header);
    let (rotations, rotation_keys) = work_of(p, n).map_or((0, 0), |w| (w.rotations(), w.rotation_keys()));
    let bits = n.args.iter().map(|a| p.ty(*a).layout.unit_bits()).max().unwrap_or(layout.unit_bits());
    Instruction {
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
            KeyTarget::Galois(galois) => match galois.rotation_offset(p.header.log_n) {
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

fn schedule(p: &Program, seconds: &[f64]) -> Vec<TimedStep> {
    let steps = p.steps(p.header.batch);
    let flow = p.flow(p.header.batch);
    let live = live_bytes(p, &steps);
    let mut at_s = 0.0;
    let mut one = |(s, live_bytes): (&chiffre_ir::program::Step, &usize)| {
        let predicted_s = seconds[s.node] * s.units.len() as f64 / flow[s.node].units.max(1) as f64;
        let v = TimedStep { value: s.node, first_unit: s.units.start, units: s.units.len(), at_s, predicted_s, live_bytes: *live_bytes };
        at_s += predicted_s;
        v
    };
    steps.iter().zip(&live).map(&mut one).collect()
}
