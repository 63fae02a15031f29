//! The command line's arguments. Every option's meaning is stated once, here;
//! `chiffre COMMAND --help` prints it.

use crate::progress::ProgressMode;
use chiffre::data::{Normalisation, NormalisationError};
use chiffre::memory::parse_bytes;
use chiffre_frontend::ImportOptions;
use chiffre_ir::program::LARGEST_INPUT;
use chiffre_passes::observe::Dump;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

mod batches;
mod tools;

pub use batches::*;
pub use tools::*;

/// Compile ONNX models to homomorphic-encryption programs and run them on encrypted batches.
///
/// Exit codes: 0 fine, 1 the computation failed or disagreed, 2 bad input or usage, 130 or 143 a
/// run was stopped by Ctrl-C or SIGTERM, 70 a bug of Chiffre.
#[derive(Debug, Parser)]
#[command(name = "chiffre", version)]
pub struct Cli {
    /// More log lines on stderr; twice for even more (the variable CHIFFRE_LOG takes a tracing
    /// filter)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile an ONNX model to a program
    Compile(CompileArgs),
    /// Say what the compiler makes of a model's operators, and everything that stands in its way
    Check(CheckArgs),
    /// Show a program's IR, parameters, keys, predicted time and memory, and security
    Inspect(InspectArgs),
    /// Generate the secret key and the evaluation keys of a program
    Keygen(KeygenArgs),
    /// Encrypt images
    Encrypt(EncryptArgs),
    /// Expand the evaluation keys and encode the tables of a program once, for runs that start at
    /// once
    Prepare(PrepareArgs),
    /// Run a program on encrypted images, or go on with an interrupted run; needs no secret key
    Run(RunArgs),
    /// Look after many encrypted batches
    #[command(subcommand)]
    Batch(BatchCommand),
    /// Say what many images take on many workers: time, bytes, and whether smaller batches would be
    /// done sooner
    PlanCluster(PlanClusterArgs),
    /// Decrypt the answers of a run; those of damaged ciphertexts are NaN, are named, and make it
    /// fail
    Decrypt(DecryptArgs),
    /// Run a program in the clear, with the noise model
    Simulate(SimulateArgs),
    /// Compile, encrypt, run, decrypt and compare with the clear model, in one process
    Bench(BenchArgs),
    /// Compile, encrypt, run, decrypt and check a shipped model; no input needed
    Demo(DemoArgs),
    /// Measure this machine's unit times for the cost model (ten seconds)
    #[command(alias = "calibrate-machine")]
    MeasureMachine(MeasureMachineArgs),
    /// List the compiler's passes, or describe one
    Passes(PassesArgs),
    /// Run passes on IR of any level, as text, and print the result
    Opt(OptArgs),
    /// Run IR of any level in the clear
    Interp(InterpArgs),
    /// Run a program as data owner, decrypt after every instruction, and show where precision is
    /// lost
    Debug(DebugArgs),
    /// Shrink IR on which passes fail to a small one, for a bug report
    Reduce(ReduceArgs),
}

