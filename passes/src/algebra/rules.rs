//! The rules: what may take the place of an expression, each with a name and a reason.
//!
//! A rule looks at one node of the e-graph and proposes terms of equal value. Every rule is an
//! identity of real numbers in every channel; the tests hold both sides against each other on the
//! tensor interpreter.

use super::expr::{Expr, Term, degree};
use super::per_channel::{PerChannel, channels};
use egg::{EGraph, Id};
use std::collections::BTreeMap;

/// Largest even degree that becomes a polynomial of the square. Beyond it monomials lose too many
/// bits.
pub const MAX_EVEN_DEGREE: usize = 8;
/// Largest shift, root or coefficient that a completed square or a factor may hold beside factors
/// of size 1: it costs so many times the precision.
pub const MAX_RATIO: f64 = 16.0;
/// A discriminant or a cubic remainder of this size, relative to its parts, counts as zero:
/// coefficients come from f32.
const ROUNDING: f64 = 1e-6;
/// A rewrite rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it does, as a formula.
    pub formula: &'static str,
    /// Why it is worth a try.
    pub why: &'static str,
    /// True if it takes polynomials of one value apart.
    pub polynomial: bool,
    /// Terms equal to a node.
    pub apply: fn(&EGraph<Expr, ()>, &Expr) -> Vec<Term>,
}

/// All rules, in the order in which they are tried.
pub const RULES: &[Rule] = &[
    Rule {
        name: "flatten-sums",
        formula: "a·(b·x + y) + z = ab·x + a·y + z",
        why: "a sum of sums is one linear map",
        polynomial: false,
        apply: flatten_sums,
    },
    Rule {
        name: "scale-out-of-product",
        formula: "(a·x)·y = a·(x·y)",
        why: "products of multiples of the same values are one product",
        polynomial: false,
        apply: scale_out_of_product,
    },
    Rule {
        name: "regroup-product",
        formula: "(x·y)·z = x·(y·z)",
        why: "a balanced product of n values takes log2 n levels instead of n − 1, and factors that occur twice become squares",
        polynomial: false,
        apply: regroup_product,
    },
    Rule {
        name: "factor-out-of-sum",
        formula: "a·x·y + b·x·z = x·(a·y + b·z)",
        why: "one key switch instead of two: the sum is part of a linear map",
        polynomial: false,
        apply: factor_out_of_sum,
    },
    Rule {
        name: "factor-quadratic-form",
        formula: "a·x² + b·x·y + c·y² = a·(x − r·y)·(x − s·y), b² ≥ 4ac",
        why: "a form in two values that has real roots is a single product",
        polynomial: false,
        apply: factor_quadratic_form,
    },
    Rule {
        name: "expand-quadratic",
        formula: "p(x) = c₂·x² + c₁·x + c₀",
        why: "the square can serve other polynomials of the value",
        polynomial: true,
        apply: expand_quadratic,
    },
    Rule {
        name: "even-in-square",
        formula: "p(x) = q(x²), p even",
        why: "a square takes one level and halves the degree",
        polynomial: true,
        apply: even_in_square,
    },
    Rule {
        name: "centre-quartic",
        formula: "p(x) = c₄·y⁴ + e₂·y² + e₀, y = x + c₃/4c₄, where y has no other powers",
        why: "a quadratic of a quadratic is two squares",
        polynomial: true,
        apply: centre_quartic,
    },
    Rule {
        name: "split-cubic",
        formula: "p(x) = x·(c₃·x² + c₂·x + c₁) + c₀",
        why: "two products in two levels; a Chebyshev series takes three, with the linear map before it",
        polynomial: true,
        apply: split_cubic,
    },
    Rule {
        name: "split-quartic",
        formula: "p(x) = x²·(c₄·x² + c₃·x + c₂) + c₁·x + c₀",
        why: "two products in two levels; a Chebyshev series takes four, with the linear map before it",
        polynomial: true,
        apply: split_quartic,
    },
    Rule {
        name: "factor-quartic",
        formula: "p(x) = c₄·(x² + u·x + v)·(x² + s·x + t) + k",
        why: "the linear map behind reads the product alone (Knuth, TAOCP 2, §4.6.4)",
        polynomial: true,
        apply: factor_quartic,
    },
];

/// The rule of a name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}

type Graph = EGraph<Expr, ()>;

