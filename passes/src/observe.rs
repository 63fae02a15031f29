//! What a pipeline shows of itself while it runs: dumps, times, statistics, and checks after every
//! pass.

use crate::error::PassError;
use crate::pass::Entry;
use crate::state::State;
use chiffre_ir::graph::{Dialect, Graph, Op};
use chiffre_ir::level::AnyGraph;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Sees the state before and after every pass of a pipeline; may refuse to go on.
pub trait Observer {
    /// Before a pass.
    fn before(&mut self, entry: &Entry, state: &State) {
        let _ = (entry, state);
    }
    /// After a pass and the verifiers, with the time that both took.
    ///
    /// # Errors
    /// Ends the pipeline.
    fn after(&mut self, entry: &Entry, state: &State, time: Duration) -> Result<(), PassError> {
        let _ = (entry, state, time);
        Ok(())
    }
}

/// Which dumps are wanted: `after:PASS`, `before:PASS` or `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// After a pass.
    After(String),
    /// Before a pass.
    Before(String),
    /// Before the first pass and after each.
    All,
}

impl std::str::FromStr for Dump {
    type Err = String;
    fn from_str(s: &str) -> Result<Dump, String> {
        match s.split_once(':') {
            Some(("after", p)) if !p.is_empty() => Ok(Dump::After(p.into())),
            Some(("before", p)) if !p.is_empty() => Ok(Dump::Before(p.into())),
            None if s == "all" => Ok(Dump::All),
            _ => Err("give after:PASS, before:PASS or all; `chiffre passes` lists the passes".into()),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dump::After(p) => write!(f, "after:{p}"),
            Dump::Before(p) => write!(f, "before:{p}"),
            Dump::All => write!(f, "all"),
        }
    }
}

impl Dump {
    /// The pass it names.
    pub fn pass(&self) -> Option<&str> {
        match self {
            Dump::After(p) | Dump::Before(p) => Some(p),
            Dump::All => None,
        }
    }
    fn wants(&self, before: bool, pass: &str) -> bool {
        match self {
            Dump::After(p) => !before && p == pass,
            Dump::Before(p) => before && p == pass,
            Dump::All => !before,
        }
    }
}

/// Size of a graph: what `--print-stats` prints for each pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Level of the IR.
    pub level: &'static str,
    /// Number of ops by mnemonic.
    pub ops: BTreeMap<&'static str, usize>,
    /// Constants.
    pub constants: usize,
    /// Values in all constants.
    pub values: usize,
    /// Ops on the longest path from an input to an output.
    pub depth: usize,
}

impl Stats {
    /// Of a graph.
    pub fn of(g: &AnyGraph) -> Stats {
        match g {
            AnyGraph::Tensor(g) => Stats::count(g),
            AnyGraph::Quant(g) => Stats::count(g),
            AnyGraph::Packed(g) => Stats::count(g),
            AnyGraph::He(g) => Stats::count(g),
            AnyGraph::Program(g) => Stats::count(g),
        }
    }
    fn count<D: Dialect>(g: &Graph<D>) -> Stats {
        let mut ops = BTreeMap::new();
        g.nodes.iter().for_each(|n| *ops.entry(n.op.info().mnemonic).or_default() += 1);
        let mut depth = vec![0usize; g.nodes.len()];
        for (v, n) in g.iter() {
            depth[v.index()] = n.args.iter().map(|a| depth[a.index()] + 1).max().unwrap_or(0);
        }
        Stats {
            level: D::NAME,
            ops,
            constants: g.consts.len(),
            values: g.consts.iter().map(|(_, c)| c.ty.len()).sum(),
            depth: g.outputs.iter().filter_map(|o| depth.get(o.index())).copied().max().unwrap_or(0),
        }
    }
    /// Ops in all.
    pub fn nodes(&self) -> usize {
        self.ops.values().sum()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: Vec<String> = self.ops.iter().map(|(m, n)| format!("{n} {m}")).collect();
        let (nodes, depth) = (self.nodes(), self.depth);
        write!(
            f,
            "{} ops on {}, depth {depth}, {} constants of {} values: {}",
            nodes,
            self.level,
            self.constants,
            self.values,
            ops.join(", ")
        )
    }
}

