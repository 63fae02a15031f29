//! Small changes of texts and tensors, such as a fuzzer makes: most results still look like what
//! they came from.

use crate::rng::Rng;
use crate::sealed::Tensor;
use chiffre_ir::container::Dtype;

/// Numbers at which readers trip: zero, the bounds of machine words, what no float holds.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "63",
    "64",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999",
    "1e308",
    "nan",
];

/// A text in pieces: words of letters, digits and points, and single other characters.
fn tokens(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let (mut out, mut rest) = (vec![], text);
    while let Some(first) = rest.chars().next() {
        let end = if word(first) { rest.find(|c| !word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (token, tail) = rest.split_at(end);
        out.push(token);
        rest = tail;
    }
    out
}

/// A changed text, and what was changed.
pub fn mutate_text(text: &str, rng: &mut Rng) -> (String, String) {
    if text.is_empty() {
        return ("x".into(), "filled".into());
    }
    if rng.below(4) == 0 {
        return mutate_lines(text, rng);
    }
    let mut list: Vec<String> = tokens(text).into_iter().map(str::to_string).collect();
    let numbers: Vec<usize> = (0..list.len()).filter(|&i| list[i].starts_with(|c: char| c.is_ascii_digit())).collect();
    let at = if numbers.is_empty() || rng.below(3) == 0 { rng.below(list.len()) } else { *rng.one_of(&numbers) };
    let old = list[at].clone();
    let new = match rng.below(8) {
        0 => String::new(),
        1 => format!("{old}{old}"),
        2 => rng.one_of(&list).clone(),
        3 => {
            let mut chars: Vec<char> = old.chars().collect();
            let i = rng.below(chars.len());
            chars[i] = char::from(b' ' + rng.below(95) as u8);
            chars.into_iter().collect()
        }
        4 => match old.parse::<u64>() {
            Ok(n) => [n.wrapping_add(1), n.wrapping_sub(1), n.wrapping_mul(2), n / 2][rng.below(4)].to_string(),
            Err(_) => "é".into(),
        },
        _ => rng.one_of(&NUMBERS).to_string(),
    };
    let what = format!("token {at} `{old}` is `{new}`");
    list[at] = new;
    (list.concat(), what)
}

fn mutate_lines(text: &str, rng: &mut Rng) -> (String, String) {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (a, b) = (rng.below(lines.len()), rng.below(lines.len()));
    let what = match rng.below(4) {
        0 => {
            lines.remove(a);
            format!("line {a} removed")
        }
        1 => {
            lines.insert(b, lines[a]);
            format!("line {a} copied to {b}")
        }
        2 => {
            lines.swap(a, b);
            format!("lines {a} and {b} exchanged")
        }
        _ => {
            lines.truncate(a);
            format!("cut at line {a}")
        }
    };
    (lines.concat(), what)
}

/// Changes the shape or the element type, and the content so that it fits.
pub fn mutate_shape(tensor: &mut Tensor, rng: &mut Rng) -> String {
    let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
    match rng.below(6) {
        0 => tensor.dtype = *rng.one_of(&[Dtype::U8, Dtype::I8, Dtype::U32, Dtype::U64, Dtype::I64, Dtype::F32, Dtype::F64]),
        1 => tensor.shape.reverse(),
        2 => tensor.shape.push(1),
        3 => tensor.shape = vec![0, 1 << 60],
        _ if tensor.shape.is_empty() => tensor.shape = vec![2],
        4 => {
            let i = rng.below(shape.len());
            tensor.shape[i] += 1;
        }
        _ => {
            let i = rng.below(shape.len());
            tensor.shape[i] /= 2;
        }
    }
    // A shape that was changed twice can hold more than any file does.
    match tensor.shape.iter().try_fold(tensor.dtype.size() as usize, |a, &d| a.checked_mul(d)).filter(|&bytes| bytes < 1 << 28) {
        Some(bytes) => tensor.bytes.resize(bytes, 0),
        None => {
            tensor.shape = vec![0];
            tensor.bytes.clear();
        }
    }
    format!("{dtype:?} {shape:?} is {:?} {:?}", tensor.dtype, tensor.shape)
}

/// Changes elements: single ones or all of them, to bounds of their type or to anything.
pub fn mutate_bytes(tensor: &mut Tensor, rng: &mut Rng) -> String {
    let size = tensor.dtype.size() as usize;
    let count = tensor.bytes.len() / size;
    if count == 0 {
        return "nothing to change".into();
    }
    let value: Vec<u8> = match (tensor.dtype, rng.below(5)) {
        (Dtype::F64, 0) => f64::NAN.to_le_bytes().to_vec(),
        (Dtype::F32, 0) => f32::NAN.to_le_bytes().to_vec(),
        (Dtype::F32, 1) => f32::INFINITY.to_le_bytes().to_vec(),
        (Dtype::F32, 2) => f32::MAX.to_le_bytes().to_vec(),
        (_, 0 | 1) => vec![0xFF; size],
        (_, 2) => vec![0; size],
        _ => rng.word().to_le_bytes()[..size].to_vec(),
    };
    let all = rng.below(4) == 0;
    let at = rng.below(count);
    for (i, element) in tensor.bytes.chunks_exact_mut(size).enumerate() {
        if all || i == at {
            element.copy_from_slice(&value);
        }
    }
    format!("{} of {count} elements is {value:?}", if all { "each".to_string() } else { format!("element {at}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_without_loss() {
        let text = "  %0 = input : f32[1x2]{q=3.5e1}\n é";
        assert_eq!(tokens(text).concat(), text);
        assert!(tokens(text).contains(&"f32") && tokens(text).contains(&"3.5e1"));
    }

    #[test]
    fn shapes_stay_what_a_file_can_hold() {
        let mut rng = Rng::new(4);
        let mut tensor = Tensor { dtype: Dtype::U64, shape: vec![2, 3], bytes: vec![0; 48] };
        for _ in 0..2000 {
            mutate_shape(&mut tensor, &mut rng);
            assert_eq!(tensor.shape.iter().product::<usize>() * tensor.dtype.size() as usize, tensor.bytes.len());
        }
    }

    #[test]
    fn most_texts_change() {
        let (text, mut rng) = ("header {log-n = 10}\n%1 = square %0\n", Rng::new(3));
        let changed = (0..100).filter(|_| mutate_text(text, &mut rng).0 != text).count();
        assert!(changed > 80, "{changed}");
    }
}
