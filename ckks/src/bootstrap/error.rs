//! What can be wrong with a refresh.

use crate::bundle::BundleError;
use crate::polynomial::PolynomialError;
use chiffre_params::bootstrap::SpecError;

/// Why a refresh is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BootstrapError {
    /// The parameters.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A key, a shape.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A polynomial or its scales.
    #[error(transparent)]
    Polynomial(#[from] PolynomialError),
    /// Not one row of coefficients for each ciphertext.
    #[error("{rows} rows of coefficients for {ciphertexts} ciphertexts")]
    Rows {
        /// Rows.
        rows: usize,
        /// Ciphertexts.
        ciphertexts: usize,
    },
}
