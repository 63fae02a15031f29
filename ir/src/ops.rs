//! Op tables: one declaration per dialect yields enum, printer, parser, arity check and
//! documentation.

use crate::ids::{ConstId, ConstKind, IntsId, TableId};
use chiffre_params::Gadget;
use chiffre_params::scale::IndexedScale;
use std::fmt;

/// How many operands an op takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly this many.
    Exactly(usize),
    /// This many or more.
    AtLeast(usize),
}
impl Arity {
    /// True if `n` operands are allowed.
    pub fn fits(self, n: usize) -> bool {
        match self {
            Arity::Exactly(k) => n == k,
            Arity::AtLeast(k) => n >= k,
        }
    }
}
impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arity::Exactly(k) => write!(f, "{k}"),
            Arity::AtLeast(k) => write!(f, "{k} or more"),
        }
    }
}

/// A row of a dialect's op table.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// Name in the text form.
    pub mnemonic: &'static str,
    /// Number of operands.
    pub arity: Arity,
    /// Attribute names, in order.
    pub attrs: &'static [&'static str],
    /// Documentation.
    pub doc: &'static str,
}

/// An attribute value of the text form.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A bare word such as `relu` or `2^30*q4^-1`.
    Word(String),
    /// A quoted string.
    Str(String),
    /// A constant `@w3`.
    Const(ConstId),
    /// A list.
    List(Vec<Attr>),
    /// Named entries, `{degree=14, doublings=4}`.
    Record(Vec<(String, Attr)>),
}

/// Why an op cannot be built from its mnemonic and attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// There is no such op; the text says what is near.
    #[error("{0}")]
    Op(String),
    /// An attribute is missing or is of another kind.
    #[error("attribute {name} {what}")]
    Attribute {
        /// Its name.
        name: &'static str,
        /// What is wrong with it: "is missing".
        what: String,
    },
}

/// Rust types that can be attributes.
pub trait AttrValue: Sized {
    /// The attribute, or `None` to leave it out.
    fn to_attr(&self) -> Option<Attr>;
    /// Reads the attribute; `None` if it was left out.
    fn from_attr(a: Option<Attr>) -> Result<Self, String>;
    /// Adds the constants that the attribute names, and the kinds that it takes.
    fn uses(&self, _out: &mut Vec<(ConstId, ConstKind)>) {}
    /// Applies `f` to a contained constant id.
    fn remap(&mut self, _f: &dyn Fn(ConstId) -> ConstId) {}
}

fn required(a: Option<Attr>) -> Result<Attr, String> {
    a.ok_or_else(|| "is missing".to_string())
}

macro_rules! int_attr {
    ($($t:ty),*) => { $(impl AttrValue for $t {
        fn to_attr(&self) -> Option<Attr> { Some(Attr::Int(*self as i64)) }
        fn from_attr(a: Option<Attr>) -> Result<Self, String> {
            match required(a)? { Attr::Int(i) => <$t>::try_from(i).map_err(|_| format!("{i} is out of range")), _ => Err("must be an integer".into()) }
        }
    })* };
}
int_attr!(usize, i64, u32, i32);

