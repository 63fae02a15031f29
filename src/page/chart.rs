//! Charts: limbs and scale over the depth, time and live memory over the schedule.

use super::graph::kind;
use super::{escape, seconds};
use crate::report::human_bytes;
use crate::view::View;
use std::fmt::Write;

const W: f64 = 1100.0;
const H: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 50.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;

fn x(part: f64) -> f64 {
    LEFT + part * (W - LEFT - RIGHT)
}

fn y(part: f64) -> f64 {
    H - BOTTOM - part * (H - TOP - BOTTOM)
}

/// Opens a chart with title, description and axes; five marks on the vertical axis.
fn open(id: &str, title: &str, description: &str, top: f64, unit: impl Fn(f64) -> String) -> String {
    let mut s = format!(
        "<figure><svg id=\"{id}\" width=\"{W}\" height=\"{H}\" viewBox=\"0 0 {W} {H}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{title}</title>\n<desc id=\"{id}-desc\">{}</desc>\n<path class=\"axis\" d=\"M{} {} V{} H{}\"/>\n",
        escape(description),
        x(0.0),
        y(1.0),
        y(0.0),
        x(1.0)
    );
    for i in 0..=4 {
        let part = f64::from(i) / 4.0;
        let _ = writeln!(
            s,
            "<path class=\"axis\" d=\"M{} {:.1} H{}\"/><text class=\"faint\" x=\"4\" y=\"{:.1}\">{}</text>",
            x(0.0),
            y(part),
            x(1.0),
            y(part) + 4.0,
            unit(top * part)
        );
    }
    s
}

fn line(class: &str, points: &[(f64, f64)]) -> String {
    let list: Vec<String> = points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
    format!("<polyline class=\"{class}\" points=\"{}\"/>\n", list.join(" "))
}

/// Limbs and scale of every value, with bootstraps and merges marked.
pub(super) fn levels(v: &View) -> String {
    let top = v.nodes.iter().map(|n| n.limbs).max().unwrap_or(1) as f64;
    let most = v.nodes.iter().map(|n| n.log2_scale).fold(1.0, f64::max);
    let last = v.nodes.len().saturating_sub(1).max(1) as f64;
    let refreshes = v.nodes.iter().filter(|n| n.refresh).count();
    let merges = v.nodes.iter().filter(|n| n.merges > 1).count();
    let description = format!(
        "Limbs start at {} and end at {}; {refreshes} instructions bootstrap, {merges} merge units. The table of layers has the numbers.",
        v.nodes.first().map_or(0, |n| n.limbs),
        v.nodes.last().map_or(0, |n| n.limbs)
    );
    let mut s = open("level-chart", "Limbs and log2 of the scale along the network", &description, top, |t| format!("{t:.0} limbs"));
    // Limbs change where an instruction does: steps, not slopes.
    let mut steps = vec![];
    let mut before: Option<f64> = None;
    for (i, n) in v.nodes.iter().enumerate() {
        let at = i as f64 / last;
        before.iter().for_each(|b| steps.push((at, *b)));
        steps.push((at, n.limbs as f64 / top));
        before = Some(n.limbs as f64 / top);
    }
    s += &line("one", &steps);
    s += &line("two", &v.nodes.iter().enumerate().map(|(i, n)| (i as f64 / last, n.log2_scale / most)).collect::<Vec<_>>());
    for part in [0.0, 0.5, 1.0] {
        let _ = writeln!(s, "<text class=\"faint\" x=\"{}\" y=\"{:.1}\">{:.0} bits</text>", x(1.0) + 6.0, y(part) + 4.0, most * part);
    }
    for (i, n) in v.nodes.iter().enumerate() {
        let (px, py) = (x(i as f64 / last), y(n.limbs as f64 / top));
        let name = escape(&n.node);
        if n.refresh {
            let _ = writeln!(
                s,
                "<rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\"><title>bootstrap: {name}</title></rect>",
                px - 5.0,
                py - 5.0
            );
        }
        if n.merges > 1 {
            let d = format!("M{px:.1} {:.1} l7 12 h-14 z", py - 8.0);
            let _ = writeln!(s, "<path class=\"merge\" d=\"{d}\"><title>merges {} units: {name}</title></path>", n.merges);
        }
    }
    let _ = write!(
        s,
        "<text class=\"faint\" x=\"{}\" y=\"{}\">instructions 0 to {last:.0}</text></svg>\n<figcaption>Solid: limbs. Dashed: log2 of the scale, up to {most:.0} bits. Squares: bootstraps. Triangles: merges of units.</figcaption></figure>\n",
        x(0.0),
        H - 10.0
    );
    s
}