fn sums(g: &Graph, id: Id) -> impl Iterator<Item = (&Vec<PerChannel>, &PerChannel, &Vec<Id>)> {
    g[id].nodes.iter().filter_map(|n| match n {
        Expr::Sum { coeffs, shift, args } => Some((coeffs, shift, args)),
        _ => None,
    })
}

fn products(g: &Graph, id: Id) -> impl Iterator<Item = [Id; 2]> + '_ {
    g[id].nodes.iter().filter_map(move |n| match n {
        Expr::Mul([a, b]) => Some([g.find(*a), g.find(*b)]),
        _ => None,
    })
}

fn of(row: &PerChannel, id: Id) -> (PerChannel, Term) {
    (row.clone(), Term::Of(id))
}

fn flatten_sums(g: &Graph, n: &Expr) -> Vec<Term> {
    let Expr::Sum { coeffs, shift, args } = n else { return vec![] };
    let mut out = vec![];
    for (i, (outer, arg)) in coeffs.iter().zip(args).enumerate() {
        for (inner, more, of_inner) in sums(g, *arg) {
            let mut all: Vec<_> = coeffs.iter().zip(args).enumerate().filter(|(j, _)| *j != i).map(|(_, (r, id))| of(r, *id)).collect();
            all.extend(inner.iter().zip(of_inner).map(|(r, id)| of(&outer.times(r), *id)));
            out.push(Term::Sum(all, shift.plus(&outer.times(more))));
        }
    }
    out
}

/// Both orders of a product's factors; one of a square's.
fn orders(n: &Expr) -> Vec<[Id; 2]> {
    match n {
        Expr::Mul([a, b]) if a == b => vec![[*a, *b]],
        Expr::Mul([a, b]) => vec![[*a, *b], [*b, *a]],
        _ => vec![],
    }
}

fn scale_out_of_product(g: &Graph, n: &Expr) -> Vec<Term> {
    let mut out = vec![];
    for [x, y] in orders(n) {
        for (coeffs, _, args) in sums(g, x).filter(|(coeffs, shift, _)| coeffs.len() == 1 && shift.is(0.0)) {
            out.push(Term::Sum(vec![(coeffs[0].clone(), Term::product(Term::Of(args[0]), Term::Of(y)))], PerChannel::one(0.0)));
        }
    }
    out
}

fn regroup_product(g: &Graph, n: &Expr) -> Vec<Term> {
    let mut out = vec![];
    for [x, y] in orders(n) {
        for [a, b] in products(g, x) {
            out.push(Term::product(Term::Of(a), Term::product(Term::Of(b), Term::Of(y))));
            if a != b {
                out.push(Term::product(Term::Of(b), Term::product(Term::Of(a), Term::Of(y))));
            }
        }
    }
    out
}

/// The terms of a sum without some of them.
fn without(coeffs: &[PerChannel], args: &[Id], taken: &[usize]) -> Vec<(PerChannel, Term)> {
    coeffs.iter().zip(args).enumerate().filter(|(i, _)| !taken.contains(i)).map(|(_, (r, id))| of(r, *id)).collect()
}

fn factor_out_of_sum(g: &Graph, n: &Expr) -> Vec<Term> {
    let Expr::Sum { coeffs, shift, args } = n else { return vec![] };
    // Factors of each summand with what they are multiplied by; `None` is 1.
    let factors = |id: Id| {
        let both = products(g, id).flat_map(|[a, b]| [(a, Some(b)), (b, Some(a))]);
        both.chain([(g.find(id), None)]).collect::<std::collections::BTreeSet<_>>()
    };
    let all: Vec<_> = args.iter().map(|id| factors(*id)).collect();
    let mut out = vec![];
    for i in 0..args.len() {
        for j in i + 1..args.len() {
            for (f, a) in &all[i] {
                for (_, b) in all[j].iter().filter(|(of, b)| of == f && (a.is_some() || b.is_some())) {
                    let (mut inner, mut one) = (vec![], PerChannel::one(0.0));
                    for (r, other) in [(&coeffs[i], a), (&coeffs[j], b)] {
                        match other {
                            Some(id) => inner.push(of(r, *id)),
                            None => one = one.plus(r),
                        }
                    }
                    let mut terms = without(coeffs, args, &[i, j]);
                    terms.push((PerChannel::one(1.0), Term::product(Term::Of(*f), Term::Sum(inner, one))));
                    out.push(Term::Sum(terms, shift.clone()));
                }
            }
        }
    }
    out
}

