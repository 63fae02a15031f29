//! Tables: CSV with a line of headings, a row for each image and a column for each of its values.

use super::{Batch, DataOptions, Problem};
use chiffre_ir::input;
use csv_core::{ReadRecordResult, Reader};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Headings of a column of classes, beside those of values.
const LABELS: [&str; 3] = ["label", "labels", "y"];

/// Reads the first rows of a table; a column may hold the labels.
pub(super) fn load(path: &Path, options: &DataOptions) -> Result<Batch, Problem> {
    let mut rows = Rows::new(BufReader::new(input::open(path)?));
    let (_, head) = rows.row()?.unwrap_or_default();
    let width = options.len()?;
    if !head.is_empty() && head.iter().all(|h| h.parse::<f64>().is_ok()) {
        return Err(invalid("its first line holds numbers: put a line with the names of the columns above them".into()));
    }
    let is_label = |h: &String| LABELS.iter().any(|l| h.eq_ignore_ascii_case(l));
    let label = head.iter().position(is_label).filter(|_| head.len() == width + 1);
    if head.len() != width + usize::from(label.is_some()) {
        let found = head.len();
        return Err(invalid(format!("it has {found} columns, and the model takes {width} values (and `label`, if there are labels)")));
    }
    let mut pixels = vec![];
    let mut labels = vec![];
    let mut read = 0;
    while options.count.is_none_or(|count| read < count) {
        let Some((line, record)) = rows.row()? else { break };
        if record.len() != head.len() {
            return Err(invalid(format!("line {line} has {} fields, where the first line has {}", record.len(), head.len())));
        }
        for (column, field) in record.iter().enumerate() {
            let wrong = |what: &str| {
                let shown: String = field.chars().take(40).collect();
                invalid(format!("line {line}, column {} (\"{}\"): \"{shown}\" is {what}", column + 1, &head[column]))
            };
            if Some(column) == label {
                labels.push(field.parse::<u32>().map_err(|_| wrong("no class: whole numbers from 0 on are"))?);
                continue;
            }
            let value: f32 = field.parse().map_err(|_| wrong("no number"))?;
            if !value.is_finite() {
                return Err(wrong("no finite number"));
            }
            pixels.push(value);
        }
        read += 1;
    }
    options.take(read as u64)?;
    Ok(Batch { pixels, labels: label.map(|_| labels) })
}

/// The rows of a table, one by one.
struct Rows<R> {
    source: R,
    reader: Reader,
    /// Bytes of the fields of a row, and where they end.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Longest row, bytes: a million numbers.
const LONGEST: usize = 16 << 20;

impl<R: BufRead> Rows<R> {
    fn new(source: R) -> Rows<R> {
        Rows { source, reader: Reader::new(), bytes: vec![0; 1 << 12], ends: vec![0; 1 << 8] }
    }

    /// The next row without blanks around its fields, and the line it begins on; empty lines do not
    /// count.
    fn row(&mut self) -> Result<Option<(u64, Vec<String>)>, Problem> {
        let (mut length, mut fields) = (0, 0);
        let mut line = self.reader.line();
        loop {
            let input = self.source.fill_buf()?;
            // Empty lines in front belong to no row.
            let skipped = if length == 0 && fields == 0 { input.iter().take_while(|b| **b == b'\n' || **b == b'\r').count() } else { 0 };
            let before = self.reader.line();
            let (result, consumed, written, ended) = self.reader.read_record(input, &mut self.bytes[length..], &mut self.ends[fields..]);
            if length == 0 && fields == 0 {
                let newlines = input[..skipped.min(consumed)].iter().filter(|b| **b == b'\n').count();
                line = before + newlines as u64;
            }
            self.source.consume(consumed);
            (length, fields) = (length + written, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull if self.bytes.len() + self.ends.len() > LONGEST => {
                    return Err(invalid(format!("line {line} is longer than {LONGEST} bytes")));
                }
                ReadRecordResult::OutputFull => self.bytes.resize(2 * self.bytes.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        let starts = std::iter::once(0).chain(self.ends[..fields].iter().copied());
        let field = |(start, end): (usize, &usize)| {
            let text = std::str::from_utf8(&self.bytes[start..*end]).map_err(|_| invalid(format!("line {line} is not text in UTF-8")))?;
            Ok(text.trim().to_string())
        };
        let row = starts.zip(&self.ends[..fields]).map(field).collect::<Result<Vec<String>, Problem>>()?;
        Ok(Some((line, row)))
    }
}

fn invalid(why: String) -> Problem {
    Problem::Format { format: "CSV", why }
}
