//! `inspect --html`: one page about a program that works from a file, without a network.
//!
//! The page is semantic HTML with SVG charts. Every chart has a title and a description for those who do not see it, and a table with the same
//! numbers; nothing depends on colour alone or on scripts (the one script lets a node of the graph lead to its row).

mod chart;
mod graph;

use crate::report::human_bytes;
use crate::view::View;
use std::fmt::Write;

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What writes the body of a section.
type Section = fn(&View) -> String;

/// The page.
pub fn html(v: &View) -> String {
    let mut s = String::with_capacity(1 << 16);
    let name = escape(&v.name);
    let _ = write!(
        s,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{name} – Chiffre program</title>\n<style>\n{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
         <header><h1>{name}</h1><p>A homomorphic-encryption program: {} images a run, predicted {} and {}.</p></header>\n",
        include_str!("style.css"),
        v.batch,
        seconds(v.predicted_run_s),
        human_bytes(v.predicted_peak_bytes as u64)
    );
    let sections: [(&str, &str, Section); 6] = [
        ("summary", "Summary", summary),
        ("network", "Network", |v| graph::section(v)),
        ("levels", "Levels and scales over the depth", |v| chart::levels(v)),
        ("schedule", "Time and memory over the schedule", |v| chart::schedule(v)),
        ("layers", "Layers", layers),
        ("keys", "Evaluation keys", keys),
    ];
    s += "<nav aria-label=\"Sections\"><ul>";
    for (id, title, _) in &sections {
        let _ = write!(s, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    s += "<li><a href=\"#security\">Security and ranges</a></li></ul></nav>\n<main id=\"main\">\n";
    for (id, title, body) in &sections {
        let _ =
            write!(s, "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>\n{}</section>\n", body(v));
    }
    let _ = write!(
        s,
        "<section id=\"security\" aria-labelledby=\"security-title\"><h2 id=\"security-title\">Security and ranges</h2>\n{}</section>\n</main>\n\
         <footer><p>Program <code>{}</code>, from model <code>{}</code>. Times are the cost model's; <code>chiffre run --profile</code> measures.</p></footer>\n\
         <script>\n{}</script>\n</body>\n</html>\n",
        security(v),
        escape(&v.digest),
        escape(&v.model),
        include_str!("script.js")
    );
    s
}

/// `12.3 s`, `45 ms`.
pub(crate) fn seconds(s: f64) -> String {
    if s >= 1.0 { format!("{s:.1} s") } else { format!("{:.1} ms", s * 1e3) }
}

/// A definition list.
fn definitions(items: &[(&str, String)]) -> String {
    let rows: String = items.iter().map(|(k, d)| format!("<div><dt>{k}</dt><dd>{}</dd></div>\n", escape(d))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

fn summary(v: &View) -> String {
    let units: Vec<String> = v.unit_batches.iter().map(usize::to_string).collect();
    let m = &v.memory;
    definitions(&[
        ("Ring", format!("N = 2^{}, {} slots", v.log_n, 1usize << (v.log_n - 1))),
        ("Chain", format!("{} primes and {} special primes, log2 QP = {:.0}", v.q.len(), v.p.len(), v.log_qp)),
        ("Depth", format!("{} levels, {} bootstraps", v.levels, v.bootstraps)),
        ("Batch", format!("{} images in {} steps; units of {} images, {} at a time", v.batch, v.steps, units.join(" → "), v.tile)),
        ("Instructions", format!("{} linear maps, {} products", v.linear_maps, v.products)),
        ("Time", format!("{} predicted, {} per image", seconds(v.predicted_run_s), seconds(v.predicted_run_s / v.batch as f64))),
        (
            "Memory",
            format!(
                "{} predicted: {} of ciphertexts and scratch, {} of keys, {} of constants, {} of input",
                human_bytes(v.predicted_peak_bytes as u64),
                human_bytes(m.working as u64),
                human_bytes(m.keys as u64),
                human_bytes(m.constants as u64),
                human_bytes(m.input as u64)
            ),
        ),
        (
            "Work per image",
            format!(
                "{:.1} rotations, {:.1} key switches of products, {:.0} transforms, {:.2}·10^9 multiply-accumulates",
                v.per_image.rotations,
                v.per_image.product_key_switches,
                v.per_image.transforms,
                v.per_image.multiply_accumulates / 1e9
            ),
        ),
        ("Pixels", v.normalisation.clone().unwrap_or_else(|| "normalisation not stated".into())),
    ])
}

fn layers(v: &View) -> String {
    let total: f64 = v.nodes.iter().map(|n| n.predicted_s).sum::<f64>().max(1e-12);
    let mut s = String::from(
        "<p>Every instruction, in order. A layout says which bit of image (b), channel (c), row (y) and column (x) each bit of slot and ciphertext index stands for; <code>_</code> is a gap.</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"layers-title\">\n<table>\n<thead><tr><th scope=\"col\">#</th><th scope=\"col\">ONNX node</th><th scope=\"col\">op</th>\
         <th scope=\"col\">shape</th><th scope=\"col\">layout</th><th scope=\"col\">limbs</th><th scope=\"col\">scale</th><th scope=\"col\">ciphertexts × units</th><th scope=\"col\">rotations</th>\
         <th scope=\"col\">notes</th><th scope=\"col\">predicted time</th></tr></thead>\n<tbody>\n",
    );
    for n in &v.nodes {
        let mut notes = vec![];
        if n.merges > 1 {
            notes.push(format!("merges {} units", n.merges));
        }
        if n.refresh {
            notes.push("bootstrap".into());
        }
        let [c, h, w] = n.shape;
        let layout = n.layout.split(" shape=").next().unwrap_or("");
        let _ = writeln!(
            s,
            "<tr id=\"layer-{0}\"><td>{0}</td><th scope=\"row\">{1}</th><td>{2}</td><td>{c}×{h}×{w}</td><td><code>{3}</code></td><td>{4}</td><td><code>{5}</code></td><td>{6} × {7}</td><td>{8}</td><td>{9}</td>\
             <td>{10} ({11:.1} %)</td></tr>",
            n.value,
            escape(&n.node),
            n.op,
            escape(layout),
            n.limbs,
            escape(&n.scale),
            n.ciphertexts,
            n.units,
            n.rotations,
            notes.join(", "),
            seconds(n.predicted_s),
            100.0 * n.predicted_s / total
        );
    }
    s + "</tbody>\n</table>\n</div>\n"
}

fn keys(v: &View) -> String {
    let mut s = format!(
        "<p>{} keys, {} of them for rotations: {} on disk, {} in memory.</p>\n<table>\n<thead><tr><th scope=\"col\">limbs served</th><th scope=\"col\">special primes</th><th scope=\"col\">keys</th>\
         <th scope=\"col\">bytes on disk</th><th scope=\"col\">rotations</th></tr></thead>\n<tbody>\n",
        v.keys,
        v.rotation_keys,
        human_bytes(v.eval_key_bytes as u64),
        human_bytes(v.memory.keys as u64)
    );
    for g in &v.key_groups {
        let others = if g.others.is_empty() { String::new() } else { format!(", {}", g.others.join(", ")) };
        let list: Vec<String> = g.rotations.iter().map(usize::to_string).collect();
        let rotations = if list.is_empty() {
            "none".into()
        } else {
            format!("<details><summary>{} rotations</summary>{}</details>", list.len(), list.join(", "))
        };
        let _ = writeln!(
            s,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}{others}</td><td>{}</td><td>{rotations}</td></tr>",
            g.limbs,
            g.special_primes,
            g.rotations.len() + g.others.len(),
            human_bytes(g.bytes as u64)
        );
    }
    s + "</tbody>\n</table>\n"
}

fn security(v: &View) -> String {
    let level = match v.insecure {
        true => "below 128 bits: for tests only".to_string(),
        false => format!("{} bits against classical attacks", v.security_bits),
    };
    let bound = v.max_log_qp.map_or("the table has no such ring".into(), |m| {
        format!("log2 QP = {:.1}, at most {m} for 128 bits at N = 2^{}", v.log_qp, v.log_n)
    });
    let mut items = vec![("Security", level), ("Modulus", bound)];
    if let Some(b) = &v.bootstrap {
        let count = (v.bootstraps.max(1) as f64).log2();
        items.push((
            "Bootstraps",
            format!("one fails with probability 2^{:.0} at most, any of a batch with 2^{:.0}", b.log2_failure, b.log2_failure + count),
        ));
        items.push(("Ephemeral secret", format!("{} non-zero coefficients", b.ephemeral_weight)));
    }
    let certificate = match &v.certificate {
        Some(text) => format!("<h3>Range certificate</h3>\n<pre tabindex=\"0\">{}</pre>\n", escape(text)),
        None => "<p>The file holds no range certificate: this network's activations are polynomials on all numbers, or were not calibrated.</p>\n".into(),
    };
    definitions(&items) + &certificate
}
