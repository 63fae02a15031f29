//! The commands: each module turns its arguments into calls of the library and prints what comes
//! back.

mod batches;
mod bench;
mod check;
mod cluster;
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
mod tfhe;

use crate::args::{BatchCommand, Cli, Command, ThreadArgs};
use crate::{exit, signals};
use chiffre::memory::{Task, admit_task};
use chiffre::{Class, Error};
use chiffre_ir::container::Reader;
use chiffre_ir::output::Output;
use chiffre_ir::program::Program;
use chiffre_passes::options::{AccuracyTarget, ActivationOptions, BootstrapWish, CalibrationSet, CompileOptions};
use chiffre_runtime::{Engine, RuntimeError, Session, UnknownIsa};
use std::io::{ErrorKind, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Fewer calibration images than this give a warning.
const FEW_IMAGES: usize = 200;

/// Carries out a command line: results on stdout, everything else on stderr.
pub fn main(cli: Cli) -> ExitCode {
    let command = cli.command;
    match exit::guarded(|| {
        start_log(cli.verbose);
        signals::watch()?;
        let engine = Arc::new(engine(threads(&command))?);
        engine.install(|| dispatch(&command, &engine))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let option = error.setting().and_then(exit::option).map(|o| format!(" ({o})")).unwrap_or_default();
            eprintln!("error: {error}{option}");
            let by_signal = signals::asked().filter(|_| error.class() == Class::Cancelled);
            ExitCode::from(by_signal.unwrap_or_else(|| exit::code(error.class())))
        }
    }
}

/// Carries out a command on a thread of the engine, so that whatever it computes uses that engine.
fn dispatch(command: &Command, engine: &Arc<Engine>) -> Result<(), Error> {
    match command {
        Command::Compile(args) => compile::compile(args),
        Command::Check(args) => check::check(args),
        Command::Passes(args) => passes::passes(args),
        Command::Inspect(args) if tfhe::is_program(&args.program) => tfhe::inspect(args),
        Command::Keygen(args) if tfhe::is_program(&args.program) => tfhe::keygen(args),
        Command::Encrypt(args) if tfhe::is_program(&args.program) => tfhe::encrypt(args),
        Command::Decrypt(args) if tfhe::is_program(&args.program) => tfhe::decrypt(args),
        Command::Run(args) if tfhe::is_program(&args.program) => tfhe::run(args),
        Command::Simulate(args) if tfhe::is_program(&args.program) => tfhe::simulate(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Keygen(args) => keygen::keygen(args, engine),
        Command::Encrypt(args) => crypt::encrypt(args, engine),
        Command::Decrypt(args) => crypt::decrypt(args, engine),
        Command::Prepare(args) => run::prepare(args, engine),
        Command::Run(args) => run::run(args, engine),
        Command::Batch(BatchCommand::Status(args)) => batches::status(args),
        Command::PlanCluster(args) => cluster::plan(args),
        Command::Simulate(args) => simulate::simulate(args, engine),
        Command::Bench(args) => bench::bench(args, engine),
        Command::Demo(args) => demo::demo(args, engine),
        Command::MeasureMachine(args) => measure_machine(args, engine),
        Command::Opt(args) => opt::opt(args),
        Command::Interp(args) => opt::interp(args),
        Command::Debug(args) => debug::debug(args, engine),
        Command::Reduce(args) => opt::reduce(args),
    }
}

/// The threads that a command is to have; without a number, one for each processor.
fn threads(command: &Command) -> Option<NonZeroUsize> {
    let ThreadArgs { threads } = match command {
        Command::Compile(args) => &args.compiler.threads,
        Command::Bench(args) => &args.compiler.threads,
        Command::Keygen(args) => &args.threads,
        Command::Encrypt(args) => &args.threads,
        Command::Decrypt(args) => &args.threads,
        Command::Prepare(args) => &args.threads,
        Command::Run(args) => &args.threads,
        Command::Simulate(args) => &args.threads,
        Command::Demo(args) => &args.threads,
        Command::MeasureMachine(args) => &args.threads,
        Command::Interp(args) => &args.threads,
        Command::Debug(args) => &args.threads,
        Command::Opt(_) | Command::Reduce(_) | Command::Batch(_) => return None,
        // These compute nothing.
        Command::Passes(_) | Command::Inspect(_) | Command::Check(_) | Command::PlanCluster(_) => return Some(NonZeroUsize::MIN),
    };
    *threads
}

/// The variable that names the instruction set of kernels; without it, they use the best one.
const ISA: &str = "CHIFFRE_ISA";

/// The engine of this process.
fn engine(threads: Option<NonZeroUsize>) -> Result<Engine, Error> {
    let mut builder = Engine::builder();
    if let Some(threads) = threads {
        builder = builder.threads(threads);
    }
    if let Some(name) = std::env::var_os(ISA).filter(|name| !name.is_empty()) {
        let isa = name.to_string_lossy().parse().map_err(|e: UnknownIsa| Error::input(format!("{ISA}: {e}")))?;
        builder = builder.isa(isa);
    }
    builder.build().map_err(|e| RuntimeError::from(e).into())
}

/// Rewritten regions with the rules that led there, on stderr.
fn explain(all: &[chiffre_passes::tensor::minimise_products::Explained]) {
    if all.is_empty() {
        eprintln!("minimise-products: nothing to gain");
    }
    all.iter().for_each(|e| eprint!("{e}"));
}

/// Measures the machine.
fn measure_machine(args: &crate::args::MeasureMachineArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let text = chiffre::machine::text(&chiffre::machine::measure(engine.clone())?)?;
    let Some(path) = &args.output else { return print(text) };
    Output::publish(path, text + "\n").map_err(|e| Error::write(path, e))
}

/// Loads a program file, refuses what it is predicted to need too much memory for, and builds its
/// context: the tables of a large ring take memory themselves.
fn admitted(
    engine: &Arc<Engine>,
    path: &Path,
    allow_insecure: bool,
    args: &crate::args::MemoryArgs,
    task: impl FnOnce(&Program) -> Result<Task, Error>,
) -> Result<Session, Error> {
    let file = chiffre_ir::program::file::load(path)?;
    admit_task(&file.program, task(&file.program)?, engine.threads(), args.memory)?;
    Session::on(engine.clone(), file, allow_insecure).map_err(Error::from)
}

/// Loads a program file and builds its context.
fn session(engine: &Arc<Engine>, path: &Path, allow_insecure: bool) -> Result<Session, Error> {
    let file = chiffre_ir::program::file::load(path)?;
    Session::on(engine.clone(), file, allow_insecure).map_err(Error::from)
}

/// The number of images that an encrypted file says it holds, within what the program takes;
/// whoever reads the file checks it.
fn images_in(p: &Program, path: &Path, kind: &str) -> Result<usize, Error> {
    let batch = p.header.batch;
    let said = Reader::peek(path, kind)?.get("images").and_then(|n| n.parse().ok());
    Ok(said.map_or(batch, |n: usize| n.clamp(1, batch)))
}

/// How to read DATA for a program.
fn program_data_options(
    s: &Session,
    path: &Path,
    args: &crate::args::NormalisationArgs,
    count: Option<std::num::NonZeroUsize>,
) -> Result<chiffre::data::DataOptions, Error> {
    let shape = s.input_layout()?.shape;
    let named = s.program().header.normalisation.as_deref();
    let normalisation = args.or(named).map_err(|e| Error::input(format!("{}: {e}", path.display())))?;
    Ok(chiffre::data::DataOptions { shape, normalisation, count: count.map(std::num::NonZeroUsize::get) })
}

/// The images that a program takes.
fn images(s: &Session, files: &[PathBuf], options: &chiffre::data::DataOptions) -> Result<chiffre::data::Images, Error> {
    chiffre::data::load_inputs(files, &s.file.interface.inputs, options)
}

/// Files as a message names them.
fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The compiler's request from the command line.
fn request(args: &crate::args::CompilerArgs, model: &chiffre_frontend::Model) -> Result<chiffre::pipeline::Request, Error> {
    let mut options = CompileOptions {
        batch: args.batch.map_or(64, std::num::NonZeroUsize::get),
        log_n: args.log_n,
        memory: args.memory.map(|m| usize::try_from(m).unwrap_or(usize::MAX)),
        allow_insecure: args.allow_insecure,
        bootstrap: BootstrapWish { weight: args.ephemeral_weight, log2_failure: args.failure_bits.map(|b| -f64::from(b)) },
        activations: activations(args, model)?,
        ..CompileOptions::default()
    };
    let passes = tfhe::answered(args, &mut options)?.or_else(|| args.passes.clone());
    Ok(chiffre::pipeline::Request {
        options,
        cost: args.machine.as_deref().map_or(Ok(chiffre_backend::cost::CostModel::default()), chiffre::machine::load)?,
        passes,
        dumps: args.dump_ir.clone(),
        normalisation: normalisation(model, &args.normalisation)?.map(|n| n.to_string()),
        input_range: args.input_range,
    })
}

/// What the command line says about activations, with the calibration images.
fn activations(args: &crate::args::CompilerArgs, model: &chiffre_frontend::Model) -> Result<ActivationOptions, Error> {
    let load = || -> Result<Arc<CalibrationSet>, Error> {
        let options = data_options(model, &args.normalisation, args.calibrate_count)?;
        let images = chiffre::data::load_inputs(&args.calibrate, &model.inputs, &options)?;
        if images.n < FEW_IMAGES {
            tracing::warn!("{} calibration images are few: ranges of other images may differ (500 and more are better)", images.n);
        }
        Ok(Arc::new(CalibrationSet { n: images.n, images: images.pixels, labels: images.labels }))
    };
    Ok(ActivationOptions {
        degree: args.activation_degree.map(|d| d as usize),
        target: if args.accurate { AccuracyTarget::ACCURATE } else { AccuracyTarget::Loss(args.accuracy_loss / 100.0) },
        calibration: if args.calibrate.is_empty() { None } else { Some(load()?) },
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
