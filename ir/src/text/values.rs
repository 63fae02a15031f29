//! Values of constants in the text, from attributes.

use crate::consts::{Array, ConstKind, ConstType, Data};
use crate::ops::{Attr, AttrValue};
use crate::table::{DiagTable, Entry, Masks, Row, TableError, TableLiteral, TableType, WeightType};

/// The array that a list is, of a type that is one.
pub(super) fn array(ty: &ConstType, values: &Attr) -> Result<Data, String> {
    let Attr::List(list) = values else { return Err("expected a list of numbers".into()) };
    let (shape, count) = (ty.shape().to_vec(), ty.len());
    if list.len() != count {
        return Err(format!("expected {count} numbers"));
    }
    let floats = || list.iter().map(float).collect::<Option<Vec<f64>>>().ok_or_else(|| format!("expected {count} numbers"));
    Ok(match ty.kind() {
        ConstKind::F32 => Array::new(shape, floats()?.into_iter().map(|x| x as f32).collect()).into(),
        ConstKind::F64 => Array::new(shape, floats()?).into(),
        ConstKind::I64 => {
            let integer = |a: &Attr| if let Attr::Int(i) = a { Some(*i) } else { None };
            let data: Option<Vec<i64>> = list.iter().map(integer).collect();
            Array::new(shape, data.ok_or_else(|| format!("expected {count} integers"))?).into()
        }
        ConstKind::Table => return Err("a table is given by its parts".into()),
    })
}

fn float(a: &Attr) -> Option<f64> {
    match a {
        Attr::Float(x) => Some(*x),
        Attr::Int(i) => Some(*i as f64),
        _ => None,
    }
}

/// The table that its parts make, of the declared sizes.
pub(super) fn table(ty: &TableType, mut parts: Vec<(String, Attr)>) -> Result<DiagTable, String> {
    let mut take = |name: &str| parts.iter().position(|(n, _)| n == name).map(|i| parts.remove(i).1);
    let taps = Vec::<i64>::from_attr(take("taps")).map_err(|e| format!("the table's taps {e}"))?;
    let rows = Vec::<[u32; 3]>::from_attr(take("rows")).map_err(|e| format!("the table's rows {e}"))?;
    let masks = Option::<Vec<String>>::from_attr(take("masks")).map_err(|e| format!("the table's masks {e}"))?.unwrap_or_default();
    let entries = match take("entries") {
        Some(Attr::List(l)) => l.iter().map(|e| entry(e, ty.weights)).collect::<Option<Vec<Entry>>>(),
        _ => None,
    };
    let entries = entries.ok_or("the table's entries must be lists [row, output, mask or _, weight]")?;
    if let Some((name, _)) = parts.first() {
        return Err(format!("a table has no part `{name}`"));
    }
    let make = || -> Result<DiagTable, TableError> {
        DiagTable::new(TableLiteral {
            taps,
            rows: rows.iter().map(|&[operand, ct, tap]| Row { operand, ct, tap }).collect(),
            outputs: ty.outputs,
            masks: Masks::from_text(&masks)?,
            entries,
            weights: ty.weights,
        })?
        .of_type(ty)
    };
    make().map_err(|e| e.to_string())
}

fn entry(a: &Attr, weights: WeightType) -> Option<Entry> {
    let Attr::List(l) = a else { return None };
    let [row, output, mask, weight] = &l[..] else { return None };
    let index = |a: &Attr| if let Attr::Int(i) = a { u32::try_from(*i).ok() } else { None };
    let mask = if matches!(mask, Attr::Word(w) if w == "_") { None } else { Some(index(mask)?) };
    let weight = match (float(weight)?, weights) {
        (w, WeightType::F32) => f64::from(w as f32),
        (w, WeightType::F64) => w,
    };
    Some(Entry { row: index(row)?, output: index(output)?, mask, weight })
}
