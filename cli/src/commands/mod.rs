//! The commands: each module turns its arguments into calls of the library and prints what comes
//! back.

mod bench;
mod compile;
mod crypt;
mod debug;
mod demo;
mod inspect;
mod keygen;
mod opt;
mod passes;
mod run;
mod simulate;

use crate::args::{Cli, Command};
use crate::exit;
use chiffre::Error;
use chiffre_passes::options::{AccuracyTarget, ActivationOptions, CalibrationSet, CompileOptions};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Fewer calibration images than this give a warning.
const FEW_IMAGES: usize = 200;

/// Carries out a command line: results on stdout, everything else on stderr.
pub fn main(cli: Cli) -> ExitCode {
    start_log(cli.verbose);
    match exit::guarded(|| dispatch(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit::code(error.class()))
        }
    }
}

fn dispatch(command: Command) -> Result<(), Error> {
    match command {
        Command::Compile(args) => compile::compile(&args),
        Command::Passes(args) => passes::passes(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Keygen(args) => keygen::keygen(&args),
        Command::Encrypt(args) => crypt::encrypt(&args),
        Command::Decrypt(args) => crypt::decrypt(&args),
        Command::Prepare(args) => run::prepare(&args),
        Command::Run(args) => run::run(&args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::MeasureMachine(args) => measure_machine(&args),
        Command::Opt(args) => opt::opt(&args),
        Command::Interp(args) => opt::interp(&args),
        Command::Debug(args) => debug::debug(&args),
        Command::Reduce(args) => opt::reduce(&args),
    }
}

/// Rewritten regions with the rules that led there, on stderr.
fn explain(all: &[chiffre_passes::tensor::minimise_products::Explained]) {
    if all.is_empty() {
        eprintln!("minimise-products: nothing to gain");
    }
    all.iter().for_each(|e| eprint!("{e}"));
}

/// Measures the machine.
fn measure_machine(args: &crate::args::MeasureMachineArgs) -> Result<(), Error> {
    set_threads(&args.threads)?;
    let text = chiffre::machine::text(&chiffre::machine::measure(args.threads.get())?)?;
    let Some(path) = &args.output else { return print(text) };
    std::fs::write(path, text + "\n").map_err(|e| Error::write(path, e))
}

/// Loads a program file and builds its context.
fn session(path: &std::path::Path, allow_insecure: bool) -> Result<chiffre_runtime::Session, Error> {
    let file = chiffre_ir::program::file::load(path)?;
    chiffre_runtime::Session::on(engine()?, file, allow_insecure).map_err(Error::from)
}

/// An engine with the number of threads that [`set_threads`] set.
fn engine() -> Result<chiffre_runtime::Engine, Error> {
    let threads = std::num::NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(std::num::NonZeroUsize::MIN);
    chiffre_runtime::Engine::builder().threads(threads).build().map_err(|e| Error::from(chiffre_runtime::RuntimeError::from(e)))
}

/// How to read DATA for a program.
fn program_data_options(
    s: &chiffre_runtime::Session,
    path: &std::path::Path,
    args: &crate::args::NormalisationArgs,
    count: Option<std::num::NonZeroUsize>,
) -> Result<chiffre::data::DataOptions, Error> {
    let shape = s.input_layout()?.shape;
    let named = s.program().header.normalisation.as_deref();
    let normalisation = args.or(named).map_err(|e| Error::input(format!("{}: {e}", path.display())))?;
    Ok(chiffre::data::DataOptions { shape, normalisation, count: count.map(std::num::NonZeroUsize::get) })
}

/// Uses this many threads from now on.
fn set_threads(args: &crate::args::ThreadArgs) -> Result<(), Error> {
    // A pool that exists already (in tests) keeps its size.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(args.get()).build_global();
    Ok(())
}

/// The compiler's request from the command line.
fn request(args: &crate::args::CompilerArgs, model: &chiffre_frontend::Model) -> Result<chiffre::pipeline::Request, Error> {
    let options = CompileOptions {
        batch: args.batch.map_or(64, std::num::NonZeroUsize::get),
        log_n: args.log_n,
        memory: args.memory.map(|m| usize::try_from(m).unwrap_or(usize::MAX)),
        allow_insecure: args.allow_insecure,
        log2_failure: -f64::from(args.failure_bits),
        activations: activations(args, model)?,
        ..CompileOptions::default()
    };
    Ok(chiffre::pipeline::Request {
        options,
        cost: args.machine.as_deref().map_or(Ok(chiffre_backend::cost::CostModel::default()), chiffre::machine::load)?,
        passes: args.passes.clone(),
        dumps: args.dump_ir.clone(),
        normalisation: normalisation(model, &args.normalisation)?.map(|n| n.to_string()),
    })
}

/// The largest error of the logits that `--accurate` takes: as a share, on the calibration images
/// and nearly the same on others.
const ACCURATE: f64 = 0.045;

/// What the command line says about activations, with the calibration images.
fn activations(args: &crate::args::CompilerArgs, model: &chiffre_frontend::Model) -> Result<ActivationOptions, Error> {
    let load = |path: &std::path::PathBuf| -> Result<Arc<CalibrationSet>, Error> {
        let images = chiffre::data::load(path, &data_options(model, &args.normalisation, args.calibrate_count)?)?;
        if images.n < FEW_IMAGES {
            tracing::warn!("{} calibration images are few: ranges of other images may differ (500 and more are better)", images.n);
        }
        Ok(Arc::new(CalibrationSet { n: images.n, images: images.pixels, labels: images.labels }))
    };
    Ok(ActivationOptions {
        degree: args.activation_degree.map(|d| d as usize),
        target: if args.accurate { AccuracyTarget::LogitError(ACCURATE) } else { AccuracyTarget::Loss(args.accuracy_loss / 100.0) },
        calibration: args.calibrate.as_ref().map(load).transpose()?,
        ..ActivationOptions::default()
    })
}

/// The normalisation asked for, or the model's.
fn normalisation(
    model: &chiffre_frontend::Model,
    args: &crate::args::NormalisationArgs,
) -> Result<Option<chiffre::data::Normalisation>, Error> {
    let text = model.normalisation.as_ref().map(ToString::to_string);
    args.or(text.as_deref()).map_err(Error::from)
}

/// How to read DATA for a model.
fn data_options(
    model: &chiffre_frontend::Model,
    args: &crate::args::NormalisationArgs,
    count: Option<std::num::NonZeroUsize>,
) -> Result<chiffre::data::DataOptions, Error> {
    let d = |i: usize| model.input_shape.get(i).copied().unwrap_or(1);
    Ok(chiffre::data::DataOptions {
        shape: [d(0), d(1), d(2)],
        normalisation: normalisation(model, args)?,
        count: count.map(std::num::NonZeroUsize::get),
    })
}

/// Prints a line or more to stdout. A reader that has gone away (`chiffre … | head`) ends the
/// process quietly.
fn print(text: impl std::fmt::Display) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(source) => Err(Error::io("cannot write to standard output", source)),
        Ok(()) => Ok(()),
    }
}

fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = ["warn", "info", "debug", "trace"][verbose.min(3) as usize];
    let filter = EnvFilter::try_from_env("CHIFFRE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second start (in tests) keeps the first log.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
}
