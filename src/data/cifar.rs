//! The binary files of CIFAR-10 and CIFAR-100: records of one or two label bytes and 3×32×32
//! pixels.

use super::npy::read_exact;
use super::{Batch, DataOptions, Problem, push_bytes, reserve};
use chiffre_ir::input;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// Label bytes of a record: CIFAR-10 has the class, CIFAR-100 the coarse and the fine class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cifar10,
    Cifar100,
}

impl Kind {
    /// Largest value of each label byte; the last one is the class.
    fn largest(self) -> &'static [u8] {
        match self {
            Kind::Cifar10 => &[9],
            Kind::Cifar100 => &[19, 99],
        }
    }

    fn record(self) -> u64 {
        (self.largest().len() + PIXELS) as u64
    }
}

/// Reads a `.bin` file. Which of the two kinds it is follows from its length, and from the labels
/// where both lengths fit.
pub(super) fn load(path: &Path, options: &DataOptions) -> Result<Batch, Problem> {
    let file = input::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let fits = |kind: &Kind| bytes > 0 && bytes.is_multiple_of(kind.record());
    let kinds: Vec<Kind> = [Kind::Cifar10, Kind::Cifar100].into_iter().filter(fits).collect();
    let &[first, ref others @ ..] = kinds.as_slice() else {
        let why = format!("{bytes} bytes are neither a multiple of 3073 (CIFAR-10) nor of 3074 (CIFAR-100)");
        return Err(Problem::Format { format: "CIFAR", why });
    };
    if options.shape != SHAPE {
        return Err(Problem::Shape { found: "3x32x32".into(), model: options.shape });
    }
    match (read(&mut reader, bytes, first, options), others.first()) {
        (Err(Problem::Labels(_)), Some(&other)) => {
            reader.seek(SeekFrom::Start(0))?;
            read(&mut reader, bytes, other, options)
        }
        (result, _) => result,
    }
}

fn read(reader: &mut impl Read, bytes: u64, kind: Kind, options: &DataOptions) -> Result<Batch, Problem> {
    let take = options.take(bytes / kind.record())?;
    let tables = options.tables()?;
    let (mut pixels, mut labels) = (reserve(take.saturating_mul(PIXELS))?, reserve(take)?);
    let mut record = vec![0; kind.record() as usize];
    for index in 0..take {
        read_exact(reader, &mut record)?;
        let (classes, image) = record.split_at(kind.largest().len());
        if let Some((class, most)) = classes.iter().zip(kind.largest()).find(|(class, most)| class > most) {
            return Err(Problem::Labels(format!(
                "record {index} has the label {class}, but {kind:?} ends at {most}; is this a CIFAR file?"
            )));
        }
        labels.extend(classes.last().map(|&class| class as u32));
        push_bytes(&mut pixels, image, &tables);
    }
    Ok(Batch { pixels, labels: Some(labels) })
}
