//! A table as tensors of a container, and the bytes that its hash covers.

use super::{DiagTable, Entry, Masks, Row, TableError, TableLiteral, WeightType};
use crate::container::Dtype;
use crate::element::{from_bytes, to_bytes};

/// A tensor of a table.
pub(crate) struct Part {
    /// What follows the hash and a point in the tensor's name.
    pub name: &'static str,
    /// Element type; none for weights, which have the table's.
    dtype: Option<Dtype>,
    /// Extents.
    pub shape: fn(&DiagTable) -> Vec<usize>,
    /// Little-endian values.
    pub bytes: fn(&DiagTable) -> Vec<u8>,
}

impl Part {
    /// Element type.
    pub fn dtype(&self, t: &DiagTable) -> Dtype {
        self.dtype.unwrap_or(match t.weights {
            WeightType::F32 => Dtype::F32,
            WeightType::F64 => Dtype::F64,
        })
    }
}

/// What stands for the mask of an entry without one.
const NO_MASK: u32 = u32::MAX;

/// The tensors of a table, by name.
pub(crate) const PARTS: [Part; 6] = [
    // Row, output, mask.
    Part {
        name: "entries",
        dtype: Some(Dtype::U32),
        shape: |t| vec![t.entries.len(), 3],
        bytes: |t| to_bytes(t.entries.iter().flat_map(|e| [e.row, e.output, e.mask.unwrap_or(NO_MASK)])),
    },
    // A bit for each slot.
    Part { name: "masks", dtype: Some(Dtype::U8), shape: |t| vec![t.masks.len(), t.masks.bytes_each()], bytes: |t| t.masks.to_bytes() },
    // Operand, ciphertext, tap.
    Part {
        name: "rows",
        dtype: Some(Dtype::U32),
        shape: |t| vec![t.rows.len(), 3],
        bytes: |t| to_bytes(t.rows.iter().flat_map(|r| [r.operand, r.ct, r.tap])),
    },
    // Outputs and period, which no other extent tells.
    Part { name: "sizes", dtype: Some(Dtype::U32), shape: |_| vec![2], bytes: |t| to_bytes([t.outputs as u32, t.period() as u32]) },
    Part { name: "taps", dtype: Some(Dtype::I64), shape: |t| vec![t.taps.len()], bytes: |t| to_bytes(t.taps.iter().copied()) },
    Part {
        name: "weights",
        dtype: None,
        shape: |t| vec![t.entries.len()],
        bytes: |t| match t.weights {
            WeightType::F32 => to_bytes(t.entries.iter().map(|e| e.weight as f32)),
            WeightType::F64 => to_bytes(t.entries.iter().map(|e| e.weight)),
        },
    },
];

/// Element type, bytes and extents of a tensor.
pub type Tensor = (Dtype, Vec<u8>, Vec<usize>);