/// What the compiler may decide: shared by `compile` and `bench`.
#[derive(Debug, Clone, Args)]
pub struct CompilerArgs {
    /// Images per encrypted batch [default: 64]
    #[arg(long, value_name = "N")]
    pub batch: Option<NonZeroUsize>,
    /// Memory the run may take, which the plan is chosen for: 16GiB, 4096MiB or bytes [default:
    /// 6GiB or the leanest plan]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Unit times written by `measure-machine` [default: two Zen 4 cores]
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Images that activation ranges are measured on; needed for activations that are not
    /// polynomials of degree 2. Of a model with several inputs NAME=DATA for each
    #[arg(long, value_name = "DATA")]
    pub calibrate: Vec<PathBuf>,
    /// Use the first C calibration images [default: all]
    #[arg(long, value_name = "C", requires = "calibrate")]
    pub calibrate_count: Option<NonZeroUsize>,
    /// The lowest and the highest input; `encrypt` refuses images with others by name [default:
    /// what 8-bit pixels can become through the normalisation]
    #[arg(long, value_name = "LO,HI", value_parser = parse_range, allow_hyphen_values = true)]
    pub input_range: Option<[f64; 2]>,
    /// Degree of the polynomials that stand in for activations [default: the least that keeps to
    /// --accuracy-loss]
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub activation_degree: Option<u32>,
    /// What approximated activations may cost on the calibration images, in percentage points: of
    /// top-1 where they have labels, else of answers that stay the same. The error of the logits,
    /// which is nearly the same on other images, may be 10 % for each point
    #[arg(long, value_name = "POINTS", default_value_t = 1.0, value_parser = parse_points, conflicts_with = "accurate")]
    pub accuracy_loss: f64,
    /// Choose the degree so that the error of the logits on the calibration images is at most 4.5 %
    /// (about 99 % of a ResNet-20's answers on other images stay the same)
    #[arg(long)]
    pub accurate: bool,
    /// What the program runs on
    #[arg(long, value_parser = targets(), default_value = "ckks")]
    pub target: String,
    /// What is computed of the output: all its values, or only the index of the largest one, of
    /// equal ones the first (tfhe programs)
    #[arg(long, value_enum, default_value_t = Answer::Values)]
    pub answer: Answer,
    /// What becomes of bits that a table has no room for, in programs of the target tfhe: they are
    /// removed, a look-up each, or stay, and a look-up may read an entry near the right one
    #[arg(long, value_enum, default_value_t = Rounding::Exact)]
    pub rounding: Rounding,
    /// Pass pipeline, as `chiffre passes` prints the default one
    #[arg(long, value_name = "SPEC")]
    pub passes: Option<String>,
    /// Non-zero coefficients of the ephemeral secret of bootstraps; more of them make a more
    /// conservative assumption and dearer bootstraps
    #[arg(long, value_name = "WEIGHT", default_value = "32", value_parser = ephemeral_weights())]
    pub ephemeral_weight: usize,
    /// Let a bootstrap of a run fail with a probability of at most 2^-BITS where that makes it
    /// cheaper [default: none can fail]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub failure_bits: Option<u32>,
    /// Print the IR to stderr before or after a pass, or after all
    #[arg(long, value_name = "after:P|before:P|all")]
    pub dump_ir: Vec<Dump>,
    /// Write the dumps as files into this folder instead, with their constants, for `opt` and
    /// `interp`
    #[arg(long, value_name = "FOLDER", requires = "dump_ir")]
    pub dump_to: Option<PathBuf>,
    /// Print the time each pass took
    #[arg(long)]
    pub time_passes: bool,
    /// Print what `minimise-products` rewrote, and by which rules, on stderr
    #[arg(long)]
    pub explain: bool,
    /// Ring degree 2^LOG_N [default: chosen by predicted time]
    #[arg(long, value_name = "LOG_N", value_parser = clap::value_parser!(u32).range(3..=17))]
    pub log_n: Option<u32>,
    /// Permit parameters below 128-bit security; for tests only
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--mean`, `--std`.
    pub normalisation: NormalisationArgs,
    /// The output that is wanted, by name, once for each; what only others need is not computed
    /// [default: all outputs of the model]
    #[arg(long, value_name = "NAME")]
    pub select_output: Vec<String>,
    #[command(flatten)]
    /// `--input-shape`.
    pub input_shape: InputShapeArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

impl CompilerArgs {
    /// What import is told.
    pub fn import(&self) -> ImportOptions {
        ImportOptions { outputs: self.select_output.clone(), ..self.input_shape.options() }
    }
}

/// `--mean` and `--std`.
#[derive(Debug, Clone, Args)]
pub struct NormalisationArgs {
    /// Channel means of (px/255-mean)/std, one or one per channel [default: from the model]
    #[arg(long, value_name = "M,…", value_delimiter = ',', allow_hyphen_values = true, requires = "std")]
    pub mean: Vec<f32>,
    /// Channel standard deviations of (px/255-mean)/std
    #[arg(long, value_name = "S,…", value_delimiter = ',', allow_hyphen_values = true, requires = "mean")]
    pub std: Vec<f32>,
}

impl NormalisationArgs {
    /// The normalisation asked for, or the model's; `None` when neither is given.
    pub fn or(&self, model: Option<&str>) -> Result<Option<Normalisation>, NormalisationError> {
        if self.mean.is_empty() && self.std.is_empty() {
            return model.map(str::parse).transpose();
        }
        Normalisation::new(self.mean.clone(), self.std.clone()).map(Some)
    }
}

/// `--input-shape`.
#[derive(Debug, Clone, Default, Args)]
pub struct InputShapeArgs {
    /// Extents of one image as the model file orders them, without the batch, where the file leaves
    /// them open
    #[arg(long, value_name = "C,H,W", value_delimiter = ',')]
    pub input_shape: Vec<NonZeroUsize>,
}

impl InputShapeArgs {
    /// What import is told.
    pub fn options(&self) -> ImportOptions {
        let given = !self.input_shape.is_empty();
        let input_shape = given.then(|| self.input_shape.iter().map(|d| d.get()).collect());
        ImportOptions { input_shape, ..ImportOptions::default() }
    }
}

/// `--threads`.
#[derive(Debug, Clone, Args)]
pub struct ThreadArgs {
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T")]
    pub threads: Option<NonZeroUsize>,
}

/// `--memory` of the commands on a program.
#[derive(Debug, Clone, Args)]
pub struct MemoryArgs {
    /// Refuse to begin if more memory is predicted: 16GiB, 4096MiB or bytes [default: what the
    /// machine, the limits of the process and those of its control groups allow]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,
}

/// `--progress`.
#[derive(Debug, Clone, Args)]
pub struct ProgressArgs {
    /// Progress on stderr: a bar on a terminal and plain lines otherwise, always plain lines, or
    /// nothing
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    pub progress: ProgressMode,
}

/// Arguments of `compile`.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// The program to write
    #[arg(short, long, value_name = "P.chf")]
    pub output: PathBuf,
    /// Inputs and outputs of the network that the model was exported from (`inputs` and `outputs`
    /// in a .npz archive): compile only if the model computes the same in the clear
    #[arg(long, value_name = "FILE.npz")]
    pub reference: Option<PathBuf>,
    #[command(flatten)]
    /// Choices of the compiler.
    pub compiler: CompilerArgs,
}

/// What a program computes of a network's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    /// All its values.
    Values,
    /// The index of the largest one.
    Argmax,
}

/// How what a look-up reads loses its lowest bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rounding {
    /// Bit by bit.
    Exact,
    /// By the noise of the look-up.
    Approximate,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    /// `--input-shape`.
    pub input_shape: InputShapeArgs,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// Level of the IR [default: a summary]
    #[arg(long, value_enum)]
    pub stage: Option<Stage>,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with_all = ["format", "dot"])]
    pub json: bool,
    /// The same as --format dot
    #[arg(long, conflicts_with = "format")]
    pub dot: bool,
    /// Write one self-contained page about the program, for a browser
    #[arg(long, value_name = "PAGE.html", conflicts_with_all = ["stage", "format", "json", "dot"])]
    pub html: Option<PathBuf>,
}

impl InspectArgs {
    /// The form asked for.
    pub fn form(&self) -> Format {
        match (self.json, self.dot) {
            (true, _) => Format::Json,
            (_, true) => Format::Dot,
            _ => self.format,
        }
    }
}

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// The secret key to write; keep it to yourself
    #[arg(long, value_name = "secret.key")]
    pub secret: PathBuf,
    /// The evaluation keys to write; the server needs them
    #[arg(long, value_name = "eval.key")]
    pub eval: PathBuf,
    /// Replace key files that are there; what is encrypted under the old key is then lost
    #[arg(long)]
    pub force: bool,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
    #[command(flatten)]
    /// `--progress`.
    pub progress: ProgressArgs,
}

/// Arguments of `encrypt`.
#[derive(Debug, Args)]
pub struct EncryptArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// The secret key
    #[arg(long, value_name = "secret.key")]
    pub secret: PathBuf,
    /// Images: .npy, .npz, .csv, a CIFAR-10/100 binary file, a PNG or JPEG file, or a folder of
    /// them; of a model with several inputs NAME=DATA for each, or one .npz with an array for each
    #[arg(long, value_name = "DATA", required = true)]
    pub input: Vec<PathBuf>,
    /// The ciphertexts to write
    #[arg(short, long, value_name = "in.ct")]
    pub output: PathBuf,
    /// The receipt to write, by which `decrypt` tells whether a result answers these images; keep
    /// it to yourself [default: OUTPUT.receipt]
    #[arg(long, value_name = "in.ct.receipt")]
    pub receipt: Option<PathBuf>,
    /// Hide an image with a known answer in every unit, so that `decrypt` finds answers to
    /// something else; takes one place of each unit, and two runs in the clear
    #[arg(long)]
    pub canary: bool,
    /// Leave out images that would harm others: those outside of the program's range of inputs, or
    /// whose values grow too large on the way. The receipt names them, and they have no answer
    /// [default: refuse the whole batch]
    #[arg(long)]
    pub skip_absurd: bool,
    /// Encrypt images whatever their values: one far out of range may take the answers of others
    /// with it, unnoticed. Saves the run in the clear that programs without bootstraps need
    #[arg(long, conflicts_with = "skip_absurd")]
    pub unscreened: bool,
    /// Encrypt the first C images [default: all]
    #[arg(long, value_name = "C")]
    pub count: Option<NonZeroUsize>,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--mean`, `--std`.
    pub normalisation: NormalisationArgs,
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
    #[command(flatten)]
    /// `--progress`.
    pub progress: ProgressArgs,
}

