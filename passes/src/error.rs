//! Errors of passes: what the user can change (with the node and the pass), what does not fit the
//! parameters, what is not secure, and bugs.

use chiffre_ir::error::InterpError;

/// What a caller can set otherwise, so that a pass can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// [`crate::options::CompileOptions::memory`].
    Memory,
    /// [`crate::options::ActivationOptions::calibration`].
    Calibration,
}

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
    /// An option has to be set otherwise for this network.
    #[error("{}{message} [pass {pass}]", node_prefix(.node))]
    Setting {
        /// The pass.
        pass: String,
        /// The ONNX node; empty if no single one is at fault.
        node: String,
        /// What is wrong, and what would be right.
        message: String,
        /// The option.
        setting: Setting,
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
    /// The parameters would be below 128-bit security, and that was not allowed.
    #[error("{message} [pass {pass}]")]
    Insecure {
        /// The pass.
        pass: String,
        /// What is needed, and what the bound is.
        message: String,
    },
    /// A part of the graph cannot be computed in the clear, which the pass needs: as a rule because
    /// a constant has no data.
    #[error("{}{source} [pass {pass}]", node_prefix(.node))]
    Clear {
        /// The pass.
        pass: String,
        /// The ONNX node; may be empty.
        node: String,
        /// Why not.
        source: InterpError,
    },
    /// The caller has asked for the end of the compilation.
    #[error("the compilation was stopped before it was done [pass {pass}]")]
    Stopped {
        /// The pass that was running, or was the next one.
        pass: String,
    },
    /// A pass has broken the graph: a bug of the compiler.
    #[error("{}{message} (a bug of the compiler: please report it) [pass {pass}]", node_prefix(.node))]
    Bug {
        /// The pass.
        pass: String,
        /// The ONNX node; empty if no single one is at fault.
        node: String,
        /// What does not hold any more.
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
    /// An option that has to be set otherwise.
    pub fn setting(pass: &str, node: &str, setting: Setting, message: String) -> PassError {
        PassError::Setting { pass: pass.into(), node: node.into(), message, setting }
    }
    /// A bug of a pass.
    pub fn bug(pass: &str, node: &str, message: String) -> PassError {
        PassError::Bug { pass: pass.into(), node: node.into(), message }
    }
    /// Something that cannot be computed in the clear.
    pub fn clear(pass: &str, node: &str, source: InterpError) -> PassError {
        PassError::Clear { pass: pass.into(), node: node.into(), source }
    }
    /// The ONNX node at fault, if it is a single one.
    pub fn node(&self) -> Option<&str> {
        let node = match self {
            PassError::User { node, .. }
            | PassError::Setting { node, .. }
            | PassError::Capacity { node, .. }
            | PassError::Clear { node, .. }
            | PassError::Bug { node, .. } => node,
            PassError::Insecure { .. } | PassError::Stopped { .. } => "",
        };
        (!node.is_empty()).then_some(node)
    }
    /// True if a constant without data is the reason.
    pub fn lacks_constant(&self) -> bool {
        matches!(self, PassError::Clear { source: InterpError::MissingConst(_), .. })
    }
    /// A capacity error at a node.
    pub fn capacity(pass: &str, node: &str, message: String) -> PassError {
        PassError::Capacity { pass: pass.into(), node: node.into(), message }
    }
}
