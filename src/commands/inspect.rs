//! `chiffre inspect`.

use crate::Error;
use crate::cli::{Format, InspectArgs, Stage};
use crate::pipeline::{linear_shape, memory_plan};
use crate::report::human_bytes;
use crate::view::View;
use chiffre_backend::predict::{Work, work_of};
use chiffre_ir::graph::{Dialect, Graph, Op};
use chiffre_ir::he::He;
use chiffre_ir::packed::Packed;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::program::{Prog, Program, ProgramOp};
use chiffre_ir::tensor::{CertifiedNode, Tensor};
use chiffre_ir::text;
use serde_json::{Value, json};

/// Prints a program's summary or one of its IRs.
pub(super) fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let file = chiffre_ir::program::file::load(&args.program).map_err(super::container_error)?;
    if let Some(path) = &args.html {
        return std::fs::write(path, crate::page::html(&View::of(&file))).map_err(|e| Error::write(path, e));
    }
    let Some(stage) = args.stage else {
        return match args.form() {
            Format::Text => super::print(summary(&file.program) + &activation_table(&file)?),
            Format::Json => {
                let mut view = serde_json::to_value(View::of(&file)).map_err(Error::failed)?;
                view["activations"] = json!(certificate(&file)?);
                super::print(view)
            }
            Format::Dot => super::print(dot(&file.program)),
        };
    };
    let source = match stage {
        Stage::Program => text::print(&*file.program),
        Stage::Tensor => stage_text(&file, "tensor")?,
        Stage::Packed => stage_text(&file, "packed")?,
        Stage::He => stage_text(&file, "he")?,
    };
    match args.form() {
        Format::Text => super::print(source.trim_end()),
        format => match stage {
            Stage::Tensor => other::<Tensor>(&source, format),
            Stage::Packed => other::<Packed>(&source, format),
            Stage::He => other::<He>(&source, format),
            Stage::Program => other::<Prog>(&source, format),
        },
    }
}

/// The approximated activations of a program; none in a program without them.
pub(super) fn certificate(file: &ProgramFile) -> Result<Vec<CertifiedNode>, Error> {
    let read = |text: &String| serde_json::from_str(text).map_err(|e| Error::input(format!("the program's certificate: {e}")));
    file.stages.get("certificate").map_or(Ok(vec![]), read)
}

/// The certificate as a table, one line per activation, with a heading; empty without approximated activations.
fn activation_table(file: &ProgramFile) -> Result<String, Error> {
    let nodes = certificate(file)?;
    if nodes.is_empty() {
        return Ok(String::new());
    }
    let mut s = String::from("\n\nactivations  errors as shares of a channel's range, the worst channel's");
    s += "\n  function         degree  bootstrap  channels  calibrated range      margin  rms error  largest  outside    noise    node";
    for n in &nodes {
        let c = &n.certificate;
        let range = format!("{:.3} … {:.3}", c.range[0], c.range[1]);
        s += &format!(
            "\n  {:<16} {:>6}  {:<9} {:>9}  {range:<20} {:>7}  {:>9.1e}  {:>7.1e}  {:>7.1e}  {:>7.1e}    {}",
            c.function,
            n.degree,
            if n.refresh { "yes" } else { "no" },
            n.channels[0],
            c.margin,
            c.rms,
            c.max,
            c.outside,
            n.noise,
            n.node
        );
    }
    Ok(s)
}

fn stage_text(file: &ProgramFile, name: &str) -> Result<String, Error> {
    file.stages.get(name).cloned().ok_or_else(|| Error::input(format!("the program file does not hold its {name} IR")))
}

fn other<D: Dialect>(source: &str, format: Format) -> Result<(), Error> {
    let g: Graph<D> = text::parse(source).map_err(|e| Error::input(format!("stored IR: {e}")))?;
    if format == Format::Dot { super::print(dot(&g)) } else { super::print(graph_json(&g)) }
}

fn graph_json<D: Dialect>(g: &Graph<D>) -> Value {
    let nodes: Vec<Value> = g
        .iter()
        .map(|(v, n)| json!({"value": v.0, "op": n.op.info().mnemonic, "args": n.args.iter().map(|a| a.0).collect::<Vec<_>>(), "type": n.ty.to_string(), "node": n.source}))
        .collect();
    json!({"level": D::NAME, "name": g.name, "nodes": nodes, "outputs": g.outputs.iter().map(|o| o.0).collect::<Vec<_>>()})
}

/// The graph for Graphviz.
fn dot<D: Dialect>(g: &Graph<D>) -> String {
    let mut s = format!("digraph \"{}\" {{\n  node [shape=box, fontname=\"monospace\"];\n", g.name.replace('"', "'"));
    for (v, n) in g.iter() {
        let label = format!("%{} {}\\n{}\\n{}", v.0, n.op.info().mnemonic, n.source.replace(['"', '\\'], "'"), n.ty);
        s += &format!("  n{} [label=\"{label}\"];\n", v.0);
        for a in &n.args {
            s += &format!("  n{} -> n{};\n", a.0, v.0);
        }
    }
    s + "}"
}

struct Facts {
    linears: usize,
    products: usize,
    rotations: usize,
    switching: usize,
    layout: String,
    units: String,
}

