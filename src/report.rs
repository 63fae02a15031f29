//! Results: the bench report, comparison of logits, the logits file, memory of the process.

use crate::Error;
use chiffre_runtime::client::Report as DecryptionReport;
use ndarray::ArrayView2;
use ndarray_npy::{WriteNpyError, WriteNpyExt};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What `bench` measured. The fields are the JSON object's, in this order; times are wall-clock seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// The model's file name without its extension.
    pub model: String,
    /// Images per encrypted batch.
    pub batch: usize,
    /// Images run.
    pub images: usize,
    /// Threads used.
    pub threads: usize,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// log2 of the product of all primes, special primes included.
    pub log_qp: f64,
    /// Levels of the modulus chain.
    pub levels: usize,
    /// Bits of security against classical attacks; 0 when parameters are insecure.
    pub security_bits: u32,
    /// Bootstraps per batch.
    pub bootstraps: usize,
    /// Rotation keys.
    pub rotation_keys: usize,
    /// Size of the evaluation keys as a file.
    pub eval_key_bytes: u64,
    /// Time to compile.
    pub compile_s: f64,
    /// Time to generate all keys.
    pub keygen_s: f64,
    /// Time to make the server ready: expand keys, bring tables into the form of the kernels, take memory from the system.
    #[serde(default)]
    pub prepare_s: f64,
    /// Time to encrypt all images.
    pub encrypt_s: f64,
    /// Time to run on all images.
    pub run_s: f64,
    /// Time to decrypt all answers.
    pub decrypt_s: f64,
    /// `run_s / images`.
    pub amortized_s_per_image: f64,
    /// Peak resident memory of the whole process.
    pub peak_rss_bytes: u64,
    /// Share of images, in [0, 1], whose best class is that of the clear ONNX run; images without an answer disagree.
    pub agreement: f64,
    /// Largest absolute difference of a logit from the clear ONNX run, over images with an answer.
    pub max_abs_logit_error: f64,
    /// For approximated activations: share of images, in [0, 1], whose best class is that of the approximated network in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_simulated: Option<f64>,
    /// Largest absolute difference of a logit from the approximated network in the clear, over images with an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs_logit_error_simulated: Option<f64>,
    /// Images that leave the calibrated range of an activation in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_out_of_range: Option<usize>,
    /// Share of images, in [0, 1], whose best class is the label; null without labels.
    pub top1: Option<f64>,
    /// The cost model's time for `run_s`.
    pub predicted_run_s: f64,
    /// The memory plan's peak.
    pub predicted_peak_bytes: u64,
    /// Images without an answer: their ciphertexts are damaged or their logits implausible. Left out when there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images_without_answer: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl BenchReport {
    /// The JSON object, in one line.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::failed)
    }
}

impl fmt::Display for BenchReport {
    /// A table for people.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<12} {value}");
        row("model", self.model.clone())?;
        row("images", format!("{} in batches of {}, {} threads", self.images, self.batch, self.threads))?;
        let security = match self.security_bits {
            0 => "INSECURE".to_string(),
            bits => format!("{bits}-bit security"),
        };
        row("parameters", format!("N = 2^{}, log QP = {:.1}, {} levels, {security}", self.log_n, self.log_qp, self.levels))?;
        row("keys", format!("{} rotation keys, evaluation keys {}", self.rotation_keys, human_bytes(self.eval_key_bytes)))?;
        row("bootstraps", self.bootstraps.to_string())?;
        let steps = [("compile", self.compile_s), ("keygen", self.keygen_s), ("prepare", self.prepare_s), ("encrypt", self.encrypt_s)];
        for (name, seconds) in steps {
            row(name, format!("{seconds:.3} s"))?;
        }
        row(
            "run",
            format!("{:.3} s, {:.4} s per image (predicted {:.3} s)", self.run_s, self.amortized_s_per_image, self.predicted_run_s),
        )?;
        row("decrypt", format!("{:.3} s", self.decrypt_s))?;
        let (peak, predicted) = (human_bytes(self.peak_rss_bytes), human_bytes(self.predicted_peak_bytes));
        row("peak memory", format!("{peak} (predicted {predicted})"))?;
        row("agreement", format!("{:.2} %, largest logit error {:.3e}", 100.0 * self.agreement, self.max_abs_logit_error))?;
        if let (Some(a), Some(e), Some(out)) = (self.agreement_simulated, self.max_abs_logit_error_simulated, self.images_out_of_range) {
            let text = format!(
                "{:.2} % as the approximated network in the clear, largest logit error {e:.3e}; {out} images out of range",
                100.0 * a
            );
            row("simulation", text)?;
        }
        if self.images_without_answer > 0 {
            row("NO ANSWER", format!("{} of {} images, which count as disagreeing", self.images_without_answer, self.images))?;
        }
        match self.top1 {
            Some(top1) => row("top-1", format!("{:.2} %", 100.0 * top1)),
            None => Ok(()),
        }
    }
}

