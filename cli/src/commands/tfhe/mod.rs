//! The commands on programs for TFHE. Compiling, inspecting and running in the clear work in every
//! build; the others need the engine, which the feature `tfhe` links.

#[cfg(feature = "tfhe")]
mod bench;
#[cfg(feature = "tfhe")]
mod crypt;
#[cfg(feature = "tfhe")]
mod run;
#[cfg(not(feature = "tfhe"))]
mod without;

#[cfg(not(feature = "tfhe"))]
pub(super) use without::{bench, decrypt, encrypt, keygen, run};
#[cfg(feature = "tfhe")]
pub(super) use {
    bench::bench,
    crypt::{decrypt, encrypt, keygen},
    run::run,
};

use crate::args::{Answer, CompileArgs, CompilerArgs, Format, InspectArgs, NormalisationArgs, Rounding, SimulateArgs, Stage};
use chiffre::memory::human_bytes;
use chiffre::{Error, data, logits, outputs, pipeline};
use chiffre_backend::target::Target;
use chiffre_backend::tfhe::{Tfhe, TfheProgram, is_approximate, lookups, read_deviations};
use chiffre_frontend::{ImportOptions, Model};
use chiffre_ir::container::Reader;
use chiffre_ir::interface::Interface;
use chiffre_ir::output::Output;
use chiffre_ir::program::file::INTERFACE;
use chiffre_ir::quant::file::{self, KIND, QuantFile};
use chiffre_ir::quant::{QuantGraph, QuantOp, QuantType, interp, outside, real, run_noisy};
use chiffre_ir::tail::TailKind;
use chiffre_ir::{graph::Op, text};
use chiffre_params::tfhe::TfheParams;
use chiffre_passes::options::CompileOptions;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Noise in the clear is the same in every run.
const SEED: u64 = 11;

/// True if a file is a program for TFHE, as far as its beginning tells.
pub(super) fn is_program(path: &Path) -> bool {
    Reader::peek(path, KIND).is_ok()
}

/// The pipeline of a program that answers with the index of the largest value, if that is asked
/// for.
///
/// # Errors
/// A target that has none; a pipeline that is given in full.
pub(super) fn answered(args: &CompilerArgs, options: &mut CompileOptions) -> Result<Option<String>, Error> {
    if args.rounding == Rounding::Approximate {
        if args.target != Tfhe.name() {
            return Err(Error::input("--rounding approximate is for programs of the target tfhe (--target tfhe)"));
        }
        options.quant.approximate = true;
    }
    if args.answer == Answer::Values {
        return Ok(None);
    }
    if args.target != Tfhe.name() {
        return Err(Error::input("--answer argmax is for programs of the target tfhe (--target tfhe); others give all values"));
    }
    if args.passes.is_some() {
        return Err(Error::input(
            "--answer argmax and --passes: write the passes `quantise{output-scale=common}` and, before `select-tfhe-params`, `argmax` there",
        ));
    }
    options.quant.common_scale = true;
    Ok(Some(Tfhe.lower().replace("select-tfhe-params", "argmax,select-tfhe-params")))
}

/// The interface of a program of which one integer is decrypted, the index of the largest value of
/// the first output.
///
/// # Errors
/// An output of which something else is made.
fn of_index(mut interface: Interface) -> Result<Interface, Error> {
    let [output] = &mut interface.outputs[..] else {
        return Err(Error::input("the index of the largest value is that of one output: choose it (--select-output)"));
    };
    let fits = match &output.tail[..] {
        [] => true,
        [op] => op.kind == (TailKind::ArgMax { min: false, last: false }) && op.extents == [1, output.count, 1],
        _ => false,
    };
    if !fits {
        return Err(Error::input(format!(
            "output \"{}\" is more than an index of the largest value: choose another (--select-output)",
            output.name
        )));
    }
    (output.first, output.count, output.tail, output.shape) = (0, 1, vec![], vec![1]);
    Ok(interface)
}

/// True for a program whose answer is an index.
fn answers_index(g: &QuantGraph, model_values: usize) -> bool {
    g.outputs.len() == 1 && g.ty(g.outputs[0]).shape.len() == 1 && model_values > 1
}

