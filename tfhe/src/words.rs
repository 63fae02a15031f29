//! Tensors of 64-bit words in files.

use chiffre_ir::container::{ContainerError, Dtype, Reader, Writer};
use std::io::{Read, Seek};

/// Words that are turned into bytes at a time.
const PART: usize = 1 << 16;

/// Reads a tensor of words of this shape. What is allocated is bounded by the size of the file.
///
/// # Errors
/// I/O errors; a file that has no such tensor.
pub fn read_words<R: Read + Seek>(r: &mut Reader<R>, name: &str, shape: &[usize]) -> Result<Vec<u64>, ContainerError> {
    // A tensor of this shape is as long as its place in the file, which the reader has checked.
    let [from, to] = r.info(name, Dtype::U64, shape)?.data_offsets;
    let mut words = Vec::with_capacity(((to - from) / 8) as usize);
    r.read_parts(name, Dtype::U64, shape, |part| {
        words.extend(part.chunks_exact(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])));
    })?;
    Ok(words)
}

/// Writes a tensor of words.
///
/// # Errors
/// I/O errors; a tensor that was not declared so.
pub fn write_words(w: &mut Writer<'_>, name: &str, words: &[u64]) -> Result<(), ContainerError> {
    let bytes = |part: &[u64]| part.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    w.tensor_parts(name, words.chunks(PART).map(bytes))
}
