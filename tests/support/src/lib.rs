//! Helpers of Chiffre's tests. Nothing that is shipped depends on this crate.
//!
//! * [`repository`] is the folder of the checkout, wherever the test lives.
//! * [`shared`] finds real networks and images, which are not part of the repository; [`slow`] asks
//!   whether tests that take minutes were wanted.
//! * A test that has to return early says so with [`skip`]: it counts as passed for the test
//!   runner, and so `.ci/run` lists it.
//! * [`Sealed`] changes containers and computes their digest anew, for hostile files; [`Rng`] makes
//!   such tests repeatable.
#![forbid(unsafe_code)]

mod data;
mod mutate;
mod rng;
mod sealed;
mod skip;

pub use data::{repository, shared, slow};
pub use mutate::mutate_text;
pub use rng::Rng;
pub use sealed::{Part, Sealed, Tensor};
pub use skip::skip;