/// The table that tensors hold, in the order of their names: `entries`, `masks`, `rows`, `sizes`,
/// `taps`, `weights`.
///
/// # Errors
/// Tensors of other types or extents, and what makes no table.
pub fn from_tensors(parts: &[Tensor]) -> Result<DiagTable, TableError> {
    if parts.len() != PARTS.len() {
        return Err(TableError::Sizes(format!("{} tensors, not {}", parts.len(), PARTS.len())));
    }
    let typed = |i: usize| PARTS[i].dtype.is_none_or(|d| d == parts[i].0);
    let shaped = |i: usize| match (PARTS[i].name, &parts[i].2[..]) {
        ("entries" | "rows", [_, 3]) | ("masks", [_, _]) | ("sizes", [2]) | ("taps", [_]) => true,
        ("weights", [n]) => parts[0].2[0] == *n,
        _ => false,
    };
    if let Some(i) = (0..PARTS.len()).find(|&i| !typed(i) || !shaped(i)) {
        return Err(TableError::Sizes(format!("`{}` is {:?} {:?}", PARTS[i].name, parts[i].0, parts[i].2)));
    }
    let words = |i: usize| from_bytes::<u32>(&parts[i].1);
    let (entries, rows, sizes) = (words(0), words(2), words(3));
    let (outputs, period, masks) = (sizes[0] as usize, sizes[1] as usize, parts[1].2[0]);
    let (precision, weights): (WeightType, Vec<f64>) = match parts[5].0 {
        Dtype::F64 => (WeightType::F64, from_bytes(&parts[5].1)),
        Dtype::F32 => (WeightType::F32, from_bytes::<f32>(&parts[5].1).into_iter().map(f64::from).collect()),
        other => return Err(TableError::Sizes(format!("weights are {other:?}"))),
    };
    let entry = |(e, &weight): (&[u32], &f64)| Entry { row: e[0], output: e[1], mask: Some(e[2]).filter(|m| *m != NO_MASK), weight };
    DiagTable::new(TableLiteral {
        taps: from_bytes(&parts[4].1),
        rows: rows.chunks_exact(3).map(|r| Row { operand: r[0], ct: r[1], tap: r[2] }).collect(),
        outputs,
        masks: if masks == 0 && period == 1 { Masks::default() } else { Masks::from_bytes(period, masks, &parts[1].1)? },
        entries: entries.chunks_exact(3).zip(&weights).map(entry).collect(),
        weights: precision,
    })
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;

    fn table(weights: WeightType) -> DiagTable {
        let mut masks = Masks::new(4).unwrap();
        masks.push([0, 3]);
        masks.push([1]);
        DiagTable::new(TableLiteral {
            taps: vec![-1, 0],
            rows: vec![Row { operand: 0, ct: 2, tap: 0 }, Row { operand: 1, ct: 0, tap: 1 }],
            outputs: 3,
            masks,
            entries: vec![
                Entry { row: 0, output: 2, mask: None, weight: -0.5 },
                Entry { row: 0, output: 2, mask: Some(1), weight: 3.0 },
                Entry { row: 1, output: 0, mask: Some(0), weight: if weights == WeightType::F64 { 0.1 } else { 0.25 } },
            ],
            weights,
        })
        .unwrap()
    }

    fn parts(t: &DiagTable) -> Vec<Tensor> {
        PARTS.iter().map(|p| (p.dtype(t), (p.bytes)(t), (p.shape)(t))).collect()
    }

    #[test]
    fn tables_come_back() {
        for weights in [WeightType::F32, WeightType::F64] {
            let t = table(weights);
            let parts = parts(&t);
            assert!(parts.iter().all(|(dtype, bytes, shape)| bytes.len() as u64 == dtype.size() * shape.iter().product::<usize>() as u64));
            assert_eq!(from_tensors(&parts).unwrap(), t);
        }
        assert_ne!(hash(&table(WeightType::F32)), hash(&table(WeightType::F64)));
        assert!(PARTS.is_sorted_by_key(|p| p.name), "the order in which a container is written");
    }

    #[test]
    fn hostile_parts_are_refused() {
        let good = parts(&table(WeightType::F32));
        let broken = |f: &dyn Fn(&mut Vec<Tensor>)| {
            let mut p = good.clone();
            f(&mut p);
            from_tensors(&p).unwrap_err()
        };
        let word = |part: usize, at: usize, value: u32| broken(&|p| p[part].1[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes()));
        assert_eq!(word(0, 0, 2), TableError::Entry(0));
        assert_eq!(word(0, 1, 3), TableError::Entry(0));
        assert_eq!(word(0, 5, 2), TableError::Entry(1));
        assert_eq!(word(0, 5, NO_MASK), TableError::EntryOrder(1));
        assert_eq!(word(2, 0, 1 << 12), TableError::Row(0));
        assert_eq!(word(2, 1, 1 << 24), TableError::Row(0));
        assert_eq!(word(2, 5, 2), TableError::Row(1));
        assert_eq!(broken(&|p| p[2].1.copy_within(..12, 12)), TableError::RowOrder(1));
        assert_eq!(word(3, 0, 0), TableError::Outputs(0));
        assert_eq!(word(3, 0, u32::MAX), TableError::Outputs(u32::MAX as usize));
        assert_eq!(word(3, 1, 3), TableError::Period(3));
        assert_eq!(word(3, 1, 1 << 31), TableError::Masks);
        assert_eq!(word(5, 0, f32::NAN.to_bits()), TableError::Weight(0));
        assert_eq!(broken(&|p| p[1].1[0] = 0xFF), TableError::Masks);
        assert_eq!(broken(&|p| p[4].1[..8].fill(0)), TableError::EqualTaps(0));
        let sizes = |f: &dyn Fn(&mut Vec<Tensor>)| assert!(matches!(broken(f), TableError::Sizes(_)));
        sizes(&|p| drop(p.pop()));
        sizes(&|p| p[0].2 = vec![9]);
        sizes(&|p| p[0].0 = Dtype::F32);
        sizes(&|p| p[5].2 = vec![2]);
        sizes(&|p| p[5].0 = Dtype::I64);
        sizes(&|p| p[4].2 = vec![1, 2]);
    }
}
