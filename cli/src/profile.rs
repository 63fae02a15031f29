//! Measured against predicted time of a run, per kind of instruction and per ONNX node.

use chiffre::pipeline::counts;
use chiffre_backend::cost::CostModel;
use chiffre_ir::program::Program;
use chiffre_runtime::server::Event;
use std::fmt::Write;

/// Seconds, measured and predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seconds {
    measured: f64,
    predicted: f64,
    steps: usize,
}

/// Gathers the steps of a run.
#[derive(Debug)]
pub struct Profile {
    /// Predicted seconds of one unit of each instruction.
    unit: Vec<f64>,
    kinds: Vec<(String, Seconds)>,
    nodes: Vec<(String, Seconds)>,
    total: Seconds,
}

impl Profile {
    /// Begins the profile of a run on `images` images on a machine.
    pub fn new(p: &Program, images: usize, cost: &CostModel) -> Profile {
        let per = |(c, f): (_, chiffre_ir::program::Flow)| cost.time(c, p.header.log_n) / f.units.max(1) as f64;
        let unit = counts(p, images).into_iter().zip(p.flow(images)).map(per).collect();
        Profile { unit, kinds: vec![], nodes: vec![], total: Seconds::default() }
    }

    /// Adds a step.
    pub fn step(&mut self, e: &Event) {
        let predicted = self.unit.get(e.instruction).copied().unwrap_or(0.0) * e.units.len() as f64;
        let node = format!("{} ({})", if e.source.is_empty() { "?" } else { e.source }, e.op);
        let add = |s: &mut Seconds| {
            s.measured += e.time.as_secs_f64();
            s.predicted += predicted;
            s.steps += 1;
        };
        for (list, name) in [(&mut self.kinds, e.op.to_string()), (&mut self.nodes, node)] {
            match list.iter_mut().find(|(n, _)| *n == name) {
                Some((_, s)) => add(s),
                None => {
                    list.push((name, Seconds::default()));
                    list.last_mut().into_iter().for_each(|(_, s)| add(s));
                }
            }
        }
        add(&mut self.total);
    }

    /// Two tables: kinds of instruction by time, ONNX nodes in order of execution.
    pub fn table(&self) -> String {
        let width = self.nodes.iter().map(|(n, _)| n.chars().count()).max().unwrap_or(0).max(20);
        let mut out = String::new();
        let total = self.total.measured.max(1e-12);
        let (unit, factor) = if total < 1.0 { ("ms", 1e3) } else { (" s", 1.0) };
        let mut section = |title: &str, rows: &[(String, Seconds)]| {
            let _ = writeln!(out, "{title:<width$} {:>6} {:>11} {:>7} {:>11} {:>8}", "steps", "measured", "share", "predicted", "ratio");
            for (name, s) in rows {
                let ratio = if s.predicted > 0.0 { format!("{:8.2}", s.measured / s.predicted) } else { format!("{:>8}", "-") };
                let (measured, share, predicted) = (factor * s.measured, 100.0 * s.measured / total, factor * s.predicted);
                let _ = writeln!(out, "{name:<width$} {:>6} {measured:8.3} {unit} {share:5.1} % {predicted:8.3} {unit} {ratio}", s.steps);
            }
            out.push('\n');
        };
        let mut kinds = self.kinds.clone();
        kinds.sort_by(|a, b| b.1.measured.total_cmp(&a.1.measured));
        kinds.push(("all".into(), self.total));
        section("kind of operation", &kinds);
        section("ONNX node", &self.nodes);
        out.trim_end().to_string()
    }
}
