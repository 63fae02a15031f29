//! Arguments of the commands that look into the compiler: `opt`, `interp`, `reduce`, `debug`.

use super::{NormalisationArgs, ThreadArgs};
use chiffre::memory::parse_bytes;
use chiffre_passes::observe::Dump;
use chiffre_passes::reduce::Test;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A file with IR, and where its constants are.
#[derive(Debug, Clone, Args)]
pub struct IrFileArgs {
    /// IR as text (.tir, .pir, .hir, .prog), a program (.chf) or a model (.onnx)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// More files that hold constants, by hash: .consts, programs, .npz [always read: FILE.consts,
    /// where FILE is the text]
    #[arg(long, value_name = "FILE")]
    pub consts: Vec<PathBuf>,
}

/// What passes may decide when they are run one by one.
#[derive(Debug, Clone, Args)]
pub struct PassArgs {
    /// Passes, as in `tensor(fold-affine,compose-linear)`; `chiffre passes` lists them
    #[arg(long, value_name = "SPEC")]
    pub passes: String,
    /// Images per encrypted batch [default: that of the IR's layouts, else 64]
    #[arg(long, value_name = "N")]
    pub batch: Option<NonZeroUsize>,
    /// Ring degree 2^LOG_N [default: chosen by predicted time]
    #[arg(long, value_name = "LOG_N", value_parser = clap::value_parser!(u32).range(3..=17))]
    pub log_n: Option<u32>,
    /// Memory that plans are chosen for: 16GiB, 4096MiB or bytes
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Images that activation ranges are measured on
    #[arg(long, value_name = "DATA")]
    pub calibrate: Option<PathBuf>,
    /// Permit parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--mean`, `--std`, for calibration images.
    pub normalisation: NormalisationArgs,
}

/// Arguments of `opt`.
#[derive(Debug, Args)]
pub struct OptArgs {
    #[command(flatten)]
    /// The IR.
    pub ir: IrFileArgs,
    #[command(flatten)]
    /// The passes.
    pub passes: PassArgs,
    /// Write the result here, and its constants beside it [default: standard output]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// After every pass, compare what the network computes on random images, and read the text back
    /// (verifiers always run)
    #[arg(long)]
    pub verify_each: bool,
    /// Print the time each pass took
    #[arg(long)]
    pub time_passes: bool,
    /// Print what `minimise-products` rewrote, and by which rules, on stderr
    #[arg(long)]
    pub explain: bool,
    /// Print the IR to stderr before or after a pass, or after all
    #[arg(long, value_name = "after:P|before:P|all")]
    pub dump_ir: Vec<Dump>,
    /// Print the size of the IR after each pass
    #[arg(long)]
    pub print_stats: bool,
    /// Print the values of constants with at most this many elements
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub values: usize,
}

/// Arguments of `interp`.
#[derive(Debug, Args)]
pub struct InterpArgs {
    #[command(flatten)]
    /// The IR.
    pub ir: IrFileArgs,
    /// Images: .npy, .npz, .csv, a CIFAR-10/100 binary file, a PNG or JPEG file, or a folder of
    /// them; of a model with several inputs NAME=DATA for each, or one .npz with an array for each
    #[arg(long, value_name = "DATA", required_unless_present = "noise")]
    pub input: Vec<PathBuf>,
    /// Run on this many images of a fixed noise in [-1, 1) instead
    #[arg(long, value_name = "N", conflicts_with = "input")]
    pub noise: Option<NonZeroUsize>,
    /// Use the first C images [default: all]
    #[arg(long, value_name = "C")]
    pub count: Option<NonZeroUsize>,
    /// Write the output as float32 .npy, images × values; several outputs get a number [default:
    /// print them]
    #[arg(short, long, value_name = "OUT.npy")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    /// `--mean`, `--std`.
    pub normalisation: NormalisationArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}

/// Arguments of `reduce`.
#[derive(Debug, Args)]
pub struct ReduceArgs {
    #[command(flatten)]
    /// The IR.
    pub ir: IrFileArgs,
    #[command(flatten)]
    /// The passes.
    pub passes: PassArgs,
    /// What must go on failing: crash, verifier, differs or refused [default: however FILE fails]
    #[arg(long, value_name = "TEST")]
    pub test: Option<Test>,
    /// Most graphs that are tried
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub tries: usize,
    /// Write the result here [default: standard output]
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

/// Arguments of `debug`.
#[derive(Debug, Args)]
pub struct DebugArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// Images, as many as a batch has: .npy, .npz, .csv, a CIFAR-10/100 binary file, a PNG or JPEG
    /// file, or a folder of them; of a model with several inputs NAME=DATA for each
    #[arg(value_name = "DATA", required = true)]
    pub input: Vec<PathBuf>,
    /// The secret key; evaluation keys are made from it
    #[arg(long, value_name = "secret.key")]
    pub secret: PathBuf,
    /// Use the first C images [default: a batch]
    #[arg(long, value_name = "C")]
    pub count: Option<NonZeroUsize>,
    /// Print a JSON array with an object per instruction
    #[arg(long)]
    pub json: bool,
    /// Accept a program with parameters below 128-bit security
    #[arg(long)]
    pub allow_insecure: bool,
    #[command(flatten)]
    /// `--mean`, `--std`.
    pub normalisation: NormalisationArgs,
    #[command(flatten)]
    /// `--threads`.
    pub threads: ThreadArgs,
}
