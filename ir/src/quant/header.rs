//! What a graph of integers says beside its values: where it comes from, and under which parameters
//! it runs.

use crate::graph::HeaderText;
use crate::ops::{Attr, AttrValue, take_attr};
use chiffre_params::tfhe::{Decomposition, TfheParams};

/// Header of a quant graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantHeader {
    /// BLAKE3 digest of the model file; empty before `schedule`.
    pub model: String,
    /// Normalisation of pixel data, as in the model's metadata.
    pub normalisation: Option<String>,
    /// The parameter set, once it is chosen.
    pub params: Option<TfheParams>,
    /// log2 of the probability that a run on one image is wrong, at most, under the parameters.
    pub log2_failure: Option<f64>,
    /// True if the parameters are not secure; such programs run only where that is permitted.
    pub insecure: bool,
}

const INTEGERS: [&str; 9] = ["n", "k", "log_n", "base", "levels", "keyswitch_base", "keyswitch_levels", "lwe_bound", "glwe_bound"];

fn integers(p: &TfheParams) -> [i64; 9] {
    let [r, s] = [p.rotation, p.keyswitch];
    let words = [p.log_n, r.base_log, r.levels, s.base_log, s.levels, p.lwe_bound, p.glwe_bound].map(i64::from);
    let [log_n, base, levels, keyswitch_base, keyswitch_levels, lwe, glwe] = words;
    [p.n as i64, p.k as i64, log_n, base, levels, keyswitch_base, keyswitch_levels, lwe, glwe]
}

/// The entry of a set's record that holds the numbers of its keys for removing bits.
const REMOVAL: &str = "removal";

fn record(p: &TfheParams) -> Attr {
    let mut entries: Vec<_> = INTEGERS.iter().zip(integers(p)).map(|(n, x)| (n.to_string(), Attr::Int(x))).collect();
    entries.extend(p.removing().map(|r| (REMOVAL.to_string(), record(&r))));
    Attr::Record(entries)
}

fn params(attr: Attr) -> Result<TfheParams, String> {
    let p = set(attr)?;
    p.check()?;
    Ok(p)
}

/// A set, of whatever numbers.
fn set(attr: Attr) -> Result<TfheParams, String> {
    let Attr::Record(mut entries) = attr else { return Err(format!("must be a record of {}", INTEGERS.join(", "))) };
    let mut all = [0i64; 9];
    for (slot, name) in all.iter_mut().zip(INTEGERS) {
        *slot = take_attr(&mut entries, name)?;
    }
    let removal = entries.iter().position(|(n, _)| n == REMOVAL).map(|i| set(entries.remove(i).1)).transpose();
    let removal = removal.map_err(|e| format!("{REMOVAL} {e}"))?;
    if removal.is_some_and(|r| r.removal.is_some()) {
        return Err("keys for removing bits have none of their own".into());
    }
    if let Some((name, _)) = entries.first() {
        return Err(format!("has an unknown entry `{name}`"));
    }
    let word = |i: usize| u32::try_from(all[i]).map_err(|_| format!("{} is {}", INTEGERS[i], all[i]));
    let p = TfheParams {
        n: word(0)? as usize,
        k: word(1)? as usize,
        log_n: word(2)?,
        rotation: Decomposition { base_log: word(3)?, levels: word(4)? },
        keyswitch: Decomposition { base_log: word(5)?, levels: word(6)? },
        lwe_bound: word(7)?,
        glwe_bound: word(8)?,
        removal: None,
    };
    Ok(removal.map_or(p, |r| p.with_removal(r)))
}

impl HeaderText for QuantHeader {
    fn attrs(&self) -> Vec<(&'static str, Attr)> {
        let mut out = vec![];
        if !self.model.is_empty() {
            out.push(("model", Attr::Str(self.model.clone())));
        }
        out.extend(self.normalisation.to_attr().map(|a| ("normalisation", a)));
        out.extend(self.params.as_ref().map(|p| ("params", record(p))));
        out.extend(self.log2_failure.to_attr().map(|a| ("log2_failure", a)));
        out.extend(self.insecure.to_attr().map(|a| ("insecure", a)));
        out
    }
    fn build(attrs: &mut Vec<(String, Attr)>) -> Result<Self, String> {
        fn take<T: AttrValue>(attrs: &mut Vec<(String, Attr)>, name: &str) -> Result<T, String> {
            take_attr(attrs, name).map_err(|e| format!("header attribute {e}"))
        }
        let set = attrs.iter().position(|(n, _)| n == "params").map(|i| attrs.remove(i).1);
        Ok(QuantHeader {
            model: take::<Option<String>>(attrs, "model")?.unwrap_or_default(),
            normalisation: take(attrs, "normalisation")?,
            params: set.map(params).transpose().map_err(|e| format!("header attribute params {e}"))?,
            log2_failure: take(attrs, "log2_failure")?,
            insecure: take(attrs, "insecure")?,
        })
    }
}
