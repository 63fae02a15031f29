//! Errors of the IR: text errors with a position, and verifier findings that name the node.

use crate::ids::{ConstKind, ValueId};
use std::fmt;

/// A parse error at a place in a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// What was expected, or what is wrong.
    pub message: String,
}

impl ParseError {
    /// The error with the offending line of `text` and a caret under the column.
    pub fn with_caret(&self, text: &str) -> String {
        let line = text.lines().nth(self.line - 1).unwrap_or("");
        let pad = " ".repeat(self.column.saturating_sub(1));
        format!("{self}\n  {line}\n  {pad}^")
    }
}

/// The part of a graph that a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The graph as a whole: its header, its constants.
    Graph,
    /// The list of outputs.
    Outputs,
    /// The node that computes a value.
    Node(ValueId),
}

/// One broken invariant, with the part of the graph it was found at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub at: Part,
    /// Name of the ONNX node that the value came from; may be empty.
    pub source: String,
    /// The invariant that does not hold.
    pub message: String,
}

impl Finding {
    /// About the graph as a whole.
    pub fn of_graph(message: String) -> Finding {
        Finding { at: Part::Graph, source: String::new(), message }
    }

    /// About the list of outputs.
    pub fn of_outputs(message: String) -> Finding {
        Finding { at: Part::Outputs, source: String::new(), message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Part::Graph | Part::Outputs => write!(f, "{}", self.message),
            Part::Node(v) if self.source.is_empty() => write!(f, "%{}: {}", v.0, self.message),
            Part::Node(v) => write!(f, "%{} (node \"{}\"): {}", v.0, self.source, self.message),
        }
    }
}

/// Everything a verifier found wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct VerifyError {
    /// All findings, in node order.
    pub findings: Vec<Finding>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

/// A clear interpreter could not run a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The input has another number of elements than the graph's input type.
    #[error("input has {got} values per image, the graph takes {want}")]
    InputSize {
        /// Elements given per image.
        got: usize,
        /// Elements expected per image.
        want: usize,
    },
    /// A constant is known by name and hash only.
    #[error("constant @{0} has no data: give the file or store that holds it")]
    MissingConst(String),
    /// A constant is of another kind than the op that names it takes.
    #[error("constant @{name} is {got}, not {want}")]
    ConstKind {
        /// Name of the constant.
        name: String,
        /// What the op takes.
        want: ConstKind,
        /// What the constant is.
        got: ConstKind,
    },
    /// An operation that this interpreter does not execute.
    #[error("{0}")]
    Unsupported(String),
}
