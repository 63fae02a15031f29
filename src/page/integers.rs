//! The page of a program on integers: bits, tables and look-ups of every value, parameters, keys.

use super::chart::{Bar, bars, swatch};
use super::graph::{Drawn, drawing};
use super::tables::{breakable, head};
use super::{Section, definitions, document, region, seconds};
use crate::Error;
use crate::memory::human_bytes;
use chiffre_backend::cost::CostModel;
use chiffre_backend::target::{Executable, Target};
use chiffre_backend::tfhe::{Tfhe, TfheProgram, is_approximate, lookups};
use chiffre_ir::graph::{Node, Op};
use chiffre_ir::quant::file::QuantFile;
use chiffre_ir::quant::{Quant, QuantOp};
use chiffre_params::tfhe::{Decomposition, TfheParams};
use std::fmt::Write;

/// The page of a program for TFHE.
///
/// # Errors
/// A program without parameters.
pub fn html(file: &QuantFile) -> Result<String, Error> {
    let g = &file.program;
    let params = g.header.params.ok_or_else(|| Error::input("the program has no parameters"))?;
    let program = TfheProgram { graph: g.clone(), params };
    let cost = CostModel::default();
    let outline = program.outline(1);
    let times: Vec<f64> = outline.counts().into_iter().map(|c| cost.time(c, 0)).collect();
    let (run_s, bytes) = (Tfhe.cost(&program, &cost, 1), Tfhe.memory(&program, 1).peak() as u64);
    let lead = format!(
        "A program on integers for TFHE: {} look-ups an image, predicted {} and {}.",
        g.nodes.iter().map(|n| lookups(g, n)).sum::<usize>(),
        seconds(run_s),
        human_bytes(bytes)
    );
    let sections: [Section; 4] = [
        ("summary", "Summary", summary(&program, run_s, bytes)),
        ("network", "Network", network(&program, &times)),
        ("layers", "Layers", layers(&program, &times)),
        ("keys", "Parameters and evaluation keys", keys(&params)),
    ];
    Ok(document(&g.name, &lead, &sections, [&file.digest, &g.header.model], "Times are predicted; <code>chiffre bench</code> measures."))
}

fn summary(p: &TfheProgram, run_s: f64, bytes: u64) -> String {
    let g = &p.graph;
    let count = |removes: bool| {
        let of = |n: &&Node<Quant>| matches!(n.op, QuantOp::Round { .. }) == removes;
        g.nodes.iter().filter(of).map(|n| lookups(g, n)).sum::<usize>()
    };
    let security =
        if p.params.is_secure() { format!("noise for {} bits", TfheParams::SECURITY_BITS) } else { "none: for tests only".into() };
    let exactness = match is_approximate(g) {
        true => "approximate: look-ups may read entries near the right ones",
        false => "exact: decrypted integers are those of the clear run",
    };
    let failure =
        g.header.log2_failure.map_or("not stated".into(), |f| format!("a run on one image is wrong with probability 2^{f:.1} at most"));
    definitions(&[
        ("Look-ups", format!("{} in tables, {} that remove a bit", count(false), count(true))),
        ("Rounding", exactness.into()),
        ("Failure", failure),
        ("Security", security),
        ("Time", format!("{} an image predicted", seconds(run_s))),
        ("Memory", format!("{} predicted", human_bytes(bytes))),
        (
            "Evaluation keys",
            format!("{} as files, {} in memory", human_bytes(p.params.seeded_key_bytes() as u64), human_bytes(p.params.key_bytes() as u64)),
        ),
        ("Pixels", g.header.normalisation.clone().unwrap_or_else(|| "normalisation not stated".into())),
    ])
}

/// What decides the colour of a box.
fn kind(n: &Node<Quant>) -> &'static str {
    match n.op {
        QuantOp::Input {} => "input",
        QuantOp::LinearMap { .. } => "linear",
        QuantOp::Round { .. } => "product",
        QuantOp::Lookup { .. } => "refresh",
    }
}

