//! NumPy's `.npy` format, versions 1 to 3.
//!
//! ndarray-npy allocates what a header announces and parses the header by recursion, so that
//! hostile files can exhaust memory or the stack; this reader compares announced sizes with the
//! bytes that exist first, and reads only the images asked for.

use super::{Batch, DataOptions, FloatArray, Problem, by, check_finite, push_bytes, reserve};
use chiffre_ir::input;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is read; headers of plain arrays have 128 bytes.
const MAX_HEADER: usize = 16 << 10;

/// Element type: NumPy's kind letter, size in bytes, byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub kind: u8,
    pub size: usize,
    pub big_endian: bool,
}

/// Header of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub descr: String,
    pub element: Element,
    pub fortran: bool,
    pub shape: Vec<u64>,
    /// Bytes of the header itself, magic included.
    pub len: u64,
}

impl Header {
    /// Bytes of the elements; saturates.
    pub fn payload(&self) -> u64 {
        self.shape.iter().fold(self.element.size as u64, |bytes, &d| bytes.saturating_mul(d))
    }

    /// The array must fill its file or archive member of `bytes` exactly.
    pub fn check_size(&self, bytes: u64) -> Result<(), Problem> {
        let expected = self.len.saturating_add(self.payload());
        if expected == bytes { Ok(()) } else { Err(Problem::Length { expected, found: bytes }) }
    }
}

/// Reads a `.npy` file of images.
pub(super) fn load(path: &Path, options: &DataOptions) -> Result<Batch, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let header = read_header(&mut reader)?;
    header.check_size(bytes)?;
    Ok(Batch { pixels: read_images(&mut reader, &header, options)?, labels: None })
}

/// Reads a `.npy` file of float32 logits, rows × `classes`, as `decrypt` writes it; NaN stands for
/// a row without an answer.
pub(super) fn load_logits(path: &Path, classes: usize) -> Result<Vec<f32>, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let header = read_header(&mut reader)?;
    header.check_size(bytes)?;
    if header.element != (Element { kind: b'f', size: 4, big_endian: false }) || header.fortran {
        return Err(Problem::Element { found: header.descr, expected: "little-endian float32 in rows is needed" });
    }
    let rows = match header.shape[..] {
        [rows, c] if c == classes as u64 => rows,
        _ => return Err(Problem::Logits { found: by(&header.shape), classes }),
    };
    let mut all = reserve((rows as usize).saturating_mul(classes))?;
    let mut row = vec![0; 4 * classes];
    for _ in 0..rows {
        read_exact(&mut reader, &mut row)?;
        all.extend(row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(all)
}

/// Reads magic, version and header.
pub(super) fn read_header(reader: &mut (impl Read + ?Sized)) -> Result<Header, Problem> {
    let invalid = |why: &str| Problem::Format { format: "npy", why: why.into() };
    let mut start = [0; 8];
    read_exact(reader, &mut start)?;
    if start[..6] != MAGIC[..] {
        return Err(invalid("it does not begin as one"));
    }
    let mut length = [0; 4];
    let width = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(invalid(&format!("version {version} is not known"))),
    };
    read_exact(reader, &mut length[..width])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER {
        return Err(invalid(&format!("its header has {length} bytes")));
    }
    let mut text = vec![0; length];
    read_exact(reader, &mut text)?;
    let text = String::from_utf8(text).map_err(|_| invalid("its header is not text"))?;
    let (descr, fortran, shape) = parse_header(&text).ok_or_else(|| invalid("its header does not describe a plain array"))?;
    let element = parse_element(descr).ok_or_else(|| wrong_element(descr))?;
    Ok(Header { descr: descr.into(), element, fortran, shape, len: (8 + width + length) as u64 })
}

