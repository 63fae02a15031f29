//! An encrypted run on many images in one process: keys, encryption, runs, decryption, with times,
//! memory and the agreement with answers in the clear.

use crate::data::Images;
use crate::report::{self, BenchReport};
use crate::{Error, logits, memory, pipeline};
use chiffre_backend::cost::CostModel;
use chiffre_client::ClientKey;
use chiffre_ir::tensor::Simulation;
use chiffre_runtime::server::{Event, Server};
use chiffre_runtime::{EvalKeySet, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of each kind of instruction in the encrypted runs.
pub type OpTimes = BTreeMap<&'static str, Duration>;

/// What is run, and what its answers are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    /// Name of the network, for the report.
    pub model: &'a str,
    /// The program, on the engine that is measured.
    pub session: &'a Arc<Session>,
    /// As many as one likes: they run in batches.
    pub images: &'a Images,
    /// What the answers should be, images × classes; of several outputs, one behind the other.
    pub clear: &'a [f32],
    /// The same with approximated activations, for a program that has some.
    pub simulation: Option<&'a Simulation>,
    /// Unit times of the machine, on one thread.
    pub cost: CostModel,
    /// Time that compilation took, seconds.
    pub compile_s: f64,
}

/// Everything that an encrypted run in one process yields.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The report.
    pub report: BenchReport,
    /// Decrypted logits, images × classes.
    pub answers: Vec<f32>,
    /// Classes.
    pub classes: usize,
    /// Time per kind of instruction.
    pub times: OpTimes,
    /// Images without an answer.
    pub affected: BTreeSet<usize>,
    /// What to tell about them, line by line.
    pub problems: Vec<String>,
}

impl Outcome {
    /// The report as a table, with the share of each kind of instruction.
    pub fn table(&self) -> String {
        let mut s = self.report.to_string();
        if !self.affected.is_empty() {
            s += &format!("\n  no answer for {}", report::ranges(&self.affected));
        }
        let total: f64 = self.times.values().map(Duration::as_secs_f64).sum();
        for (op, t) in &self.times {
            s += &format!("\n  {op:<10} {:8.2} s  {:4.1} %", t.as_secs_f64(), 100.0 * t.as_secs_f64() / total.max(1e-9));
        }
        s
    }
}

impl Bench<'_> {
    /// Images of each batch, in order.
    pub fn sizes(&self) -> Vec<usize> {
        let batch = self.session.program().header.batch;
        (0..self.images.n).step_by(batch).map(|first| batch.min(self.images.n - first)).collect()
    }

    /// Generates keys, encrypts, runs, decrypts and compares. Images are not screened: what would
    /// harm others is to be seen. `watch` sees every step, and may ask for a stop.
    ///
    /// # Errors
    /// Images that the program does not take; [`Error::Cancelled`] where `watch` asks for a stop;
    /// reference answers of another number.
    pub fn run(&self, mut watch: impl FnMut(&Event<'_>) -> ControlFlow<()>) -> Result<Outcome, Error> {
        let Bench { session, images, .. } = *self;
        let (p, threads) = (session.program(), session.engine().threads());
        let classes = self.clear.len() / images.n.max(1);
        let at = Instant::now();
        let client = ClientKey::generate(session)?;
        let keys: EvalKeySet = client.evaluation_keys(session)?;
        let seeded_bytes = keys.bytes();
        let keygen_s = at.elapsed().as_secs_f64();
        let at = Instant::now();
        let buffers = pipeline::memory_plan(p, images.n.min(p.header.batch)).working;
        let server = Server::new(session.clone(), keys.prepare(session), buffers)?;
        let prepare_s = at.elapsed().as_secs_f64();

        let per: usize = images.shape.iter().product();
        let (mut encrypt_s, mut run_s, mut decrypt_s) = (0.0, 0.0, 0.0);
        let (mut answers, mut problems) = (vec![], vec![]);
        let (mut first, mut affected) = (0, BTreeSet::new());
        let mut times = OpTimes::new();
        let sizes = self.sizes();
        for (number, &n) in sizes.iter().enumerate() {
            let at = Instant::now();
            let chunk = &images.pixels[first * per..(first + n) * per];
            let (encrypted, receipt) = client.encrypt_unscreened(session, chunk, n, false)?;
            encrypt_s += at.elapsed().as_secs_f64();
            let at = Instant::now();
            let mut run = server.start(encrypted)?;
            let ended = run.drive(|event| {
                *times.entry(event.op).or_default() += event.time;
                watch(event)
            });
            // A run that was stopped says so when its result is asked for.
            let _ = ended?;
            let result = run.finish()?.result;
            run_s += at.elapsed().as_secs_f64();
            let at = Instant::now();
            let decrypted = client.decrypt(session, &result, &receipt)?;
            decrypt_s += at.elapsed().as_secs_f64();
            // Reports number the images of their own batch.
            problems.extend(report::without_answer(&decrypted.report, None).into_iter().map(|line| format!("batch {number}: {line}")));
            affected.extend(decrypted.report.affected().iter().map(|i| first + i));
            first += decrypted.report.images;
            answers.extend(decrypted.logits);
        }
        let interface = &session.file.interface;
        let compare = |want: &[f32]| logits::compare_outputs(&answers, want, classes, &interface.outputs, &affected);
        let comparison = compare(self.clear)?;
        let as_simulated = self.simulation.map(|s| compare(&s.outputs[0])).transpose()?;
        // Labels are those of the first output.
        let first = &interface.outputs[0];
        let top1 = |labels: &Vec<u32>| logits::top1(&logits::values_of(&answers, classes, first), labels, first.count);
        let rotations = p.keys().iter().filter(|(u, _)| u.rotation_offset(p.header.log_n).is_some()).count();
        let report = BenchReport {
            model: self.model.into(),
            batch: p.header.batch,
            images: images.n,
            threads,
            log_n: p.header.log_n,
            log_qp: p.log_qp(),
            levels: p.header.q.len() - 1,
            security_bits: session.context.params().security_bits(),
            bootstraps: sizes.iter().map(|&n| pipeline::bootstraps(p, n)).sum(),
            rotation_keys: rotations,
            eval_key_bytes: seeded_bytes as u64,
            compile_s: self.compile_s,
            keygen_s,
            prepare_s,
            encrypt_s,
            run_s,
            decrypt_s,
            amortized_s_per_image: run_s / images.n.max(1) as f64,
            peak_rss_bytes: memory::peak_rss_bytes().unwrap_or(0),
            agreement: comparison.agreement,
            max_abs_logit_error: comparison.max_abs_error,
            logit_error: comparison.logit_error,
            agreement_simulated: as_simulated.map(|c| c.agreement),
            max_abs_logit_error_simulated: as_simulated.map(|c| c.max_abs_error),
            logit_error_simulated: as_simulated.map(|c| c.logit_error),
            images_out_of_range: self.simulation.map(|s| s.outside.len()),
            top1: images.labels.as_ref().and_then(top1),
            predicted_run_s: sizes.iter().map(|&n| pipeline::predicted_seconds(p, &self.cost.on_threads(threads), n)).sum(),
            predicted_peak_bytes: sizes.iter().map(|&n| pipeline::memory_plan(p, n).peak() as u64).max().unwrap_or(0),
            images_without_answer: affected.len(),
        };
        Ok(Outcome { report, answers, classes, times, affected, problems })
    }
}
