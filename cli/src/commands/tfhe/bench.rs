//! `chiffre bench`: everything in one process, with times and the agreement with clear runs.

use super::run::{OpTimes, watched};
use super::{all_lookups, answers_index, failed, lower, params, predicted, right_indices, same_index, set};
use crate::args::BenchArgs;
use crate::commands::{data_options, print, request};
use chiffre::memory::{self, human_bytes};
use chiffre::{Error, data, logits};
use chiffre_backend::tfhe::{is_approximate, lookups};
use chiffre_frontend::Reference;
use chiffre_ir::quant::{QuantOp, real, run_integers};
use chiffre_params::tfhe::TfheParams;
use chiffre_runtime::Engine;
use chiffre_tfhe::{Server, Session};
use chiffre_tfhe_client::ClientKey;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// What was measured. The fields are the JSON object's; times are wall-clock seconds, and `run_s`
/// is of all images.
#[derive(Debug, Serialize)]
struct TfheReport {
    /// The model's file name without its extension.
    model: String,
    target: &'static str,
    images: usize,
    threads: usize,
    /// The parameter set in words.
    parameters: String,
    security_bits: u32,
    /// log2 of the probability that a run on one image is wrong, at most.
    log2_failure: f64,
    /// Look-ups of a run on one image.
    lookups: usize,
    /// Those of them that remove a bit.
    removals: usize,
    /// Bits of each value, in order.
    bits: Vec<u32>,
    eval_key_bytes: u64,
    compile_s: f64,
    keygen_s: f64,
    prepare_s: f64,
    encrypt_s: f64,
    run_s: f64,
    /// Processor time of all threads during the run.
    run_cpu_s: Option<f64>,
    decrypt_s: f64,
    amortized_s_per_image: f64,
    peak_rss_bytes: u64,
    /// True if look-ups may read neighbours of the right entries.
    approximate: bool,
    /// Images whose decrypted integers are all those of the clear run.
    exact_images: usize,
    /// Share of images whose best class is that of the clear run.
    agreement_clear: f64,
    /// Share of images whose best class is that of the clear ONNX run.
    agreement: f64,
    /// Root mean square error of the logits beside the clear ONNX run, as a share of their size.
    logit_error: f64,
    /// Share of images whose best class is the label; null without labels.
    top1: Option<f64>,
    predicted_run_s: f64,
    predicted_peak_bytes: u64,
}

impl fmt::Display for TfheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<12} {value}");
        row("model", self.model.clone())?;
        row("images", format!("{}, {} threads", self.images, self.threads))?;
        row("parameters", self.parameters.clone())?;
        row("look-ups", format!("{} an image, a run on one is wrong with probability 2^{:.1} at most", self.lookups, self.log2_failure))?;
        row("keys", format!("evaluation keys {}", human_bytes(self.eval_key_bytes)))?;
        let steps = [("compile", self.compile_s), ("keygen", self.keygen_s), ("prepare", self.prepare_s), ("encrypt", self.encrypt_s)];
        for (name, seconds) in steps {
            row(name, format!("{seconds:.3} s"))?;
        }
        let each = self.amortized_s_per_image;
        row("run", format!("{:.3} s, {each:.4} s an image (predicted {:.3} s)", self.run_s, self.predicted_run_s))?;
        self.run_cpu_s.map_or(Ok(()), |cpu| row("processor", format!("{cpu:.2} s of all threads during the run")))?;
        row("decrypt", format!("{:.3} s", self.decrypt_s))?;
        let (peak, predicted) = (human_bytes(self.peak_rss_bytes), human_bytes(self.predicted_peak_bytes));
        row("peak memory", format!("{peak} (predicted {predicted})"))?;
        row("exact", format!("{} of {} images have the very integers of the clear run", self.exact_images, self.images))?;
        if self.approximate {
            row("approximate", format!("{:.2} % of images have the class of the clear run", 100.0 * self.agreement_clear))?;
        }
        row("agreement", format!("{:.2} %, logit error {:.2} %", 100.0 * self.agreement, 100.0 * self.logit_error))?;
        self.top1.map_or(Ok(()), |top1| row("top-1", format!("{:.2} %", 100.0 * top1)))
    }
}

/// Processor time of all threads of this process so far, seconds, where the system tells it.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15, behind the name in parentheses; in hundredths of seconds on every Linux
    // that there is.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Compiles, makes keys, encrypts, runs, decrypts, and compares with the clear run bit by bit.