/// A form `a·x² + b·x·y + c·y²` within a sum.
struct Form {
    x: Id,
    y: Id,
    /// Coefficients of x², x·y and y².
    coeffs: [PerChannel; 3],
    /// The sum's other terms.
    rest: Vec<(PerChannel, Term)>,
    shift: PerChannel,
}

impl Form {
    /// `b² − 4ac`, zero where that is rounding.
    fn discriminant(&self, c: usize) -> f64 {
        let [a, b, d] = [0, 1, 2].map(|i| self.coeffs[i].at(c));
        let x = b * b - 4.0 * a * d;
        if x.abs() <= ROUNDING * (b * b + 4.0 * (a * d).abs()) { 0.0 } else { x }
    }
    fn channels(&self) -> std::ops::Range<usize> {
        0..channels(self.coeffs.iter())
    }
}

fn forms(g: &Graph, n: &Expr) -> Vec<Form> {
    let Expr::Sum { coeffs, shift, args } = n else { return vec![] };
    // Where each product is.
    let mut at: BTreeMap<[Id; 2], usize> = BTreeMap::new();
    for (i, id) in args.iter().enumerate() {
        for [a, b] in products(g, *id) {
            at.entry([a.min(b), a.max(b)]).or_insert(i);
        }
    }
    let squares: Vec<(Id, usize)> = at.iter().filter(|([a, b], _)| a == b).map(|([a, _], i)| (*a, *i)).collect();
    let mut out = vec![];
    for (x, i) in &squares {
        for (y, k) in squares.iter().filter(|(y, k)| y != x && k != i) {
            let j = at.get(&[*x.min(y), *x.max(y)]).filter(|j| *j != i && *j != k);
            let b = j.map_or(PerChannel::one(0.0), |j| coeffs[*j].clone());
            let taken: Vec<usize> = [*i, *k].into_iter().chain(j.copied()).collect();
            let form = Form {
                x: *x,
                y: *y,
                coeffs: [coeffs[*i].clone(), b, coeffs[*k].clone()],
                rest: without(coeffs, args, &taken),
                shift: shift.clone(),
            };
            if form.coeffs[0].all(|a| a != 0.0) {
                out.push(form);
            }
        }
    }
    out
}

fn factor_quadratic_form(g: &Graph, n: &Expr) -> Vec<Term> {
    let root = |f: &Form, sign: f64| {
        let one = |c| (-f.coeffs[1].at(c) + sign * f.discriminant(c).sqrt()) / (2.0 * f.coeffs[0].at(c));
        PerChannel::new(&f.channels().map(one).collect::<Vec<_>>())
    };
    let real = |f: &Form| f.channels().all(|c| f.discriminant(c) >= 0.0);
    let mut out = vec![];
    for mut f in forms(g, n).into_iter().filter(real) {
        let roots = [root(&f, 1.0), root(&f, -1.0)];
        if roots.iter().all(|r| r.all(|x| x.abs() <= MAX_RATIO)) {
            let [a, b] = roots.map(|r| Term::Sum(vec![of(&PerChannel::one(1.0), f.x), of(&r.map(|x| -x), f.y)], PerChannel::one(0.0)));
            f.rest.push((f.coeffs[0].clone(), Term::product(a, b)));
            out.push(Term::Sum(f.rest, f.shift));
        }
    }
    out
}

/// A polynomial of the degree, and its operand.
fn poly(n: &Expr, of_degree: usize) -> Option<(&[PerChannel], Id)> {
    match n {
        Expr::Poly { coeffs, arg } if degree(coeffs) == of_degree => Some((coeffs, arg[0])),
        _ => None,
    }
}

fn expand_quadratic(_: &Graph, n: &Expr) -> Vec<Term> {
    let Some((c, x)) = poly(n, 2) else { return vec![] };
    vec![Term::Sum(vec![(c[2].clone(), square(x)), of(&c[1], x)], c[0].clone())]
}

fn square(x: Id) -> Term {
    Term::product(Term::Of(x), Term::Of(x))
}

fn even_in_square(_: &Graph, n: &Expr) -> Vec<Term> {
    let Expr::Poly { coeffs, arg } = n else { return vec![] };
    let (d, even) = (degree(coeffs), coeffs.iter().skip(1).step_by(2).all(|r| r.is(0.0)));
    if !even || !(4..=MAX_EVEN_DEGREE).contains(&d) {
        return vec![];
    }
    vec![Term::Poly(coeffs.iter().step_by(2).cloned().collect(), Box::new(square(arg[0])))]
}

