//! Hostile files: for every [`Kind`] of file that Chiffre reads, small good ones ([`seeds`]), a
//! forger that changes them along their grammar and makes digests, checksums and lengths right
//! again ([`forge`]), and the reader with all that a command does behind it ([`read`]).
//!
//! The forge-and-mutate test and the fuzz targets are made of these: whatever is in a file, a
//! reader takes it or answers with an error that has a class ([`faulty`] says which do not count),
//! and takes no more memory than [`allowance`].
#![forbid(unsafe_code)]

mod forge;
mod kind;
mod life;
mod program;
mod read;
mod seeds;
mod tfhe;

pub use forge::{forge, png, reseal, zlib};
pub use kind::Kind;
pub use life::Life;
pub use program::{published, session_of};
pub use read::{allowance, faulty, read};
pub use seeds::seeds;
