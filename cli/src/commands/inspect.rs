//! `chiffre inspect`.

use crate::args::{Format, InspectArgs, Stage};
use chiffre::overview::Overview;
use chiffre::{Error, clear, survey};
use chiffre_ir::graph::{Dialect, Graph, Op};
use chiffre_ir::he::He;
use chiffre_ir::output::Output;
use chiffre_ir::packed::Packed;
use chiffre_ir::program::Prog;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::Tensor;
use chiffre_ir::text;
use chiffre_passes::activation::degree::Accuracy;
use serde_json::{Value, json};
use std::path::Path;

/// Prints a program's summary or one of its IRs.
pub(super) fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let file = chiffre_ir::program::file::load(&args.program)?;
    if let Some(path) = &args.html {
        return Output::publish(path, chiffre::page::html(&Overview::of(&file))).map_err(|e| Error::write(path, e));
    }
    let Some(stage) = args.stage else {
        return match args.form() {
            Format::Text => super::print(
                Overview::of(&file).summary() + &ports(&file) + &activation_table(&file, &args.program)? + &section_table(&file)?,
            ),
            Format::Json => {
                let mut overview = serde_json::to_value(Overview::of(&file)).map_err(Error::failed)?;
                overview["activations"] = json!(clear::certificate(&file, &args.program)?);
                overview["interface"] = json!(file.interface);
                overview["accuracy"] = json!(accuracy(&file, &args.program)?);
                let h = &file.program.header;
                (overview["input_range"], overview["calibrated"]) = (json!(h.input_range), json!(h.calibrated));
                overview["sections"] = json!(chiffre_client::sections(&file.program)?.list());
                super::print(overview)
            }
            Format::Dot => super::print(dot(&file.program)),
        };
    };
    let source = match stage {
        Stage::Program => text::print(&*file.program),
        Stage::Tensor => stage_text(&file, "tensor", &args.program)?,
        Stage::Packed => stage_text(&file, "packed", &args.program)?,
        Stage::He => stage_text(&file, "he", &args.program)?,
    };
    match args.form() {
        Format::Text => super::print(source.trim_end()),
        format => match stage {
            Stage::Tensor => other::<Tensor>(&source, format, &args.program),
            Stage::Packed => other::<Packed>(&source, format, &args.program),
            Stage::He => other::<He>(&source, format, &args.program),
            Stage::Program => other::<Prog>(&source, format, &args.program),
        },
    }
}

/// Inputs and outputs by name, a line for each.
fn ports(file: &ProgramFile) -> String {
    survey::ports(&file.interface).into_iter().map(|line| format!("\n{line}")).collect()
}

/// What the answers to the calibration images lose by the approximated activations of a program
/// read from `path`, if that was measured.
fn accuracy(file: &ProgramFile, path: &Path) -> Result<Option<Accuracy>, Error> {
    let read = |text: &String| serde_json::from_str(text).map_err(|e| Error::input_in(path, format!("accuracy: {e}")));
    file.stages.get("accuracy").map(read).transpose()
}

/// The certificate as a table, one line per activation, with a heading; empty without approximated
/// activations.
fn activation_table(file: &ProgramFile, path: &Path) -> Result<String, Error> {
    let nodes = clear::certificate(file, path)?;
    if nodes.is_empty() {
        return Ok(String::new());
    }
    let lost = accuracy(file, path)?.map(|a| format!("\naccuracy     {a}: simulated on the calibration images"));
    let mut s = lost.unwrap_or_default();
    s.push_str(
        "\n\nactivations  errors as shares of half a channel's range, the worst channel's; noise of the operand (radians behind a bootstrap)",
    );
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

/// What images can do to others, section by section, with a heading: computed from the
/// instructions.
fn section_table(file: &ProgramFile) -> Result<String, Error> {
    let h = &file.program.header;
    let range = match &h.input_range {
        None => "any input".to_string(),
        Some(range) => format!("inputs of {}", range.iter().map(|[lo, hi]| format!("{lo:.3} … {hi:.3}")).collect::<Vec<_>>().join(", ")),
    };
    let sections = chiffre_client::sections(&file.program)?;
    let open = sections.list().iter().filter(|s| !s.proven).count();
    let verdict = match open {
        0 => "no image disturbs others".to_string(),
        n => format!("not proven for {n} of {}: `encrypt` runs every image in the clear up to there", sections.list().len()),
    };
    let mut s =
        format!("\n\nsections     for {range}: {verdict}\n  end        largest value       most  adds to others   allowed  proven  node");
    for section in sections.list() {
        let most = section.most.map_or("-".to_string(), |most| format!("{most:.0}"));
        s += &format!(
            "\n  {:<9} {:>14.3e} {most:>10} {:>15.1e} {:>9.1e}  {:<6}  {}",
            if section.bootstrap { "bootstrap" } else { "output" },
            section.largest,
            section.spill,
            section.allowed,
            if section.proven { "yes" } else { "no" },
            section.node
        );
    }
    Ok(s)
}

/// The text of a level that the program file at `path` holds beside its program.
fn stage_text(file: &ProgramFile, name: &str, path: &Path) -> Result<String, Error> {
    file.stages.get(name).cloned().ok_or_else(|| Error::input(format!("{} does not hold its {name} IR", path.display())))
}

pub(super) fn other<D: Dialect>(source: &str, format: Format, path: &Path) -> Result<(), Error> {
    let g: Graph<D> = text::parse(source).map_err(|e| Error::input(format!("{}: stored IR: {e}", path.display())))?;
    if format == Format::Dot { super::print(dot(&g)) } else { super::print(graph_json(&g)) }
}

pub(super) fn graph_json<D: Dialect>(g: &Graph<D>) -> Value {
    let nodes: Vec<Value> = g
        .iter()
        .map(|(v, n)| json!({"value": v.0, "op": n.op.info().mnemonic, "args": n.args.iter().map(|a| a.0).collect::<Vec<_>>(), "type": n.ty.to_string(), "node": n.source}))
        .collect();
    json!({"level": D::NAME, "name": g.name, "nodes": nodes, "outputs": g.outputs.iter().map(|o| o.0).collect::<Vec<_>>()})
}

/// The graph for Graphviz.
pub(super) fn dot<D: Dialect>(g: &Graph<D>) -> String {
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