/// Coefficients of a quartic in channel `c`.
fn quartic(coeffs: &[PerChannel], c: usize) -> [f64; 5] {
    [0, 1, 2, 3, 4].map(|k| coeffs[k].at(c))
}

fn centre_quartic(_: &Graph, n: &Expr) -> Vec<Term> {
    let Some((coeffs, x)) = poly(n, 4) else { return vec![] };
    let mut new: Vec<[f64; 4]> = vec![]; // h, e0, e2, e4
    for c in 0..channels(coeffs.iter()) {
        let [c0, c1, c2, c3, c4] = quartic(coeffs, c);
        let h = c3 / (4.0 * c4);
        let odd = [c1, -2.0 * c2 * h, 3.0 * c3 * h * h, -4.0 * c4 * h * h * h];
        if !h.is_finite() || h.abs() > MAX_RATIO || odd.iter().sum::<f64>().abs() > ROUNDING * odd.iter().map(|x| x.abs()).sum::<f64>() {
            return vec![];
        }
        let e0 = c0 - c1 * h + c2 * h * h - c3 * h * h * h + c4 * h.powi(4);
        new.push([h, e0, c2 - 3.0 * c3 * h + 6.0 * c4 * h * h, c4]);
    }
    if new.iter().all(|e| e[0] == 0.0) {
        return vec![];
    }
    let [h, e0, e2, e4] = [0, 1, 2, 3].map(|i| PerChannel::new(&new.iter().map(|e| e[i]).collect::<Vec<_>>()));
    let y = Term::Sum(vec![of(&PerChannel::one(1.0), x)], h);
    vec![Term::Poly(vec![e0, PerChannel::one(0.0), e2, PerChannel::one(0.0), e4], Box::new(y))]
}

fn split_cubic(_: &Graph, n: &Expr) -> Vec<Term> {
    let Some((c, x)) = poly(n, 3) else { return vec![] };
    let inner = Term::Sum(vec![(c[3].clone(), square(x)), of(&c[2], x)], c[1].clone());
    vec![Term::Sum(vec![(PerChannel::one(1.0), Term::product(Term::Of(x), inner))], c[0].clone())]
}

fn split_quartic(_: &Graph, n: &Expr) -> Vec<Term> {
    let Some((c, x)) = poly(n, 4) else { return vec![] };
    let inner = Term::Sum(vec![(c[4].clone(), square(x)), of(&c[3], x)], c[2].clone());
    vec![Term::Sum(vec![(PerChannel::one(1.0), Term::product(square(x), inner)), of(&c[1], x)], c[0].clone())]
}

/// With `t = p/c₄` and `d = s − u`: `u = (a₃ − d)/2`, `A = a₂ − u·s`, `v = (a₁ − u·A)/d`,
/// `t = A − v`; any `d ≠ 0` will do, and the one that leaves the smallest coefficients is taken.
fn factor_quartic(_: &Graph, n: &Expr) -> Vec<Term> {
    let Some((coeffs, x)) = poly(n, 4) else { return vec![] };
    let mut new: Vec<[f64; 6]> = vec![];
    for c in 0..channels(coeffs.iter()) {
        let [c0, c1, c2, c3, c4] = quartic(coeffs, c);
        if c1 == 0.0 && c3 == 0.0 {
            return vec![]; // even: two squares are cheaper
        }
        let [a1, a2, a3] = [c1, c2, c3].map(|x| x / c4);
        let with = |d: f64| {
            let u = (a3 - d) / 2.0;
            let s = u + d;
            let a = a2 - u * s;
            let v = (a1 - u * a) / d;
            [u, v, s, a - v]
        };
        let size = |f: &[f64; 4]| f.iter().fold(0.0f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { f64::INFINITY });
        let each = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0].map(with);
        let Some(best) = each.into_iter().min_by(|a, b| size(a).total_cmp(&size(b))).filter(|f| size(f) <= MAX_RATIO) else {
            return vec![];
        };
        let [u, v, s, t] = best;
        new.push([u, v, s, t, c4, c0 - c4 * v * t]);
    }
    let [u, v, s, t, c4, k] = [0, 1, 2, 3, 4, 5].map(|i| PerChannel::new(&new.iter().map(|e| e[i]).collect::<Vec<_>>()));
    let factor = |u: &PerChannel, v: PerChannel| Term::Sum(vec![(PerChannel::one(1.0), square(x)), of(u, x)], v);
    vec![Term::Sum(vec![(c4, Term::product(factor(&u, v), factor(&s, t)))], k)]
}
