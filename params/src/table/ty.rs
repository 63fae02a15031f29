//! The type of a table: its sizes, which the text form states.

use super::WeightType;
use std::fmt;

/// Sizes of a table; printed as
/// `table<taps=9 rows=144 outputs=32 entries=4608 masks=4x1024 weights=f32>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableType {
    /// Rotation offsets.
    pub taps: usize,
    /// Inputs under rotation.
    pub rows: usize,
    /// Output ciphertexts.
    pub outputs: usize,
    /// Entries.
    pub entries: usize,
    /// Masks.
    pub masks: usize,
    /// Slots after which all masks repeat; 1 if there are none.
    pub period: usize,
    /// Precision of the weights.
    pub weights: WeightType,
}

impl TableType {
    /// Number of numbers that rows, entries and masks have.
    pub fn len(&self) -> usize {
        let masks = self.masks.saturating_mul(self.period);
        masks.saturating_add(self.rows.saturating_mul(3)).saturating_add(self.entries.saturating_mul(4))
    }
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads what stands between `table<` and `>`.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn parse(s: &str) -> Result<TableType, String> {
        let number = |name: &str, v: &str| v.parse::<usize>().map_err(|_| format!("{name}={v}: expected a number"));
        let (mut sizes, mut masks, mut weights) = ([None; 4], None, None);
        const NAMES: [&str; 4] = ["taps", "rows", "outputs", "entries"];
        for part in s.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` in the type of a table: expected name=value"))?;
            let given = match name {
                "masks" => {
                    let (count, period) =
                        value.split_once('x').ok_or_else(|| format!("masks={value}: expected a number and a period, 4x1024"))?;
                    masks.replace((number(name, count)?, number(name, period)?)).is_some()
                }
                "weights" => {
                    let of = WeightType::parse(value).ok_or_else(|| format!("weights={value}: expected f32 or f64"))?;
                    weights.replace(of).is_some()
                }
                _ => {
                    let i = NAMES.iter().position(|n| *n == name).ok_or_else(|| format!("a table has no `{name}`"))?;
                    sizes[i].replace(number(name, value)?).is_some()
                }
            };
            if given {
                return Err(format!("`{name}` is given twice"));
            }
        }
        let size = |i: usize| sizes[i].ok_or_else(|| format!("the type of a table lacks `{}`", NAMES[i]));
        let (masks, period) = masks.unwrap_or((0, 1));
        let weights = weights.ok_or("the type of a table lacks `weights`")?;
        Ok(TableType { taps: size(0)?, rows: size(1)?, outputs: size(2)?, entries: size(3)?, masks, period, weights })
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table<taps={} rows={} outputs={} entries={}", self.taps, self.rows, self.outputs, self.entries)?;
        if self.masks > 0 {
            write!(f, " masks={}x{}", self.masks, self.period)?;
        }
        write!(f, " weights={}>", self.weights.name())
    }
}

impl WeightType {
    fn name(self) -> &'static str {
        match self {
            WeightType::F32 => "f32",
            WeightType::F64 => "f64",
        }
    }
    fn parse(s: &str) -> Option<WeightType> {
        [WeightType::F32, WeightType::F64].into_iter().find(|w| w.name() == s)
    }
}
