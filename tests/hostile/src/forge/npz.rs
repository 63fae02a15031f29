//! Archives of arrays: members are changed, and lengths and checksums of the archive are right.

use chiffre_testing::Rng;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most bytes of a member that are kept.
const MOST: u64 = 1 << 18;
/// Names that readers look for, and others.
const NAMES: [&str; 7] = ["images.npy", "x.npy", "labels.npy", "y.npy", "other.npy", "images", "../x.npy"];

/// The archive with one change.
pub fn change(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut members = members(file)?;
    let at = rng.below(members.len().max(1));
    match rng.below(6) {
        0 => members.get_mut(at)?.0 = (*rng.one_of(&NAMES)).into(),
        1 => {
            let copy = ((*rng.one_of(&NAMES)).to_string(), members.get(at)?.1.clone());
            members.push(copy);
        }
        2 if members.len() > 1 => drop(members.remove(at)),
        _ => {
            let member = members.get_mut(at)?;
            member.1 = super::npy::change(&member.1, rng).unwrap_or_else(|| super::raw::change(&member.1, rng));
        }
    }
    let mut out = ZipWriter::new(Cursor::new(vec![]));
    let method = if rng.below(2) == 0 { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    for (name, bytes) in members {
        out.start_file(name, SimpleFileOptions::default().compression_method(method)).ok()?;
        out.write_all(&bytes).ok()?;
    }
    Some(out.finish().ok()?.into_inner())
}

fn members(file: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut out = vec![];
    for i in 0..archive.len().min(4) {
        let entry = archive.by_index(i).ok()?;
        let (name, mut bytes) = (entry.name().to_string(), vec![]);
        entry.take(MOST).read_to_end(&mut bytes).ok()?;
        out.push((name, bytes));
    }
    Some(out)
}
