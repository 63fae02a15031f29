//! What holds of a network on its way through the passes: what a pass needs and gives, and what a
//! target takes.

use std::fmt;

/// A property of a network. Each can be looked up or checked at any time; none is only a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// There is tensor IR.
    Tensor,
    /// Every linear region of the tensor IR is one `linear_map`; beside these it has only
    /// elementwise ops and pooling by maxima.
    Composed,
    /// What the activations of this very tensor IR read has been measured, as far as there are
    /// calibration images.
    Calibrated,
    /// The tensor IR has no activation but polynomials.
    Approximated,
    /// The tensor IR has no polynomial but squares and Chebyshev series.
    Squared,
    /// There is quant IR.
    Quantised,
    /// TFHE parameters are chosen for the quant IR.
    Selected,
    /// Every value of this very tensor IR has a layout.
    Layouts,
    /// There is packed IR.
    Packed,
    /// There is HE IR.
    He,
    /// Everything in the HE IR that reads or returns a product reads it relinearised.
    Relinearised,
    /// Primes, special primes and the key shape of every op are chosen.
    Parameters,
    /// There is a program.
    Program,
}

impl Property {
    /// All properties, in the order in which pipelines reach them.
    pub const ALL: [Property; 13] = [
        Property::Tensor,
        Property::Composed,
        Property::Calibrated,
        Property::Approximated,
        Property::Squared,
        Property::Quantised,
        Property::Selected,
        Property::Layouts,
        Property::Packed,
        Property::He,
        Property::Relinearised,
        Property::Parameters,
        Property::Program,
    ];
    /// A word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Property::Tensor => "tensor",
            Property::Composed => "composed",
            Property::Calibrated => "calibrated",
            Property::Approximated => "approximated",
            Property::Squared => "squared",
            Property::Quantised => "quantised",
            Property::Selected => "selected",
            Property::Layouts => "layouts",
            Property::Packed => "packed",
            Property::He => "he",
            Property::Relinearised => "relinearised",
            Property::Parameters => "parameters",
            Property::Program => "program",
        }
    }
    /// What it means, as what a pass needs.
    pub fn meaning(self) -> &'static str {
        match self {
            Property::Tensor => "tensor IR",
            Property::Composed => "linear maps, elementwise ops and max pooling only",
            Property::Calibrated => "activations measured on this very graph",
            Property::Approximated => "no activations but polynomials",
            Property::Squared => "no polynomials but squares and Chebyshev series",
            Property::Quantised => "quant IR",
            Property::Selected => "TFHE parameters for the quant IR",
            Property::Layouts => "a layout for every value",
            Property::Packed => "packed IR",
            Property::He => "HE IR",
            Property::Relinearised => "products relinearised before anything reads them",
            Property::Parameters => "primes and key shapes",
            Property::Program => "a program",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}
