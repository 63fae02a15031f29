//! Containers: their content with a right digest, and their headers.

use chiffre_testing::{Rng, Sealed, mutate_text};

/// One file in so many has its header changed, where a digest does not matter: what is wrong with a
/// header is found before.
const HEADER: usize = 6;

/// The container with one change.
pub fn change(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    if rng.below(HEADER) == 0 {
        return header(file, rng);
    }
    let mut sealed = Sealed::parse(file)?;
    sealed.mutate(rng);
    sealed.to_bytes().ok()
}

/// The JSON of the header is changed, and the length before it fits. Where it still describes a
/// container, the digest does too.
fn header(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (json, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (text, _) = mutate_text(std::str::from_utf8(json).ok()?, rng);
    let out = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), data].concat();
    Some(super::reseal(&out).unwrap_or(out))
}