/// Gathers what the options of `opt` and `compile` ask for.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Dumps that are wanted.
    pub wanted: Vec<Dump>,
    /// Images on which the meaning is compared before and after every pass, with their number.
    pub images: Option<(Vec<f32>, usize)>,
    /// Dumps, in order, by title (`after fold-affine`).
    pub dumps: Vec<(String, AnyGraph)>,
    /// Time of each pass.
    pub times: Vec<(&'static str, Duration)>,
    /// Size after each pass, the start (named "") included.
    pub stats: Vec<(&'static str, Stats)>,
    /// Outputs of the last graph that could be interpreted.
    pub answers: Option<Vec<Vec<f32>>>,
}

/// Largest difference of answers before and after a pass, relative to the largest answer.
pub const TOLERANCE: f32 = 1e-2;

impl Recorder {
    /// What the graph computes on the recorder's images; `None` if it cannot be interpreted (for
    /// want of constants, say).
    fn meaning(&self, g: &AnyGraph) -> Option<Vec<Vec<f32>>> {
        let (images, n) = self.images.as_ref()?;
        g.interp(images, *n).ok()
    }
}

impl Observer for Recorder {
    fn before(&mut self, entry: &Entry, state: &State) {
        let Some(g) = state.latest() else { return };
        if self.stats.is_empty() {
            self.stats.push(("", Stats::of(&g)));
            if self.wanted.contains(&Dump::All) {
                self.dumps.push(("before all passes".into(), g.clone()));
            }
            self.answers = self.meaning(&g);
        }
        if self.wanted.iter().any(|d| d.wants(true, entry.pass.name)) {
            self.dumps.push((format!("before {}", entry.pass.name), g.clone()));
        }
    }
    fn after(&mut self, entry: &Entry, state: &State, time: Duration) -> Result<(), PassError> {
        let pass = entry.pass.name;
        self.times.push((pass, time));
        let Some(g) = state.latest() else { return Ok(()) };
        self.stats.push((pass, Stats::of(&g)));
        if self.wanted.iter().any(|d| d.wants(false, pass)) {
            self.dumps.push((format!("after {pass}"), g.clone()));
        }
        if self.images.is_none() {
            return Ok(());
        }
        let bug = |m: String| PassError::bug(pass, "", m);
        let text = g.print(0);
        let again = AnyGraph::parse(&text).map_err(|e| bug(format!("the result's text does not parse: {}", e.with_caret(&text))))?.0;
        if again.print(0) != text {
            return Err(bug("the result's text does not read back as it was written".into()));
        }
        if let (Some(before), Some(now)) = (&self.answers, self.meaning(&g)) {
            if let Some(m) = difference(before, &now, TOLERANCE) {
                return Err(bug(format!("the pass changed what the network computes: {m}")));
            }
            self.answers = Some(now);
        }
        Ok(())
    }
}

/// How two lists of outputs differ, if they do by more than `tolerance` times the largest value.
pub fn difference(before: &[Vec<f32>], after: &[Vec<f32>], tolerance: f32) -> Option<String> {
    if before.len() != after.len() {
        return Some(format!("{} outputs became {}", before.len(), after.len()));
    }
    for (k, (a, b)) in before.iter().zip(after).enumerate() {
        if a.len() != b.len() {
            return Some(format!("output {k} had {} values and now has {}", a.len(), b.len()));
        }
        let size = a.iter().filter(|x| x.is_finite()).fold(1.0f32, |m, x| m.max(x.abs()));
        let worst = a.iter().zip(b).map(|(x, y)| if x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() });
        let (at, worst) = worst.enumerate().fold((0, 0.0f32), |m, (i, d)| if d > m.1 || d.is_nan() { (i, d) } else { m });
        if worst.is_nan() || worst > tolerance * size {
            return Some(format!("output {k} differs by {worst:.3e} at position {at}, where values are up to {size:.3e}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_named_by_pass_and_side() {
        for s in ["after:fold-affine", "before:lower-linear", "all"] {
            assert_eq!(s.parse::<Dump>().unwrap().to_string(), s);
        }
        for s in ["", "after:", "fold-affine", "during:fold-affine"] {
            assert!(s.parse::<Dump>().is_err(), "{s}");
        }
        assert!(Dump::All.wants(false, "x") && !Dump::All.wants(true, "x"));
        assert!(Dump::Before("x".into()).wants(true, "x") && !Dump::After("x".into()).wants(true, "x"));
    }

    #[test]
    fn differences_are_told() {
        assert_eq!(difference(&[vec![1.0, 100.0]], &[vec![1.5, 100.0]], 1e-2), None);
        assert!(difference(&[vec![1.0, 100.0]], &[vec![3.0, 100.0]], 1e-2).unwrap().contains("at position 0"));
        assert!(difference(&[vec![1.0]], &[vec![f32::NAN]], 1e-2).is_some());
        assert!(difference(&[vec![1.0]], &[], 1e-2).unwrap().contains("1 outputs became 0"));
    }
}
