//! Changed files that still look like what they came from: changes follow the grammar of each
//! format, and what depends on the changed part (a digest, a checksum, a length) is made right, so
//! that the readers behind these checks are reached. A few changes leave all that as it is.

mod container;
mod npy;
mod npz;
mod picture;
mod protobuf;
mod raw;

pub use picture::{png, zlib};

use crate::Kind;
use chiffre_testing::{Rng, Sealed, mutate_text};

/// One file in so many is changed without regard to its grammar.
const RAW: usize = 8;

/// The file with one to three changes.
pub fn forge(kind: Kind, file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut file = file.to_vec();
    loop {
        file = one(kind, &file, rng);
        if rng.below(3) > 0 {
            return file;
        }
    }
}

fn one(kind: Kind, file: &[u8], rng: &mut Rng) -> Vec<u8> {
    if rng.below(RAW) == 0 {
        return raw::change(file, rng);
    }
    let changed = match kind {
        Kind::Model => protobuf::change(file, rng),
        Kind::Text => std::str::from_utf8(file).ok().map(|text| mutate_text(text, rng).0.into_bytes()),
        Kind::Npy => npy::change(file, rng),
        Kind::Npz => npz::change(file, rng),
        Kind::Picture => picture::change(file, rng),
        Kind::Cifar => cifar(file, rng),
        _ => container::change(file, rng),
    };
    changed.unwrap_or_else(|| raw::change(file, rng))
}

/// Another label of the first record, or all records twice.
fn cifar(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut out = file.to_vec();
    match rng.below(3) {
        0 => *out.get_mut(rng.below(2))? = rng.word() as u8,
        1 if out.len() < 1 << 16 => out.extend_from_slice(file),
        _ => return None,
    }
    Some(out)
}

/// The file with the digest that fits its content, if it is a container at all.
pub fn reseal(file: &[u8]) -> Option<Vec<u8>> {
    Sealed::parse(file)?.to_bytes().ok()
}
