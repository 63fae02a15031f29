//! `inspect --html`: one page about a program that works from a file, without a network.
//!
//! The page is semantic HTML with SVG charts. Every chart has a title and a description for those
//! who do not see it, and a table with the same numbers; nothing depends on colour alone or on
//! scripts (the one script lets a node of the graph lead to its row).

mod chart;
mod graph;
mod integers;
mod levels;
mod schedule;
mod security;
mod tables;

pub use integers::html as integers_html;

use crate::memory::human_bytes;
use crate::overview::Overview;
use std::fmt::Write;

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Id, title and body of a section.
type Section = (&'static str, &'static str, String);

/// The page.
pub fn html(v: &Overview) -> String {
    let lead = format!(
        "A homomorphic-encryption program: {} images a run, predicted {} and {}.",
        v.batch,
        seconds(v.predicted_run_s),
        human_bytes(v.predicted_peak_bytes as u64)
    );
    let sections = [
        ("summary", "Summary", summary(v)),
        ("network", "Network", graph::section(v)),
        ("levels", "Levels and scales over the depth", levels::section(v)),
        ("schedule", "Time and memory over the schedule", schedule::section(v)),
        ("layers", "Layers", tables::layers(v)),
        ("keys", "Rotations and evaluation keys", tables::keys(v)),
        ("security", "Security and ranges", security::section(v)),
    ];
    document(&v.name, &lead, &sections, [&v.digest, &v.model], "Times are the cost model's; <code>chiffre run --profile</code> measures.")
}

/// A page of sections about the program with a digest, from a model.
fn document(name: &str, lead: &str, sections: &[Section], [digest, model]: [&str; 2], note: &str) -> String {
    let mut s = String::with_capacity(1 << 16);
    let name = escape(name);
    let _ = write!(
        s,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{name} – Chiffre program</title>\n<style>\n{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
         <header><h1>{name}</h1><p>{lead}</p></header>\n",
        include_str!("style.css")
    );
    s += "<nav aria-label=\"Sections\"><ul>";
    for (id, title, _) in sections {
        let _ = write!(s, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    s += "</ul></nav>\n<main id=\"main\">\n";
    for (id, title, body) in sections {
        let _ = write!(s, "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>\n{body}</section>\n");
    }
    let _ = write!(
        s,
        "</main>\n<footer><p>Program <code>{}</code>, from model <code>{}</code>. {note}</p></footer>\n<script>\n{}</script>\n</body>\n</html>\n",
        escape(digest),
        escape(model),
        include_str!("script.js")
    );
    s
}

/// `12.3 s`, `4.5 ms`, `0 s`.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        0.0 => "0 s".into(),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.1} ms", s * 1e3),
    }
}

/// What scrolls to the side where the page is narrow, also by keyboard.
fn region(label: &str, body: &str) -> String {
    format!("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n{body}</div>\n", escape(label))
}

/// A definition list.
fn definitions(items: &[(&str, String)]) -> String {
    let rows: String = items.iter().map(|(k, d)| format!("<div><dt>{k}</dt><dd>{}</dd></div>\n", escape(d))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

fn depth(v: &Overview) -> String {
    match v.bootstraps {
        0 => format!("{} levels, no bootstraps", v.levels),
        n => format!("{} levels; {n} ciphertexts are bootstrapped", v.levels),
    }
}

fn instructions(v: &Overview) -> String {
    let count = |op: &str| v.nodes.iter().filter(|n| n.op == op).count();
    let mut all = vec![format!("{} linear maps", v.linear_maps)];
    let others = [(v.products, "products"), (count("chebyshev"), "series"), (count("refresh"), "bootstraps with the activation behind")];
    all.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    all.join(", ")
}

fn summary(v: &Overview) -> String {
    let units: Vec<String> = v.unit_batches.iter().map(usize::to_string).collect();
    let m = &v.memory;
    definitions(&[
        ("Ring", format!("N = 2^{}, {} slots", v.log_n, 1usize << (v.log_n - 1))),
        ("Chain", format!("{} primes and {} special primes, log2 QP = {:.0}", v.q.len(), v.p.len(), v.log_qp)),
        ("Depth", depth(v)),
        ("Batch", format!("{} images in {} steps; units of {} images, {} at a time", v.batch, v.steps, units.join(" → "), v.tile)),
        ("Instructions", instructions(v)),
        ("Time", format!("{} predicted, {} per image", seconds(v.predicted_run_s), seconds(v.predicted_run_s / v.batch as f64))),
        (
            "Memory",
            format!(
                "{} predicted: {} of ciphertexts and scratch, {} of keys, {} of constants, {} of input",
                human_bytes(v.predicted_peak_bytes as u64),
                human_bytes((m.working + m.weights) as u64),
                human_bytes(m.keys as u64),
                human_bytes(m.constants as u64),
                human_bytes(m.input as u64)
            ),
        ),
        (
            "Work per image",
            format!(
                "{:.1} rotations of linear maps, {:.1} key switches of products; with series and bootstraps {:.0} transforms, {:.2}·10^9 multiply-accumulates",
                v.per_image.rotations,
                v.per_image.product_key_switches,
                v.per_image.transforms,
                v.per_image.multiply_accumulates / 1e9
            ),
        ),
        ("Pixels", v.normalisation.clone().unwrap_or_else(|| "normalisation not stated".into())),
    ])
}
