//! What many batches take on many workers: time, bytes, and whether smaller batches end sooner.
//!
//! Workers are processes that share a store and nothing else. Each fetches keys and prepares once,
//! then takes one batch after the other: fetch, run, store. All batches take about the same time,
//! so that the last ones end together, in `batches ÷ workers` rounds, rounded up.

use crate::Error;
use crate::pipeline::predicted_seconds;
use chiffre_backend::ckks::{Task, peak};
use chiffre_backend::cost::CostModel;
use chiffre_ir::program::Program;
use serde::Serialize;

/// Bytes of seeded keys that a thread expands in a second; preparation is little else. From the
/// records of `docs/bench-log`, whose median is 110 MB.
const EXPANDED_PER_S: f64 = 110e6;
/// How much sooner smaller batches must end to be worth a word.
const WORTH: f64 = 0.95;

/// What one worker takes for a batch of a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Unit {
    /// Images of a batch.
    pub batch: usize,
    /// Seconds of a run on a batch.
    pub run_s: f64,
    /// Bytes of a batch.
    pub batch_bytes: f64,
    /// Bytes of its answer.
    pub answer_bytes: f64,
}

/// What a worker takes before its first batch, and how it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worker {
    /// Bytes of the evaluation keys.
    pub key_bytes: f64,
    /// Seconds in which it expands them, and prepares the program.
    pub prepare_s: f64,
    /// Bytes that it reads or writes in a second.
    pub bytes_per_s: f64,
    /// Memory of a run.
    pub peak_bytes: f64,
}

/// A number of images on a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Images in all.
    pub images: usize,
    /// What a batch takes.
    pub unit: Unit,
    /// Batches in all.
    pub batches: usize,
    /// Workers.
    pub workers: usize,
    /// Seconds before a worker's first batch: keys are fetched, and prepared.
    pub start_s: f64,
    /// Seconds of a batch: it is fetched and run, and its answer is stored.
    pub each_s: f64,
    /// Seconds that the batches take if workers share them without a rest.
    pub work_s: f64,
    /// Seconds more that the last batches take, while some workers have none.
    pub tail_s: f64,
    /// Seconds from the start to the last answer.
    pub total_s: f64,
    /// Share of the workers' time in which they run.
    pub efficiency: f64,
    /// Bytes of all batches.
    pub batch_bytes: f64,
    /// Bytes of all answers.
    pub answer_bytes: f64,
    /// Bytes that each worker fetches and stores in a second, on average over a batch.
    pub bytes_per_s: f64,
}

impl Plan {
    /// The plan of so many images, at least 1, on so many workers, at least 1.
    pub fn new(images: usize, unit: Unit, worker: Worker, workers: usize) -> Plan {
        let batches = images.div_ceil(unit.batch.max(1));
        let moved = unit.batch_bytes + unit.answer_bytes;
        let start_s = worker.key_bytes / worker.bytes_per_s + worker.prepare_s;
        let each_s = moved / worker.bytes_per_s + unit.run_s;
        let work_s = batches as f64 / workers as f64 * each_s;
        let rounds_s = batches.div_ceil(workers) as f64 * each_s;
        let total_s = start_s + rounds_s;
        Plan {
            images,
            unit,
            batches,
            workers,
            start_s,
            each_s,
            work_s,
            tail_s: rounds_s - work_s,
            total_s,
            efficiency: batches as f64 * unit.run_s / (workers as f64 * total_s),
            batch_bytes: batches as f64 * unit.batch_bytes,
            answer_bytes: batches as f64 * unit.answer_bytes,
            bytes_per_s: moved / each_s,
        }
    }

    /// Seconds that all workers are paid for.
    pub fn worker_s(&self) -> f64 {
        self.workers as f64 * self.total_s
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    /// So many workers.
    Workers(usize),
    /// An end after so many seconds, with as few workers as possible.
    Deadline(f64),
}

/// A program on workers of one kind.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// A worker.
    pub worker: Worker,
    /// What a full batch takes, then batches of half as many images, and so on down to one.
    pub units: Vec<Unit>,
}

impl Cluster {
    /// A program on workers with so many threads, as `cost` describes one of them, that reach the
    /// store at `bytes_per_s`. `run_s` and `prepare_s` are measured times of a full batch and of
    /// preparation, where there are some: they stand in for predictions, and times of smaller
    /// batches are scaled alike.
    pub fn of(p: &Program, cost: &CostModel, threads: usize, bytes_per_s: f64, run_s: Option<f64>, prepare_s: Option<f64>) -> Cluster {
        let (h, cost) = (&p.header, cost.on_threads(threads));
        let words = 8.0 * f64::from(1u32 << h.log_n);
        let predicted = |images: usize| predicted_seconds(p, &cost, images);
        let scale = run_s.map_or(1.0, |s| s / predicted(h.batch));
        let sizes = std::iter::successors(Some(h.batch), |&n| (n > 1).then_some(n / 2));
        let input = p.nodes.iter().find(|n| n.args.is_empty()).map(|n| &n.ty);
        let output = p.outputs.first().map(|o| &p.nodes[o.index()].ty);
        let units = sizes.map(|batch| Unit {
            batch,
            run_s: scale * predicted(batch),
            batch_bytes: input.map_or(0.0, |t| (t.layout.units_for(batch) * t.layout.unit_cts()) as f64 * (t.limbs as f64 * words + 32.0)),
            answer_bytes: output.map_or(0.0, |t| (t.layout.units_for(batch) * t.layout.unit_cts() * 2 * t.limbs) as f64 * words),
        });
        let key_bytes = p.key_bytes() as f64 / 2.0;
        let worker = Worker {
            key_bytes,
            prepare_s: prepare_s.unwrap_or(key_bytes / (EXPANDED_PER_S * threads as f64)),
            bytes_per_s,
            peak_bytes: peak(p, Task::Run(h.batch), threads) as f64,
        };
        Cluster { worker, units: units.collect() }
    }

    /// The plan for full batches, and, where that ends sooner, for the size of batches with which
    /// all images are done first. A deadline that full batches cannot keep takes the largest ones
    /// that can.
    ///
    /// # Errors
    /// A deadline that no size of batches keeps, with any number of workers.
    pub fn plan(&self, images: usize, wish: Wish) -> Result<(Plan, Option<Plan>), Error> {
        let of = |unit: &Unit, workers| Plan::new(images, *unit, self.worker, workers);
        match wish {
            Wish::Workers(workers) => {
                let full = of(&self.units[0], workers);
                let all = self.units.iter().map(|u| of(u, workers));
                let best = all.min_by(|a, b| a.total_s.total_cmp(&b.total_s)).filter(|p| p.total_s < WORTH * full.total_s);
                Ok((full, best))
            }
            Wish::Deadline(seconds) => {
                let least = |unit: &Unit| {
                    let one = of(unit, 1);
                    let rounds = ((seconds - one.start_s) / one.each_s).floor();
                    (rounds >= 1.0).then(|| of(unit, (one.batches as f64 / rounds).ceil().max(1.0) as usize))
                };
                let plan = self.units.iter().find_map(least).ok_or_else(|| {
                    let soonest = self.units.iter().map(|u| of(u, usize::MAX).total_s).fold(f64::INFINITY, f64::min);
                    Error::input(format!(
                        "no number of workers is done within {seconds} s: the smallest batch alone is there after {soonest:.1} s"
                    ))
                })?;
                Ok((plan, None))
            }
        }
    }
}
