//! Errors of passes: what the user can change (with the node and the pass), or what does not fit the parameters.

/// A pass could not do its work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PassError {
    /// The network, a spec or an option is at fault.
    #[error("{}{message} [pass {pass}]", node_prefix(.node))]
    User {
        /// The pass.
        pass: String,
        /// The ONNX node; empty if no single one is at fault.
        node: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The network needs more than the parameters have.
    #[error("{}{message} [pass {pass}]", node_prefix(.node))]
    Capacity {
        /// The pass.
        pass: String,
        /// The node at which it no longer fits; may be empty.
        node: String,
        /// What is needed, what there is, and a suggestion.
        message: String,
    },
}

fn node_prefix(node: &str) -> String {
    if node.is_empty() { String::new() } else { format!("node \"{node}\": ") }
}

impl PassError {
    /// A user error at a node.
    pub fn at(pass: &str, node: &str, message: String) -> PassError {
        PassError::User { pass: pass.into(), node: node.into(), message }
    }
    /// A bug of a pass.
    pub fn bug(pass: &str, node: &str, message: String) -> PassError {
        PassError::at(pass, node, format!("{message} (please report this)"))
    }
    /// A capacity error at a node.
    pub fn capacity(pass: &str, node: &str, message: String) -> PassError {
        PassError::Capacity { pass: pass.into(), node: node.into(), message }
    }
}
