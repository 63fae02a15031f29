//! The command line as a user meets it, as processes in folders of their own.

mod arguments;
mod batches;
mod canary;
mod check;
mod clear_target;
mod cluster;
mod common;
mod crash;
mod damaged;
mod end_to_end;
mod exit_codes;
mod hostile_files;
mod interrupted;
#[path = "../../../frontend/tests/common/mod.rs"]
mod onnx;
mod pages;
mod ports;
mod receipts;
mod relu;
mod resealed_files;
mod screening;
mod secrets;
mod share;
mod slow;
mod tfhe;
mod tools;
