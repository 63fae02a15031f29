//! Changes of bytes, whatever they mean.

use chiffre_testing::Rng;

/// Numbers at which readers trip, as bytes.
const NUMBERS: [[u8; 8]; 5] =
    [[0; 8], [0xFF; 8], [0, 0, 0, 0x80, 0, 0, 0, 0x80], [0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]];

/// One change: a bit, a byte or a number in place, a cut, a gap, or a piece twice.
pub fn change(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = file.to_vec();
    if out.is_empty() {
        return vec![rng.word() as u8];
    }
    let at = rng.below(out.len());
    let length = 1 + rng.below(16.min(out.len() - at));
    match rng.below(7) {
        0 => out[at] ^= 1 << rng.below(8),
        1 => out[at] = rng.word() as u8,
        2 => out[at..at + length.min(8)].copy_from_slice(&rng.one_of(&NUMBERS)[..length.min(8)]),
        3 => out.truncate(at),
        4 => drop(out.drain(at..at + length)),
        5 => {
            let piece = out[at..at + length].to_vec();
            let to = rng.below(out.len() + 1);
            out.splice(to..to, piece);
        }
        _ => out.extend((0..length).map(|_| rng.word() as u8)),
    }
    out
}
