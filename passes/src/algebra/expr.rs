//! The language of the e-graph: elementwise polynomials over opaque values.

use super::per_channel::PerChannel;
use egg::{Id, Language, RecExpr};

/// An elementwise expression. Children are values of one shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// A value that the region only reads, by number.
    Leaf(u32),
    /// `shift + Σ coeffs[i]·args[i]`, per channel. Costs nothing of its own: the linear map that
    /// reads it takes it in.
    Sum {
        /// Factors.
        coeffs: Vec<PerChannel>,
        /// What is added.
        shift: PerChannel,
        /// Summands, as many as `coeffs`.
        args: Vec<Id>,
    },
    /// The product of two values; a square if they are the same.
    Mul([Id; 2]),
    /// `Σ coeffs[k]·x^k`, per channel.
    Poly {
        /// Coefficients, lowest power first; at least three.
        coeffs: Vec<PerChannel>,
        /// x
        arg: [Id; 1],
    },
}

impl Language for Expr {
    /// Kind and number of children.
    type Discriminant = (u8, usize);

    fn discriminant(&self) -> (u8, usize) {
        let kind = match self {
            Expr::Leaf(_) => 0,
            Expr::Sum { .. } => 1,
            Expr::Mul(_) => 2,
            Expr::Poly { .. } => 3,
        };
        (kind, self.children().len())
    }
    fn matches(&self, o: &Self) -> bool {
        match (self, o) {
            (Expr::Leaf(a), Expr::Leaf(b)) => a == b,
            (Expr::Sum { coeffs, shift, .. }, Expr::Sum { coeffs: r, shift: s, .. }) => coeffs == r && shift == s,
            (Expr::Mul(_), Expr::Mul(_)) => true,
            (Expr::Poly { coeffs, .. }, Expr::Poly { coeffs: r, .. }) => coeffs == r,
            _ => false,
        }
    }
    fn children(&self) -> &[Id] {
        match self {
            Expr::Leaf(_) => &[],
            Expr::Sum { args, .. } => args,
            Expr::Mul(args) => args,
            Expr::Poly { arg, .. } => arg,
        }
    }
    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Expr::Leaf(_) => &mut [],
            Expr::Sum { args, .. } => args,
            Expr::Mul(args) => args,
            Expr::Poly { arg, .. } => arg,
        }
    }
}

/// Degree of a polynomial, by coefficients that are not zero in some channel.
pub fn degree(coeffs: &[PerChannel]) -> usize {
    coeffs.iter().rposition(|r| !r.is(0.0)).unwrap_or(0)
}

/// An expression over e-classes, as rules propose them.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A value that is there.
    Of(Id),
    /// `shift + Σ coefficient·term`.
    Sum(Vec<(PerChannel, Term)>, PerChannel),
    /// A product.
    Mul(Box<Term>, Box<Term>),
    /// A polynomial.
    Poly(Vec<PerChannel>, Box<Term>),
}

impl Term {
    /// A product of two terms.
    pub fn product(a: Term, b: Term) -> Term {
        Term::Mul(Box::new(a), Box::new(b))
    }
}

/// Adds a term through `add`, which returns the id of a node, in normal form: no zero factors, each
/// value once in a sum and in order of ids, no sum of a single value as it is, the smaller id first
/// in a product, polynomials of degree 2 or more.
pub fn build(t: &Term, add: &mut impl FnMut(Expr) -> Id) -> Id {
    match t {
        Term::Of(id) => *id,
        Term::Sum(terms, shift) => {
            let parts = terms.iter().map(|(r, t)| (r.clone(), build(t, add))).collect();
            sum(parts, shift.clone(), add)
        }
        Term::Mul(a, b) => {
            let (a, b) = (build(a, add), build(b, add));
            add(Expr::Mul([a.min(b), a.max(b)]))
        }
        Term::Poly(coeffs, x) => {
            let x = build(x, add);
            match degree(coeffs) {
                0 => add(Expr::Sum { coeffs: vec![], shift: coeffs[0].clone(), args: vec![] }),
                1 => sum(vec![(coeffs[1].clone(), x)], coeffs[0].clone(), add),
                d => add(Expr::Poly { coeffs: coeffs[..=d].to_vec(), arg: [x] }),
            }
        }
    }
}

fn sum(parts: Vec<(PerChannel, Id)>, shift: PerChannel, add: &mut impl FnMut(Expr) -> Id) -> Id {
    let mut all: std::collections::BTreeMap<Id, PerChannel> = Default::default();
    for (r, id) in parts {
        let sum = all.get(&id).map_or(r.clone(), |s| s.plus(&r));
        all.insert(id, sum);
    }
    all.retain(|_, r| !r.is(0.0));
    match all.iter().next() {
        Some((id, r)) if all.len() == 1 && r.is(1.0) && shift.is(0.0) => *id,
        _ => {
            let (args, coeffs) = all.into_iter().unzip();
            add(Expr::Sum { coeffs, shift, args })
        }
    }
}

/// A node of an expression in words, with names for leaves: `2·(a·b) + c + 1`.
pub fn show(e: &RecExpr<Expr>, at: Id, leaf: &dyn Fn(u32) -> String) -> String {
    let child = |id: Id| show(e, id, leaf);
    let factor = |id: Id| match &e[id] {
        Expr::Sum { .. } => format!("({})", child(id)),
        _ => child(id),
    };
    match &e[at] {
        Expr::Leaf(n) => leaf(*n),
        Expr::Mul([a, b]) if a == b => format!("{}²", if matches!(e[*a], Expr::Leaf(_)) { child(*a) } else { format!("({})", child(*a)) }),
        Expr::Mul([a, b]) => format!("{}·{}", factor(*a), factor(*b)),
        Expr::Poly { coeffs, arg } => format!("poly{}({})", degree(coeffs), child(arg[0])),
        Expr::Sum { coeffs, shift, args } => {
            let times = |(r, id): (&PerChannel, &Id)| if r.is(1.0) { child(*id) } else { format!("{r}·{}", factor(*id)) };
            let mut parts: Vec<String> = coeffs.iter().zip(args).map(times).collect();
            if parts.is_empty() || !shift.is(0.0) {
                parts.push(shift.to_string());
            }
            parts.join(" + ")
        }
    }
}
