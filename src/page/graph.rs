//! The network as a drawing: one box per instruction, in rows by depth, with ONNX names.

use super::{escape, seconds};
use crate::view::{NodeView, View};
use std::fmt::Write;

const WIDTH: usize = 230;
const HEIGHT: usize = 46;
const GAP: [usize; 2] = [24, 30];
/// Rows of a column.
const ROWS: usize = 15;
/// Room for edges beside a column.
const BETWEEN: usize = 70;

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
    // How many instructions share a row; rows are folded into columns.
    let mut used = vec![0usize; rows.iter().max().map_or(0, |r| r + 1)];
    let mut beside = vec![];
    for &r in &rows {
        beside.push(used[r]);
        used[r] += 1;
    }
    let wide = used.iter().copied().max().unwrap_or(1) * (WIDTH + GAP[0]) + BETWEEN;
    let at: Vec<(usize, usize)> =
        rows.iter().zip(&beside).map(|(r, k)| (10 + r / ROWS * wide + k * (WIDTH + GAP[0]), 10 + r % ROWS * (HEIGHT + GAP[1]))).collect();
    let (w, h) = (used.len().div_ceil(ROWS) * wide + 10, used.len().min(ROWS) * (HEIGHT + GAP[1]) + 10);
    let mut s = format!(
        "<figure><svg id=\"network-graph\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"group\" aria-labelledby=\"network-graph-title network-graph-desc\">\n\
         <title id=\"network-graph-title\">Graph of the network {}</title>\n<desc id=\"network-graph-desc\">{} instructions; each leads to its row in the table of layers.</desc>\n",
        escape(&v.name),
        v.nodes.len()
    );
    for (n, &(x, y)) in v.nodes.iter().zip(&at) {
        for a in &n.args {
            let (ax, ay) = at[*a as usize];
            let (right, middle, target) = (ax + WIDTH, ay + HEIGHT / 2, y + HEIGHT / 2);
            let folded = rows[*a as usize] / ROWS != rows[n.value as usize] / ROWS;
            let path = if folded {
                // Into another column.
                format!("M{right} {middle} C{} {middle} {} {target} {x} {target}", right + 40, x.saturating_sub(40))
            } else if y - ay > HEIGHT + GAP[1] {
                // Around the boxes between.
                let side = right.max(x + WIDTH) + BETWEEN - 20;
                format!("M{right} {middle} C{side} {middle} {side} {target} {} {target}", x + WIDTH)
            } else {
                format!("M{} {} L{} {y}", ax + WIDTH / 2, ay + HEIGHT, x + WIDTH / 2)
            };
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
