//! NumPy's arrays: a dictionary in text with its length before it, and the elements.

use chiffre_testing::{Rng, mutate_text};

/// Bytes before the length of the header.
const START: usize = 8;
/// Most elements that are added for a changed shape.
const MOST: usize = 1 << 16;
/// Types of elements, some of which no reader takes.
const TYPES: [&str; 12] = ["<f4", ">f4", "<f8", ">f8", "|u1", "<f2", "<i4", "<i8", "|b1", "|S3", "<c8", "|O"];

/// The array with one change; the elements are as many as its header says, as a rule.
pub fn change(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let width = if *file.get(6)? == 1 { 2 } else { 4 };
    let mut length = [0; 4];
    length[..width].copy_from_slice(file.get(START..START + width)?);
    let (from, to) = (START + width, START + width + u32::from_le_bytes(length) as usize);
    let text = std::str::from_utf8(file.get(from..to)?).ok()?;
    let mut elements = file[to..].to_vec();
    let text = match rng.below(5) {
        0 => text.replace(descr(text)?, TYPES[rng.below(TYPES.len())]),
        1 => match text.contains("False") {
            true => text.replace("False", "True"),
            false => text.replace("True", "False"),
        },
        2 => shaped(text, rng)?,
        3 => mutate_text(text, rng).0,
        _ => {
            elements = super::raw::change(&elements, rng);
            text.to_string()
        }
    };
    if let (true, Some(bytes)) = (rng.below(4) > 0, bytes(&text)) {
        elements.resize(bytes, 0x3F);
    }
    // Version 1 has two bytes for the length, the others four.
    let version = if rng.below(8) == 0 { 1 + rng.below(4) as u8 } else { file[6] };
    let length = (text.len() as u32).to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length[..] };
    Some([b"\x93NUMPY".as_slice(), &[version, 0], length, text.as_bytes(), &elements].concat())
}

/// The text between the first pair of quotation marks behind `descr`.
fn descr(text: &str) -> Option<&str> {
    text.split("'descr':").nth(1)?.split('\'').nth(1)
}

/// The extents.
fn extents(text: &str) -> Option<&str> {
    text.split_once("'shape': (")?.1.split(')').next()
}

/// Another shape.
fn shaped(text: &str, rng: &mut Rng) -> Option<String> {
    let old = extents(text)?;
    let mut list: Vec<String> = old.split(',').map(|d| d.trim().to_string()).filter(|d| !d.is_empty()).collect();
    let number = ["0", "1", "2", "3", "4", "65536", "4294967296", "18446744073709551615", "-1"][rng.below(9)].to_string();
    match rng.below(3) {
        0 => list.push(number),
        1 => drop(list.pop()),
        _ => {
            let at = rng.below(list.len().max(1));
            *list.get_mut(at)? = number;
        }
    }
    Some(text.replacen(&format!("({old})"), &format!("({},)", list.join(", ")), 1))
}

/// Bytes of the elements that a header describes, if they are few.
fn bytes(text: &str) -> Option<usize> {
    let size: usize = descr(text)?.get(2..)?.parse().ok()?;
    let list = extents(text)?.split(',').map(str::trim).filter(|d| !d.is_empty());
    let count = list.map(|d| d.parse::<usize>().ok()).try_fold(size, |a, d| a.checked_mul(d?))?;
    (count <= MOST).then_some(count)
}
