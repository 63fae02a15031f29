//! Coefficients of a bundle: alike in all slots of a ciphertext, or slot by slot.

use super::PolynomialError;
use crate::bundle::Factor;
use crate::encode::Encoder;
use crate::plaintext::Plaintext;
use crate::ring::{Ring, RnsPoly};
use crate::scale::Scale;
use chiffre_params::polynomial::{NodeIntegers, PlanError};
use num_complex::Complex64;

/// The coefficients for a ciphertext (or a pair of halves), in the plan's basis and from index 0
/// on. Rows may be shorter than the degree allows.
#[derive(Clone, Copy, Debug)]
pub enum Coefficients<'a> {
    /// One row for all slots.
    Row(&'a [f64]),
    /// A row for each slot.
    Slots(SlotRows<'a>),
}

/// Rows of coefficients, and which slot has which.
#[derive(Clone, Copy, Debug)]
pub struct SlotRows<'a> {
    /// The rows; at least one.
    pub rows: &'a [Vec<f64>],
    /// The row of slots with offset 0.
    pub first: usize,
    /// For each slot the offset of its row, which is the last one if there are fewer: a power of
    /// two of them, repeated to fill the slots.
    pub offsets: &'a [usize],
    /// The encoder of the ring.
    pub encoder: &'a Encoder,
}

impl Coefficients<'_> {
    /// The same rows in the same slots, in the same memory.
    pub(super) fn is(&self, other: &Coefficients<'_>) -> bool {
        match (self, other) {
            (Coefficients::Row(a), Coefficients::Row(b)) => std::ptr::eq(*a, *b),
            (Coefficients::Slots(a), Coefficients::Slots(b)) => {
                a.first == b.first && std::ptr::eq(a.rows, b.rows) && std::ptr::eq(a.offsets, b.offsets)
            }
            _ => false,
        }
    }
}

/// The integers of a ciphertext's coefficients.
pub(super) struct Integers<'a> {
    /// Of each row that a slot has, node by node.
    rows: Vec<Vec<NodeIntegers>>,
    /// The place among `rows` of each slot's, unless there is one row alone.
    slots: Option<(Vec<usize>, &'a Encoder)>,
}

/// What one node of a ciphertext's polynomial adds to its products.
pub(super) struct NodeFactors {
    /// For each term the factor of `B_k`.
    pub terms: Vec<(usize, OwnedFactor)>,
    pub constant: OwnedFactor,
}

/// A [`Factor`] with its vector.
pub(super) enum OwnedFactor {
    Number(f64),
    Vector(RnsPoly),
}

impl OwnedFactor {
    pub fn view(&self) -> Factor<'_> {
        match self {
            OwnedFactor::Number(value) => Factor::Number(*value),
            OwnedFactor::Vector(poly) => Factor::Vector(poly),
        }
    }
}

impl<'a> Integers<'a> {
    /// Rounds each row that a slot has by `round`.
    pub fn new(
        ring: &Ring,
        coefficients: &Coefficients<'a>,
        mut round: impl FnMut(&[f64]) -> Result<Vec<NodeIntegers>, PlanError>,
    ) -> Result<Self, PolynomialError> {
        let SlotRows { rows, first, offsets, encoder } = match *coefficients {
            Coefficients::Row(row) => return Ok(Self { rows: vec![round(row)?], slots: None }),
            Coefficients::Slots(s) => s,
        };
        let fits = offsets.len().is_power_of_two() && offsets.len() <= encoder.slots() && 2 * encoder.slots() == ring.n;
        if !fits || rows.is_empty() {
            return Err(PolynomialError::Slots { rows: rows.len(), given: offsets.len(), slots: ring.n / 2 });
        }
        let row = |offset: &usize| first.saturating_add(*offset).min(rows.len() - 1);
        let mut used: Vec<usize> = offsets.iter().map(row).collect();
        used.sort_unstable();
        used.dedup();
        let places = offsets.iter().map(|o| used.binary_search(&row(o)).unwrap_or_default()).collect();
        let rounded = used.iter().map(|&r| round(&rows[r])).collect::<Result<_, _>>()?;
        Ok(Self { rows: rounded, slots: Some((places, encoder)) })
    }

    /// The factors of a node, vectors with `limbs` limbs. Where all slots have the same integer it
    /// is a number.
    pub fn at(&self, ring: &Ring, node: usize, limbs: usize) -> NodeFactors {
        let term = |t: usize| (self.rows[0][node].terms[t].0, self.factor(ring, limbs, |row| row[node].terms[t].1));
        NodeFactors {
            terms: (0..self.rows[0][node].terms.len()).map(term).collect(),
            constant: self.factor(ring, limbs, |row| row[node].constant),
        }
    }

    fn factor(&self, ring: &Ring, limbs: usize, of: impl Fn(&[NodeIntegers]) -> f64) -> OwnedFactor {
        let values: Vec<f64> = self.rows.iter().map(|row| of(row)).collect();
        match &self.slots {
            Some((places, encoder)) if values.iter().any(|v| *v != values[0]) => {
                let slots: Vec<Complex64> = places.iter().map(|&p| values[p].into()).collect();
                let coefficients = encoder.encode_periodic(&slots).expect("finite values, as many as were checked");
                // The residues of rounded coefficients; their scale is in the integers already.
                OwnedFactor::Vector(Plaintext::from_integers(ring, &coefficients, Scale::one(), limbs).poly)
            }
            _ => OwnedFactor::Number(values[0]),
        }
    }
}
