//! The pure numbers of the schemes that programs are compiled to and run under.
//!
//! What a compiler must know of CKKS and what a library that runs CKKS must know are the same
//! facts: which degrees and primes are secure, what an exact scale is, which keys a bootstrap takes
//! and how often it fails, how deep a polynomial is and what it costs. They stand here once.
//! Nothing in this crate knows a ring element, a kernel, a thread or a secret.
//!
//! * [`chain`]: degree and primes of a ring; [`primes`] finds them, [`security`] bounds them,
//!   [`parameters`] checks them.
//! * [`scale`]: exact scales, [`noise`]: predicted errors.
//! * [`gadget`], [`keys`], [`galois`]: the shape of a switching key, and what it is for.
//! * [`polynomial`]: plans of polynomials and of the modular reduction.
//! * [`bootstrap`]: the plan of a refresh.
//! * [`tfhe`]: parameter sets of TFHE, their noise and the search for one.
//! * [`table`]: linear maps between bundles, as tables of diagonals.
//! * [`work`]: counted work of operations, and how much the kernels have in work at a time.
//!
//! **Invariants**
//! * No dependency on any other crate of this workspace.
//! * All functions are deterministic and free of side effects.
#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod chain;
pub mod gadget;
pub mod galois;
pub mod keys;
pub mod noise;
pub mod parameters;
pub mod polynomial;
pub mod primes;
pub mod scale;
pub mod security;
pub mod table;
pub mod tfhe;
pub mod work;

pub use chain::Chain;
pub use gadget::Gadget;
pub use galois::Galois;
pub use keys::KeyTarget;