/// Compiles a model: the program, and the texts of the levels it came from.
fn lower(model: &Model, request: &pipeline::Request) -> Result<(pipeline::Lowered, QuantFile), Error> {
    let lowered = pipeline::compile_for(&Tfhe, &model.graph, &model.digest.to_string(), request)?;
    let program = lowered.program.downcast::<TfheProgram>().ok_or_else(|| Error::bug("not a program of this target"))?;
    let mut stages = BTreeMap::new();
    stages.extend(lowered.state.tensor().map(|g| ("tensor".to_string(), text::print(g))));
    // With `argmax` in the pipeline one integer is left of all values.
    let (interface, values) = (model.interface(), lowered.state.tensor().map_or(1, |g| g.outputs.iter().map(|o| g.ty(*o).len()).sum()));
    let interface = if answers_index(&program.graph, values) { of_index(interface)? } else { interface };
    stages.insert(INTERFACE.into(), serde_json::to_string(&interface).map_err(Error::failed)?);
    let file = QuantFile::in_memory((*program.graph).clone(), stages).map_err(Error::bug)?;
    Ok((lowered, file))
}

/// Compiles a model and writes the program.
pub(super) fn compile(args: &CompileArgs, model: &Model, request: &pipeline::Request) -> Result<(), Error> {
    let (lowered, program) = lower(model, request)?;
    super::compile::show(args, &lowered.dumps, &lowered.times)?;
    let digest = file::save(&args.output, &program.program, &program.stages)?;
    let accuracy = lowered.state.accuracy.map(|a| format!("\naccuracy     {a}: on the calibration images")).unwrap_or_default();
    super::print(format!("{}{accuracy}\nwrote {} ({}…)", summary(&program)?, args.output.display(), &digest[..16]))
}

/// Loads a program that may run encrypted.
#[cfg(feature = "tfhe")]
fn session(path: &Path, allow_insecure: bool) -> Result<chiffre_tfhe::Session, Error> {
    chiffre_tfhe::Session::load(path, allow_insecure).map_err(failed)
}

/// The class of a failure of the engine.
#[cfg(feature = "tfhe")]
fn failed(e: chiffre_tfhe::TfheError) -> Error {
    use chiffre_tfhe::TfheError;
    match e {
        TfheError::Container(e) => e.into(),
        TfheError::Insecure => Error::insecure(e),
        TfheError::Mismatch(_) => Error::mismatch(e),
        TfheError::Input(_) => Error::input(e),
        TfheError::Randomness(_) => Error::failed(e),
        TfheError::Cancelled { .. } => Error::cancelled(e).advise("what is done is stored, and the same command goes on from there"),
    }
}

fn params(program: &QuantFile) -> Result<TfheParams, Error> {
    program.program.header.params.ok_or_else(|| Error::input("the program has no parameters"))
}

fn input(program: &QuantFile) -> Result<&QuantType, Error> {
    let found = program.program.nodes.iter().find(|n| matches!(n.op, QuantOp::Input {})).map(|n| &n.ty);
    found.ok_or_else(|| Error::bug("a verified program has an input"))
}

/// Reads images for a program.
fn images(
    program: &QuantFile,
    path: &Path,
    files: &[PathBuf],
    args: &NormalisationArgs,
    count: Option<NonZeroUsize>,
) -> Result<data::Images, Error> {
    let named = program.program.header.normalisation.as_deref();
    let normalisation = args.or(named).map_err(|e| Error::input_in(path, e))?;
    let options = data::DataOptions { shape: input(program)?.chw(), normalisation, count: count.map(NonZeroUsize::get) };
    data::load_inputs(files, &program.interface.inputs, &options)
}

/// Look-ups of a run on one image.
fn all_lookups(g: &QuantGraph) -> usize {
    g.nodes.iter().map(|n| lookups(g, n)).sum()
}

/// Predicted time of a run on one image on two cores, seconds, and memory.
fn predicted(program: &QuantFile) -> Result<(f64, u64), Error> {
    let p = TfheProgram { graph: program.program.clone(), params: params(program)? };
    let seconds = Tfhe.cost(&p, &chiffre_backend::cost::CostModel::default(), 1);
    Ok((seconds, Tfhe.memory(&p, 1).peak() as u64))
}

