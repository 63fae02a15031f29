//! `chiffre plan-cluster`.

use crate::args::PlanClusterArgs;
use chiffre::Error;
use chiffre::cluster::{Cluster, Plan, Wish};
use chiffre::memory::human_bytes;
use chiffre_backend::cost::CostModel;
use chiffre_ir::program::file;
use serde_json::json;

/// Prints what many images take on many workers.
pub(super) fn plan(args: &PlanClusterArgs) -> Result<(), Error> {
    let program = file::load(&args.program)?.program;
    let cost = args.machine.as_deref().map_or(Ok(CostModel::default()), chiffre::machine::load)?;
    let cluster = Cluster::of(&program, &cost, args.threads.get(), args.bandwidth as f64, args.run, args.prepare);
    let wish = match (args.workers, args.deadline) {
        (Some(n), _) => Wish::Workers(n.get()),
        (None, Some(seconds)) => Wish::Deadline(seconds),
        (None, None) => return Err(Error::input("give the number of workers (--workers) or a time (--deadline)")),
    };
    let (plan, sooner) = cluster.plan(args.images.get(), wish)?;
    if args.json {
        let worker = &cluster.worker;
        return super::print(json!({ "network": program.name, "threads": args.threads, "worker": worker, "plan": plan, "sooner": sooner }));
    }
    super::print(table(args, &program.name, &cluster, &plan) + &advice(&cluster, &plan, sooner.as_ref()))
}

fn table(args: &PlanClusterArgs, network: &str, cluster: &Cluster, plan: &Plan) -> String {
    let (unit, worker) = (&plan.unit, &cluster.worker);
    let by = |measured: Option<f64>| if measured.is_some() { "measured" } else { "predicted" };
    format!(
        "network      {network}\nimages       {} in {} batches of {}\nworkers      {} of {} threads, {} of memory each\n\
         a batch      {} ({} of it to run, {})\nstart        {} on every worker: keys of {}, then {} to prepare ({})\n\
         time         {}: {} of batches, {} until the last ones end\nworker time  {}, {:.0} % of it running\n\
         store        {} of batches, {} of answers; {}/s a worker",
        plan.images,
        plan.batches,
        unit.batch,
        plan.workers,
        args.threads,
        human_bytes(worker.peak_bytes as u64),
        time(plan.each_s),
        time(unit.run_s),
        by(args.run),
        time(plan.start_s),
        human_bytes(worker.key_bytes as u64),
        time(worker.prepare_s),
        by(args.prepare),
        time(plan.total_s),
        time(plan.work_s),
        time(plan.tail_s),
        time(plan.worker_s()),
        100.0 * plan.efficiency,
        human_bytes(plan.batch_bytes as u64),
        human_bytes(plan.answer_bytes as u64),
        human_bytes(plan.bytes_per_s as u64),
    )
}

/// What another size of batches would change.
fn advice(cluster: &Cluster, plan: &Plan, sooner: Option<&Plan>) -> String {
    let idle = plan.workers.saturating_sub(plan.batches);
    let mut said = if idle > 0 { format!("\nadvice       {idle} workers have no batch") } else { String::new() };
    let lead = |said: &str| if said.is_empty() { "\nadvice       " } else { "; " };
    if let Some(p) = sooner {
        let paid = p.worker_s() / plan.worker_s() - 1.0;
        let paid = format!("{:.0} % {} worker time", 100.0 * paid.abs(), if paid > 0.0 { "more" } else { "less" });
        said += &format!(
            "{}batches of {} are done after {}, for {paid} (encrypt --count {}; a program compiled for them may be faster still)",
            lead(&said),
            p.unit.batch,
            time(p.total_s),
            p.unit.batch
        );
    }
    if plan.unit.batch < cluster.units[0].batch {
        said +=
            &format!("{}full batches of {} would be too late: encrypt --count {}", lead(&said), cluster.units[0].batch, plan.unit.batch);
    }
    said
}

/// A time for people.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 2.0 * 3600.0 => format!("{:.1} min", s / 60.0),
        s if s < 100.0 * 3600.0 => format!("{:.2} h", s / 3600.0),
        s => format!("{:.1} d", s / 86400.0),
    }
}