/// Arguments of `prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// The evaluation keys
    #[arg(long, value_name = "eval.key")]
    pub eval: PathBuf,
    /// The prepared state to write, about as large as the expanded keys
    #[arg(short, long, value_name = "server.chf")]
    pub output: PathBuf,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// The evaluation keys
    #[arg(long, value_name = "eval.key", required_unless_present = "prepared")]
    pub eval: Option<PathBuf>,
    /// What `prepare` wrote, instead of the evaluation keys
    #[arg(long, value_name = "server.chf", conflicts_with = "eval")]
    pub prepared: Option<PathBuf>,
    /// The encrypted images
    #[arg(long, value_name = "in.ct", required_unless_present = "inputs", conflicts_with = "inputs", requires = "output")]
    pub input: Option<PathBuf>,
    /// The encrypted answers to write
    #[arg(short, long, value_name = "out.ct", requires = "input")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    /// `--inputs`, `--outputs`, `--shard`.
    pub many: ManyArgs,
    /// Work that an interruption may lose, or a tenth of the work so far, if that is more: a run
    /// that is started again goes on from its last checkpoint; 0 makes one at every good moment
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub checkpoint_every: u64,
    /// Write a trace of the run for Chrome's or Perfetto's viewer
    #[arg(long, value_name = "TRACE.json", conflicts_with = "inputs")]
    pub trace: Option<PathBuf>,
    /// Print measured against predicted time per kind of operation and per ONNX node
    #[arg(long, conflicts_with = "inputs")]
    pub profile: bool,
    /// Unit times written by `measure-machine`, for --profile [default: two Zen 4 cores]
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub machine: Option<PathBuf>,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
    #[command(flatten)]
    /// `--progress`.
    pub progress: ProgressArgs,
}

