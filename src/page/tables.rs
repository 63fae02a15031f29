//! The tables: layers and evaluation keys.

use super::chart::{Bar, bars};
use super::{escape, region, seconds};
use crate::memory::human_bytes;
use crate::overview::{KeyGroup, Overview};
use std::fmt::Write;

/// A row of header cells, opened table and body. A title that ends with `#` heads numbers.
pub(super) fn head(titles: &[&str]) -> String {
    let cells: String = titles
        .iter()
        .map(|t| match t.strip_suffix('#').filter(|t| !t.is_empty()) {
            Some(t) => format!("<th scope=\"col\" class=\"n\">{t}</th>"),
            None => format!("<th scope=\"col\">{t}</th>"),
        })
        .collect();
    format!("<table>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n")
}

/// A name that may break behind its slashes.
pub(super) fn breakable(name: &str) -> String {
    escape(name).replace('/', "/<wbr>")
}

/// A layout, broken where slots, ciphertexts and the complex bit begin.
fn layout(text: &str) -> String {
    let short = text.split(" shape=").next().unwrap_or("");
    escape(short).replace(" cts[", "<br>cts[").replace(" complex=", "<br>complex=")
}

/// The section with a row per instruction.
pub(super) fn layers(v: &Overview) -> String {
    let total: f64 = v.nodes.iter().map(|n| n.predicted_s).sum::<f64>().max(1e-12);
    let mut s = head(&[
        "#",
        "ONNX node",
        "op",
        "shape",
        "layout",
        "limbs#",
        "scale",
        "ciphertexts × units#",
        "rotations#",
        "notes",
        "predicted time#",
    ]);
    for n in &v.nodes {
        let mut notes = vec![];
        if n.merges > 1 {
            notes.push(format!("merges {} units", n.merges));
        }
        if n.refresh {
            notes.push("bootstrap".into());
        }
        let [c, h, w] = n.shape;
        let _ = writeln!(
            s,
            "<tr id=\"layer-{0}\"><td class=\"n\">{0}</td><th scope=\"row\">{1}</th><td>{2}</td><td>{c}×{h}×{w}</td><td class=\"layout\"><code>{3}</code></td><td class=\"n\">{4}</td><td><code>{5}</code></td>\
             <td class=\"n\">{6} × {7}</td><td class=\"n\">{8}</td><td>{9}</td><td class=\"n\">{10}<br>{11:.1} %</td></tr>",
            n.value,
            breakable(&n.node),
            n.op,
            layout(&n.layout),
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
    let words = "<p>Every instruction, in order. A layout says which bit of image (b), channel (c), row (y) and column (x) each bit of slot and ciphertext index stands for; <code>_</code> is a gap. \
                 Rotations are those of one unit's linear map; a bootstrap's own are not counted.</p>\n";
    words.to_string() + &region("Table of layers", &(s + "</tbody>\n</table>\n"))
}

/// What the keys of a group are for, each use once with its count.
fn uses(g: &KeyGroup) -> String {
    let mut all: Vec<(&str, usize)> = vec![];
    if !g.rotations.is_empty() {
        all.push(("rotate", g.rotations.len()));
    }
    for o in &g.others {
        match all.iter_mut().find(|(name, _)| name == o) {
            Some((_, count)) => *count += 1,
            None => all.push((o, 1)),
        }
    }
    all.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

/// The section with the evaluation keys, by shape.
pub(super) fn keys(v: &Overview) -> String {
    let mut s = head(&["limbs served#", "special primes#", "keys#", "uses", "bytes on disk#", "rotations"]);
    for g in &v.key_groups {
        let list: Vec<String> = g.rotations.iter().map(usize::to_string).collect();
        let rotations = if list.is_empty() {
            "none".into()
        } else {
            format!("<details><summary>{} rotations</summary>{}</details>", list.len(), list.join(", "))
        };
        let _ = writeln!(
            s,
            "<tr><th scope=\"row\" class=\"n\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td>{rotations}</td></tr>",
            g.limbs,
            g.special_primes,
            g.rotations.len() + g.others.len(),
            uses(g),
            human_bytes(g.bytes as u64)
        );
    }
    let words = format!(
        "<p>{} keys, {} of them for rotations: {} on disk, {} in memory.</p>\n",
        v.keys,
        v.rotation_keys,
        human_bytes(v.eval_key_bytes as u64),
        human_bytes(v.memory.keys as u64)
    );
    words + &chart(v) + &region("Table of evaluation keys", &(s + "</tbody>\n</table>\n"))
}

/// Bytes of each group, as bars.
fn chart(v: &Overview) -> String {
    let most = v.key_groups.iter().map(|g| g.bytes).max().unwrap_or(1).max(1) as f64;
    let row = |g: &KeyGroup| Bar {
        label: format!("limbs {}, special primes {}", g.limbs, g.special_primes),
        note: format!("keys {}", g.rotations.len() + g.others.len()),
        class: "linear",
        span: [0.0, g.bytes as f64 / most],
        value: human_bytes(g.bytes as u64),
    };
    let rows: Vec<Bar> = v.key_groups.iter().map(row).collect();
    let description = format!("{} groups of keys. The table below has the numbers.", rows.len());
    bars(
        "key-chart",
        ["Bytes of the evaluation keys by shape", &description],
        &rows,
        None,
        "Bytes on disk of the keys that serve so many limbs with so many special primes.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_once() {
        let g = KeyGroup { limbs: 3, special_primes: 1, rotations: vec![1, 2], others: vec!["conjugate", "to", "to"], bytes: 0 };
        assert_eq!(uses(&g), "2 × rotate, 1 × conjugate, 2 × to");
    }

    #[test]
    fn layouts_break_between_their_parts() {
        assert_eq!(layout("slots[b1] cts[c0] complex=b2 shape=1x1x1"), "slots[b1]<br>cts[c0]<br>complex=b2");
    }
}
