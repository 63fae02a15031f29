//! Graphs in SSA form: a dense list of nodes, each yielding one value.
//!
//! **Invariants** (checked by [`Graph::check_structure`]): arguments come before their use, every
//! id is in range, the number of arguments fits the op's arity, constants exist and are of the kind
//! that the op takes, and the values of a constant, where they are known, have the type that it
//! declares.

use crate::consts::{ConstId, ConstKind, Consts};
use crate::error::{Finding, Part, VerifyError};
pub use crate::ids::ValueId;
use crate::ops::{Attr, BuildError, OpInfo};

/// What a dialect's op enum offers to the shared code; implemented by `define_ops!`.
pub trait Op: Clone + PartialEq + std::fmt::Debug {
    /// The table of all ops of the dialect.
    const TABLE: &'static [OpInfo];
    /// This op's row in the table.
    fn info(&self) -> &'static OpInfo;
    /// Attributes in declaration order; absent optional ones are left out.
    fn attrs(&self) -> Vec<(&'static str, Attr)>;
    /// Builds the op from its mnemonic and attributes.
    ///
    /// # Errors
    /// An unknown mnemonic; an attribute that is missing or of another kind, by name.
    fn build(mnemonic: &str, attrs: &mut Vec<(String, Attr)>) -> Result<Self, BuildError>;
    /// Constants that the op refers to, and the kinds that it takes them for.
    fn uses(&self) -> Vec<(ConstId, ConstKind)>;
    /// Constants that the op refers to.
    fn consts(&self) -> Vec<ConstId> {
        self.uses().into_iter().map(|(c, _)| c).collect()
    }
}

/// A value's type in the text form.
pub trait Type: Clone + PartialEq + std::fmt::Debug + std::fmt::Display {
    /// Reads what `Display` writes.
    fn parse(s: &str) -> Result<Self, String>;
}

/// One level of the IR.
pub trait Dialect: Clone + PartialEq + std::fmt::Debug {
    /// Keyword that opens a graph of this level in the text form.
    const NAME: &'static str;
    /// The ops.
    type Op: Op;
    /// The type of values.
    type Type: Type;
    /// Dialect-specific header data, printed as attributes of the graph.
    type Header: Clone + PartialEq + std::fmt::Debug + Default + HeaderText;
}

/// Header attributes of a graph.
pub trait HeaderText: Sized {
    /// Attributes to print, in a fixed order.
    fn attrs(&self) -> Vec<(&'static str, Attr)>;
    /// Reads the attributes.
    fn build(attrs: &mut Vec<(String, Attr)>) -> Result<Self, String>;
}
impl HeaderText for () {
    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        vec![]
    }
    fn build(_: &mut Vec<(String, Attr)>) -> Result<(), String> {
        Ok(())
    }
}

/// One operation with its arguments, result type and the ONNX name it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<D: Dialect> {
    /// The operation.
    pub op: D::Op,
    /// Values read.
    pub args: Vec<ValueId>,
    /// Type of the result.
    pub ty: D::Type,
    /// Name of the ONNX node this came from (may be empty).
    pub source: String,
}

/// A graph of one level.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<D: Dialect> {
    /// Name of the network.
    pub name: String,
    /// Header data of the level.
    pub header: D::Header,
    /// Constants.
    pub consts: Consts,
    /// Nodes in execution order.
    pub nodes: Vec<Node<D>>,
    /// Results of the network.
    pub outputs: Vec<ValueId>,
}