/// Arguments of `decrypt`.
#[derive(Debug, Args)]
pub struct DecryptArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// The secret key
    #[arg(long, value_name = "secret.key")]
    pub secret: PathBuf,
    /// The encrypted answers
    #[arg(long, value_name = "out.ct")]
    pub input: PathBuf,
    /// The receipt of the encrypted images [default: the only file beside the answers that ends
    /// with .receipt; without one, a warning]
    #[arg(long, value_name = "in.ct.receipt")]
    pub receipt: Option<PathBuf>,
    /// Do not check which images the answers are to
    #[arg(long, conflicts_with = "receipt")]
    pub no_receipt: bool,
    /// The output to write: float32, images × values, or a table with the images' names if it ends
    /// with .csv; with .npz all outputs, by their names
    #[arg(short, long, value_name = "logits.npy")]
    pub output: PathBuf,
    /// Print the K best classes of every image, by the first output
    #[arg(long, value_name = "K")]
    pub top: Option<NonZeroUsize>,
    /// Write, instead of logits, only what may be given away: for each image, by number, its best
    /// class, or `undecided` where an error of decryption might change it (CSV). Images must have
    /// been encrypted with --canary
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["top", "no_receipt"])]
    pub share: Option<Share>,
    /// Labels that may be shared under this secret key in all; those that were are counted in
    /// SECRET.shared
    #[arg(long, value_name = "LABELS", default_value_t = 1024)]
    pub share_budget: u64,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// Images: .npy, .npz, .csv, a CIFAR-10/100 binary file, a PNG or JPEG file, or a folder of
    /// them; of a model with several inputs NAME=DATA for each, or one .npz with an array for each
    #[arg(long, value_name = "DATA", required = true)]
    pub input: Vec<PathBuf>,
    /// Compare the answers with the labels in DATA
    #[arg(long)]
    pub labels: bool,
    /// Use the first C images [default: all]
    #[arg(long, value_name = "C")]
    pub count: Option<NonZeroUsize>,
    /// Seed of the simulated noise
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Write the simulated output: float32, images × values; with .npz all outputs, by their names
    #[arg(short, long, value_name = "logits.npy")]
    pub output: Option<PathBuf>,
    /// Compare with the network that the program was compiled from, in the clear
    #[arg(long, value_name = "MODEL.onnx")]
    pub model: Option<PathBuf>,
    /// Compare with the outputs that `decrypt` wrote for the first of the images
    #[arg(long, value_name = "logits.npy")]
    pub answers: Option<PathBuf>,
    #[command(flatten)]
    /// `--input-shape`, for --model.
    pub input_shape: InputShapeArgs,
    #[command(flatten)]
    /// `--mean`, `--std`.
    pub normalisation: NormalisationArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Images: .npy, .npz, .csv, a CIFAR-10/100 binary file, a PNG or JPEG file, or a folder of
    /// them; of a model with several inputs NAME=DATA for each, or one .npz with an array for each
    #[arg(long, value_name = "DATA", required = true)]
    pub data: Vec<PathBuf>,
    /// Use the first C images [default: all]
    #[arg(long, value_name = "C")]
    pub count: Option<NonZeroUsize>,
    /// Print one JSON object as the last line; the table goes to stderr
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    /// Choices of the compiler.
    pub compiler: CompilerArgs,
    #[command(flatten)]
    /// `--progress`.
    pub progress: ProgressArgs,
}

