//! Limbs and scale of every value over the depth of the network.

use super::chart::{Frame, WIDTH, figure, steps, swatch, tail, whole_marks};
use super::escape;
use crate::overview::Overview;
use std::fmt::Write;

const LIMBS: Frame = Frame { left: 80.0, right: WIDTH - 20.0, top: 20.0, bottom: 250.0 };
const SCALE: Frame = Frame { left: 80.0, right: WIDTH - 20.0, top: 285.0, bottom: 365.0 };
const HEIGHT: f64 = 520.0;
/// Most names below the chart; of longer networks every second, third, … is named.
const MOST_NAMES: usize = 64;

/// The section: limbs above, scale below, with bootstraps and merges marked.
pub(super) fn section(v: &Overview) -> String {
    let refreshes = v.nodes.iter().filter(|n| n.refresh).count();
    let merges = v.nodes.iter().filter(|n| n.merges > 1).count();
    let chain = v.q.len();
    let top = v.nodes.iter().map(|n| n.limbs).max().unwrap_or(1).max(if refreshes > 0 { chain } else { 1 });
    let last = v.nodes.len().saturating_sub(1).max(1) as f64;
    let at = |i: usize| i as f64 / last;
    let limbs = |count: usize| count as f64 / top as f64;

    let mut s = LIMBS.axes(whole_marks(top).map(|(part, m)| (part, format!("{m} limbs"))));
    for (i, n) in v.nodes.iter().enumerate().filter(|(_, n)| n.refresh) {
        let (x, high) = (LIMBS.x(at(i)), LIMBS.y(limbs(chain)));
        let _ = writeln!(
            s,
            "<g><title>bootstrap: {}</title><path class=\"raise\" d=\"M{x:.1} {:.1} V{high:.1}\"/><rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\"/></g>",
            escape(&n.node),
            LIMBS.y(limbs(n.limbs)),
            x - 5.0,
            high - 5.0
        );
    }
    s += &LIMBS.line("one", &steps(v.nodes.iter().enumerate().map(|(i, n)| (at(i), limbs(n.limbs)))));
    for (i, n) in v.nodes.iter().enumerate().filter(|(_, n)| n.merges > 1) {
        let (x, y, name) = (LIMBS.x(at(i)), LIMBS.y(limbs(n.limbs)) - 8.0, escape(&n.node));
        let _ =
            writeln!(s, "<path class=\"merge\" d=\"M{x:.1} {y:.1} l7 12 h-14 z\"><title>merges {} units: {name}</title></path>", n.merges);
    }
    let most = v.nodes.iter().map(|n| n.log2_scale).fold(1.0, f64::max).ceil();
    s += &SCALE.axes([0.0, 0.5, 1.0].into_iter().map(|part| (part, format!("{:.0} bits", most * part))));
    s += &SCALE.line("two", &steps(v.nodes.iter().enumerate().map(|(i, n)| (at(i), n.log2_scale / most))));
    let every = v.nodes.len().div_ceil(MOST_NAMES).max(1);
    for (i, n) in v.nodes.iter().enumerate().step_by(every) {
        let (x, y) = (LIMBS.x(at(i)) + 4.0, SCALE.bottom + 14.0);
        let name = escape(&tail(&n.node, 22));
        let _ = writeln!(
            s,
            "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"end\" transform=\"rotate(-60 {x:.1} {y})\">{name}</text>"
        );
    }

    let ends = [v.nodes.first(), v.nodes.last()].map(|n| n.map_or(0, |n| n.limbs));
    let description = format!(
        "Limbs start at {} and end at {}; {refreshes} instructions bootstrap, {merges} merge units. The scale reaches 2^{most:.0}. The table of layers has the numbers.",
        ends[0], ends[1]
    );
    let mut caption = swatch("line-one", "limbs of each value") + &swatch("line-two", "log2 of its scale, below");
    if refreshes > 0 {
        caption += &swatch(
            "mark",
            &format!("bootstraps: they raise to all {chain} limbs, and spend them on themselves and the activation behind"),
        );
    }
    if merges > 0 {
        caption += &swatch("merge", "merges of units");
    }
    figure("level-chart", ["Limbs and log2 of the scale along the network", &description], HEIGHT, &s, &caption)
}
