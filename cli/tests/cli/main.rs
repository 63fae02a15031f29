//! The command line as a user meets it, as processes in folders of their own.

mod arguments;
mod clear_target;
mod common;
mod crash;
mod damaged;
mod end_to_end;
mod exit_codes;
mod hostile_files;
mod interrupted;
mod pages;
mod relu;
mod resealed_files;
mod secrets;
mod slow;
mod tools;
