//! The only module with `unsafe`: memory in huge pages and vector kernels.
#![allow(unsafe_code)]

mod mem;

pub use mem::{Buffer, release_recycled};
