//! From tensors to slots: layouts and diagonals.

mod chain;
mod channels;
pub mod choose_layout;
mod copies;
mod fold;
pub mod layouts;
pub mod lower_linear;
pub mod packing;
mod pooling;
mod precision;
pub mod price;
mod shape;
mod split;
mod summing;
