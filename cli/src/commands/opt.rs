//! `chiffre opt`, `chiffre interp` and `chiffre reduce`: passes and interpreters on IR of any
//! level.

use crate::args::{InterpArgs, OptArgs, PassArgs, ReduceArgs};
use chiffre::ir_file::{self, IrFile};
use chiffre::pipeline::CKKS;
use chiffre::{Error, data, logits};
use chiffre_backend::cost::CostModel;
use chiffre_backend::target::Origin;
use chiffre_ir::output::Output;
use chiffre_ir::tail::apply;
use chiffre_passes::observe::Recorder;
use chiffre_passes::options::{ActivationOptions, CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::reduce::{noise, reduce as shrink};
use chiffre_passes::state::State;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images of noise that `--verify-each` compares meanings on.
const VERIFY_IMAGES: usize = 2;

fn options(args: &PassArgs, file: &IrFile) -> Result<CompileOptions, Error> {
    let g = &file.graph;
    let batch = args.batch.map(std::num::NonZeroUsize::get);
    if let (Some(asked), Some(of_ir)) = (batch, g.batch())
        && asked != of_ir
    {
        return Err(Error::input(format!("--batch {asked}, but the layouts of the IR are made for {of_ir} images")));
    }
    let mut activations = ActivationOptions::default();
    if let (Some(path), Some(shape)) = (&args.calibrate, g.input_shape()) {
        let normalisation = args.normalisation.or(file.normalisation.as_deref())?;
        let images = data::load(path, &data::DataOptions { shape, normalisation, count: None })?;
        activations.calibration = Some(Arc::new(CalibrationSet { images: images.pixels, n: images.n, labels: images.labels }));
    }
    Ok(CompileOptions {
        activations,
        batch: batch.or(g.batch()).unwrap_or(64),
        log_n: args.log_n,
        memory: args.memory.map(|m| usize::try_from(m).unwrap_or(usize::MAX)),
        allow_insecure: args.allow_insecure,
        ..CompileOptions::default()
    })
}

/// The file's graph, verified. HE IR on its way to `place-relin` has products that are not
/// relinearised yet.
fn load(args: &crate::args::IrFileArgs, pipeline: &Pipeline) -> Result<IrFile, Error> {
    let file = IrFile::load(&args.file, &args.consts)?;
    file.verify(pipeline.relinearises())?;
    Ok(file)
}

/// Runs passes on IR and prints the result.
pub(super) fn opt(args: &OptArgs) -> Result<(), Error> {
    let pipeline = Pipeline::parse(&args.passes.passes)?;
    if let Some(unknown) = args.dump_ir.iter().filter_map(|d| d.pass()).find(|p| !pipeline.entries.iter().any(|s| s.pass.name == *p)) {
        return Err(Error::input(format!("--dump-ir: no pass `{unknown}` in the pipeline")));
    }
    let file = load(&args.ir, &pipeline)?;
    let options = options(&args.passes, &file)?;
    let cost = CostModel::default();
    let cx = Context { options: &options, target: &CKKS, machine: &cost };
    let images = match file.graph.input_shape() {
        Some(shape) if args.verify_each => {
            file.need_constants()?;
            Some((noise(shape, VERIFY_IMAGES), VERIFY_IMAGES))
        }
        _ => None,
    };
    let mut recorder = Recorder { wanted: args.dump_ir.clone(), images, ..Recorder::default() };
    let name = file.graph.name().to_string();
    let start = State::from_graph(file.graph.clone()).map(|s| s.with_origin(Origin { model: name, ..Origin::default() }));
    let end = start.and_then(|s| pipeline.observe(s, &cx, &mut recorder));
    for (title, g) in &recorder.dumps {
        eprintln!("# {title}\n{}", g.print(args.values));
    }
    print_observed(&recorder, args.time_passes, args.print_stats);
    let end = end.map_err(|e| {
        // What is missing is the most likely reason.
        file.need_constants().err().filter(|_| e.lacks_constant()).unwrap_or_else(|| e.into())
    })?;
    if args.explain {
        super::explain(&end.explained);
    }
    let result = end.latest().ok_or_else(|| Error::failed("the pipeline left no graph"))?;
    if let (None, Some(p)) = (end.program(), end.params()) {
        eprintln!("# parameters: log_n {}, {} + {} primes, log2 QP {:.1}", p.log_n, p.q.len(), p.p.len(), p.log_qp());
    }
    match &args.output {
        Some(path) => ir_file::save(path, &result, args.values),
        None => super::print(result.print(args.values).trim_end()),
    }
}

/// Times and sizes, on stderr.
fn print_observed(r: &Recorder, times: bool, stats: bool) {
    if times {
        r.times.iter().for_each(|(pass, time)| eprintln!("{pass:<22} {:9.1} ms", time.as_secs_f64() * 1e3));
    }
    if stats {
        for (pass, s) in &r.stats {
            eprintln!("{:<22} {s}", if pass.is_empty() { "(start)" } else { pass });
        }
    }
}

/// Runs IR in the clear.
pub(super) fn interp(args: &InterpArgs) -> Result<(), Error> {
    let file = IrFile::load(&args.ir.file, &args.ir.consts)?;
    file.verify(false)?;
    file.need_constants()?;
    let shape = file.graph.input_shape().ok_or_else(|| Error::input("the graph has no input"))?;
    let (pixels, n) = match (&args.input[..], args.noise) {
        ([], Some(n)) => (noise(shape, n.get()), n.get()),
        ([], None) => return Err(Error::input("give --input or --noise")),
        (files, _) => {
            let normalisation = args.normalisation.or(file.normalisation.as_deref())?;
            let count = args.count.map(std::num::NonZeroUsize::get);
            let plain = chiffre::Interface::plain(shape, 0).inputs;
            let inputs = if file.inputs.is_empty() { &plain } else { &file.inputs };
            let images = data::load_inputs(files, inputs, &data::DataOptions { shape, normalisation, count })?;
            (images.pixels, images.n)
        }
    };
    let outputs = file.graph.interp(&pixels, n)?;
    for (k, out) in outputs.iter().enumerate() {
        let tail = file.tails.get(k).map_or(&[][..], Vec::as_slice);
        let images = out.chunks((out.len() / n.max(1)).max(1));
        let out = &images.flat_map(|image| apply(tail, image)).collect::<Vec<f32>>();
        let per = out.len() / n.max(1);
        match &args.output {
            Some(path) => logits::write_logits(&numbered(path, k, outputs.len()), out, per)?,
            None => {
                for (i, row) in out.chunks(per.max(1)).enumerate() {
                    let values: Vec<String> = row.iter().map(|v| format!("{v:.6}")).collect();
                    let output = if outputs.len() > 1 { format!(" output {k}") } else { String::new() };
                    super::print(format!("image {i}{output}: {}", values.join(" ")))?;
                }
            }
        }
    }
    Ok(())
}

/// `out.npy`, or `out.0.npy`, … where there are several.
fn numbered(path: &Path, k: usize, of: usize) -> PathBuf {
    if of == 1 { path.into() } else { path.with_extension(format!("{k}.npy")) }
}

/// Shrinks IR on which passes fail.
pub(super) fn reduce(args: &ReduceArgs) -> Result<(), Error> {
    let pipeline = Pipeline::parse(&args.passes.passes)?;
    let file = load(&args.ir, &pipeline)?;
    file.need_constants()?;
    let options = options(&args.passes, &file)?;
    let cx = Context { options: &options, target: &CKKS, machine: &CostModel::default() };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let reduced = shrink(&file.graph, &pipeline, &cx, args.test, args.tries);
    std::panic::set_hook(hook);
    let Some(r) = reduced else {
        return Err(Error::input(match args.test {
            Some(_) => "the passes do not fail in that way on this IR",
            None => "the passes do not fail on this IR: nothing to reduce",
        }));
    };
    eprintln!("{} of {} nodes left after {} tries; {}", r.graph.nodes(), file.graph.nodes(), r.tries, r.outcome);
    const ALL_VALUES: usize = 4096;
    let text = format!("# run: {}\n# {}\n{}", args.passes.passes, r.outcome.to_string().replace('\n', "\n# "), r.graph.print(ALL_VALUES));
    match &args.output {
        None => super::print(text.trim_end()),
        Some(path) => {
            Output::publish(path, text).map_err(|e| Error::write(path, e))?;
            chiffre_ir::const_file::save(&chiffre_ir::const_file::beside(path), r.graph.consts()).map_err(Error::from)
        }
    }
}