pub(in crate::commands) fn bench(args: &BenchArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let model = chiffre_frontend::load_with(&args.model, &args.compiler.import())?;
    let request = request(&args.compiler, &model)?;
    let options = data_options(&model, &args.compiler.normalisation, args.count)?;
    let images = data::load_inputs(&args.data, &model.inputs, &options)?;
    let reference = Reference::load_with(&args.model, &args.compiler.import())?;
    let at = Instant::now();
    let (_, file) = lower(&model, &request)?;
    let compile_s = at.elapsed().as_secs_f64();
    let (p, (each_s, bytes)) = (params(&file)?, predicted(&file)?);
    memory::admit("a run", bytes, args.compiler.memory)?;
    let s = Arc::new(Session::new(file, args.compiler.allow_insecure).map_err(failed)?);
    let (g, ports) = (s.program(), &s.file().interface.outputs);
    let original = reference.run(&images.pixels, images.n)?;
    let clear = run_integers(g, &images.pixels, images.n)?.swap_remove(0);

    let at = Instant::now();
    let key = ClientKey::generate(&s).map_err(failed)?;
    let keys = key.evaluation_keys(&s).map_err(failed)?;
    let eval_key_bytes = keys.bytes() as u64;
    let keygen_s = at.elapsed().as_secs_f64();
    let at = Instant::now();
    let server = Server::new(s.clone(), keys).map_err(failed)?;
    let prepare_s = at.elapsed().as_secs_f64();
    let at = Instant::now();
    let batch = key.encrypt(&s, &images.pixels, images.n).map_err(failed)?;
    let encrypt_s = at.elapsed().as_secs_f64();
    let (at, cpu, mut times) = (Instant::now(), cpu_seconds(), OpTimes::new());
    let result = watched(&server, &batch, None, args.progress.progress, |step| {
        *times.entry(step.op).or_default() += step.time;
        ControlFlow::Continue(())
    })?;
    let run_s = at.elapsed().as_secs_f64();
    let run_cpu_s = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
    let at = Instant::now();
    let integers = key.decrypt_integers(&s, &result).map_err(failed)?.swap_remove(0);
    let decrypt_s = at.elapsed().as_secs_f64();

    let classes = clear.len() / images.n.max(1);
    let answers = real(g.ty(g.outputs[0]), &integers);
    let (index, first) = (answers_index(g, original.len() / images.n.max(1)), &ports[0]);
    let [agreement, agreement_clear, logit_error] = if index {
        let same = integers.iter().zip(&clear).filter(|(a, b)| a == b).count();
        [same_index(&answers, &original), same as f64 / clear.len().max(1) as f64, 0.0]
    } else {
        let compared = logits::compare_outputs(&answers, &original, classes, ports, &BTreeSet::new())?;
        let same = logits::compare_outputs(&answers, &real(g.ty(g.outputs[0]), &clear), classes, ports, &BTreeSet::new())?;
        [compared.agreement, same.agreement, compared.logit_error]
    };
    let top1 = |labels: &Vec<u32>| match index {
        true => Some(right_indices(&answers, labels)),
        false => logits::top1(&logits::values_of(&answers, classes, first), labels, first.count),
    };
    let report = TfheReport {
        model: args.model.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
        target: "tfhe",
        images: images.n,
        threads: engine.threads(),
        parameters: set(&p),
        security_bits: if p.is_secure() { TfheParams::SECURITY_BITS } else { 0 },
        log2_failure: g.header.log2_failure.unwrap_or(0.0),
        lookups: all_lookups(g),
        removals: g.nodes.iter().filter(|n| matches!(n.op, QuantOp::Round { .. })).map(|n| lookups(g, n)).sum(),
        bits: g.nodes.iter().map(|n| n.ty.bits).collect(),
        eval_key_bytes,
        compile_s,
        keygen_s,
        prepare_s,
        encrypt_s,
        run_s,
        run_cpu_s,
        decrypt_s,
        amortized_s_per_image: run_s / images.n.max(1) as f64,
        peak_rss_bytes: memory::peak_rss_bytes().unwrap_or(0),
        approximate: is_approximate(g),
        agreement_clear,
        exact_images: integers.chunks(classes.max(1)).zip(clear.chunks(classes.max(1))).filter(|(a, b)| a == b).count(),
        agreement,
        logit_error,
        top1: images.labels.as_ref().and_then(top1),
        predicted_run_s: each_s * images.n as f64,
        predicted_peak_bytes: bytes,
    };
    let mut table = report.to_string();
    for (op, t) in &times {
        table += &format!("  {op:<10} {:8.2} s  {:4.1} %\n", t.as_secs_f64(), 100.0 * t.as_secs_f64() / run_s.max(1e-9));
    }
    if report.exact_images < report.images && !report.approximate {
        return Err(Error::failed(format!("{}\nencrypted integers differ from those of the clear run", table.trim_end())));
    }
    if args.json {
        eprintln!("{}", table.trim_end());
        print(serde_json::to_string(&report).map_err(Error::failed)?)
    } else {
        print(table.trim_end())
    }
}