/// Reads an array of float32 whose size has been checked against the bytes that exist; `None` for
/// other elements.
pub(super) fn read_floats(reader: &mut (impl Read + ?Sized), header: &Header) -> Result<Option<FloatArray>, Problem> {
    let Element { kind: b'f', size: 4, big_endian } = header.element else { return Ok(None) };
    let shape: Vec<usize> = header.shape.iter().map(|&d| d as usize).collect();
    let bytes = usize::try_from(header.payload()).map_err(|_| Problem::Memory { bytes: header.payload() })?;
    let mut raw = reserve(bytes)?;
    reader.take(bytes as u64).read_to_end(&mut raw)?;
    if raw.len() < bytes {
        return Err(Problem::Length { expected: bytes as u64, found: raw.len() as u64 });
    }
    let value = |b: &[u8]| {
        let b = [b[0], b[1], b[2], b[3]];
        if big_endian { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }
    };
    let stored: Vec<f32> = raw.chunks_exact(4).map(value).collect();
    let data = if header.fortran { row_major(&stored, &shape) } else { stored };
    Ok(Some(FloatArray { shape, data }))
}

/// A column-major array in row-major order.
fn row_major(stored: &[f32], shape: &[usize]) -> Vec<f32> {
    let place = |mut i: usize| {
        let (mut at, mut stride) = (0, stored.len());
        for &d in shape.iter().rev() {
            stride /= d;
            at += i % d * stride;
            i /= d;
        }
        at
    };
    (0..stored.len()).map(|i| stored[place(i)]).collect()
}

/// Reads the images of an array whose size has been checked against the bytes that exist.
pub(super) fn read_images(reader: &mut (impl Read + ?Sized), header: &Header, options: &DataOptions) -> Result<Vec<f32>, Problem> {
    let Element { kind, size, big_endian } = header.element;
    let tables = match (kind, size) {
        (b'f', 2 | 4 | 8) => None,
        (b'u', 1) => Some(()),
        _ => return Err(wrong_element(&header.descr)),
    };
    let (available, order) = image_count(&header.shape, options.shape)?;
    let take = options.take(available)?;
    let tables = tables.map(|()| options.tables()).transpose()?;
    let len = options.len()?;
    let mut pixels = reserve(take.saturating_mul(len))?;
    let mut push = |index: usize, image: &[u8]| match &tables {
        Some(tables) => {
            push_bytes(&mut pixels, image, tables);
            Ok(())
        }
        None => {
            pixels.extend(image.chunks_exact(size).map(|b| float(b, big_endian)));
            check_finite(index, &pixels[index * len..])
        }
    };
    let mut image = vec![0; len * size];
    let [c, h, w] = options.shape;
    if !header.fortran {
        let mut stored = vec![0; len * size];
        for index in 0..take {
            read_exact(reader, &mut stored)?;
            if order == Order::ChannelsFirst {
                push(index, &stored)?;
                continue;
            }
            for (i, value) in image.chunks_exact_mut(size).enumerate() {
                let at = size * (i % (h * w) * c + i / (h * w));
                value.copy_from_slice(&stored[at..at + size]);
            }
            push(index, &image)?;
        }
        return Ok(pixels);
    }
    // Column-major: element (n, c, y, x) is at n + N(c + C(y + H x)), or at n + N(y + H(x + W c)).
    let total = usize::try_from(header.payload()).map_err(|_| Problem::Memory { bytes: u64::MAX })?;
    let mut all = reserve(total)?;
    reader.take(total as u64).read_to_end(&mut all)?;
    if all.len() < total {
        return Err(Problem::Length { expected: total as u64, found: all.len() as u64 });
    }
    for index in 0..take {
        for (i, value) in image.chunks_exact_mut(size).enumerate() {
            let (channel, y, x) = (i / (h * w), i / w % h, i % w);
            let inner = match order {
                Order::ChannelsFirst => channel + c * (y + h * x),
                Order::ChannelsLast => y + h * (x + w * channel),
            };
            let at = size * (index + available as usize * inner);
            value.copy_from_slice(&all[at..at + size]);
        }
        push(index, &image)?;
    }
    Ok(pixels)
}

