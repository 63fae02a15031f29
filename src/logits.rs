//! Logits: the best classes, comparison with reference answers, the file of answers.

use crate::Error;
use chiffre_ir::interface::OutputPort;
use chiffre_ir::output::Output;
pub use chiffre_passes::activation::degree::logit_error;
use ndarray::ArrayView2;
use ndarray_npy::{WriteNpyError, WriteNpyExt};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// How answers differ from reference answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Share of rows, in [0, 1], with the same best class.
    pub agreement: f64,
    /// Largest absolute difference over rows with an answer; NaN when any of their values is, or
    /// when there is no such row.
    pub max_abs_error: f64,
    /// The root mean square error over the size of the reference, over rows with an answer, both
    /// less each row's mean: [`logit_error`]; NaN like the largest error.
    pub logit_error: f64,
}

/// Compares two lists of rows of `classes` logits each; rows in `without_answer` disagree whatever
/// they hold. Lists of different or wrong lengths are a failed computation.
pub fn compare(answers: &[f32], reference: &[f32], classes: usize, without_answer: &BTreeSet<usize>) -> Result<Comparison, Error> {
    if answers.len() != reference.len() || classes == 0 || answers.is_empty() || !answers.len().is_multiple_of(classes) {
        let (a, r) = (answers.len(), reference.len());
        return Err(Error::failed(format!("{a} logits cannot be compared with {r} in rows of {classes}")));
    }
    let rows = answers.len() / classes;
    let mut pairs: Vec<_> = answers.chunks_exact(classes).zip(reference.chunks_exact(classes)).enumerate().collect();
    pairs.retain(|(i, _)| !without_answer.contains(i));
    if pairs.is_empty() {
        return Ok(Comparison { agreement: 0.0, max_abs_error: f64::NAN, logit_error: f64::NAN });
    }
    let same = pairs.iter().filter(|(_, (a, r))| argmax(a).is_some() && argmax(a) == argmax(r)).count();
    let errors = pairs.iter().flat_map(|(_, (a, r))| a.iter().zip(*r)).map(|(&a, &r)| (f64::from(a) - f64::from(r)).abs());
    let max_abs_error = errors.fold(0.0, |most: f64, e| if e.is_nan() || most.is_nan() { f64::NAN } else { most.max(e) });
    let (answered, wanted): (Vec<&[f32]>, Vec<&[f32]>) = pairs.iter().map(|(_, rows)| *rows).unzip();
    let logit_error = logit_error(&wanted.concat(), &answered.concat(), classes);
    Ok(Comparison { agreement: same as f64 / rows as f64, max_abs_error, logit_error })
}

/// The values of one output in rows of `per` values of all outputs.
pub fn values_of(values: &[f32], per: usize, output: &OutputPort) -> Vec<f32> {
    values.chunks_exact(per.max(1)).flat_map(|row| row.get(output.span()).unwrap_or(&[])).copied().collect()
}

/// As [`compare`], for rows of `per` values of several outputs: what the worst of them says.
pub fn compare_outputs(
    answers: &[f32],
    reference: &[f32],
    per: usize,
    outputs: &[OutputPort],
    without_answer: &BTreeSet<usize>,
) -> Result<Comparison, Error> {
    let mut worst: Option<Comparison> = None;
    let most = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
    for o in outputs {
        let [a, r] = [answers, reference].map(|values| values_of(values, per, o));
        let c = compare(&a, &r, o.count, without_answer)?;
        worst = Some(worst.map_or(c, |w| Comparison {
            agreement: w.agreement.min(c.agreement),
            max_abs_error: most(w.max_abs_error, c.max_abs_error),
            logit_error: most(w.logit_error, c.logit_error),
        }));
    }
    worst.ok_or_else(|| Error::failed("there is no output to compare"))
}

/// Index of the largest value; the first one of equals; NaN never wins. `None` when there is no
/// number.
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

/// The best class, if it is certain: where no logit is off by more than `bound`, the exact best
/// class is the same. `None` for a row with a NaN.
pub fn decided(logits: &[f32], bound: f64) -> Option<usize> {
    match top_k(logits, 2)[..] {
        _ if logits.iter().any(|x| x.is_nan()) => None,
        [(class, _)] => Some(class),
        [(class, best), (_, second)] if f64::from(best) - f64::from(second) > 2.0 * bound => Some(class),
        _ => None,
    }
}

/// Share of rows, in [0, 1], whose best class is the label. `None` when there is not one label per
/// row.
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
    let mut file = Output::create(path).map_err(|e| Error::write(path, e))?;
    let written = array.write_npy(&mut file).map_err(|e| match e {
        WriteNpyError::Io(e) => e,
        other => std::io::Error::other(other),
    });
    written.and_then(|()| file.finish()).map_err(|e| Error::write(path, e))
}

/// Writes logits as a table in CSV, a line for each of `names` with `classes` logits behind it,
/// that only its owner can read.
pub fn write_table(path: &Path, names: &[String], logits: &[f32], classes: usize) -> Result<(), Error> {
    if classes == 0 || logits.len() != names.len() * classes {
        return Err(Error::failed(format!("{} logits are not {} rows of {classes}", logits.len(), names.len())));
    }
    let head = (0..classes).map(|c| format!("class {c}"));
    let rows =
        names.iter().zip(logits.chunks_exact(classes)).map(|(name, row)| (name.clone(), row.iter().map(ToString::to_string).collect()));
    write_csv(path, head, rows)
}

