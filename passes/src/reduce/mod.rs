//! Shrinks a graph on which a pipeline fails to a small one on which it fails the same way, for a
//! bug report.
//!
//! Greedy delta debugging: candidates are smaller graphs of the same level (`candidates.rs`); one
//! that parses, verifies and still fails takes the graph's place, until none does or the tries are
//! used up. Deterministic.

mod candidates;
mod edit;
mod resize;

use crate::error::PassError;
use crate::observe::difference;
use crate::pass::Context;
use crate::pipeline::Pipeline;
use crate::state::State;
use candidates::candidates;
use chiffre_ir::level::AnyGraph;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a pipeline ends on a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, and what the network computes stays.
    Fine,
    /// A pass panics.
    Crash(String),
    /// A verifier finds something wrong with a pass's result.
    Verifier(String),
    /// The network computes something else.
    Differs(String),
    /// A pass refuses the graph.
    Refused(String),
}

/// Which outcomes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// A panic.
    Crash,
    /// A finding of a verifier.
    Verifier,
    /// A change of meaning.
    Differs,
    /// An error message.
    Refused,
}

impl std::str::FromStr for Test {
    type Err = String;
    fn from_str(s: &str) -> Result<Test, String> {
        match s {
            "crash" => Ok(Test::Crash),
            "verifier" => Ok(Test::Verifier),
            "differs" => Ok(Test::Differs),
            "refused" => Ok(Test::Refused),
            _ => Err("give crash, verifier, differs or refused".into()),
        }
    }
}

impl Outcome {
    /// The test that this outcome passes; none if all is well.
    pub fn test(&self) -> Option<Test> {
        match self {
            Outcome::Fine => None,
            Outcome::Crash(_) => Some(Test::Crash),
            Outcome::Verifier(_) => Some(Test::Verifier),
            Outcome::Differs(_) => Some(Test::Differs),
            Outcome::Refused(_) => Some(Test::Refused),
        }
    }
    /// The message, without numbers and quoted names: two failures with the same one are taken for
    /// the same failure.
    fn signature(&self) -> String {
        let text = match self {
            Outcome::Fine | Outcome::Differs(_) => "",
            Outcome::Crash(m) | Outcome::Verifier(m) | Outcome::Refused(m) => {
                m.lines().next().and_then(|l| l.split(" [pass ").next()).unwrap_or("")
            }
        };
        let mut quoted = false;
        let keep = |c: &char| {
            quoted ^= *c == '"';
            !c.is_ascii_digit() && !quoted
        };
        text.chars().filter(keep).collect()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Fine => write!(f, "no failure"),
            Outcome::Crash(m) => write!(f, "a pass panics: {m}"),
            Outcome::Verifier(m) => write!(f, "a verifier objects: {m}"),
            Outcome::Differs(m) => write!(f, "the meaning changes: {m}"),
            Outcome::Refused(m) => write!(f, "a pass refuses: {m}"),
        }
    }
}

/// Images of a deterministic noise in [-1, 1), enough for `n` images of a shape.
pub fn noise(shape: [usize; 3], n: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut z = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f64 / f64::from(1u32 << 23) - 1.0) as f32
    };
    (0..(shape.iter().product::<usize>() * n) as u64).map(value).collect()
}

/// Images that meanings are compared on.
const IMAGES: usize = 2;

/// Runs a pipeline on a graph and says how it ends. Panics are caught; the caller may want to
/// silence their messages.
pub fn outcome(g: &AnyGraph, pipeline: &Pipeline, cx: &Context) -> Outcome {
    let Ok(state) = State::from_graph(g.clone()) else { return Outcome::Fine };
    let run = catch_unwind(AssertUnwindSafe(|| pipeline.run(state, cx, |_, _, _| {})));
    let end = match run {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            return Outcome::Crash(text.unwrap_or_default());
        }
        // The message alone: what an error says around it depends on the number of findings.
        Ok(Err(PassError::Bug { pass, message, .. })) => return Outcome::Verifier(format!("{message} [pass {pass}]")),
        Ok(Err(e)) => return Outcome::Refused(e.to_string()),
        Ok(Ok(end)) => end,
    };
    let images = noise(g.input_shape().unwrap_or([0; 3]), IMAGES);
    let meaning = |g: &AnyGraph| catch_unwind(AssertUnwindSafe(|| g.interp(&images, IMAGES).ok())).ok().flatten();
    match (meaning(g), end.latest().and_then(|g| meaning(&g))) {
        (Some(a), Some(b)) => difference(&a, &b, crate::observe::TOLERANCE).map_or(Outcome::Fine, Outcome::Differs),
        _ => Outcome::Fine,
    }
}

/// A smaller graph that fails as the first one did.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The graph.
    pub graph: AnyGraph,
    /// How the pipeline ends on it.
    pub outcome: Outcome,
    /// Graphs that were tried.
    pub tries: usize,
}

/// Shrinks `g` while `pipeline` fails on it the way it does on `g`, for at most `most` tries;
/// `None` if it does not fail that way at all. Without `test`, any failure counts.
pub fn reduce(g: &AnyGraph, pipeline: &Pipeline, cx: &Context, test: Option<Test>, most: usize) -> Option<Reduced> {
    let first = outcome(g, pipeline, cx);
    if first.test().is_none() || test.is_some_and(|t| first.test() != Some(t)) {
        return None;
    }
    let signature = first.signature();
    let mut best = Reduced { graph: g.clone(), outcome: first, tries: 0 };
    let mut skip = 0;
    'shrink: loop {
        // Go on behind the kind of candidate that was taken last: the ones before it have just
        // failed.
        for (i, candidate) in candidates(&best.graph).into_iter().enumerate().skip(skip) {
            if best.tries == most {
                break 'shrink;
            }
            best.tries += 1;
            let Ok(candidate) = candidate.verify() else { continue };
            let end = outcome(&candidate, pipeline, cx);
            if end.test() == best.outcome.test() && end.signature() == signature {
                (best.graph, best.outcome, skip) = (candidate, end, i);
                continue 'shrink;
            }
        }
        if skip == 0 {
            break;
        }
        skip = 0;
    }
    Some(best)
}