impl AttrValue for f64 {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Float(*self))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match required(a)? {
            Attr::Float(x) => Ok(x),
            Attr::Int(i) => Ok(i as f64),
            _ => Err("must be a number".into()),
        }
    }
}
impl AttrValue for bool {
    fn to_attr(&self) -> Option<Attr> {
        self.then(|| Attr::Word("true".into()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match a {
            None => Ok(false),
            Some(Attr::Word(w)) if w == "true" => Ok(true),
            Some(Attr::Word(w)) if w == "false" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }
}
impl AttrValue for String {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Str(self.clone()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match required(a)? {
            Attr::Str(s) => Ok(s),
            _ => Err("must be a quoted string".into()),
        }
    }
}
impl AttrValue for ConstId {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Const(*self))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match required(a)? {
            Attr::Const(c) => Ok(c),
            _ => Err("must be a constant @name".into()),
        }
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        out.push((*self, ConstKind::F32));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        *self = f(*self);
    }
}
impl AttrValue for IntsId {
    fn to_attr(&self) -> Option<Attr> {
        self.0.to_attr()
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        ConstId::from_attr(a).map(IntsId)
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        out.push((self.0, ConstKind::I64));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        self.0.remap(f);
    }
}
impl AttrValue for TableId {
    fn to_attr(&self) -> Option<Attr> {
        self.0.to_attr()
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        ConstId::from_attr(a).map(TableId)
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        out.push((self.0, ConstKind::Table));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        self.0.remap(f);
    }
}
impl<T: AttrValue> AttrValue for Option<T> {
    fn to_attr(&self) -> Option<Attr> {
        self.as_ref().and_then(T::to_attr)
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        a.map(|a| T::from_attr(Some(a))).transpose()
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        self.iter().for_each(|x| x.uses(out));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        if let Some(x) = self {
            x.remap(f);
        }
    }
}
impl<T: AttrValue> AttrValue for Vec<T> {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::List(self.iter().filter_map(T::to_attr).collect()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match required(a)? {
            Attr::List(l) => l.into_iter().map(|x| T::from_attr(Some(x))).collect(),
            _ => Err("must be a list".into()),
        }
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        self.iter().for_each(|x| x.uses(out));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        self.iter_mut().for_each(|x| x.remap(f));
    }
}
impl<T: AttrValue + std::fmt::Debug, const N: usize> AttrValue for [T; N] {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::List(self.iter().filter_map(T::to_attr).collect()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        let v = Vec::<T>::from_attr(a)?;
        let n = v.len();
        v.try_into().map_err(|_| format!("must have {N} entries, not {n}"))
    }
    fn uses(&self, out: &mut Vec<(ConstId, ConstKind)>) {
        self.iter().for_each(|x| x.uses(out));
    }
    fn remap(&mut self, f: &dyn Fn(ConstId) -> ConstId) {
        self.iter_mut().for_each(|x| x.remap(f));
    }
}

/// A key shape is the list `[limbs, special primes]`.
impl AttrValue for Gadget {
    fn to_attr(&self) -> Option<Attr> {
        [self.limbs, self.alpha].to_attr()
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        <[usize; 2]>::from_attr(a).map(|[limbs, alpha]| Gadget { limbs, alpha })
    }
}

/// Implements [`AttrValue`] for a type with `Display` and `FromStr`, printed as a bare word.
#[macro_export]
macro_rules! word_attr {
    ($t:ty) => {
        impl $crate::ops::AttrValue for $t {
            fn to_attr(&self) -> Option<$crate::ops::Attr> {
                Some($crate::ops::Attr::Word(self.to_string()))
            }
            fn from_attr(a: Option<$crate::ops::Attr>) -> Result<Self, String> {
                match a {
                    Some($crate::ops::Attr::Word(w)) => w.parse().map_err(|e| format!("{e}")),
                    Some($crate::ops::Attr::Int(i)) => i.to_string().parse().map_err(|e| format!("{e}")),
                    Some(_) => Err("must be a word".into()),
                    None => Err("is missing".into()),
                }
            }
        }
    };
}

word_attr!(IndexedScale);

/// Takes the entry `name` out of a record or a list of attributes.
///
/// # Errors
/// Names the entry, if it is missing or of another type.
pub fn take_attr<T: AttrValue>(attrs: &mut Vec<(String, Attr)>, name: &str) -> Result<T, String> {
    let a = attrs.iter().position(|(n, _)| n == name).map(|i| attrs.remove(i).1);
    T::from_attr(a).map_err(|e| format!("{name} {e}"))
}

/// Declares a dialect's ops: `Variant = "mnemonic" (arity) { attribute: type, ... }` with a doc
/// line each.
#[macro_export]
macro_rules! define_ops {
    ($(#[$em:meta])* pub enum $name:ident { $( $(#[doc = $doc:literal])+ $v:ident = $mn:literal ($($ar:tt)*) { $( $(#[$fm:meta])* $f:ident : $t:ty ),* $(,)? } ),* $(,)? }) => {
        $(#[$em])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $( $(#[doc = $doc])+ #[allow(missing_docs)] $v { $( $(#[$fm])* $f: $t ),* } ),* }
        impl $crate::graph::Op for $name {
            const TABLE: &'static [$crate::ops::OpInfo] = &[ $( $crate::ops::OpInfo {
                mnemonic: $mn, arity: $crate::define_ops!(@arity $($ar)*), attrs: &[$(stringify!($f)),*], doc: concat!($($doc),+) } ),* ];
            #[allow(unused_assignments, unused_mut)]
            fn info(&self) -> &'static $crate::ops::OpInfo {
                let mut i = 0;
                $( if let $name::$v { .. } = self { return &Self::TABLE[i]; } i += 1; )*
                unreachable!("every op is in the table, {i} rows")
            }
            fn attrs(&self) -> Vec<(&'static str, $crate::ops::Attr)> {
                match self { $( $name::$v { $($f),* } => {
                    #[allow(unused_mut)]
                    let mut out: Vec<(&'static str, $crate::ops::Attr)> = vec![];
                    $( if let Some(a) = $crate::ops::AttrValue::to_attr($f) { out.push((stringify!($f), a)); } )*
                    out
                } ),* }
            }
            fn uses(&self) -> Vec<($crate::consts::ConstId, $crate::consts::ConstKind)> {
                #[allow(unused_mut)]
                let mut out = vec![];
                match self { $( $name::$v { $($f),* } => { $( $crate::ops::AttrValue::uses($f, &mut out); )* } ),* }
                out
            }
            fn build(mnemonic: &str, attrs: &mut Vec<(String, $crate::ops::Attr)>) -> Result<Self, $crate::ops::BuildError> {
                #[allow(unused)]
                let mut take = |name: &str| attrs.iter().position(|(n, _)| n == name).map(|i| attrs.remove(i).1);
                match mnemonic { $( $mn => Ok($name::$v { $( $f: $crate::ops::AttrValue::from_attr(take(stringify!($f))).map_err(|e| $crate::ops::BuildError::Attribute { name: stringify!($f), what: e })? ),* }), )*
                    _ => Err($crate::ops::BuildError::Op($crate::ops::unknown_op(mnemonic, <Self as $crate::graph::Op>::TABLE))) }
            }
        }
        impl $crate::graph::RemapConsts for $name {
            fn remap_consts(&mut self, f: &dyn Fn($crate::consts::ConstId) -> $crate::consts::ConstId) {
                let _ = f;
                match self { $( $name::$v { $($f),* } => { $( $crate::ops::AttrValue::remap($f, f); )* } ),* }
            }
        }
    };
    (@arity $n:literal +) => { $crate::ops::Arity::AtLeast($n) };
    (@arity $n:literal) => { $crate::ops::Arity::Exactly($n) };
}