/// Reads the first `take` labels of an array of `available` whose size has been checked.
pub(super) fn read_labels(reader: &mut (impl Read + ?Sized), header: &Header, available: u64, take: usize) -> Result<Vec<u32>, Problem> {
    let Element { kind, size, big_endian } = header.element;
    if !matches!((kind, size), (b'i' | b'u', 1 | 2 | 4 | 8)) {
        return Err(Problem::Labels(format!("its labels have type {}; whole numbers are needed", header.descr)));
    }
    if header.shape != [available] {
        let found = by(&header.shape);
        return Err(Problem::Labels(format!("its labels have shape [{found}], but there are {available} images")));
    }
    let mut labels = reserve(take)?;
    let mut bytes = [0; 8];
    for index in 0..take {
        read_exact(reader, &mut bytes[..size])?;
        if big_endian {
            bytes[..size].reverse();
        }
        let fill = if kind == b'i' && bytes[size - 1] & 0x80 != 0 { 0xff } else { 0 };
        bytes[size..].fill(fill);
        let value = i64::from_le_bytes(bytes);
        let label = u32::try_from(value).map_err(|_| Problem::Labels(format!("label {index} is {value}, not a class")))?;
        labels.push(label);
    }
    Ok(labels)
}

/// `read_exact` that tells a short file from a failed read.
pub(super) fn read_exact(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> Result<(), Problem> {
    let expected = buffer.len() as u64;
    reader.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Problem::Length { expected, found: 0 },
        _ => error.into(),
    })
}

/// How the axes of an image are ordered in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// C×H×W, without those of extent 1 perhaps.
    ChannelsFirst,
    /// H×W×C.
    ChannelsLast,
}

/// Number of images in an array of `shape`, which must be that of the model behind the first
/// dimension: axes of extent 1 may be left out or added, axes before the last two count as channels
/// together, and channels may come last.
pub(super) fn image_count(shape: &[u64], model: [usize; 3]) -> Result<(u64, Order), Problem> {
    let [c, h, w] = model.map(|d| d as u64);
    let long = |d: &[u64]| d.iter().copied().filter(|&d| d != 1).collect::<Vec<u64>>();
    match *shape {
        [n, ref rest @ ..] if long(rest) == long(&[c, h, w]) && shape.len() <= 4 => Ok((n, Order::ChannelsFirst)),
        [n, ref more @ .., h2, w2] if [h, w] == [h2, w2] && more.iter().try_fold(1u64, |a, &d| a.checked_mul(d)) == Some(c) => {
            Ok((n, Order::ChannelsFirst))
        }
        [n, h2, w2, c2] if [c, h, w] == [c2, h2, w2] => Ok((n, Order::ChannelsLast)),
        [h2, w2] if [c, h, w] == [1, h2, w2] => Ok((1, Order::ChannelsFirst)),
        _ => Err(Problem::Shape { found: by(shape), model }),
    }
}

/// A floating-point number of 2, 4 or 8 bytes.
fn float(b: &[u8], big_endian: bool) -> f32 {
    let mut bytes = [0; 8];
    bytes[..b.len()].copy_from_slice(b);
    if big_endian {
        bytes[..b.len()].reverse();
    }
    let word = u64::from_le_bytes(bytes);
    match b.len() {
        2 => half(word as u16),
        4 => f32::from_bits(word as u32),
        _ => f64::from_bits(word) as f32,
    }
}

