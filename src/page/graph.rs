//! The network as a drawing: one box per instruction, in rows by depth, with ONNX names.

use super::chart::{swatch, tail};
use super::{escape, region, seconds};
use crate::overview::{Instruction, Overview};
use std::fmt::Write;

const WIDTH: usize = 250;
const HEIGHT: usize = 46;
const GAP: [usize; 2] = [24, 30];
/// Rows of a column.
const ROWS: usize = 15;
/// Room for edges beside a column.
const BETWEEN: usize = 70;
/// Lanes for edges into other columns, in the room beside a column.
const LANES: usize = 4;

/// A box of the drawing.
pub(super) struct Drawn<'a> {
    /// The row of the table that it leads to.
    pub value: u32,
    /// What decides its colour.
    pub kind: &'static str,
    pub op: &'a str,
    /// ONNX node.
    pub node: &'a str,
    /// Boxes that it reads.
    pub args: Vec<u32>,
    /// Predicted time.
    pub seconds: f64,
    /// What stands below the name.
    pub line: String,
}

/// Row of each box: one more than the deepest that it reads.
fn rows(nodes: &[Drawn]) -> Vec<usize> {
    let mut out: Vec<usize> = vec![];
    for n in nodes {
        out.push(n.args.iter().map(|a| out[*a as usize] + 1).max().unwrap_or(0));
    }
    out
}

/// The kind of an instruction, which decides its colour and its word.
pub(super) fn kind(n: &Instruction) -> &'static str {
    match n.op {
        "linear" => "linear",
        "square" | "mul" | "chebyshev" => "product",
        "refresh" => "refresh",
        _ => "input",
    }
}

/// Where an instruction is drawn.
struct Position {
    column: usize,
    x: usize,
    y: usize,
}

/// Places of all boxes, and width and height of the drawing.
fn positions(nodes: &[Drawn]) -> (Vec<Position>, [usize; 2]) {
    let rows = rows(nodes);
    // How many boxes share a row; rows are folded into columns.
    let mut used = vec![0usize; rows.iter().max().map_or(0, |r| r + 1)];
    let mut beside = vec![];
    for &r in &rows {
        beside.push(used[r]);
        used[r] += 1;
    }
    let wide = used.iter().copied().max().unwrap_or(1) * (WIDTH + GAP[0]) + BETWEEN;
    let one = |(r, k): (&usize, usize)| Position {
        column: r / ROWS,
        x: 10 + r / ROWS * wide + k * (WIDTH + GAP[0]),
        y: 20 + r % ROWS * (HEIGHT + GAP[1]),
    };
    let all = rows.iter().zip(beside).map(one).collect();
    (all, [used.len().div_ceil(ROWS) * wide + 10, used.len().min(ROWS) * (HEIGHT + GAP[1]) + 10])
}

/// The line from one box to another; `lane` keeps those apart that lead into other columns.
fn edge(from: &Position, to: &Position, lane: usize) -> String {
    let (right, middle, target) = (from.x + WIDTH, from.y + HEIGHT / 2, to.y + HEIGHT / 2);
    let turn = right + GAP[0] + BETWEEN - 12 - lane % LANES * 8;
    if to.column == from.column + 1 {
        format!("M{right} {middle} H{turn} V{target} H{}", to.x)
    } else if to.column != from.column {
        // Over the columns between.
        let (top, into) = (4 + lane % LANES * 3, to.x - 8);
        format!("M{right} {middle} H{turn} V{top} H{into} V{target} H{}", to.x)
    } else if to.y - from.y > HEIGHT + GAP[1] {
        // Around the boxes between.
        let side = right.max(to.x + WIDTH) + BETWEEN - 20;
        format!("M{right} {middle} C{side} {middle} {side} {target} {} {target}", to.x + WIDTH)
    } else {
        format!("M{} {} L{} {}", from.x + WIDTH / 2, from.y + HEIGHT, to.x + WIDTH / 2, to.y)
    }
}

/// The drawing with its caption.
pub(super) fn section(v: &Overview) -> String {
    let drawn = |n: &Instruction| {
        let [c, h, w] = n.shape;
        let merges = if n.merges > 1 { format!(", merges {}", n.merges) } else { String::new() };
        (kind(n), format!("{} · {c}×{h}×{w} · {} limbs{merges}", n.op, n.limbs))
    };
    let each = v.nodes.iter().map(|n| {
        let (kind, line) = drawn(n);
        Drawn { value: n.value, kind, op: n.op, node: &n.node, args: n.args.clone(), seconds: n.predicted_s, line }
    });
    let mut legend = swatch("linear", "linear maps") + &swatch("product", "products and series");
    if v.bootstraps > 0 {
        legend += &swatch("refresh", "bootstraps");
    }
    drawing(&v.name, "instructions", &each.collect::<Vec<_>>(), &legend)
}

/// Boxes with edges, and a caption that begins with a legend.
pub(super) fn drawing(name: &str, what: &str, nodes: &[Drawn], legend: &str) -> String {
    let (at, [w, h]) = positions(nodes);
    let mut s = format!(
        "<svg id=\"network-graph\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"group\" aria-labelledby=\"network-graph-title network-graph-desc\">\n\
         <title id=\"network-graph-title\">Graph of the network {}</title>\n<desc id=\"network-graph-desc\">{} {what}; each leads to its row in the table of layers.</desc>\n",
        escape(name),
        nodes.len()
    );
    let mut lane = 0;
    for (n, to) in nodes.iter().zip(&at) {
        for from in n.args.iter().filter_map(|a| at.get(*a as usize)) {
            let _ = writeln!(s, "<path class=\"edge\" d=\"{}\"/>", edge(from, to, lane));
            lane += usize::from(from.column != to.column);
        }
    }
    for (n, Position { x, y, .. }) in nodes.iter().zip(&at) {
        let label = if n.node.is_empty() { n.op } else { n.node };
        let _ = writeln!(
            s,
            "<a href=\"#layer-{}\" class=\"node {}\"><title>{} ({}): {}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text><text class=\"faint\" x=\"{}\" y=\"{}\">{}</text></a>",
            n.value,
            n.kind,
            escape(label),
            n.op,
            seconds(n.seconds),
            x + 8,
            y + 19,
            escape(&tail(label, 32)),
            x + 8,
            y + 36,
            n.line
        );
    }
    format!(
        "<figure>\n{}<figcaption>{legend}<br>From top to bottom, then in the next column. Enter or click on a box leads to its row in the table of layers.</figcaption>\n</figure>\n",
        region("Graph of the network", &(s + "</svg>\n"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(row: usize) -> Position {
        Position { column: row / ROWS, x: row / ROWS * 400, y: row % ROWS * (HEIGHT + GAP[1]) }
    }

    #[test]
    fn edges_into_other_columns_use_the_room_between() {
        let next = edge(&position(14), &position(15), 1);
        assert_eq!(next, format!("M250 1087 H{} V23 H400", 250 + GAP[0] + BETWEEN - 20));
        assert!(edge(&position(14), &position(31), 0).contains(" V4 H792 "), "over the top");
        assert!(edge(&position(0), &position(1), 0).contains(" L") && edge(&position(0), &position(2), 0).contains(" C"));
    }
}
