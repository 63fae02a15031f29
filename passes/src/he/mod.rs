//! Passes on the HE IR: levels and scales, relinearisation, parameters.

pub mod assign_levels;
pub mod place_relin;
pub mod select_params;
