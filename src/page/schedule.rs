//! Time and memory over the schedule.

use super::chart::{Bar, Frame, WIDTH, bars, figure, swatch};
use super::graph::kind;
use super::seconds;
use crate::memory::human_bytes;
use crate::overview::{Overview, TimedStep};
use std::fmt::Write;

const FRAME: Frame = Frame { left: 80.0, right: WIDTH - 20.0, top: 20.0, bottom: 250.0 };
const HEIGHT: f64 = 300.0;
/// Most steps that are drawn one by one; longer schedules are drawn in groups.
const MOST_STEPS: usize = 600;

/// The section: memory over predicted time, and time by instruction.
pub(super) fn section(v: &Overview) -> String {
    let total = v.schedule.last().map_or(1.0, |s| s.at_s + s.predicted_s).max(1e-9);
    let fixed = v.memory.keys + v.memory.constants + v.memory.input;
    let live = v.schedule.iter().map(|s| s.live_bytes).max().unwrap_or(0);
    let most = (fixed + live).max(v.predicted_peak_bytes).max(1) as f64;
    let mut s = FRAME.axes((0..=4).map(|i| (f64::from(i) / 4.0, human_bytes((most * f64::from(i) / 4.0) as u64))));
    let base = fixed as f64 / most;
    s += &FRAME.line("area fixed", &[(0.0, 0.0), (0.0, base), (1.0, base), (1.0, 0.0)]);
    let mut points = vec![(0.0, base)];
    let every = v.schedule.len().div_ceil(MOST_STEPS).max(1);
    for group in v.schedule.chunks(every) {
        let high = base + group.iter().map(|s| s.live_bytes).max().unwrap_or(0) as f64 / most;
        let end = group.last().map_or(0.0, |s| s.at_s + s.predicted_s);
        points.extend([(group[0].at_s / total, high), (end / total, high)]);
        s += &strip(v, group, [group[0].at_s / total, end / total]);
    }
    points.push((1.0, base));
    s += &FRAME.line("area", &points);
    s += &FRAME.line("one", &points);
    s += &FRAME.line("two", &[0.0, 1.0].map(|x| (x, v.predicted_peak_bytes as f64 / most)));
    for i in 0..=4 {
        let part = f64::from(i) / 4.0;
        let anchor = ["start", "middle", "middle", "middle", "end"][i as usize];
        let (x, y) = (FRAME.x(part), FRAME.bottom + 32.0);
        let _ = writeln!(s, "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", seconds(total * part));
    }
    let description = format!(
        "{} steps take {} by prediction. Keys, constants and the input take {} throughout; live ciphertexts reach {}; with scratch the peak is {}.",
        v.schedule.len(),
        seconds(total),
        human_bytes(fixed as u64),
        human_bytes(live as u64),
        human_bytes(v.predicted_peak_bytes as u64)
    );
    let mut caption = swatch("fixed", "keys, constants and input")
        + &swatch("live", "live ciphertexts on top")
        + &swatch("line-two", "predicted peak, which adds scratch")
        + "<br>Strip below: "
        + &swatch("linear", "linear maps")
        + &swatch("product", "products and series");
    if v.bootstraps > 0 {
        caption += &swatch("refresh", "bootstraps");
    }
    figure("schedule-chart", ["Memory over the predicted time of a run", &description], HEIGHT, &s, &caption) + &shares(v)
}

/// What runs in a group of steps: the kind of its longest.
fn strip(v: &Overview, group: &[TimedStep], [from, to]: [f64; 2]) -> String {
    let longest = group.iter().max_by(|a, b| a.predicted_s.total_cmp(&b.predicted_s));
    let Some(n) = longest.and_then(|s| v.nodes.get(s.value)) else { return String::new() };
    let (x, width) = (FRAME.x(from), FRAME.x(to) - FRAME.x(from));
    format!("<rect class=\"bar {}\" x=\"{x:.2}\" y=\"{}\" width=\"{width:.2}\" height=\"10\"/>\n", kind(n), FRAME.bottom + 4.0)
}

/// Predicted time of each instruction, as bars.
fn shares(v: &Overview) -> String {
    let most = v.nodes.iter().map(|n| n.predicted_s).fold(1e-9, f64::max);
    let rows: Vec<Bar> = v
        .nodes
        .iter()
        .filter(|n| n.predicted_s > 0.0)
        .map(|n| Bar {
            label: n.node.clone(),
            note: n.op.into(),
            class: kind(n),
            span: [0.0, n.predicted_s / most],
            value: seconds(n.predicted_s),
        })
        .collect();
    let description = format!("The longest takes {}. The table of layers has the numbers.", seconds(most));
    bars(
        "time-chart",
        ["Predicted time of each instruction", &description],
        &rows,
        None,
        "Predicted time of each instruction on a full batch.",
    )
}