fn set(p: &TfheParams) -> String {
    let digits = |d: chiffre_params::tfhe::Decomposition| format!("{} digits of {} bits", d.levels, d.base_log);
    let numbers = |p: &TfheParams| {
        let (rotation, keyswitch) = (digits(p.rotation), digits(p.keyswitch));
        format!("n = {}, k = {}, N = 2^{}, rotation with {rotation}, keyswitch with {keyswitch}", p.n, p.k, p.log_n)
    };
    let removal = p.removing().map_or(String::new(), |r| format!("; to remove bits {}", numbers(&r)));
    let noise = if p.is_secure() { format!("{}-bit noise", TfheParams::SECURITY_BITS) } else { "INSECURE".into() };
    format!("{}{removal}; {noise}", numbers(p))
}

fn summary(program: &QuantFile) -> Result<String, Error> {
    let (g, p) = (&program.program, params(program)?);
    let (seconds, bytes) = predicted(program)?;
    let mut s = format!(
        "network      {}\ntarget       tfhe: {}\nparameters   {}\nlook-ups     {} an image\nfailure      a run on one image is wrong with probability 2^{:.1} at most\n\
         keys         {} as files, {} in memory\ntime         {seconds:.2} s an image predicted\nmemory       {} predicted",
        g.name,
        Tfhe.summary(),
        set(&p),
        all_lookups(g),
        g.header.log2_failure.unwrap_or(0.0),
        human_bytes(p.seeded_key_bytes() as u64),
        human_bytes(p.key_bytes() as u64),
        human_bytes(bytes),
    );
    s += "\n\nvalues       bits: integers are modulo 2^(bits+1)\n  op          bits  range                look-ups  shape       node";
    for n in &g.nodes {
        let [lo, hi] = n.ty.range;
        let shape: Vec<String> = n.ty.shape.shape.iter().map(usize::to_string).collect();
        let (op, range, count) = (n.op.info().mnemonic, format!("{lo}…{hi}"), lookups(g, n));
        s += &format!("\n  {op:<10} {:>5}  {range:<20} {count:>8}  {:<10}  {}", n.ty.bits, shape.join("x"), n.source);
    }
    Ok(s)
}

fn overview(program: &QuantFile) -> Result<Value, Error> {
    let (g, p) = (&program.program, params(program)?);
    let (seconds, bytes) = predicted(program)?;
    let node = |n: &chiffre_ir::graph::Node<chiffre_ir::quant::Quant>| json!({"op": n.op.info().mnemonic, "bits": n.ty.bits, "range": n.ty.range, "lookups": lookups(g, n), "node": n.source});
    let digits = |d: chiffre_params::tfhe::Decomposition| json!({"base_log": d.base_log, "levels": d.levels});
    let numbers =
        |p: TfheParams| json!({"n": p.n, "k": p.k, "log_n": p.log_n, "rotation": digits(p.rotation), "keyswitch": digits(p.keyswitch)});
    Ok(json!({
        "target": "tfhe",
        "network": g.name,
        "model": g.header.model,
        "digest": program.digest,
        "params": numbers(p),
        "removal_params": p.removing().map(numbers),
        "security_bits": if p.is_secure() { TfheParams::SECURITY_BITS } else { 0 },
        "log2_failure": g.header.log2_failure,
        "lookups": all_lookups(g),
        "approximate": is_approximate(g),
        "eval_key_bytes": p.seeded_key_bytes(),
        "predicted_s": seconds,
        "predicted_bytes": bytes,
        "values": g.nodes.iter().map(node).collect::<Vec<_>>(),
    }))
}

/// Share of images whose index is that of the largest of their values of the original network.
fn same_index(indices: &[f32], original: &[f32]) -> f64 {
    let per = (original.len() / indices.len().max(1)).max(1);
    let same = indices.iter().zip(original.chunks(per)).filter(|(i, row)| logits::argmax(row) == Some(**i as usize)).count();
    same as f64 / indices.len().max(1) as f64
}

/// Share of images whose index is their label.
fn right_indices(indices: &[f32], labels: &[u32]) -> f64 {
    let right = indices.iter().zip(labels).filter(|(i, l)| **i == **l as f32).count();
    right as f64 / indices.len().max(1) as f64
}

