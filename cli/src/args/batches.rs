//! Arguments about many encrypted batches.

use chiffre::batches::Shard;
use chiffre::memory::parse_bytes;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

/// Where many batches lie, and which of them this process runs: arguments of `run`.
#[derive(Debug, Args)]
pub struct ManyArgs {
    /// Many encrypted batches instead of one: a folder (its files *.ct), or a text file with a path
    /// in each line
    #[arg(long, value_name = "DIR|LIST", requires = "outputs")]
    pub inputs: Option<PathBuf>,
    /// The folder for their encrypted answers, each under the name of its batch; batches that have
    /// one are not run again
    #[arg(long, value_name = "DIR", requires = "inputs")]
    pub outputs: Option<PathBuf>,
    /// Run every N-th of the batches only, from the I-th on (0/4 to 3/4 are all); `auto` takes both
    /// from the variables of a Slurm array (SLURM_ARRAY_TASK_ID and its _COUNT, _MIN, _STEP) or of
    /// an indexed Kubernetes job (JOB_COMPLETION_INDEX, and JOB_COMPLETIONS, which the job has to
    /// set) [default: auto where such a variable is set, else all]
    #[arg(long, value_name = "I/N|auto", requires = "inputs")]
    pub shard: Option<ShardArg>,
}

/// The value of `--shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardArg {
    /// As the scheduler's variables say.
    Auto,
    /// This one.
    Fixed(Shard),
}

impl FromStr for ShardArg {
    type Err = String;
    fn from_str(text: &str) -> Result<ShardArg, String> {
        if text == "auto" { Ok(ShardArg::Auto) } else { text.parse().map(ShardArg::Fixed) }
    }
}

/// Commands about many batches.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Say which batches have their answers, which are missing, and which were set aside, with the
    /// error; exits with 0 if all have one
    Status(StatusArgs),
}

/// Arguments of `batch status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The encrypted batches: a folder (its files *.ct), or a text file with a path in each line
    #[arg(long, value_name = "DIR|LIST")]
    pub inputs: PathBuf,
    /// The folder of their encrypted answers
    #[arg(long, value_name = "DIR")]
    pub outputs: PathBuf,
    /// Print one JSON object, with the state of every batch
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `plan-cluster`.
#[derive(Debug, Args)]
pub struct PlanClusterArgs {
    /// The program
    #[arg(value_name = "P.chf")]
    pub program: PathBuf,
    /// Images in all, as a number: 1000000 or 1e6
    #[arg(long, value_name = "IMAGES", value_parser = parse_count)]
    pub images: NonZeroUsize,
    /// Workers: processes that run one batch after the other
    #[arg(long, value_name = "N", required_unless_present = "deadline", conflicts_with = "deadline")]
    pub workers: Option<NonZeroUsize>,
    /// Find the least number of workers with which everything is done within this time: 90min, 4h,
    /// 2d or 3600s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub deadline: Option<f64>,
    /// Threads of each worker
    #[arg(long, value_name = "N", default_value = "2")]
    pub threads: NonZeroUsize,
    /// Unit times of the workers, written by `measure-machine` there [default: two Zen 4 cores]
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Measured time of a run on a full batch, instead of the predicted one
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub run: Option<f64>,
    /// Measured time of a preparation (keys read and expanded), instead of the predicted one
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub prepare: Option<f64>,
    /// Bytes a second that each worker reads from the store or writes to it
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "100MiB")]
    pub bandwidth: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A count, also as `1e6`.
fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && (1.0..=1e15).contains(x));
    number.and_then(|x| NonZeroUsize::new(x as usize)).ok_or_else(|| "give a whole number of images, like 1000000 or 1e6".into())
}

/// A time in seconds, from `90min`, `4h`, `2d`, `12.5s` or a number of seconds.
fn parse_time(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "" | "s" => Some(1.0),
        "min" | "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86400.0),
        _ => None,
    };
    let seconds = number.trim().parse::<f64>().ok().zip(unit).map(|(n, u)| n * u);
    seconds.filter(|s| s.is_finite() && *s > 0.0).ok_or_else(|| "give a time with s, min, h or d, like 90min or 4h".into())
}
