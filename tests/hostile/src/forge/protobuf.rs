//! Messages of protocol buffers, of which ONNX models are made: fields are changed at any depth,
//! and all lengths around them are right.

use chiffre_testing::{Rng, mutate_text};

/// Deepest message that is looked into.
const DEPTH: usize = 8;
/// Numbers at which readers trip.
const NUMBERS: [u64; 10] = [0, 1, 2, 7, 64, 255, 65_536, 1 << 31, 1 << 62, u64::MAX];
/// Operators and attributes, so that one becomes another.
const WORDS: [&str; 24] = [
    "Conv",
    "Gemm",
    "Add",
    "Mul",
    "Relu",
    "Reshape",
    "Flatten",
    "Transpose",
    "Concat",
    "Pad",
    "Slice",
    "Gather",
    "Shape",
    "ConstantOfShape",
    "Expand",
    "ReduceMean",
    "AveragePool",
    "MaxPool",
    "BatchNormalization",
    "Softmax",
    "axis",
    "pads",
    "strides",
    "group",
];

/// A field: its number and what it holds.
#[derive(Clone, Debug)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Fixed(Vec<u8>),
}

/// The message with one change.
pub fn change(message: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    at(message, rng, DEPTH)
}

fn at(message: &[u8], rng: &mut Rng, depth: usize) -> Option<Vec<u8>> {
    let mut fields = fields(message)?;
    if fields.is_empty() {
        return None;
    }
    let i = rng.below(fields.len());
    // Mostly further down: that is where the graph is.
    if depth > 0
        && rng.below(6) > 0
        && let Value::Bytes(inner) = &fields[i].value
        && let Some(changed) = at(inner, rng, depth - 1)
    {
        fields[i].value = Value::Bytes(changed);
        return Some(written(&fields));
    }
    match rng.below(5) {
        0 => drop(fields.remove(i)),
        1 => {
            let copy = fields[i].clone();
            fields.insert(rng.below(fields.len() + 1), copy);
        }
        2 => {
            let j = rng.below(fields.len());
            let value = fields[j].value.clone();
            fields[i].value = value;
        }
        _ => fields[i].value = changed(&fields[i].value, rng),
    }
    Some(written(&fields))
}

fn changed(value: &Value, rng: &mut Rng) -> Value {
    match value {
        Value::Number(n) => Value::Number(match rng.below(4) {
            0 => n.wrapping_add(1),
            1 => n.wrapping_sub(1),
            _ => *rng.one_of(&NUMBERS),
        }),
        Value::Fixed(bytes) => Value::Fixed(bytes.iter().map(|_| rng.word() as u8).collect()),
        Value::Bytes(bytes) => Value::Bytes(match std::str::from_utf8(bytes) {
            Ok(_) if rng.below(3) == 0 => (*rng.one_of(&WORDS)).into(),
            Ok(text) if rng.below(3) > 0 => mutate_text(text, rng).0.into_bytes(),
            _ => super::raw::change(bytes, rng),
        }),
    }
}

/// The fields of a message; `None` if it is none.
fn fields(mut rest: &[u8]) -> Option<Vec<Field>> {
    let mut out = vec![];
    while !rest.is_empty() {
        let (key, behind) = varint(rest)?;
        let (number, value, behind) = match key & 7 {
            0 => varint(behind).map(|(n, b)| (key >> 3, Value::Number(n), b))?,
            1 => behind.split_at_checked(8).map(|(v, b)| (key >> 3, Value::Fixed(v.to_vec()), b))?,
            2 => {
                let (length, behind) = varint(behind)?;
                let (v, b) = behind.split_at_checked(usize::try_from(length).ok()?)?;
                (key >> 3, Value::Bytes(v.to_vec()), b)
            }
            5 => behind.split_at_checked(4).map(|(v, b)| (key >> 3, Value::Fixed(v.to_vec()), b))?,
            _ => return None,
        };
        if number == 0 {
            return None;
        }
        out.push(Field { number, value });
        rest = behind;
    }
    Some(out)
}

fn written(fields: &[Field]) -> Vec<u8> {
    let mut out = vec![];
    for Field { number, value } in fields {
        match value {
            Value::Number(n) => {
                put(&mut out, number << 3);
                put(&mut out, *n);
            }
            Value::Bytes(bytes) => {
                put(&mut out, number << 3 | 2);
                put(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
            Value::Fixed(bytes) => {
                put(&mut out, number << 3 | if bytes.len() == 8 { 1 } else { 5 });
                out.extend(bytes);
            }
        }
    }
    out
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (i, &b) in bytes.iter().take(10).enumerate() {
        value |= u64::from(b & 127) << (7 * i as u32).min(63);
        if b < 128 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_written_as_they_were_read() {
        let path = chiffre_testing::repository().join("models/tiny_resnet.onnx");
        let model = std::fs::read(path).expect("a model");
        let all = fields(&model).expect("a message");
        assert!(all.len() > 2);
        assert_eq!(written(&all), model);
    }

    #[test]
    fn changed_models_are_messages() {
        let path = chiffre_testing::repository().join("models/tiny_cnn.onnx");
        let model = std::fs::read(path).expect("a model");
        let mut rng = Rng::new(1);
        let changed: Vec<Vec<u8>> = (0..200).filter_map(|_| change(&model, &mut rng)).collect();
        assert!(changed.len() > 190 && changed.iter().filter(|c| **c != model).count() > 150);
        assert!(changed.iter().all(|c| fields(c).is_some()));
    }
}