/// The message for an unknown mnemonic, with the nearest known one.
pub fn unknown_op(mnemonic: &str, table: &[OpInfo]) -> String {
    format!("unknown op `{mnemonic}`{}", suggestion(mnemonic, table.iter().map(|o| o.mnemonic), "it is one of"))
}

/// Longest word that is compared with others, and most others.
const COMPARED: usize = 1 << 10;

/// `; did you mean …?` if a candidate is near enough to be a slip of the pen, else all of them
/// after `else_list` (nothing if there are none, or if there is too much to compare).
pub fn suggestion<'a>(word: &str, candidates: impl Iterator<Item = &'a str>, else_list: &str) -> String {
    let all: Vec<&str> = candidates.filter(|c| c.len() <= COMPARED).take(COMPARED).collect();
    if word.len() > COMPARED {
        return String::new();
    }
    let near = all.iter().map(|c| (strsim::levenshtein(c, word), c)).min_by_key(|(d, _)| *d);
    match near {
        Some((d, c)) if d <= c.chars().count().max(word.chars().count()).div_ceil(3) => format!("; did you mean `{c}`?"),
        Some(_) if all.len() <= 24 => format!(" ({else_list}: {})", all.join(", ")),
        _ => String::new(),
    }
}

/// The op table as Markdown, for the docs.
pub fn markdown_table(table: &[OpInfo]) -> String {
    let mut s = String::from("| op | operands | attributes | meaning |\n|---|---|---|---|\n");
    for o in table {
        s += &format!("| `{}` | {} | {} | {} |\n", o.mnemonic, o.arity, o.attrs.join(", "), o.doc.trim().replace('|', "\\|"));
    }
    s
}
