//! The command line of Chiffre: [`args`] states the arguments, [`commands`] answers them with the
//! library `chiffre`, [`exit`] says how they ended, [`shard`] which part of many batches is whose,
//! [`progress`], [`profile`] and [`trace`] watch a run, [`signals`] ends it early.
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod exit;
pub mod profile;
pub mod progress;
pub mod shard;
pub mod signals;
pub mod trace;