/// How answers differ from reference answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Share of rows, in [0, 1], with the same best class.
    pub agreement: f64,
    /// Largest absolute difference over rows with an answer; NaN when any of their values is, or when there is no such row.
    pub max_abs_error: f64,
}

/// Compares two lists of rows of `classes` logits each; rows in `without_answer` disagree whatever they hold. Lists of different or wrong
/// lengths are a failed computation.
pub fn compare(answers: &[f32], reference: &[f32], classes: usize, without_answer: &BTreeSet<usize>) -> Result<Comparison, Error> {
    if answers.len() != reference.len() || classes == 0 || answers.is_empty() || !answers.len().is_multiple_of(classes) {
        let (a, r) = (answers.len(), reference.len());
        return Err(Error::failed(format!("{a} logits cannot be compared with {r} in rows of {classes}")));
    }
    let rows = answers.len() / classes;
    let mut pairs: Vec<_> = answers.chunks_exact(classes).zip(reference.chunks_exact(classes)).enumerate().collect();
    pairs.retain(|(i, _)| !without_answer.contains(i));
    if pairs.is_empty() {
        return Ok(Comparison { agreement: 0.0, max_abs_error: f64::NAN });
    }
    let same = pairs.iter().filter(|(_, (a, r))| argmax(a).is_some() && argmax(a) == argmax(r)).count();
    let errors = pairs.iter().flat_map(|(_, (a, r))| a.iter().zip(*r)).map(|(&a, &r)| (f64::from(a) - f64::from(r)).abs());
    let max_abs_error = errors.fold(0.0, |most: f64, e| if e.is_nan() || most.is_nan() { f64::NAN } else { most.max(e) });
    Ok(Comparison { agreement: same as f64 / rows as f64, max_abs_error })
}

/// What to tell about images without an answer, one line per reason; nothing if all have one.
pub fn without_answer(report: &DecryptionReport) -> Vec<String> {
    let mut lines = vec![];
    if !report.lost.is_empty() {
        let (rms, peak) = report.ciphertexts.iter().fold((0.0, 0.0), |(r, p): (f64, f64), c| (r.max(c.spread.rms), p.max(c.spread.peak)));
        lines.push(format!(
            "no answer for {}: {} of their ciphertexts hold values out of range (rms {rms:.3}, peak {peak:.3} of the modulus; noise has 0.289, 0.500)",
            ranges(&report.lost),
            report.ciphertexts.len(),
        ));
    }
    if !report.implausible.is_empty() {
        let largest = report.implausible.values().fold(0.0, |m: f64, v| m.max(*v));
        let images = report.implausible.keys().copied().collect();
        lines.push(format!("no answer for {}: implausible logits, up to {largest:.3e}", ranges(&images)));
    }
    lines
}

/// `image 3`, `images 0-31, 40, 42-43`.
pub fn ranges(images: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = vec![];
    for &i in images {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == i => *last = i,
            _ => runs.push((i, i)),
        }
    }
    let text: Vec<String> = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    format!("image{} {}", if images.len() == 1 { "" } else { "s" }, text.join(", "))
}

/// Index of the largest value; the first one of equals; NaN never wins. `None` when there is no number.
pub fn argmax(logits: &[f32]) -> Option<usize> {
    top_k(logits, 1).first().map(|&(class, _)| class)
}

/// The `k` best classes with their logits, best first; fewer when there are fewer numbers.
pub fn top_k(logits: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = logits.iter().copied().enumerate().filter(|(_, v)| !v.is_nan()).collect();
    ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0)));
    ranked.truncate(k);
    ranked
}

