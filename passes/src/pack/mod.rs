//! From tensors to slots: layouts and diagonals.

mod chain;
mod channels;
pub mod choose_layout;
mod copies;
pub mod layouts;
pub mod lower_linear;
pub mod packing;
mod pooling;
pub mod price;
mod shape;
mod split;
