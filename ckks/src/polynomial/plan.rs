//! Plans: which basis elements and products a polynomial needs, and at which depth. No ring is involved.

use super::PolynomialError;
use super::search::search;
use crate::ring::Gadget;

/// Largest degree that is planned.
pub const MAX_DEGREE: usize = 127;

/// What coefficients multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Powers `x^k`.
    Monomial,
    /// Chebyshev polynomials `T_k(x)`, for `x` in [-1, 1].
    Chebyshev,
}

/// Which coefficients are not zero by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parity {
    /// Any.
    Full,
    /// Those of even index.
    Even,
    /// Those of odd index.
    Odd,
}

impl Parity {
    /// Whether coefficient `k` may be different from zero.
    pub fn has(self, k: usize) -> bool {
        match self {
            Self::Full => true,
            Self::Even => k.is_multiple_of(2),
            Self::Odd => k % 2 == 1,
        }
    }

    /// The parity of the quotient by a basis element of index `g`.
    pub(super) fn quotient(self, g: usize) -> Self {
        match self {
            Self::Full => Self::Full,
            _ if g.is_multiple_of(2) => self,
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }

    /// The largest index up to `d`, without 0, whose coefficient multiplies a ciphertext.
    pub(super) fn top(self, d: usize) -> Option<usize> {
        (1..=d).rev().find(|&k| self.has(k))
    }
}

/// A basis element `B_k`, one relinearised and rescaled product: `B_(a+b) = B_a B_b` for monomials and
/// `T_(a+b) = 2 T_a T_b - T_(a-b)` for Chebyshev polynomials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// `k`, at least 2.
    pub index: usize,
    /// `a >= b`.
    pub factors: [usize; 2],
    /// Rescales from the input to this value: the fewest with which all uses are in time, and the most that they allow.
    pub depth: usize,
}

/// How a (partial) polynomial takes one of its leading terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A multiple of `B_k`.
    Term(usize),
    /// The product of `B_basis` and the quotient by it, which is node `node`.
    Product {
        /// The node.
        node: usize,
        /// Index of the basis element.
        basis: usize,
    },
}

/// A partial polynomial: a sum of products and multiples with one rescale, and with one relinearisation if there are
/// products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its degree.
    pub degree: usize,
    /// Rescales from the input to this value.
    pub depth: usize,
    /// Divisors and terms, leading ones first; what remains is a constant.
    pub parts: Vec<Part>,
}

impl Node {
    /// Number of products.
    pub fn products(&self) -> usize {
        self.parts.iter().filter(|p| matches!(p, Part::Product { .. })).count()
    }
}

/// A scheme of baby and giant steps for polynomials of a degree.
///
/// With `p = q B_g + r` repeatedly (Paterson and Stockmeyer, "On the Number of Nonscalar Multiplications Necessary to
/// Evaluate Polynomials", 1973; in the Chebyshev basis and with least depth: Bossuat, Mouchet, Troncoso-Pastoriza and
/// Hubaux, EUROCRYPT 2021, section 5; for odd polynomials: Lee, Lee, Lee, Kim, Kim, No and Kang, "Minimax Approximation of
/// Sign Function by Composite Polynomial for Homomorphic Comparison", 2022), all products of one sum are relinearised
/// together. Among the trees of least depth the plan has the fewest relinearisations, then the fewest rescales without
/// one, over the sets of basis elements that [`Plan::new`] tries: the powers of two and up to three others.
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
    /// The plan for polynomials of degree `degree` (its coefficients may be zero, except that those which the parity
    /// excludes must be).
    ///
    /// # Errors
    /// [`PolynomialError::Degree`] outside `1..=MAX_DEGREE`, [`PolynomialError::Parity`] if the degree has the other
    /// parity.
    pub fn new(degree: usize, parity: Parity, basis: Basis) -> Result<Self, PolynomialError> {
        if !(1..=MAX_DEGREE).contains(&degree) {
            return Err(PolynomialError::Degree(degree));
        }
        if !parity.has(degree) {
            return Err(PolynomialError::Parity { degree, parity });
        }
        let depth = optimal_depth(degree);
        let (powers, nodes) = search(degree, parity, basis, depth);
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

    /// What one ciphertext costs when `limbs` limbs are used and keys have this shape.
    pub fn cost(&self, limbs: usize, gadget: Gadget) -> Cost {
        let mut cost = Cost::default();
        for power in &self.powers {
            let difference = power.factors[0] - power.factors[1];
            let terms = usize::from(self.basis == Basis::Chebyshev && difference > 0);
            cost.add_relinearisation(limbs - power.depth + 1, gadget, 1, terms);
        }
        for node in &self.nodes {
            let (at, products) = (limbs - node.depth + 1, node.products());
            let terms = node.parts.len() - products;
            if products > 0 {
                cost.add_relinearisation(at, gadget, products, terms);
            } else {
                cost.add_rescale(at, terms);
            }
        }
        cost
    }
}

/// `ceil(log2(degree + 1))`.
pub fn optimal_depth(degree: usize) -> usize {
    (degree + 1).next_power_of_two().ilog2() as usize
}

/// Counted work for one ciphertext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Products of two ciphertexts.
    pub products: usize,
    /// Key switches, each with the rescale of its product.
    pub relinearisations: usize,
    /// Rescales of sums without products.
    pub rescales: usize,
    /// Transforms of one limb.
    pub transforms: usize,
    /// Multiply-accumulates of one limb with one limb or number.
    pub macs: usize,
}

impl Cost {
    /// A sum of `products` products and `terms` multiples at `limbs` limbs, relinearised and rescaled by one prime.
    pub fn add_relinearisation(&mut self, limbs: usize, gadget: Gadget, products: usize, terms: usize) {
        let (alpha, digits, extended) = (gadget.alpha, gadget.digits_at(limbs), limbs + gadget.alpha);
        self.products += products;
        self.relinearisations += 1;
        self.transforms += digits * extended + 2 * (alpha + 1 + limbs - 1);
        let up: usize = (0..digits).map(|d| gadget.digit(d, limbs).len()).map(|d| (d + 1) * (extended - d)).sum();
        let down = 2 * (alpha + 2) * (limbs - 1);
        self.macs += up + down + 2 * digits * extended + limbs * (4 * products + 2 * terms);
    }

    /// A sum of `terms` multiples at `limbs` limbs, rescaled by one prime.
    pub fn add_rescale(&mut self, limbs: usize, terms: usize) {
        self.rescales += 1;
        self.transforms += 2 * limbs;
        self.macs += 2 * terms * limbs + 4 * (limbs - 1);
    }

    /// A key switch at `limbs` limbs without a rescale.
    pub fn add_switch(&mut self, limbs: usize, gadget: Gadget) {
        let (alpha, digits, extended) = (gadget.alpha, gadget.digits_at(limbs), limbs + gadget.alpha);
        self.transforms += digits * extended + 2 * extended;
        let up: usize = (0..digits).map(|d| gadget.digit(d, limbs).len()).map(|d| (d + 1) * (extended - d)).sum();
        self.macs += up + 2 * (alpha + 1) * limbs + 2 * digits * extended;
    }
}

impl std::ops::Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            products: self.products + other.products,
            relinearisations: self.relinearisations + other.relinearisations,
            rescales: self.rescales + other.rescales,
            transforms: self.transforms + other.transforms,
            macs: self.macs + other.macs,
        }
    }
}
