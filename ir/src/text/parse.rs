//! Parser of the text form.

use super::lexer::{Counted, Cursor};
use super::source_map::{Position, SourceMap};
use crate::consts::{Const, ConstId, ConstKind, ConstType, Consts, Data, Element, Hash};
use crate::error::ParseError;
use crate::graph::{Dialect, Graph, HeaderText, Node, Op, Type, ValueId};
use crate::ops::{Attr, BuildError, suggestion};
use crate::table::TableType;
use std::collections::HashMap;

type Result<T> = std::result::Result<T, ParseError>;

/// Deepest nesting of lists and records; no op needs more than two.
const MAX_DEPTH: usize = 8;
/// Most attributes of an op or a header, and entries of a record; no op has as many as twelve.
const MAX_ENTRIES: usize = 64;
/// Numbers that no constant has.
const LARGEST: usize = 1 << 40;

/// Reads the text of a graph. Values may have any number after `%`; they are renumbered in order of
/// definition. Checks grammar, names, attributes and types' syntax; the level's verifier checks the
/// rest.
pub fn parse<D: Dialect>(text: &str) -> Result<Graph<D>> {
    parse_mapped(text).map(|(g, _)| g)
}

/// As [`parse`], and says where each node stands in the text.
///
/// # Errors
/// As [`parse`].
pub fn parse_mapped<D: Dialect>(text: &str) -> Result<(Graph<D>, SourceMap)> {
    let mut p =
        Parser { c: Cursor::new(text), consts: Consts::default(), values: HashMap::new(), attr_at: vec![], counted: Counted::default() };
    let mut map = SourceMap::default();
    p.c.skip();
    let at = p.c.pos();
    map.graph = p.position(at);
    let keyword = p.c.ident("the name of an IR level")?;
    if keyword != D::NAME {
        let message = match LEVELS.contains(&keyword) {
            true => format!("this is `{keyword}` IR, expected `{}`", D::NAME),
            false => {
                format!("`{keyword}` is no level of the IR, expected `{}`{}", D::NAME, suggestion(keyword, LEVELS.into_iter(), "one of"))
            }
        };
        return Err(p.c.error_at(at, message));
    }
    p.c.expect("@")?;
    let name = p.c.run("a name", |c| !c.is_whitespace() && !matches!(c, '{' | '('))?.to_string();
    let mut g = Graph::<D>::new(&name);
    let at = p.c.pos();
    let mut header = if p.c.eat("(") { p.attrs_body(")")? } else { vec![] };
    g.header = D::Header::build(&mut header).map_err(|e| p.c.error_at(at, e))?;
    if let Some((n, _)) = header.first() {
        return Err(p.c.error_at(p.attribute(n, at), format!("unknown header attribute `{n}`")));
    }
    p.c.expect("{")?;
    loop {
        if p.c.eat("const") {
            p.constant()?;
        } else if p.c.peek("%") {
            let at = p.c.pos();
            map.nodes.push(p.position(at));
            let n = p.node::<D>(g.nodes.len())?;
            g.nodes.push(n);
        } else {
            break;
        }
    }
    p.c.skip();
    let at = p.c.pos();
    map.outputs = p.position(at);
    p.c.expect("return")?;
    if p.c.peek("%") {
        g.outputs.push(p.value()?);
        while p.c.eat(",") {
            g.outputs.push(p.value()?);
        }
    }
    p.c.expect("}")?;
    if !p.c.at_end() {
        return Err(p.c.error("text after the end of the graph"));
    }
    g.consts = p.consts;
    Ok((g, map))
}

/// The first word of a text, after white space and comments: the level, if it is a graph.
pub fn keyword(text: &str) -> Option<&str> {
    let mut c = Cursor::new(text);
    c.ident("").ok()
}

/// Keywords that open a graph.
const LEVELS: [&str; 5] = ["tensor", "quant", "packed", "he", "program"];

struct Parser<'a> {
    c: Cursor<'a>,
    consts: Consts,
    values: HashMap<String, ValueId>,
    /// Where each attribute of the list read last stands.
    attr_at: Vec<(String, usize)>,
    /// Up to where lines and columns have been counted.
    counted: Counted,
}

