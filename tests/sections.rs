//! Bounds of programs hold for their values, spill is predicted as it is, and an image of any size
//! is refused by name or leaves the answers of others alone: over the shipped networks, encrypted
//! (small insecure rings).

#[path = "sections/absurd.rs"]
mod absurd;
#[path = "sections/bounds.rs"]
mod bounds;
#[path = "../passes/tests/common/mod.rs"]
mod common;
