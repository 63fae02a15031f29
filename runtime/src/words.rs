//! Words and polynomials as little-endian bytes.

use chiffre_ckks::ring::RnsPoly;
use chiffre_ir::container::{ContainerError, Dtype, Reader};
use std::io::{Read, Seek};

/// Rows of polynomials as little-endian bytes.
pub(crate) fn poly_bytes<'a>(polys: impl IntoIterator<Item = &'a RnsPoly>) -> Vec<u8> {
    let mut out = vec![];
    for p in polys {
        out.reserve(p.rows() * p.n() * 8);
        for row in p.iter() {
            out.extend(row.iter().flat_map(|w| w.to_le_bytes()));
        }
    }
    out
}

/// The inverse of [`poly_bytes`] for `count` polynomials of `rows` rows.
pub(crate) fn polys_from_bytes(bytes: &[u8], n: usize, rows: usize, count: usize) -> Vec<RnsPoly> {
    let mut rest = bytes.chunks_exact(8);
    (0..count)
        .map(|_| {
            let mut p = RnsPoly::new_unspecified(n, rows);
            for row in 0..rows {
                for (w, b) in p.row_mut(row).iter_mut().zip(rest.by_ref().take(n)) {
                    *w = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
                }
            }
            p
        })
        .collect()
}

/// Words as little-endian bytes.
pub(crate) fn word_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Refuses a file that has no tensor of words of this name and shape.
pub(crate) fn check_shape<R: Read + Seek>(r: &Reader<R>, name: &str, shape: &[usize]) -> Result<(), ContainerError> {
    r.info(name, Dtype::U64, shape).map(|_| ())
}

/// Reads a tensor of words into rows, one after the other.
pub(crate) fn read_rows<R: Read + Seek>(
    r: &mut Reader<R>,
    name: &str,
    shape: &[usize],
    rows: &mut [&mut [u64]],
) -> Result<(), ContainerError> {
    debug_assert_eq!(shape.iter().product::<usize>(), rows.iter().map(|r| r.len()).sum::<usize>());
    let (mut row, mut at) = (0, 0);
    r.read_parts(name, Dtype::U64, shape, |part| {
        let mut part = part;
        while !part.is_empty() && row < rows.len() {
            let free = &mut rows[row][at..];
            let (now, later) = part.split_at(part.len().min(8 * free.len()));
            for (word, bytes) in free.iter_mut().zip(now.chunks_exact(8)) {
                *word = u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
            }
            at += now.len() / 8;
            if at == rows[row].len() {
                (row, at) = (row + 1, 0);
            }
            part = later;
        }
    })
}
