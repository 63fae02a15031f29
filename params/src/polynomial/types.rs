//! What plans are made of. No ring is involved.

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

/// A basis element `B_k`, one relinearised and rescaled product: `B_(a+b) = B_a B_b` for monomials
/// and `T_(a+b) = 2 T_a T_b - T_(a-b)` for Chebyshev polynomials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// `k`, at least 2.
    pub index: usize,
    /// `a >= b`.
    pub factors: [usize; 2],
    /// Rescales from the input to this value: the fewest with which all uses are in time, and the
    /// most that they allow.
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

/// A partial polynomial: a sum of products and multiples with one rescale, and with one
/// relinearisation if there are products.
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