/// Share of rows, in [0, 1], whose best class is the label. `None` when there is not one label per row.
pub fn top1(logits: &[f32], labels: &[u32], classes: usize) -> Option<f64> {
    if classes == 0 || labels.is_empty() || labels.len().checked_mul(classes) != Some(logits.len()) {
        return None;
    }
    let right = logits.chunks_exact(classes).zip(labels).filter(|(row, label)| argmax(row) == Some(**label as usize)).count();
    Some(right as f64 / labels.len() as f64)
}

/// Writes `rows × classes` logits as a float32 `.npy` file.
pub fn write_logits(path: &Path, logits: &[f32], classes: usize) -> Result<(), Error> {
    if classes == 0 || !logits.len().is_multiple_of(classes) {
        return Err(Error::failed(format!("{} logits are not rows of {classes}", logits.len())));
    }
    let rows = logits.len() / classes;
    let array = ArrayView2::from_shape((rows, classes), logits).map_err(Error::failed)?;
    let file = File::create(path).map_err(|e| Error::write(path, e))?;
    let mut writer = BufWriter::new(file);
    let written = array.write_npy(&mut writer).map_err(|e| match e {
        WriteNpyError::Io(e) => e,
        other => std::io::Error::other(other),
    });
    written.and_then(|()| writer.flush()).map_err(|e| Error::write(path, e))
}

/// Peak resident memory of this process in bytes, from `/proc/self/status`; `None` where there is no such file.
pub fn peak_rss_bytes() -> Option<u64> {
    vm_hwm(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM:   1234 kB`, in bytes.
fn vm_hwm(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `1.5 GiB`, `17 B`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_first_and_never_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, -1.0]), Some(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
        assert_eq!(argmax(&[f32::NAN]), None);
        assert_eq!(top_k(&[1.0, 4.0, 2.0], 2), [(1, 4.0), (2, 2.0)]);
        assert_eq!(top_k(&[1.0], 5).len(), 1);
    }

    #[test]
    fn comparison_counts_rows() {
        let none = BTreeSet::new();
        let c = compare(&[1.0, 2.0, 5.0, 4.0], &[1.0, 2.5, 4.0, 5.0], 2, &none).unwrap();
        assert_eq!(c, Comparison { agreement: 0.5, max_abs_error: 1.0 });
        assert!(compare(&[f32::NAN, 1.0], &[0.0, 1.0], 2, &none).unwrap().max_abs_error.is_nan());
        assert_eq!(compare(&[f32::NAN], &[f32::NAN], 1, &none).unwrap().agreement, 0.0);
        for (a, r, classes) in [(4, 2, 2), (3, 3, 2), (0, 0, 2), (2, 2, 0)] {
            assert_eq!(compare(&vec![0.0; a], &vec![0.0; r], classes, &none).unwrap_err().exit_code(), 1);
        }
        assert_eq!(top1(&[1.0, 2.0, 5.0, 4.0], &[1, 1], 2), Some(0.5));
        assert_eq!(top1(&[1.0, 2.0], &[1, 1], 2), None);
    }

    #[test]
    fn images_without_answer_disagree_and_are_not_measured() {
        let (answers, clear) = ([f32::NAN, f32::NAN, 5.0, 4.0], [1.0, 2.5, 5.0, 4.5]);
        let c = compare(&answers, &clear, 2, &BTreeSet::from([0])).unwrap();
        assert_eq!(c, Comparison { agreement: 0.5, max_abs_error: 0.5 });
        let all = compare(&answers, &clear, 2, &BTreeSet::from([0, 1])).unwrap();
        assert!(all.agreement == 0.0 && all.max_abs_error.is_nan());
    }

    #[test]
    fn images_are_listed_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([3])), "image 3");
        assert_eq!(ranges(&(0..32).chain([40]).chain(42..44).collect()), "images 0-31, 40, 42-43");
        assert!(without_answer(&DecryptionReport::default()).is_empty());
    }

    #[test]
    fn memory_is_measured_and_printed() {
        assert!(peak_rss_bytes().is_none_or(|bytes| bytes > 1 << 20));
        assert_eq!(vm_hwm("VmPeak: 5 kB\nVmHWM:\t  12 kB\n"), Some(12288));
        assert_eq!(vm_hwm("VmHWM: many"), None);
        assert_eq!((human_bytes(0), human_bytes(1536), human_bytes(u64::MAX)), ("0 B".into(), "1.5 KiB".into(), "16777216.0 TiB".into()));
    }
}