/// Most bars of the schedule; longer schedules are drawn in groups.
const MOST_BARS: usize = 600;

/// Live bytes over predicted time, and a bar per instruction.
pub(super) fn schedule(v: &View) -> String {
    let total = v.schedule.last().map_or(1.0, |s| s.at_s + s.predicted_s).max(1e-9);
    let most = v.schedule.iter().map(|s| s.live_bytes).max().unwrap_or(1).max(1) as f64;
    let description =
        format!("{} steps take {} by prediction; live ciphertexts reach {}.", v.schedule.len(), seconds(total), human_bytes(most as u64));
    let mut s = open("schedule-chart", "Live ciphertexts over the predicted time of a run", &description, most, |t| human_bytes(t as u64));
    let mut points = vec![(0.0, 0.0)];
    let every = v.schedule.len().div_ceil(MOST_BARS).max(1);
    for group in v.schedule.chunks(every) {
        let bytes = group.iter().map(|s| s.live_bytes).max().unwrap_or(0) as f64 / most;
        points.push((group[0].at_s / total, bytes));
        let end = group.last().map_or(0.0, |s| s.at_s + s.predicted_s);
        points.push((end / total, bytes));
    }
    points.push((1.0, 0.0));
    s += &line("area", &points);
    s += &line("one", &points);
    let _ = writeln!(s, "<text class=\"faint\" x=\"{}\" y=\"{}\">0 to {}</text></svg>", x(0.0), H - 10.0, seconds(total));
    s += "<figcaption>Bytes of live ciphertexts over predicted time; scratch, keys and constants come on top.</figcaption></figure>\n";
    s + &shares(v)
}

/// Predicted time of each instruction, as bars.
fn shares(v: &View) -> String {
    let most = v.nodes.iter().map(|n| n.predicted_s).fold(1e-9, f64::max);
    let busy: Vec<_> = v.nodes.iter().filter(|n| n.predicted_s > 0.0).collect();
    let height = 20 * busy.len() + 10;
    let mut s = format!(
        "<figure><svg id=\"time-chart\" width=\"{W}\" height=\"{height}\" viewBox=\"0 0 {W} {height}\" role=\"img\" aria-labelledby=\"time-chart-title time-chart-desc\">\n\
         <title id=\"time-chart-title\">Predicted time of each instruction</title>\n<desc id=\"time-chart-desc\">The longest takes {}.</desc>\n",
        seconds(most)
    );
    for (i, n) in busy.iter().enumerate() {
        let top = 20 * i + 4;
        let width = (n.predicted_s / most * (W - 480.0)).max(1.0);
        let short: String = n.node.chars().rev().take(34).collect::<Vec<_>>().into_iter().rev().collect();
        let _ = writeln!(
            s,
            "<text x=\"4\" y=\"{}\">{}</text><text class=\"faint\" x=\"270\" y=\"{}\">{}</text><rect class=\"bar {}\" x=\"330\" y=\"{top}\" width=\"{width:.1}\" height=\"14\"/><text class=\"faint\" x=\"{:.1}\" y=\"{}\">{}</text>",
            top + 12,
            escape(&short),
            top + 12,
            n.op,
            kind(n),
            336.0 + width,
            top + 12,
            seconds(n.predicted_s)
        );
    }
    s + "</svg>\n<figcaption>Predicted time of each instruction on a full batch.</figcaption></figure>\n"
}
