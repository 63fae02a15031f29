//! What an expression costs under encryption.
//!
//! A product is rescaled with the linear map that reads it, so levels are products in a row; sums
//! and factors are free, since linear maps take them in. Every operand of a product is a linear map
//! of its own, and every summand of a result is one more operand of the linear map behind.

use super::expr::{Expr, degree};
use chiffre_params::polynomial::{Basis, Parity, Plan, series_depth};
use egg::{Id, RecExpr};
use std::collections::BTreeSet;

/// Weight of a linear map that is a layer of the network again, in units of one that has a single
/// weight per channel.
pub const LAYER: usize = 4;

/// Cost of an expression; smaller is better, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    /// For each result: levels of the linear map that reads it, counted from the inputs of the
    /// network.
    pub levels: Vec<usize>,
    /// Products of ciphertexts, that is, relinearisations.
    pub products: usize,
    /// Linear maps, in units of one with a single weight per channel; see [`LAYER`].
    pub maps: usize,
}

impl Measure {
    /// True if no result is later, and products and maps are no more.
    pub fn no_worse(&self, o: &Measure) -> bool {
        self.levels.iter().zip(&o.levels).all(|(a, b)| a <= b) && (self.products, self.maps) <= (o.products, o.maps)
    }
}

/// Relinearisations of a polynomial of the degree, if it stays one: a quadratic becomes a square,
/// others become Chebyshev series.
pub fn poly_products(degree: usize) -> usize {
    let series = || Plan::new(degree, Parity::Full, Basis::Chebyshev).map_or(usize::MAX, |plan| plan.relinearisations());
    if degree <= 2 { 1 } else { series() }
}

/// Levels of a polynomial of the degree, from its operand to the linear map behind.
pub fn poly_levels(degree: usize) -> usize {
    if degree <= 2 { 1 } else { series_depth(degree) + 1 }
}

/// Maps that an operand of a product costs: a sum of inputs is a layer again, any other takes a
/// weight per channel and summand.
pub fn operand_maps(n: &Expr, is_leaf: impl Fn(usize) -> bool) -> usize {
    match n {
        Expr::Leaf(_) => LAYER,
        Expr::Sum { args, .. } if (0..args.len()).all(&is_leaf) => LAYER * args.len().max(1),
        Expr::Sum { args, .. } => args.len(),
        Expr::Mul(_) | Expr::Poly { .. } => 1,
    }
}

/// Measures results of an expression, given the level of each leaf.
pub fn measure(e: &RecExpr<Expr>, roots: &[Id], leaves: &[usize]) -> Measure {
    let nodes: &[Expr] = e.as_ref();
    let mut live = vec![false; nodes.len()];
    roots.iter().for_each(|r| live[usize::from(*r)] = true);
    for (i, n) in nodes.iter().enumerate().rev() {
        if live[i] {
            egg::Language::children(n).iter().for_each(|c| live[usize::from(*c)] = true);
        }
    }
    let (mut level, mut products, mut operands) = (vec![0; nodes.len()], 0, BTreeSet::new());
    let mut maps = 0;
    let map = |id: Id| {
        let n = &e[id];
        operand_maps(n, |i| matches!(e[egg::Language::children(n)[i]], Expr::Leaf(_)))
    };
    for (i, n) in nodes.iter().enumerate() {
        let at = |id: &Id| level[usize::from(*id)];
        level[i] = match n {
            Expr::Leaf(k) => leaves[*k as usize],
            Expr::Sum { args, .. } => args.iter().map(at).max().unwrap_or(0),
            Expr::Mul([a, b]) => at(a).max(at(b)) + 1,
            Expr::Poly { coeffs, arg } => at(&arg[0]) + poly_levels(degree(coeffs)),
        };
        if !live[i] {
            continue;
        }
        match n {
            Expr::Mul(ab) => {
                products += 1;
                operands.extend(ab);
            }
            Expr::Poly { coeffs, arg } => {
                products += poly_products(degree(coeffs));
                maps += map(arg[0]);
            }
            Expr::Leaf(_) | Expr::Sum { .. } => {}
        }
    }
    maps += operands.iter().map(|id| map(*id)).sum::<usize>();
    let distinct: BTreeSet<&Id> = roots.iter().collect();
    for r in distinct {
        if let Expr::Sum { args, .. } = &e[*r] {
            maps += LAYER * args.len().saturating_sub(1);
        }
    }
    Measure { levels: roots.iter().map(|r| level[usize::from(*r)]).collect(), products, maps }
}
