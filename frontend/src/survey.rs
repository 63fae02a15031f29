//! What import makes of every node of a file, and what stands in its way.

use crate::Model;
use std::collections::BTreeMap;
use std::fmt;

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It depends on constants and shapes only, or changes how elements are seen.
    Free,
    /// A linear map or a product: exact, up to noise.
    Exact,
    /// A function that a polynomial stands in for.
    Approximated,
    /// Done with decrypted values.
    Tail,
    /// Nothing is known of its operands, because something before it is refused.
    Open,
    /// It stands in the way.
    Refused,
}

/// Something that import cannot take, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Obstacle {
    /// Operator, with its domain unless that is the default one; empty for what concerns the file.
    pub op: String,
    /// Names of the nodes that it is the same for.
    pub nodes: Vec<String>,
    /// What is wrong, and what to do.
    pub reason: String,
    /// The extents of the input are open: they can be given.
    pub open_extents: bool,
}

/// Most names of nodes that are shown for one obstacle.
const NAMES: usize = 4;

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.nodes.iter().take(NAMES).map(|n| format!("\"{n}\"")).collect();
        match self.nodes.len() {
            0 => f.write_str(&self.reason),
            1 => write!(f, "node {} ({}): {}", shown[0], self.op, self.reason),
            n if n <= NAMES => write!(f, "{n} nodes {} ({}): {}", shown.join(", "), self.op, self.reason),
            n => write!(f, "{n} nodes {}, … ({}): {}", shown.join(", "), self.op, self.reason),
        }
    }
}

/// Everything that there is to know of a file before it is compiled.
#[derive(Debug)]
pub struct Survey {
    /// The imported model, if nothing stands in the way.
    pub model: Option<Model>,
    /// What stands in the way, in the order of the file.
    pub obstacles: Vec<Obstacle>,
    /// How many nodes of each operator have which fate.
    pub operators: BTreeMap<(Fate, String), usize>,
    /// What import has changed or left out, in sentences.
    pub warnings: Vec<String>,
}

impl Survey {
    pub(crate) fn new() -> Survey {
        Survey { model: None, obstacles: vec![], operators: BTreeMap::new(), warnings: vec![] }
    }
    /// Counts a node.
    pub(crate) fn count(&mut self, fate: Fate, op: &str) {
        *self.operators.entry((fate, op.to_string())).or_default() += 1;
    }
    /// Adds an obstacle of one node; those of the same reason become one.
    pub(crate) fn refuse(&mut self, op: &str, node: &str, reason: String) {
        self.count(Fate::Refused, op);
        match self.obstacles.iter_mut().find(|o| o.op == op && o.reason == reason && !o.nodes.is_empty()) {
            Some(o) => o.nodes.push(node.into()),
            None => self.obstacles.push(Obstacle { op: op.into(), nodes: vec![node.into()], reason, open_extents: false }),
        }
    }
    /// Adds an obstacle of the file as a whole.
    pub(crate) fn refuse_file(&mut self, reason: String, open_extents: bool) {
        self.obstacles.push(Obstacle { op: String::new(), nodes: vec![], reason, open_extents });
    }
}
