//! Functions that a file defines itself: their nodes take the place of the calls.

use super::{default_opset, pb};
use prost::Message;
use std::collections::{HashMap, HashSet};

/// Most nodes of a graph whose functions are inlined.
const MAX_NODES: usize = 1 << 17;
/// Deepest nesting of calls.
const MAX_DEPTH: usize = 64;
/// Fields of the messages, which the bindings leave out: functions of a model, and default values
/// of a function's attributes.
const FUNCTIONS: u64 = 25;
const DEFAULTS: u64 = 11;

/// A function with the attributes that a call need not give.
struct Function {
    proto: pb::FunctionProto,
    defaults: Vec<pb::AttributeProto>,
}

type Functions = HashMap<(String, String), Function>;

/// Inlines all calls; yields the opset of the default domain of each node.
///
/// # Errors
/// Functions that call themselves, or grow beyond all measure.
pub(super) fn inline(bytes: &[u8], model: &mut pb::ModelProto) -> Result<Vec<i64>, String> {
    let opset = default_opset(&model.opset_import).unwrap_or(0);
    let Some(graph) = &mut model.graph else { return Ok(vec![]) };
    let functions = functions(bytes);
    if functions.is_empty() {
        return Ok(vec![opset; graph.node.len()]);
    }
    let names = graph.node.iter().flat_map(|n| n.output.iter().chain(&n.input));
    let names = names.chain(graph.input.iter().map(|v| &v.name)).chain(graph.initializer.iter().map(|t| &t.name));
    let mut inliner = Inliner { functions: &functions, taken: names.cloned().collect(), out: vec![], opsets: vec![] };
    for n in std::mem::take(&mut graph.node) {
        inliner.add(n, opset, 0)?;
    }
    graph.node = inliner.out;
    Ok(inliner.opsets)
}

struct Inliner<'a> {
    functions: &'a Functions,
    /// Names of values so far.
    taken: HashSet<String>,
    out: Vec<pb::NodeProto>,
    opsets: Vec<i64>,
}

impl Inliner<'_> {
    /// Adds a node, or what its function is made of.
    fn add(&mut self, n: pb::NodeProto, opset: i64, depth: usize) -> Result<(), String> {
        let Some(f) = self.functions.get(&(n.domain.clone(), n.op_type.clone())) else {
            self.out.push(n);
            self.opsets.push(opset);
            return if self.out.len() > MAX_NODES { Err(format!("its functions make more than {MAX_NODES} nodes")) } else { Ok(()) };
        };
        if depth == MAX_DEPTH {
            return Err(format!("function \"{}\" calls itself, or others more than {MAX_DEPTH} deep", n.op_type));
        }
        let call = if n.name.is_empty() { n.output.first().cloned().unwrap_or_default() } else { n.name.clone() };
        let given = |list: &[String], i: usize| list.get(i).cloned().unwrap_or_default();
        let mut names: HashMap<String, String> = HashMap::new();
        for (i, x) in f.proto.input.iter().enumerate() {
            names.insert(x.clone(), given(&n.input, i));
        }
        for (i, y) in f.proto.output.iter().enumerate() {
            let actual = given(&n.output, i);
            // An input that is an output as well is passed on.
            if let Some(x) = names.get(y).cloned() {
                let pass = pb::NodeProto {
                    name: call.clone(),
                    op_type: "Identity".into(),
                    input: vec![x],
                    output: vec![actual],
                    ..Default::default()
                };
                self.out.push(pass);
                self.opsets.push(opset);
            } else if !actual.is_empty() {
                names.insert(y.clone(), actual);
            }
        }
        let opset = default_opset(&f.proto.opset_import).unwrap_or(opset);
        for inner in &f.proto.node {
            let mut inner = inner.clone();
            let own = if inner.name.is_empty() { inner.output.first().cloned().unwrap_or_default() } else { inner.name.clone() };
            inner.name = format!("{call}/{own}");
            for name in inner.input.iter_mut().chain(&mut inner.output).filter(|n| !n.is_empty()) {
                *name = names.entry(name.clone()).or_insert_with(|| self.fresh(&format!("{call}/{name}"))).clone();
            }
            inner.attribute = inner.attribute.iter().filter_map(|a| attribute(a, &n.attribute, &f.defaults)).collect();
            self.add(inner, opset, depth + 1)?;
        }
        Ok(())
    }

    /// A name that no value has yet.
    fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_string();
        while !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }
}

/// An attribute of a function's node: its own, or the one of the call that it refers to; `None` if
/// neither the call nor the function gives it.
fn attribute(a: &pb::AttributeProto, call: &[pb::AttributeProto], defaults: &[pb::AttributeProto]) -> Option<pb::AttributeProto> {
    if a.ref_attr_name.is_empty() {
        return Some(a.clone());
    }
    let of = |list: &[pb::AttributeProto]| list.iter().find(|b| b.name == a.ref_attr_name).cloned();
    of(call).or_else(|| of(defaults)).map(|b| pb::AttributeProto { name: a.name.clone(), ref_attr_name: String::new(), ..b })
}

/// The functions of a file by domain and name. Of several with one name (overloads) none is taken.
fn functions(bytes: &[u8]) -> Functions {
    let mut out = Functions::new();
    let mut several = HashSet::new();
    for part in fields(bytes, FUNCTIONS) {
        let Ok(proto) = pb::FunctionProto::decode(part) else { continue };
        let defaults = fields(part, DEFAULTS).filter_map(|a| pb::AttributeProto::decode(a).ok()).collect();
        let key = (proto.domain.clone().unwrap_or_default(), proto.name.clone().unwrap_or_default());
        if out.insert(key.clone(), Function { proto, defaults }).is_some() {
            several.insert(key);
        }
    }
    several.iter().for_each(|key| _ = out.remove(key));
    out
}

/// The contents of all fields of a number in a message that are themselves messages; what is no
/// message ends them.
fn fields(mut bytes: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let next = move || -> Option<(u64, &[u8])> {
        let tag = varint(&mut bytes)?;
        let skip = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (field, rest) = bytes.split_at_checked(skip)?;
        bytes = rest;
        Some((if tag & 7 == 2 { tag >> 3 } else { 0 }, field))
    };
    std::iter::from_fn(next).filter(move |(n, _)| *n == number).map(|(_, field)| field)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut x = 0;
    for shift in (0..64).step_by(7) {
        let (&b, rest) = bytes.split_first()?;
        *bytes = rest;
        x |= u64::from(b & 127) << shift;
        if b < 128 {
            return Some(x);
        }
    }
    None
}
