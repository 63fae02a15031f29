//! The suite's images: a text with an image in each line, its values between 0 and 1, and in the
//! order channel, row, column.

use chiffre::{Error, Images, Normalisation};
use std::path::Path;

/// Reads images and normalises them.
///
/// # Errors
/// A file that cannot be read; a line with too many or too few values, or with one that is none.
pub fn read(path: &Path, shape: [usize; 3], normalisation: &Normalisation) -> Result<Images, Error> {
    let text = chiffre_ir::input::read_to_string(path).map_err(|e| Error::read(path, e))?;
    let (per, area) = (shape.iter().product::<usize>(), shape[1] * shape[2]);
    let (mean, std) = (normalisation.mean(), normalisation.std());
    let mut pixels = vec![];
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = |what: String| Error::input_in(path, format!("line {}: {what}", i + 1));
        let before = pixels.len();
        for (k, word) in line.split_whitespace().enumerate() {
            let value = word.parse::<f32>().ok().filter(|v| (0.0..=1.0).contains(v));
            let value = value.ok_or_else(|| bad(format!("`{word}` is no pixel between 0 and 1")))?;
            let c = k / area;
            pixels.push((value - mean[c % mean.len()]) / std[c % std.len()]);
        }
        if pixels.len() - before != per {
            return Err(bad(format!("{} pixels, where an image of the network has {per}", pixels.len() - before)));
        }
    }
    Images::new(pixels, shape).map_err(|e| Error::input_in(path, e))
}
