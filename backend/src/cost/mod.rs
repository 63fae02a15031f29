//! Cost model: operation counts and scratch memory of encrypted ops, and the machine's unit times.
//!
//! What an operation on one ciphertext counts stands in [`chiffre_params::work`]; here is how many
//! of them an op takes under a plan. Counts follow the fused execution: one ModUp per rotated
//! input, one ModDown merged with the rescale per output polynomial; a product of complex-packed
//! bundles has two key switches.

mod fit;
mod linear;
mod machine;
mod product;
mod series;
mod work;

pub use chiffre_params::work::Counts;
pub use fit::{Sample, fit};
pub use linear::{GiantShape, LinearShape};
pub use machine::CostModel;
pub use product::ProductShape;
pub use series::SeriesShape;
pub use work::Work;