impl<D: Dialect> Graph<D> {
    /// An empty graph; characters of the name that the text form cannot hold become `_`.
    pub fn new(name: &str) -> Self {
        let clean = |c: char| if c.is_whitespace() || c.is_control() || matches!(c, '{' | '(' | '#') { '_' } else { c };
        let name = if name.is_empty() { "g".into() } else { name.chars().map(clean).collect() };
        Graph { name, header: D::Header::default(), consts: Consts::default(), nodes: vec![], outputs: vec![] }
    }
    /// Appends a node and returns its value.
    pub fn push(&mut self, op: D::Op, args: Vec<ValueId>, ty: D::Type, source: &str) -> ValueId {
        self.nodes.push(Node { op, args, ty, source: source.into() });
        ValueId(self.nodes.len() as u32 - 1)
    }
    /// The node that defines a value.
    pub fn node(&self, v: ValueId) -> &Node<D> {
        &self.nodes[v.index()]
    }
    /// The type of a value.
    pub fn ty(&self, v: ValueId) -> &D::Type {
        &self.nodes[v.index()].ty
    }
    /// All nodes with their values.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, &Node<D>)> {
        self.nodes.iter().enumerate().map(|(i, n)| (ValueId(i as u32), n))
    }
    /// How often each value is used, outputs included.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut n = vec![0; self.nodes.len()];
        for v in self.nodes.iter().flat_map(|n| &n.args).chain(&self.outputs) {
            n[v.index()] += 1;
        }
        n
    }
    /// For each value, the nodes that read it (once per use).
    pub fn users(&self) -> Vec<Vec<ValueId>> {
        let mut u = vec![vec![]; self.nodes.len()];
        for (v, n) in self.iter() {
            for a in &n.args {
                u[a.index()].push(v);
            }
        }
        u
    }
    /// Structure shared by all levels; adds to `findings`.
    pub fn check_structure(&self, findings: &mut Vec<Finding>) {
        for (_, c) in self.consts.iter() {
            if let Some(ty) = c.data.as_ref().map(|d| d.ty()).filter(|ty| *ty != c.ty) {
                let message = format!("constant @{} is {ty}, declared {}", c.name, c.ty);
                findings.push(Finding::of_graph(message));
            }
        }
        for (v, n) in self.iter() {
            for a in &n.args {
                if a.0 >= v.0 {
                    findings.push(self.finding(v, format!("uses %{} before it is defined", a.0)));
                }
            }
            let info = n.op.info();
            if !info.arity.fits(n.args.len()) {
                findings.push(self.finding(v, format!("{} takes {} operands, not {}", info.mnemonic, info.arity, n.args.len())));
            }
            for (c, kind) in n.op.uses() {
                if c.0 as usize >= self.consts.len() {
                    findings.push(self.finding(v, format!("constant {} does not exist", c.0)));
                } else if self.consts.get(c).ty.kind() != kind {
                    let c = self.consts.get(c);
                    findings.push(self.finding(v, format!("{} takes {kind}, and @{} is {}", info.mnemonic, c.name, c.ty)));
                }
            }
        }
        for o in &self.outputs {
            if o.index() >= self.nodes.len() {
                findings.push(Finding::of_outputs(format!("output %{} does not exist", o.0)));
            }
        }
        if self.outputs.is_empty() {
            findings.push(Finding::of_outputs("the graph has no output".into()));
        }
    }
    /// A finding at a node.
    pub fn finding(&self, v: ValueId, message: String) -> Finding {
        Finding { at: Part::Node(v), source: self.nodes[v.index()].source.clone(), message }
    }
    /// Keeps only nodes that an output needs (and the ops `keep` names), renumbering values and
    /// dropping unused constants.
    pub fn prune(&mut self, keep: impl Fn(&D::Op) -> bool)
    where
        D::Op: RemapConsts,
    {
        let mut live = vec![false; self.nodes.len()];
        for o in &self.outputs {
            live[o.index()] = true;
        }
        for i in (0..self.nodes.len()).rev() {
            live[i] |= keep(&self.nodes[i].op);
            if live[i] {
                for a in &self.nodes[i].args {
                    live[a.index()] = true;
                }
            }
        }
        let mut map = vec![ValueId(u32::MAX); self.nodes.len()];
        let old = std::mem::take(&mut self.nodes);
        for (i, mut n) in old.into_iter().enumerate() {
            if live[i] {
                n.args.iter_mut().for_each(|a| *a = map[a.index()]);
                map[i] = ValueId(self.nodes.len() as u32);
                self.nodes.push(n);
            }
        }
        self.outputs.iter_mut().for_each(|o| *o = map[o.index()]);
        let mut cmap: Vec<Option<ConstId>> = vec![None; self.consts.len()];
        let mut consts = Consts::default();
        for n in &mut self.nodes {
            for c in n.op.consts() {
                if cmap[c.0 as usize].is_none() {
                    cmap[c.0 as usize] = Some(consts.push(self.consts.get(c).clone()));
                }
            }
            n.op.remap_consts(&|c| cmap[c.0 as usize].expect("constant was visited"));
        }
        self.consts = consts;
    }
}

/// Replaces the constant ids of an op; implemented by `define_ops!`.
pub trait RemapConsts {
    /// Applies `f` to every constant id of the op.
    fn remap_consts(&mut self, f: &dyn Fn(ConstId) -> ConstId);
}

/// A graph that its level's verifier has accepted; the next stage takes only this.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<D: Dialect>(Graph<D>);

impl<D: Dialect> Verified<D> {
    /// Wraps a graph after a verifier collected `findings` for it.
    pub fn from_findings(graph: Graph<D>, findings: Vec<Finding>) -> Result<Self, VerifyError> {
        if findings.is_empty() { Ok(Verified(graph)) } else { Err(VerifyError { findings }) }
    }
    /// Gives the graph back for changing.
    pub fn into_inner(self) -> Graph<D> {
        self.0
    }
}
impl<D: Dialect> std::ops::Deref for Verified<D> {
    type Target = Graph<D>;
    fn deref(&self) -> &Graph<D> {
        &self.0
    }
}
