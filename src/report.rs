//! Results for people and for programs: what an encrypted run measures, images without an answer.

use crate::Error;
use crate::memory::human_bytes;
use chiffre_client::Report as DecryptionReport;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What `bench` measured. The fields are the JSON object's, in this order; times are wall-clock
/// seconds.
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
    /// Time to make the server ready: expand keys, bring tables into the form of the kernels, take
    /// memory from the system.
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
    /// Share of images, in [0, 1], whose best class is that of the clear ONNX run; images without
    /// an answer disagree.
    pub agreement: f64,
    /// Largest absolute difference of a logit from the clear ONNX run, over images with an answer.
    pub max_abs_logit_error: f64,
    /// Root mean square error of the logits, as a share of that of the clear ONNX run's, both less
    /// each image's mean, over images with an answer.
    #[serde(default)]
    pub logit_error: f64,
    /// For approximated activations: share of images, in [0, 1], whose best class is that of the
    /// approximated network in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_simulated: Option<f64>,
    /// Largest absolute difference of a logit from the approximated network in the clear, over
    /// images with an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs_logit_error_simulated: Option<f64>,
    /// The root mean square error beside the approximated network in the clear, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit_error_simulated: Option<f64>,
    /// Images with a value outside the range of an activation in the clear: beyond its calibrated
    /// values by more than the margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_out_of_range: Option<usize>,
    /// Share of images, in [0, 1], whose best class is the label; null without labels.
    pub top1: Option<f64>,
    /// The cost model's time for `run_s`.
    pub predicted_run_s: f64,
    /// The memory plan's peak.
    pub predicted_peak_bytes: u64,
    /// Images without an answer: their ciphertexts are damaged or their logits implausible. Left
    /// out when there are none.
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
        row(
            "agreement",
            format!(
                "{:.2} %, logit error {:.2} %, largest {:.3e}",
                100.0 * self.agreement,
                100.0 * self.logit_error,
                self.max_abs_logit_error
            ),
        )?;
        if let (Some(a), Some(e), Some(out)) = (self.agreement_simulated, self.max_abs_logit_error_simulated, self.images_out_of_range) {
            let error = self.logit_error_simulated.map(|e| format!("logit error {:.2} %, ", 100.0 * e)).unwrap_or_default();
            let text =
                format!("{:.2} % as the approximated network in the clear, {error}largest {e:.3e}; {out} images out of range", 100.0 * a);
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

/// What to tell about images without an answer, one line per reason; nothing if all have one.
/// Images are named, where they have names.
pub fn without_answer(report: &DecryptionReport, names: Option<&[String]>) -> Vec<String> {
    let list = |images: &BTreeSet<usize>| names.map_or_else(|| ranges(images), |names| named(images, names));
    let mut lines = vec![];
    if !report.left_out.is_empty() {
        lines.push(format!("no answer for {}: left out when the others were encrypted", list(&report.left_out)));
    }
    if !report.lost.is_empty() {
        let (rms, peak) = report.ciphertexts.iter().fold((0.0, 0.0), |(r, p): (f64, f64), c| (r.max(c.spread.rms), p.max(c.spread.peak)));
        lines.push(format!(
            "no answer for {}: {} of their ciphertexts hold values out of range (rms {rms:.3}, peak {peak:.3} of the modulus; noise has 0.289, 0.500)",
            list(&report.lost),
            report.ciphertexts.len(),
        ));
    }
    if !report.implausible.is_empty() {
        let largest = report.implausible.values().fold(0.0, |m: f64, v| m.max(*v));
        let images = report.implausible.keys().copied().collect();
        lines.push(format!("no answer for {}: implausible logits, up to {largest:.3e}", list(&images)));
    }
    for r in &report.refused {
        lines.push(format!(
            "refused for {}: the canary among them has a wrong answer (a logit is off by {:.3e}, and {:.3e} passes): this is no result of these \
             images, or their ciphertexts are spoilt",
            list(&r.images),
            r.error,
            r.bound
        ));
    }
    lines
}

/// `a.npy[0-31], a.npy[40], cat.png`: names as [`crate::Images`] has them, rows of a file
/// together.
fn named(images: &BTreeSet<usize>, names: &[String]) -> String {
    let row = |name: &str| -> Option<(String, usize)> {
        let (file, row) = name.strip_suffix(']')?.rsplit_once('[')?;
        Some((file.to_string(), row.parse().ok()?))
    };
    let mut parts: Vec<(String, Option<(usize, usize)>)> = vec![];
    for name in images.iter().filter_map(|&i| names.get(i)) {
        match (row(name), parts.last_mut()) {
            (Some((file, at)), Some((last, Some((_, end))))) if file == *last && at == *end + 1 => *end = at,
            (Some((file, at)), _) => parts.push((file, Some((at, at)))),
            (None, _) => parts.push((name.clone(), None)),
        }
    }
    let text = parts.into_iter().map(|(file, rows)| match rows {
        Some((a, b)) if a == b => format!("{file}[{a}]"),
        Some((a, b)) => format!("{file}[{a}-{b}]"),
        None => file,
    });
    text.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_listed_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([3])), "image 3");
        assert_eq!(ranges(&(0..32).chain([40]).chain(42..44).collect()), "images 0-31, 40, 42-43");
        assert!(without_answer(&DecryptionReport::default(), None).is_empty());
        let names: Vec<String> = ["a.npy[0]", "a.npy[1]", "cat.png", "a.npy[2]", "b[1].npy[3]", "b[1].npy[4]"].map(String::from).into();
        assert_eq!(named(&(0..6).collect(), &names), "a.npy[0-1], cat.png, a.npy[2], b[1].npy[3-4]");
        assert_eq!(named(&BTreeSet::from([0, 3]), &names), "a.npy[0], a.npy[2]");
    }
}
