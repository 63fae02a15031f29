//! Small random constants, which are well formed.

use chiffre_ir::consts::{Array, Data};
use chiffre_ir::table::{DiagTable, Entry, Masks, Row, TableLiteral, WeightType};

/// A generator of test data from a seed.
pub struct Rng(pub u64);

impl Rng {
    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
    /// True or false.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
    /// Up to so many elements.
    pub fn list<T>(&mut self, most: usize, mut f: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| f(self)).collect()
    }
    /// An integer of up to 20 bits.
    pub fn int(&mut self) -> i64 {
        let n = self.below(1 << 20) as i64;
        if self.coin() { n } else { -n }
    }
    /// Values of any kind.
    pub fn data(&mut self) -> Data {
        let shape: Vec<usize> = (0..1 + self.below(4)).map(|_| 1 + self.below(3)).collect();
        let n = shape.iter().product();
        match self.below(4) {
            0 => Array::new(shape, (0..n).map(|_| self.number() as f32).collect()).into(),
            1 => Array::new(shape, (0..n).map(|_| self.number()).collect()).into(),
            2 => Array::new(shape, (0..n).map(|_| self.int() << self.below(40)).collect()).into(),
            _ => self.table().into(),
        }
    }
    /// A finite number; among them are zeros of both signs and very large and small ones.
    pub fn number(&mut self) -> f64 {
        match self.below(6) {
            0 => [0.0, -0.0, 1e-30, -1e30, 1.0, 1.0 / 3.0][self.below(6)],
            1 => self.int() as f64,
            _ => self.int() as f64 / 97.0,
        }
    }
    /// A well-formed table.
    pub fn table(&mut self) -> DiagTable {
        let mut t = TableLiteral { outputs: 1 + self.below(3), ..TableLiteral::default() };
        t.weights = if self.coin() { WeightType::F32 } else { WeightType::F64 };
        t.taps = self.list(4, Rng::int);
        t.taps.sort_unstable();
        t.taps.dedup();
        let taps = t.taps.len() as u32;
        let row = |r: &mut Rng| Row { operand: r.below(3) as u32, ct: r.below(3) as u32, tap: r.below(taps.max(1) as usize) as u32 };
        t.rows = if taps == 0 { vec![] } else { self.list(6, row) };
        t.rows.sort_by_key(|r| (r.operand, r.tap, r.ct));
        t.rows.dedup();
        if self.coin() {
            let period = 1 << self.below(8);
            t.masks = Masks::new(period).unwrap();
            (0..1 + self.below(3)).for_each(|_| t.masks.push((0..period).filter(|_| self.coin())));
        }
        let (rows, outputs, masks) = (t.rows.len(), t.outputs, t.masks.len());
        let entry = |r: &mut Rng| Entry {
            row: r.below(rows.max(1)) as u32,
            output: r.below(outputs) as u32,
            mask: if masks == 0 || r.coin() { None } else { Some(r.below(masks) as u32) },
            weight: f64::from(r.number() as f32),
        };
        t.entries = if rows == 0 { vec![] } else { self.list(8, entry) };
        t.entries.sort_by_key(|e| (e.row, e.output, e.mask));
        t.entries.dedup_by_key(|e| (e.row, e.output, e.mask));
        if t.weights == WeightType::F64 {
            t.entries.iter_mut().for_each(|e| e.weight += 1e-9);
        }
        DiagTable::new(t).unwrap()
    }
}