/// An IEEE 754 half as f32.
fn half(h: u16) -> f32 {
    let (sign, exponent, fraction) = (if h >> 15 == 1 { -1.0 } else { 1.0 }, i32::from(h >> 10 & 31), f32::from(h & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        e => sign * (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

pub(super) fn wrong_element(descr: &str) -> Problem {
    Problem::Element { found: descr.chars().take(40).collect(), expected: "floating-point numbers or uint8 are needed" }
}

/// `descr`, `fortran_order` and `shape` of the Python dictionary in a header.
fn parse_header(text: &str) -> Option<(&str, bool, Vec<u64>)> {
    let value = |key: &str| {
        let after = ["'", "\""].iter().find_map(|quote| text.split_once(&format!("{quote}{key}{quote}")))?.1;
        Some(after.trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr")?;
    let descr = match descr.chars().next()? {
        quote @ ('\'' | '"') => descr[1..].split_once(quote)?.0,
        _ => descr, // a structured type; named in the error
    };
    let fortran = value("fortran_order")?;
    let fortran = match (fortran.starts_with("True"), fortran.starts_with("False")) {
        (false, false) => return None,
        (fortran, _) => fortran,
    };
    let (inside, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
    let sizes = inside.trim().trim_end_matches(',').split(',').map(|size| size.trim().trim_end_matches('L'));
    let shape = if inside.trim().is_empty() { Vec::new() } else { sizes.map(|s| s.parse().ok()).collect::<Option<_>>()? };
    Some((descr, fortran, shape))
}

/// `<f4`, `|u1`, `>i8`.
pub(super) fn parse_element(descr: &str) -> Option<Element> {
    let &[order @ (b'<' | b'>' | b'|' | b'='), kind, size @ b'0'..=b'9'] = descr.as_bytes() else { return None };
    Some(Element { kind, size: (size - b'0') as usize, big_endian: order == b'>' })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_numpy_are_read() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 3, 32, 32), }";
        assert_eq!(parse_header(text), Some(("<f4", false, vec![10, 3, 32, 32])));
        assert_eq!(parse_header("{'descr':'|u1','fortran_order':True,'shape':(5,)}"), Some(("|u1", true, vec![5])));
        assert_eq!(parse_header("{'descr': '<i8', 'fortran_order': False, 'shape': ()}"), Some(("<i8", false, vec![])));
        assert_eq!(parse_element(">i8"), Some(Element { kind: b'i', size: 8, big_endian: true }));
    }

    #[test]
    fn images_have_the_axes_of_the_model_or_channels_last() {
        let first = |n| Some((n, Order::ChannelsFirst));
        let count = |shape: &[u64], model| image_count(shape, model).ok();
        assert_eq!(count(&[5, 3, 8, 9], [3, 8, 9]), first(5));
        assert_eq!(count(&[5, 8, 9, 3], [3, 8, 9]), Some((5, Order::ChannelsLast)));
        assert_eq!(count(&[5, 3, 3, 3], [3, 3, 3]), first(5));
        // Tables and series.
        assert_eq!(count(&[5, 30], [30, 1, 1]), first(5));
        assert_eq!(count(&[5, 2, 100], [2, 100, 1]), first(5));
        assert_eq!(count(&[5, 100], [1, 100, 1]), first(5));
        assert_eq!((count(&[5], [1, 1, 1]), count(&[5, 1], [1, 1, 1])), (first(5), first(5)));
        // Grey pictures, one and several.
        assert_eq!(
            (count(&[8, 9], [1, 8, 9]), count(&[5, 8, 9], [1, 8, 9]), count(&[5, 8, 9, 1], [1, 8, 9])),
            (first(1), first(5), first(5))
        );
        // Volumes: what comes before the last two axes is channels.
        assert_eq!((count(&[5, 2, 4, 8, 9], [8, 8, 9]), count(&[5, 1, 3, 8, 9], [3, 8, 9])), (first(5), first(5)));
        for shape in [&[5u64, 8, 3, 9][..], &[3, 8, 9], &[5, 216], &[], &[5, 2, 3, 8, 9]] {
            assert_eq!(count(shape, [3, 8, 9]), None, "{shape:?}");
        }
    }

    #[test]
    fn numbers_of_all_widths_are_read() {
        assert_eq!(float(&[0x00, 0xc0], false), -2.0);
        assert_eq!(float(&[0x3c, 0x00], true), 1.0);
        assert_eq!(float(&1.5f32.to_be_bytes(), true), 1.5);
        assert_eq!(float(&(-0.25f64).to_le_bytes(), false), -0.25);
    }

    #[test]
    fn column_major_arrays_are_turned() {
        // a[y][x] = 10·y + x, column by column.
        assert_eq!(row_major(&[0.0, 10.0, 1.0, 11.0, 2.0, 12.0], &[2, 3]), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        assert_eq!(row_major(&[0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0], &[2, 2, 2]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(row_major(&[7.0], &[]), [7.0]);
        assert!(row_major(&[], &[2, 0]).is_empty());
    }

    #[test]
    fn wrong_headers_are_refused() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4'",
            "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '', 'fortran_order': False, 'shape': (1",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
        ] {
            assert_eq!(parse_header(text), None, "{text}");
        }
        for descr in ["", "f4", "<f16", "<U3", "[('a', '<f4')]", "<fé"] {
            assert!(parse_element(descr).is_none_or(|e| e.kind == b'U'), "{descr}");
        }
    }
}
