//! The network as a drawing: one box per instruction, in rows by depth, with ONNX names.

use super::{escape, seconds};
use crate::view::{NodeView, View};
use std::fmt::Write;

const WIDTH: usize = 230;
const HEIGHT: usize = 46;
const GAP: [usize; 2] = [24, 30];

/// Row of each instruction: one more than the deepest that it reads.
fn rows(nodes: &[NodeView]) -> Vec<usize> {
    let mut out: Vec<usize> = vec![];
    for n in nodes {
        out.push(n.args.iter().map(|a| out[*a as usize] + 1).max().unwrap_or(0));
    }
    out
}

/// The kind of an instruction, which decides its colour and its word.
pub(super) fn kind(n: &NodeView) -> &'static str {
    match n.op {
        "linear" => "linear",
        "square" | "mul" | "chebyshev" => "product",
        "refresh" => "refresh",
        _ => "input",
    }
}

/// The drawing with its caption.
pub(super) fn section(v: &View) -> String {
    let rows = rows(&v.nodes);
    let mut used = vec![0usize; rows.iter().max().map_or(0, |r| r + 1)];
    let at: Vec<(usize, usize)> = rows
        .iter()
        .map(|&r| {
            used[r] += 1;
            (10 + (used[r] - 1) * (WIDTH + GAP[0]), 10 + r * (HEIGHT + GAP[1]))
        })
        .collect();
    let columns = used.iter().copied().max().unwrap_or(1);
    let (w, h) = (columns * (WIDTH + GAP[0]) + 60, used.len() * (HEIGHT + GAP[1]) + 10);
    let mut s = format!(
        "<figure><svg id=\"network-graph\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"group\" aria-labelledby=\"network-graph-title network-graph-desc\">\n\
         <title id=\"network-graph-title\">Graph of the network {}</title>\n<desc id=\"network-graph-desc\">{} instructions; each leads to its row in the table of layers.</desc>\n",
        escape(&v.name),
        v.nodes.len()
    );
    for (n, &(x, y)) in v.nodes.iter().zip(&at) {
        for a in &n.args {
            let (ax, ay) = at[*a as usize];
            let (x1, y1, x2, y2) = (ax + WIDTH / 2, ay + HEIGHT, x + WIDTH / 2, y);
            // An edge that passes other rows goes around the boxes.
            let far = y2 - y1 > GAP[1];
            let side = if far { x1.max(x2) + WIDTH / 2 + 18 } else { (x1 + x2) / 2 };
            let path =
                if far { format!("M{x1} {y1} C{side} {} {side} {} {x2} {y2}", y1 + 20, y2 - 20) } else { format!("M{x1} {y1} L{x2} {y2}") };
            let _ = writeln!(s, "<path class=\"edge\" d=\"{path}\"/>");
        }
    }
    for (n, &(x, y)) in v.nodes.iter().zip(&at) {
        let label = if n.node.is_empty() { n.op } else { &n.node };
        let short: String = label.chars().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect();
        let [c, h, w] = n.shape;
        let merges = if n.merges > 1 { format!(", merges {}", n.merges) } else { String::new() };
        let line = format!("{} · {c}×{h}×{w} · {} limbs{merges}", n.op, n.limbs);
        let _ = writeln!(
            s,
            "<a href=\"#layer-{}\" class=\"node {}\"><title>{} ({}): {}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text><text class=\"faint\" x=\"{}\" y=\"{}\">{line}</text></a>",
            n.value,
            kind(n),
            escape(label),
            n.op,
            seconds(n.predicted_s),
            x + 8,
            y + 19,
            escape(&short),
            x + 8,
            y + 36,
        );
    }
    s + "</svg>\n<figcaption>Linear maps, products and bootstraps in the order of the data flow. Enter or click leads to the layer.</figcaption></figure>\n"
}
