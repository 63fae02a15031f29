//! Targets: what a network is compiled for, what a run on one costs, and how much memory it takes.
//!
//! A [`Target`](target::Target) says which facts the passes may rely on, by which passes a network
//! is lowered for it, and makes the program of what they leave. [`cost`] is the one cost model and
//! [`memory`] the one memory model; the search for a plan and a finished program both describe
//! themselves as an [`Outline`](memory::Outline), so that both are told the same.
#![forbid(unsafe_code)]

pub mod ckks;
pub mod clear;
pub mod cost;
pub mod facts;
pub mod memory;
pub mod property;
pub mod target;
pub mod tfhe;