/// Writes a label for each image as CSV, by its number and never by its name, that only its owner
/// can read: what may be shared of answers. Images without a label are undecided.
pub fn write_labels(path: &Path, labels: &[Option<usize>]) -> Result<(), Error> {
    let label = |label: &Option<usize>| label.map_or_else(|| "undecided".into(), |class| class.to_string());
    write_csv(path, ["label".to_string()].into_iter(), labels.iter().enumerate().map(|(i, l)| (i.to_string(), vec![label(l)])))
}

/// A line for each image behind a line of headings; fields are quoted as RFC 4180 says.
fn write_csv(path: &Path, head: impl Iterator<Item = String>, rows: impl Iterator<Item = (String, Vec<String>)>) -> Result<(), Error> {
    let quoted = |field: &str| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_string(),
    };
    let mut text = String::new();
    for (name, fields) in [("image".to_string(), head.collect())].into_iter().chain(rows) {
        text += &[vec![quoted(&name)], fields].concat().join(",");
        text += "\n";
    }
    let written = Output::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.finish()
    });
    written.map_err(|e| Error::write(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

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
    fn only_what_no_error_changes_is_decided() {
        assert_eq!(decided(&[1.0, 3.0, 2.0], 0.25), Some(1));
        // Best and second may both be off, towards each other.
        assert_eq!(decided(&[1.0, 3.0, 2.0], 0.5), None);
        assert_eq!(decided(&[3.0, 3.0], 0.0), None);
        assert_eq!((decided(&[5.0], 9.0), decided(&[f32::NAN, 5.0], 0.0), decided(&[], 0.0)), (Some(0), None, None));
    }

    #[test]
    fn tables_quote_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        let names = ["a.npy[0]".to_string(), "so, \"b\".png".to_string()];
        write_table(&path, &names, &[1.0, -2.5, f32::NAN, 0.25], 2).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "image,class 0,class 1\na.npy[0],1,-2.5\n\"so, \"\"b\"\".png\",NaN,0.25\n");
        assert_eq!(write_table(&path, &names, &[1.0], 1).unwrap_err().class(), Class::Failed);
        write_labels(&path, &[Some(3), None]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "image,label\n0,3\n1,undecided\n");
    }

    #[test]
    fn comparison_counts_rows() {
        let none = BTreeSet::new();
        let c = compare(&[1.0, 2.0, 5.0, 4.0], &[1.0, 2.5, 4.0, 5.0], 2, &none).unwrap();
        assert_eq!((c.agreement, c.max_abs_error), (0.5, 1.0));
        // Differences 0 and −0.5, 1 and −1; references 1 and 2.5, 4 and 5.
        assert!((c.logit_error - ((0.125 + 2.0f64) / (1.125 + 0.5)).sqrt()).abs() < 1e-12, "{c:?}");
        assert!(compare(&[f32::NAN, 1.0], &[0.0, 1.0], 2, &none).unwrap().max_abs_error.is_nan());
        assert_eq!(compare(&[f32::NAN], &[f32::NAN], 1, &none).unwrap().agreement, 0.0);
        for (a, r, classes) in [(4, 2, 2), (3, 3, 2), (0, 0, 2), (2, 2, 0)] {
            assert_eq!(compare(&vec![0.0; a], &vec![0.0; r], classes, &none).unwrap_err().class(), Class::Failed);
        }
        assert_eq!(top1(&[1.0, 2.0, 5.0, 4.0], &[1, 1], 2), Some(0.5));
        assert_eq!(top1(&[1.0, 2.0], &[1, 1], 2), None);
    }

    #[test]
    fn the_worst_output_counts() {
        let port = |first: usize, count: usize| OutputPort { name: first.to_string(), first, count, tail: vec![], shape: vec![count] };
        let (a, r) = ([1.0, 2.0, 9.0, 0.0, 1.0], [1.0, 2.0, 8.0, 9.0, 1.0]);
        let c = compare_outputs(&a, &r, 5, &[port(0, 2), port(2, 3)], &BTreeSet::new()).unwrap();
        assert_eq!((c.agreement, c.max_abs_error), (0.0, 9.0));
        assert_eq!(compare_outputs(&a, &r, 5, &[port(0, 2)], &BTreeSet::new()).unwrap().max_abs_error, 0.0);
        assert!(compare_outputs(&a, &r, 5, &[], &BTreeSet::new()).is_err());
        assert_eq!(values_of(&a, 5, &port(2, 3)), [9.0, 0.0, 1.0]);
    }

    #[test]
    fn images_without_answer_disagree_and_are_not_measured() {
        let (answers, clear) = ([f32::NAN, f32::NAN, 5.0, 4.0], [1.0, 2.5, 5.0, 4.5]);
        let c = compare(&answers, &clear, 2, &BTreeSet::from([0])).unwrap();
        assert_eq!((c.agreement, c.max_abs_error), (0.5, 0.5));
        assert!((c.logit_error - 1.0).abs() < 1e-12);
        let all = compare(&answers, &clear, 2, &BTreeSet::from([0, 1])).unwrap();
        assert!(all.agreement == 0.0 && all.max_abs_error.is_nan() && all.logit_error.is_nan());
    }
}
