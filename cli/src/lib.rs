//! The command line of Chiffre: [`args`] states the arguments, [`commands`] answers them with the library `chiffre`, [`report`] writes
//! results, [`progress`], [`profile`] and [`trace`] watch a run.
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod profile;
pub mod progress;
pub mod report;
pub mod trace;