impl Parser<'_> {
    /// Where a place behind all that were asked for before stands: what lies before them is not
    /// counted again.
    fn position(&mut self, at: usize) -> Position {
        self.c.advance(&mut self.counted, at);
        self.counted.1
    }

    /// Where an attribute stands; `or` if it is not there.
    fn attribute(&self, name: &str, or: usize) -> usize {
        self.attr_at.iter().find(|(n, _)| n == name).map_or(or, |(_, at)| *at)
    }

    /// Where what [`Op::build`] objects to stands.
    fn blamed(&self, e: &BuildError, op: usize) -> usize {
        match e {
            BuildError::Op(_) => op,
            BuildError::Attribute { name, .. } => self.attribute(name, op),
        }
    }

    fn value(&mut self) -> Result<ValueId> {
        self.c.expect("%")?;
        let at = self.c.pos();
        let n = self.c.ident("the number of a value")?;
        self.values.get(n).copied().ok_or_else(|| {
            let mut known: Vec<&str> = self.values.keys().map(String::as_str).collect();
            known.sort_by_key(|k| (k.len(), *k));
            let near = if n.parse::<u32>().is_ok() { String::new() } else { suggestion(n, known.into_iter(), "values above") };
            self.c.error_at(at, format!("%{n} is not defined above{near}"))
        })
    }

    fn node<D: Dialect>(&mut self, index: usize) -> Result<Node<D>> {
        self.c.expect("%")?;
        let at = self.c.pos();
        let name = self.c.ident("the number of a value")?.to_string();
        self.c.expect("=")?;
        self.c.skip();
        let op_at = self.c.pos();
        let mnemonic = self.c.ident("an op")?.to_string();
        let mut args = vec![];
        if self.c.peek("%") {
            args.push(self.value()?);
            while self.c.eat(",") {
                args.push(self.value()?);
            }
        }
        self.attr_at.clear();
        let mut attrs = if self.c.eat("{") { self.attrs_body("}")? } else { vec![] };
        if let Some(info) = D::Op::TABLE.iter().find(|o| o.mnemonic == mnemonic)
            && let Some((n, _)) = attrs.iter().find(|(n, _)| !info.attrs.contains(&n.as_str()))
        {
            let near = suggestion(n, info.attrs.iter().copied(), "it has");
            return Err(self.c.error_at(self.attribute(n, op_at), format!("`{mnemonic}` has no attribute `{n}`{near}")));
        }
        let op = D::Op::build(&mnemonic, &mut attrs).map_err(|e| self.c.error_at(self.blamed(&e, op_at), e.to_string()))?;
        self.c.expect(":")?;
        self.c.skip();
        let ty_at = self.c.pos();
        let ty = D::Type::parse(self.c.until(&[';', '\n', '#'])).map_err(|e| self.c.error_at(ty_at, e))?;
        let source = if self.c.eat(";") { self.c.string()? } else { String::new() };
        if self.values.insert(name.clone(), ValueId(index as u32)).is_some() {
            return Err(self.c.error_at(at, format!("%{name} is defined twice")));
        }
        Ok(Node { op, args, ty, source })
    }

    fn constant(&mut self) -> Result<()> {
        self.c.expect("@")?;
        let at = self.c.pos();
        let name = self.c.ident("a constant's name")?.to_string();
        if self.consts.find(&name).is_some() {
            return Err(self.c.error_at(at, format!("@{name} is defined twice")));
        }
        self.c.expect(":")?;
        let ty = self.const_type()?;
        if self.c.eat("=") {
            self.c.skip();
            let at = self.c.pos();
            let data = self.values(&ty)?;
            self.consts.push(Const::new(&name, data.map_err(|e| self.c.error_at(at, e))?));
        } else {
            self.c.expect("blake3:")?;
            let at = self.c.pos();
            let h = self.c.ident("a hash")?;
            let hash = Hash::parse(h).ok_or_else(|| self.c.error_at(at, "a BLAKE3 hash has 64 hexadecimal digits"))?;
            self.consts.push(Const { name, ty, hash, data: None });
        }
        Ok(())
    }

    /// The type of a constant: `f32[2x3]`, `table<…>`.
    fn const_type(&mut self) -> Result<ConstType> {
        self.c.skip();
        let at = self.c.pos();
        let kind = match self.c.ident("the type of a constant")? {
            f32::NAME => ConstKind::F32,
            f64::NAME => ConstKind::F64,
            i64::NAME => ConstKind::I64,
            "table" => {
                self.c.expect("<")?;
                let at = self.c.pos();
                let ty = TableType::parse(self.c.until(&['>', '\n'])).map_err(|e| self.c.error_at(at, e))?;
                self.c.expect(">")?;
                if ty.len() >= LARGEST {
                    return Err(self.c.error_at(at, "this constant is too large"));
                }
                return Ok(ConstType::Table(ty));
            }
            other => {
                let near = suggestion(other, [f32::NAME, f64::NAME, i64::NAME, "table"].into_iter(), "one of");
                return Err(self.c.error_at(at, format!("`{other}` is no type of a constant{near}")));
            }
        };
        self.c.expect("[")?;
        let at = self.c.pos();
        let dims = self.c.ident("extents such as 16x3x3x3")?;
        let shape: Option<Vec<usize>> = dims.split('x').map(|d| d.parse().ok()).collect();
        let shape = shape.ok_or_else(|| self.c.error_at(at, format!("bad extents `{dims}`")))?;
        if shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).is_none_or(|n| n >= LARGEST) {
            return Err(self.c.error_at(at, "this constant is too large"));
        }
        self.c.expect("]")?;
        Ok(ConstType::Array(kind, shape))
    }

    /// The values of a constant of a type, or what is wrong with them.
    fn values(&mut self, ty: &ConstType) -> Result<std::result::Result<Data, String>> {
        let ConstType::Table(table) = ty else {
            let values = self.attr(0)?;
            return Ok(super::values::array(ty, &values));
        };
        self.c.expect("{")?;
        let parts = self.attrs_body("}")?;
        Ok(super::values::table(table, parts).map(Data::from))
    }

    /// Attributes after an opening bracket, up to and including `close`.
    fn attrs_body(&mut self, close: &str) -> Result<Vec<(String, Attr)>> {
        let mut out: Vec<(String, Attr)> = vec![];
        self.attr_at.clear();
        if self.c.eat(close) {
            return Ok(out);
        }
        loop {
            self.c.skip();
            let at = self.c.pos();
            let name = self.c.ident("an attribute")?.to_string();
            if out.len() == MAX_ENTRIES {
                return Err(self.c.error_at(at, format!("more than {MAX_ENTRIES} attributes")));
            }
            if out.iter().any(|(n, _)| *n == name) {
                return Err(self.c.error_at(at, format!("attribute `{name}` is given twice")));
            }
            self.attr_at.push((name.clone(), at));
            self.c.expect("=")?;
            let a = self.attr(0)?;
            out.push((name, a));
            if !self.c.eat(",") {
                break;
            }
        }
        self.c.expect(close)?;
        Ok(out)
    }

    /// The entries of a record inside `depth` lists and records, behind its opening brace.
    fn record(&mut self, depth: usize) -> Result<Attr> {
        let mut entries: Vec<(String, Attr)> = vec![];
        if self.c.eat("}") {
            return Ok(Attr::Record(entries));
        }
        loop {
            self.c.skip();
            let at = self.c.pos();
            let name = self.c.ident("the name of an entry")?.to_string();
            if entries.len() == MAX_ENTRIES {
                return Err(self.c.error_at(at, format!("more than {MAX_ENTRIES} entries")));
            }
            if entries.iter().any(|(n, _)| *n == name) {
                return Err(self.c.error_at(at, format!("entry `{name}` is given twice")));
            }
            self.c.expect("=")?;
            let a = self.attr(depth + 1)?;
            entries.push((name, a));
            if !self.c.eat(",") {
                break;
            }
        }
        self.c.expect("}")?;
        Ok(Attr::Record(entries))
    }

    /// An attribute's value inside `depth` lists and records.
    fn attr(&mut self, depth: usize) -> Result<Attr> {
        self.c.skip();
        if depth > MAX_DEPTH {
            return Err(self.c.error(format!("lists and records are nested more than {MAX_DEPTH} deep")));
        }
        if self.c.eat("[") {
            let mut l = vec![];
            if self.c.eat("]") {
                return Ok(Attr::List(l));
            }
            loop {
                l.push(self.attr(depth + 1)?);
                if !self.c.eat(",") {
                    break;
                }
            }
            self.c.expect("]")?;
            return Ok(Attr::List(l));
        }
        if self.c.eat("{") {
            return self.record(depth);
        }
        if self.c.peek("\"") {
            return Ok(Attr::Str(self.c.string()?));
        }
        if self.c.eat("@") {
            let at = self.c.pos();
            let n = self.c.ident("a constant's name")?;
            let id: Option<ConstId> = self.consts.find(n);
            return id.map(Attr::Const).ok_or_else(|| {
                let near = suggestion(n, self.consts.iter().map(|(_, c)| c.name.as_str()), "constants above");
                self.c.error_at(at, format!("@{n} is not defined above{near}"))
            });
        }
        let w = self.c.word()?;
        if let Ok(i) = w.parse() {
            return Ok(Attr::Int(i));
        }
        // `inf` and `nan` would parse as floats; they are words here.
        match w.parse::<f64>() {
            Ok(x) if x.is_finite() && !w.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(Attr::Float(x)),
            _ => Ok(Attr::Word(w.to_string())),
        }
    }
}