fn network(p: &TfheProgram, times: &[f64]) -> String {
    let g = &p.graph;
    let nodes: Vec<Drawn> = g
        .iter()
        .zip(times)
        .map(|((v, n), time)| {
            let ([c, h, w], op) = (n.ty.chw(), n.op.info().mnemonic);
            let line = format!("{op} · {c}×{h}×{w} · {} bits", n.ty.bits);
            let args = n.args.iter().map(|a| a.0).collect();
            Drawn { value: v.0, kind: kind(n), op, node: &n.source, args, seconds: *time, line }
        })
        .collect();
    let legend = swatch("linear", "linear maps") + &swatch("product", "bits removed") + &swatch("refresh", "look-ups in tables");
    drawing(&g.name, "values", &nodes, &legend)
}

fn layers(p: &TfheProgram, times: &[f64]) -> String {
    let g = &p.graph;
    let total = times.iter().sum::<f64>().max(1e-12);
    let mut s = head(&["#", "ONNX node", "op", "shape", "bits#", "range#", "table#", "look-ups#", "predicted time#"]);
    for ((v, n), time) in g.iter().zip(times) {
        let ([c, h, w], [lo, hi]) = (n.ty.chw(), n.ty.range);
        let table = match &n.op {
            QuantOp::Lookup { .. } => format!("{} entries", 1usize << g.ty(n.args[0]).bits),
            QuantOp::Round { slack: Some(entries) } => format!("off by {entries} at most"),
            QuantOp::Round { slack: None } => format!("{} bits removed", g.ty(n.args[0]).bits - n.ty.bits),
            _ => String::new(),
        };
        let _ = writeln!(
            s,
            "<tr id=\"layer-{0}\"><td class=\"n\">{0}</td><th scope=\"row\">{1}</th><td>{2}</td><td>{c}×{h}×{w}</td><td class=\"n\">{3}</td><td class=\"n\">{lo} … {hi}</td>\
             <td class=\"n\">{table}</td><td class=\"n\">{4}</td><td class=\"n\">{5}<br>{6:.1} %</td></tr>",
            v.0,
            breakable(&n.source),
            n.op.info().mnemonic,
            n.ty.bits,
            lookups(g, n),
            seconds(*time),
            100.0 * time / total
        );
    }
    let words = "<p>Every value, in order. One of b bits is an integer modulo 2^(b+1); its range is what calibration images reach, with a margin.</p>\n";
    words.to_string() + &region("Table of layers", &(s + "</tbody>\n</table>\n"))
}

fn keys(p: &TfheParams) -> String {
    let digits = |d: Decomposition| format!("{} of {} bits", d.levels, d.base_log);
    let mut s = head(&["keys", "n#", "k#", "N#", "digits of the rotation#", "digits of the keyswitch#", "bytes as files#"]);
    let table = TfheParams { removal: None, ..*p };
    let tables = table.seeded_key_bytes();
    let all = [("look-ups in tables", Some(table), tables), ("look-ups that remove a bit", p.removing(), p.seeded_key_bytes() - tables)];
    let mut rows = vec![];
    let largest = p.seeded_key_bytes() as f64;
    for (name, of, size) in all.into_iter().filter_map(|(name, of, size)| Some((name, of?, size))) {
        rows.push(Bar {
            label: name.into(),
            note: String::new(),
            class: "linear",
            span: [0.0, size as f64 / largest],
            value: human_bytes(size as u64),
        });
        let _ = writeln!(
            s,
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">2^{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            of.n,
            of.k,
            of.log_n,
            digits(of.rotation),
            digits(of.keyswitch),
            human_bytes(size as u64)
        );
    }
    let chart = bars(
        "key-bytes",
        ["Bytes of evaluation keys", "A bar for each kind of key."],
        &rows,
        None,
        "A client sends them as files, with public randomness as seeds.",
    );
    chart + &region("Table of keys", &(s + "</tbody>\n</table>\n"))
}
