//! Where the parts of a graph stand in its text, so that findings of a verifier can point at it.

use crate::error::{Finding, ParseError, Part, VerifyError};

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
}

/// Places of a graph's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    /// The keyword that opens the graph.
    pub graph: Position,
    /// Each node, by index.
    pub nodes: Vec<Position>,
    /// The `return` line.
    pub outputs: Position,
}

impl SourceMap {
    /// The findings of a verifier as errors at places of the text.
    pub fn locate(&self, e: &VerifyError) -> Vec<ParseError> {
        let place = |f: &Finding| -> Position {
            match f.at {
                Part::Graph => self.graph,
                Part::Outputs => self.outputs,
                Part::Node(v) => self.nodes.get(v.index()).copied().unwrap_or(self.graph),
            }
        };
        let error = |f: &Finding| {
            let Position { line, column } = place(f);
            let node = if f.source.is_empty() { String::new() } else { format!("node \"{}\": ", f.source) };
            ParseError { line, column, message: format!("{node}{}", f.message) }
        };
        e.findings.iter().map(error).collect()
    }
}