fn facts(p: &Program) -> Facts {
    let count = |f: fn(&ProgramOp) -> bool| p.nodes.iter().filter(|n| f(&n.op)).count();
    let keys = p.keys();
    let mut unit_batches: Vec<usize> = p.nodes.iter().map(|n| n.ty.layout.unit_batch()).collect();
    unit_batches.dedup();
    Facts {
        units: unit_batches.iter().map(usize::to_string).collect::<Vec<_>>().join(" → "),
        linears: count(|o| matches!(o, ProgramOp::Linear { .. })),
        products: count(|o| matches!(o, ProgramOp::Mul { .. } | ProgramOp::Square { .. })),
        rotations: keys.iter().filter(|(u, _)| u.rotation_offset(p.header.log_n as u32).is_some()).count(),
        switching: keys.len(),
        layout: p.nodes.first().map(|n| n.ty.layout.to_string()).unwrap_or_default(),
    }
}

/// Counted work for one image of a full batch.
struct WorkPerImage {
    /// (ciphertext, rotation) pairs, hoisted.
    rotations: f64,
    /// Conjugations and relinearisations.
    switches: f64,
    /// Transforms of one limb.
    transforms: f64,
    /// Products of one word with a weight.
    macs: f64,
}

fn work(p: &Program) -> WorkPerImage {
    let per = 1.0 / p.header.batch as f64;
    let total: chiffre_passes::cost::Counts = crate::pipeline::counts(p, p.header.batch).into_iter().sum();
    let (mut rotations, mut switches) = (0, 0);
    for (n, f) in p.nodes.iter().zip(p.flow(p.header.batch)) {
        match work_of(p, n) {
            Some(w @ Work::Linear { .. }) => rotations += f.units * linear_shape(&w).map_or(0, |s| s.rotations()),
            Some(Work::Product { cts, complex, .. }) => switches += f.units * cts * if complex { 2 } else { 1 },
            Some(Work::Series { .. }) | None => {}
        }
    }
    WorkPerImage { rotations: rotations as f64 * per, switches: switches as f64 * per, transforms: total.ntt * per, macs: total.mac * per }
}

/// What a program says of its bootstraps.
fn bootstraps(p: &Program) -> String {
    let Some(b) = &p.header.bootstrap else { return "no bootstraps".into() };
    let count = crate::pipeline::bootstraps(p, p.header.batch);
    format!(
        "{count} bootstraps ({:.2} per image) under an ephemeral secret of weight {}, at most 2^{:.0} that one of them fails",
        count as f64 / p.header.batch as f64,
        b.weight,
        b.log2_failure_of_run(count.max(1) as f64)
    )
}

/// The summary of a program: sixteen lines.
pub fn summary(p: &Program) -> String {
    let (f, h, m) = (facts(p), &p.header, memory_plan(p, p.header.batch));
    let log_q: f64 = h.q.iter().map(|&q| (q as f64).log2()).sum();
    let security = match chiffre_ckks::security::max_log_qp(h.log_n as u32) {
        _ if h.insecure => "below 128 bits: for tests only".to_string(),
        Some(max) => {
            format!("{} bits (log2 QP {:.0} of {max})", chiffre_ckks::security::security_bits(h.log_n as u32, p.log_qp()), p.log_qp())
        }
        None => "not in the table".into(),
    };
    let last = p.outputs.first().map(|o| p.ty(*o));
    let w = work(p);
    [
        format!("network      {}", p.name),
        format!("ring         N = 2^{}, {} slots", h.log_n, 1usize << (h.log_n - 1)),
        format!("chain        {} primes, log2 Q = {log_q:.0}, {} special primes", h.q.len(), h.p.len()),
        format!("security     {security}"),
        format!("depth        {} levels, {}", h.q.len() - 1, bootstraps(p)),
        format!("batch        {} images; {} steps, units of {} images, {} at a time", h.batch, p.steps(h.batch).len(), f.units, h.tile),
        format!("input        {}", f.layout),
        format!("output       {}", last.map(|t| t.layout.to_string()).unwrap_or_default()),
        format!("instructions {} linear maps, {} products", f.linears, f.products),
        format!(
            "keys         {} ({} rotation keys), {} on disk, {} in memory",
            f.switching,
            f.rotations,
            human_bytes(p.key_bytes() as u64 / 2),
            human_bytes(m.keys as u64)
        ),
        format!(
            "work         per image: {:.1} rotations, {:.1} key switches of products, {:.0} transforms, {:.2}·10^9 multiply-accumulates",
            w.rotations,
            w.switches,
            w.transforms,
            w.macs / 1e9
        ),
        format!("constants    {}", human_bytes(m.constants as u64)),
        format!("memory       {} predicted peak of `run`", human_bytes(m.peak() as u64)),
        format!(
            "time         {:.1} s predicted ({:.3} s per image)",
            h.predicted_us as f64 / 1e6,
            h.predicted_us as f64 / 1e6 / h.batch as f64
        ),
        format!("pixels       {}", h.normalisation.as_deref().unwrap_or("not stated")),
        format!("model        {}", h.model),
    ]
    .join("\n")
}