/// Arguments of `measure-machine`.
#[derive(Debug, Args)]
pub struct MeasureMachineArgs {
    /// Where to write the figures [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    /// `--memory`.
    pub memory: MemoryArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
    #[command(flatten)]
    /// `--progress`.
    pub progress: ProgressArgs,
}

/// Arguments of `passes`.
#[derive(Debug, Args)]
pub struct PassesArgs {
    /// Describe this pass
    #[arg(value_name = "PASS")]
    pub pass: Option<String>,
}

/// The names of the targets, each with what it is.
fn targets() -> PossibleValuesParser {
    PossibleValuesParser::new(chiffre::pipeline::targets().map(|t| PossibleValue::new(t.name()).help(t.summary())))
}

/// What of answers may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Share {
    /// The best class, where it is certain
    Label,
}

/// Levels of the IR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// NCHW tensors
    Tensor,
    /// Bundles of slot vectors under a layout
    Packed,
    /// Levels, scales and keys
    He,
    /// The scheduled instructions
    Program,
}

/// Forms of `inspect`'s output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
}

/// The weights that `--ephemeral-weight` takes.
fn ephemeral_weights() -> impl TypedValueParser<Value = usize> {
    PossibleValuesParser::new(["32", "64", "128"]).try_map(|weight| weight.parse::<usize>())
}

/// `LO,HI`, within what any program takes.
fn parse_range(text: &str) -> Result<[f64; 2], String> {
    let number = |s: &str| s.trim().parse::<f64>().ok().filter(|x| x.abs() <= LARGEST_INPUT);
    let range = text.split_once(',').and_then(|(lo, hi)| Some([number(lo)?, number(hi)?]));
    range.filter(|[lo, hi]| lo < hi).ok_or_else(|| format!("give the lowest and the highest input, as in -1,1, up to {LARGEST_INPUT:e}"))
}

/// Percentage points in 0..=100.
fn parse_points(text: &str) -> Result<f64, String> {
    let points = text.parse::<f64>().ok().filter(|x| (0.0..=100.0).contains(x));
    points.ok_or_else(|| "give percentage points, a number from 0 to 100".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
