//! Figures in the pages are those of the records in `docs/bench-log`: see the README there for how
//! a page refers to one.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

type Record = Map<String, Value>;

/// All records, by `FILE.jsonl#ID`.
pub struct Log(BTreeMap<String, Record>);

/// What a column of a table with reports holds.
#[derive(Clone, Copy, Debug)]
enum Column {
    /// The value under a key, or the quotient of two (`a/b`).
    Key(&'static str),
    /// `N of M`: the share of the record's images.
    Of(&'static str),
    /// Words.
    Free,
    /// The link to the record.
    Report,
}

fn column(title: &str) -> Option<Column> {
    use Column::*;
    Some(match title {
        "batch" => Key("batch"),
        "batches" => Key("batches"),
        "workers of two cores" => Key("workers"),
        "done after" => Key("plan_s"),
        "worker time" => Key("worker_s"),
        "bytes to store" => Key("batch_bytes"),
        "images" => Key("images"),
        "levels" => Key("levels"),
        "bootstraps" => Key("bootstraps"),
        "run" => Key("run_s"),
        "predicted" => Key("predicted_run_s"),
        "time per image" => Key("amortized_s_per_image"),
        "prepare" => Key("prepare_s"),
        "peak memory" => Key("peak_rss_bytes"),
        "rotation keys" => Key("rotation_keys"),
        "evaluation keys" => Key("eval_key_bytes"),
        "largest logit error" => Key("max_abs_logit_error"),
        "top-1" => Key("top1"),
        "same answers" => Of("agreement"),
        "as simulated" => Of("agreement_simulated"),
        "time ÷ predicted" => Key("run_s/predicted_run_s"),
        "memory ÷ predicted" => Key("peak_rss_bytes/predicted_peak_bytes"),
        "predicted memory" => Key("predicted_peak_bytes"),
        "CPU time to compile" => Key("cpu_s"),
        "memory to compile" => Key("compiler_peak_bytes"),
        "time" => Key("time_s"),
        "memory" => Key("peak_bytes"),
        "network" | "data" | "system" | "packing" | "options" | "most of it" => Free,
        "report" => Report,
        _ => return None,
    })
}

impl Log {
    pub fn read(root: &Path) -> Log {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(root.join("docs/bench-log")).unwrap().flatten() {
            let file = entry.file_name().into_string().unwrap();
            for line in std::fs::read_to_string(entry.path()).unwrap().lines().filter(|_| file.ends_with(".jsonl")) {
                let record: Record = serde_json::from_str(line).unwrap_or_else(|e| panic!("{file}: {e}: {line}"));
                let id = format!("{file}#{}", record["id"].as_str().expect("an id"));
                assert!(all.insert(id.clone(), record).is_none(), "{id} is there twice");
            }
        }
        Log(all)
    }

    /// What is wrong with the figures of a page; and how many are right.
    pub fn check(&self, page: &str) -> (Vec<String>, usize) {
        let (mut faults, mut right) = (vec![], 0);
        let mut header: Option<Vec<Option<Column>>> = None;
        for (number, line) in page.lines().enumerate() {
            let mut found = vec![];
            if line.starts_with('|') {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                match &header {
                    None => header = Some(cells.iter().map(|c| column(c)).collect()),
                    Some(h) if h.iter().any(|c| matches!(c, Some(Column::Report))) => found.extend(self.row(h, &cells)),
                    Some(_) => {}
                }
            } else {
                header = None;
            }
            found.extend(links(line).into_iter().filter(|(_, t)| t.contains(':')).map(|(text, target)| self.figure(text, target)));
            for result in found {
                match result {
                    Ok(()) => right += 1,
                    Err(e) => faults.push(format!("line {}: {e}", number + 1)),
                }
            }
        }
        (faults, right)
    }

    /// The cells of a row of a table that has a column for reports.
    fn row(&self, header: &[Option<Column>], cells: &[&str]) -> Vec<Result<(), String>> {
        let Some(record) = cells.iter().flat_map(|c| links(c)).find(|(_, t)| !t.contains(':')).map(|(_, t)| self.0.get(t).ok_or(t)) else {
            // The line below the header, or a row that quotes somebody else.
            return vec![];
        };
        let record = match record {
            Ok(r) => r,
            Err(target) => return vec![Err(format!("there is no record {target}"))],
        };
        let cell = |(column, cell): (&Option<Column>, &&str)| match column {
            None => Some(Err(format!("the column of `{cell}` is not one of a table with reports"))),
            Some(Column::Free | Column::Report) => None,
            Some(_) if cell.is_empty() => None,
            Some(Column::Key(key)) => Some(agrees(cell, &value(record, key))),
            Some(Column::Of(key)) => Some(share(cell, record, key)),
        };
        header.iter().zip(cells).filter_map(cell).collect()
    }

    /// A figure in the text that links to a key of a record.
    fn figure(&self, text: &str, target: &str) -> Result<(), String> {
        let (id, key) = target.split_once(':').expect("filtered");
        let record = self.0.get(id).ok_or_else(|| format!("there is no record {id}"))?;
        if text.contains(" of ") { share(text, record, key) } else { agrees(text, &value(record, key)) }
    }
}

/// Links into the log: their text, and `FILE.jsonl#…`.
fn links(line: &str) -> Vec<(&str, &str)> {
    let mut out = vec![];
    for (at, _) in line.match_indices("](") {
        let target = line[at + 2..].split(')').next().unwrap_or_default();
        let text = line[..at].rsplit('[').next().unwrap_or_default();
        if let Some((_, record)) = target.split_once("bench-log/").filter(|(_, r)| r.contains(".jsonl#")) {
            out.push((text, record));
        }
    }
    out
}

/// A value by `KEY`, `KEY/KEY`, or `KEY.INDEX` of a list.
fn value(record: &Record, key: &str) -> Result<f64, String> {
    if let Some((a, b)) = key.split_once('/') {
        return Ok(value(record, a)? / value(record, b)?);
    }
    let missing = || format!("the record {} has no number {key}", record["id"]);
    if let Some((list, index)) = key.rsplit_once('.') {
        let at: usize = index.parse().map_err(|_| missing())?;
        return record.get(list).and_then(|l| l.get(at)?.as_f64()).ok_or_else(missing);
    }
    record.get(key).and_then(Value::as_f64).ok_or_else(missing)
}

/// Whether a figure such as `0.24 s`, `4.9 GiB`, `96.7 %` or `1.66·10^9` is a value, rounded as it
/// stands there.
fn agrees(text: &str, value: &Result<f64, String>) -> Result<(), String> {
    let value = value.clone()?;
    let text = text.trim_matches('*');
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let (number, power) = number.split_once("·10^").unwrap_or((number, "0"));
    let unit = match unit {
        "" | "bits" => 1.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "h" => 3600.0,
        "TB" => 1e12,
        "%" => 1e-2,
        "GiB" => (1u64 << 30) as f64,
        "MiB" => (1u64 << 20) as f64,
        other => return Err(format!("`{text}` has the unknown unit `{other}`")),
    };
    let power: i32 = power.parse().map_err(|_| format!("`{text}` is no figure"))?;
    let plain = number.replace(',', "");
    let decimals = plain.split_once('.').map_or(0, |(_, d)| d.len());
    let want = format!("{:.decimals$}", value / unit / 10f64.powi(power));
    if plain == want { Ok(()) } else { Err(format!("`{text}` should be {want}")) }
}

/// Whether `N of M` is a share of the record's images.
fn share(text: &str, record: &Record, key: &str) -> Result<(), String> {
    let images = value(record, "images")?;
    let want = format!("{:.0} of {images}", value(record, key)? * images);
    if text.trim_matches('*') == want { Ok(()) } else { Err(format!("`{text}` should be {want}")) }
}

/// Times and sizes of a page that say nothing about where they come from: neither a link to a
/// record, nor in a table with reports, nor in a row or sentence that cites a paper. Code is not
/// looked at.
pub fn unsourced(page: &str) -> Vec<String> {
    let mut out = vec![];
    let mut reports = false;
    let mut fence = false;
    for (number, line) in page.lines().enumerate() {
        fence ^= line.starts_with("```");
        reports = line.starts_with('|') && (reports || line.split('|').any(|c| c.trim() == "report"));
        if fence || line.starts_with("    ") || line.starts_with("```") || reports || line.contains("arXiv") {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let linked: Vec<&str> = links(&prose).into_iter().map(|(text, _)| text).collect();
        let words: Vec<&str> = prose.split_whitespace().collect();
        for pair in words.windows(2) {
            let unit = pair[1].trim_end_matches(|c: char| !c.is_alphanumeric() && c != '%').split(']').next().unwrap_or_default();
            let number_text = pair[0].trim_start_matches(|c: char| !c.is_ascii_digit());
            let is_number = number_text.starts_with(|c: char| c.is_ascii_digit());
            if is_number && ["s", "ms", "GiB", "MiB", "GB", "%"].contains(&unit) {
                let figure = format!("{number_text} {unit}");
                if !linked.iter().any(|l| l.contains(&figure)) {
                    out.push(format!("line {}: {figure}", number + 1));
                }
            }
        }
    }
    out
}

#[test]
fn figures_are_compared_as_they_are_rounded() {
    assert!(agrees("**0.24 s**", &Ok(0.2392)).is_ok() && agrees("0.23 s", &Ok(0.2392)).is_err());
    assert!(agrees("4.9 GiB", &Ok(5302910976.0)).is_ok() && agrees("5.4 GiB", &Ok(5302910976.0)).is_err());
    assert!(agrees("1.66·10^9", &Ok(1.66e9)).is_ok() && agrees("11,854", &Ok(11854.0)).is_ok() && agrees("96.7 %", &Ok(0.96679)).is_ok());
    assert!(agrees("5 parsecs", &Ok(5.0)).is_err() && agrees("1", &Err("none".into())).is_err());
}

#[test]
fn figures_without_a_source_are_found() {
    let page = "It takes [0.24 s](bench-log/a.jsonl#b:run_s).\nIt takes 0.25 s in all.\nTheirs takes 9 s (arXiv 1).\n`x` 3 words, `4 s`\n    5 s\n";
    assert_eq!(unsourced(page), ["line 2: 0.25 s"]);
}