/// Prints a program's summary or one of its IRs.
pub(super) fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let program = file::load(&args.program)?;
    if let Some(path) = &args.html {
        return Output::publish(path, chiffre::page::integers_html(&program)?).map_err(|e| Error::write(path, e));
    }
    match (args.stage, args.form()) {
        (None, Format::Text) => super::print(summary(&program)?),
        (None, Format::Json) => super::print(overview(&program)?),
        (None | Some(Stage::Program), Format::Dot) => super::print(super::inspect::dot(&program.program)),
        (Some(Stage::Program), Format::Text) => super::print(text::print(&*program.program).trim_end()),
        (Some(Stage::Program), Format::Json) => super::print(super::inspect::graph_json(&program.program)),
        (Some(Stage::Tensor), form) => match program.stages.get("tensor") {
            Some(source) if form == Format::Text => super::print(source.trim_end()),
            Some(source) => super::inspect::other::<chiffre_ir::tensor::Tensor>(source, form, &args.program),
            None => Err(Error::input_in(&args.program, "it does not hold its tensor IR")),
        },
        (Some(Stage::Packed | Stage::He), _) => Err(Error::input("programs for tfhe have a tensor and a program level")),
    }
}

/// Runs a program in the clear, which is what decryption yields, and says which sums leave the
/// range that they are expected in.
pub(super) fn simulate(args: &SimulateArgs) -> Result<(), Error> {
    let program = file::load(&args.program)?;
    let ports = &program.interface.outputs;
    let images = images(&program, &args.program, &args.input, &args.normalisation, args.count)?;
    let g = &program.program;
    let exact = interp(g, &images.pixels, images.n)?.swap_remove(0);
    let classes = exact.len() / images.n.max(1);
    let mut out = format!("{} images, {} look-ups each", images.n, all_lookups(g));
    if let Some(model) = &args.model {
        let import = ImportOptions { outputs: ports.iter().map(|o| o.name.clone()).collect(), ..args.input_shape.options() };
        let original = super::simulate::original(model, &import, &g.header.model, &args.program)?;
        let original = original.run(&images.pixels, images.n)?;
        if answers_index(g, original.len() / images.n.max(1)) {
            out += &format!("\nbeside the original network: argmax the same on {:.2} %", 100.0 * same_index(&exact, &original));
        } else {
            let c = logits::compare_outputs(&exact, &original, classes, ports, &BTreeSet::new())?;
            out += &format!(
                "\nbeside the original network: argmax the same on {:.2} %, logit error {:.2} %",
                100.0 * c.agreement,
                100.0 * c.logit_error
            );
        }
    }
    let left = outside(g, &images.pixels, images.n)?;
    for (v, count) in &left {
        let [lo, hi] = g.ty(*v).range;
        let node = &g.node(*v).source;
        out +=
            &format!("\n{count} images leave {lo}…{hi} at \"{node}\": what they read there may be wrong, in the clear and encrypted alike");
    }
    if is_approximate(g) {
        let deviations = read_deviations(g, &params(&program)?)?;
        let noisy = run_noisy(g, &images.pixels, images.n, &deviations, SEED)?.swap_remove(0);
        let c = logits::compare_outputs(&real(g.ty(g.outputs[0]), &noisy), &exact, classes, ports, &BTreeSet::new())?;
        out += &format!(
            "\nroundings are approximate: look-ups may read the entry before or behind that of this run. With noise as in an encrypted run: argmax the same on \
             {:.2} %, answers off by {:.2} %",
            100.0 * c.agreement,
            100.0 * c.logit_error
        );
    }
    if left.is_empty() {
        out += &format!("\nno image of {} leaves the range of a sum", images.n);
    }
    if args.labels {
        let labels = images.labels.as_ref().ok_or_else(|| Error::input(format!("{} has no labels", super::listed(&args.input))))?;
        let first = &ports[0];
        let top1 = match (first.count, &first.tail[..]) {
            (1, []) if classes == 1 => right_indices(&exact, labels),
            _ => logits::top1(&logits::values_of(&exact, classes, first), labels, first.count).unwrap_or(0.0),
        };
        out += &format!("\ntop-1: {:.2} %", 100.0 * top1);
    }
    let all = outputs::of(&program.interface, &exact, classes);
    if let Some(path) = &args.output {
        outputs::write(path, &all, &images.names)?;
    }
    if let Some(path) = &args.answers {
        for (answers, exact) in outputs::load(path, &all)?.iter().zip(&all) {
            let per = exact.per_image().max(1);
            let same = answers.values.chunks(per).zip(exact.values.chunks(per)).filter(|(a, b)| a == b).count();
            out += &format!("\n{}: {same} of {} images have the very answers of this run", path.display(), answers.values.len() / per);
        }
    }
    super::print(out)
}
