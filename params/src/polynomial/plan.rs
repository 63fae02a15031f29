//! Plans: which basis elements and products a polynomial needs, and at which depth. No ring is
//! involved.

use super::depth::series_depth;
use super::error::PlanError;
use super::search::search;
use super::types::{Basis, MAX_DEGREE, Node, Parity, Power};
use crate::gadget::Gadget;
use crate::work::Counts;

/// A scheme of baby and giant steps for polynomials of a degree.
///
/// With `p = q B_g + r` repeatedly (Paterson and Stockmeyer, "On the Number of Nonscalar
/// Multiplications Necessary to Evaluate Polynomials", 1973; in the Chebyshev basis and with least
/// depth: Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux, EUROCRYPT 2021, section 5; for odd
/// polynomials: Lee, Lee, Lee, Kim, Kim, No and Kang, "Minimax Approximation of Sign Function by
/// Composite Polynomial for Homomorphic Comparison", 2022), all products of one sum are
/// relinearised together. Among the trees of least depth the plan has the fewest relinearisations,
/// then the fewest rescales without one, over the sets of basis elements that [`Plan::new`] tries:
/// the powers of two and up to three others.
///
/// **Invariants**
/// * `depth` is `ceil(log2(degree + 1))`.
/// * Powers and nodes are ordered: operands come first. The last node is the polynomial.
/// * A value of depth `D` is computed from values of depth at most `D - 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    basis: Basis,
    parity: Parity,
    degree: usize,
    depth: usize,
    powers: Vec<Power>,
    nodes: Vec<Node>,
}

impl Plan {
    /// The plan for polynomials of degree `degree` (its coefficients may be zero, except that those
    /// which the parity excludes must be).
    ///
    /// # Errors
    /// [`PlanError::Degree`] outside `1..=MAX_DEGREE`, [`PlanError::Parity`] if the degree has the
    /// other parity.
    pub fn new(degree: usize, parity: Parity, basis: Basis) -> Result<Self, PlanError> {
        if !(1..=MAX_DEGREE).contains(&degree) {
            return Err(PlanError::Degree(degree));
        }
        if !parity.has(degree) {
            return Err(PlanError::Parity { degree, parity });
        }
        let depth = series_depth(degree);
        let (powers, nodes) = search(degree, parity, basis).clone();
        Ok(Self { basis, parity, degree, depth, powers, nodes })
    }

    /// The basis of the coefficients.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Which coefficients there are.
    pub fn parity(&self) -> Parity {
        self.parity
    }

    /// The degree.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// Rescales from the input to the result.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The basis elements that are formed.
    pub fn powers(&self) -> &[Power] {
        &self.powers
    }

    /// The partial polynomials; the last is the result.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Relinearisations of one ciphertext.
    pub fn relinearisations(&self) -> usize {
        self.powers.len() + self.nodes.iter().filter(|n| n.products() > 0).count()
    }

    /// Depth of a basis element, 0 for index 1.
    pub fn power_depth(&self, index: usize) -> usize {
        self.powers.iter().find(|p| p.index == index).map_or(0, |p| p.depth)
    }

    /// Counted work for one ciphertext when `limbs` limbs are used and keys have this shape.
    pub fn counts(&self, limbs: usize, gadget: Gadget) -> Counts {
        let power = |power: &Power| {
            let difference = power.factors[0] - power.factors[1];
            let terms = usize::from(self.basis == Basis::Chebyshev && difference > 0);
            Counts::product(limbs - power.depth + 1, gadget, 1, 1, terms)
        };
        let node = |node: &Node| {
            let (at, products) = (limbs - node.depth + 1, node.products());
            let terms = node.parts.len() - products;
            if products > 0 { Counts::product(at, gadget, 1, products, terms) } else { Counts::rescale(at, terms) }
        };
        self.powers.iter().map(power).chain(self.nodes.iter().map(node)).sum()
    }

    /// Counted work of coefficients that differ from slot to slot, for one ciphertext when `limbs`
    /// limbs are used: a vector for each term and each constant of a node. `halves` polynomials
    /// share the vectors.
    pub fn vector_counts(&self, limbs: usize, halves: usize) -> Counts {
        let node = |node: &Node| {
            let at = limbs - node.depth + 1;
            let vectors = node.parts.len() - node.products() + 1;
            Counts::encode(at) * vectors as f64 + Counts::passes(vectors * at * halves)
        };
        self.nodes.iter().map(node).sum()
    }

    /// Most vectors of a node that has coefficients which differ from slot to slot, each with so
    /// many limbs: limbs that exist while it is computed, when `limbs` limbs are used.
    pub fn vector_limbs(&self, limbs: usize) -> usize {
        let node = |node: &Node| (node.parts.len() - node.products() + 1) * (limbs - node.depth + 1);
        self.nodes.iter().map(node).max().unwrap_or(0)
    }
}
