//! From HE IR to scheduled programs: order, buffers, keys, memory plan.
#![forbid(unsafe_code)]

pub mod memory;
pub mod predict;
pub mod schedule;
