//! The text form of a program's bootstrap: its plan by names, `{limbs=17, alpha=7, …}`.

use crate::ops::{Attr, take_attr};
use chiffre_params::bootstrap::{BootstrapSpec, FactorSpec};

/// The record of a plan. The ring degree is the header's, and bundles with real slots only use the
/// same plan.
pub(super) fn to_attr(b: &BootstrapSpec) -> Attr {
    let factors = |f: &[FactorSpec]| {
        let one = |f: &FactorSpec| {
            Attr::Record(vec![("log_radix".into(), Attr::Int(f.log_radix.into())), ("babies".into(), Attr::Int(f.babies as i64))])
        };
        Attr::List(f.iter().map(one).collect())
    };
    let number = |name: &str, value: usize| (name.to_string(), Attr::Int(value as i64));
    Attr::Record(vec![
        number("limbs", b.limbs),
        number("alpha", b.alpha),
        number("low_alpha", b.low_alpha),
        ("slots_to_coeffs".into(), factors(&b.slots_to_coeffs)),
        ("coeffs_to_slots".into(), factors(&b.coeffs_to_slots)),
        number("range", b.range),
        number("degree", b.degree),
        number("doublings", b.doublings),
        number("weight", b.weight),
    ])
}

/// Reads a record for a ring of degree `2^log_n`. The verifier checks the numbers against each
/// other.
///
/// # Errors
/// Says which entry is missing, unknown or of another type.
pub(super) fn from_attr(a: Attr, log_n: u32) -> Result<BootstrapSpec, String> {
    let mut entries = record(a)?;
    let e = &mut entries;
    let spec = BootstrapSpec {
        log_n,
        limbs: take_attr(e, "limbs")?,
        alpha: take_attr(e, "alpha")?,
        low_alpha: take_attr(e, "low_alpha")?,
        slots_to_coeffs: factors(e, "slots_to_coeffs")?,
        coeffs_to_slots: factors(e, "coeffs_to_slots")?,
        range: take_attr(e, "range")?,
        degree: take_attr(e, "degree")?,
        doublings: take_attr(e, "doublings")?,
        weight: take_attr(e, "weight")?,
        real_only: false,
    };
    nothing_left(entries).map(|()| spec)
}

fn factors(e: &mut Vec<(String, Attr)>, name: &str) -> Result<Vec<FactorSpec>, String> {
    let at = e.iter().position(|(n, _)| n == name).ok_or_else(|| format!("{name} is missing"))?;
    let Attr::List(list) = e.remove(at).1 else { return Err(format!("{name} must be a list")) };
    let one = |a: Attr| {
        let mut entries = record(a)?;
        let factor = FactorSpec { log_radix: take_attr(&mut entries, "log_radix")?, babies: take_attr(&mut entries, "babies")? };
        nothing_left(entries).map(|()| factor)
    };
    list.into_iter().map(|a| one(a).map_err(|e: String| format!("{name}: {e}"))).collect()
}

fn record(a: Attr) -> Result<Vec<(String, Attr)>, String> {
    match a {
        Attr::Record(entries) => Ok(entries),
        _ => Err("must be a record such as {limbs=17, alpha=7}".into()),
    }
}

fn nothing_left(entries: Vec<(String, Attr)>) -> Result<(), String> {
    entries.first().map_or(Ok(()), |(name, _)| Err(format!("has an unknown entry `{name}`")))
}
