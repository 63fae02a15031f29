//! A run as a trace for Chrome's and Perfetto's viewers: a bar per step in the row of its first
//! unit, and the live bytes over time.

use chiffre::overview::live_bytes;
use chiffre_ir::program::{Program, Step};
use chiffre_runtime::server::Event;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Collects the events of a run.
#[derive(Debug)]
pub struct Trace {
    name: String,
    steps: Vec<Step>,
    /// Bytes of ciphertexts that are live before each step, and after the last.
    live: Vec<usize>,
    /// Limbs of each instruction's result.
    limbs: Vec<usize>,
    events: Vec<Value>,
    rows: BTreeSet<usize>,
    /// When the run began, since the beginning of the trace.
    offset: Duration,
}

impl Trace {
    /// Begins the trace of a run on `images` images.
    pub fn new(p: &Program, images: usize) -> Trace {
        let steps = p.steps(images);
        let limbs = p.nodes.iter().map(|n| n.ty.limbs).collect();
        Trace {
            name: p.name.clone(),
            live: live_bytes(p, &steps),
            steps,
            limbs,
            events: vec![],
            rows: BTreeSet::new(),
            offset: Duration::ZERO,
        }
    }

    /// Adds what went before the run, in order.
    pub fn begin(&mut self, spans: &[(&str, Duration)]) {
        for (name, time) in spans {
            let [ts, dur] = [self.offset, *time].map(|t| t.as_secs_f64() * 1e6);
            self.events.push(json!({"name": name, "cat": "start", "ph": "X", "ts": ts, "dur": dur, "pid": 1, "tid": 0}));
            self.offset += *time;
        }
    }

    /// Adds a step.
    pub fn step(&mut self, e: &Event) {
        let (begin, time) = ((self.offset + e.at).as_secs_f64() * 1e6, e.time.as_secs_f64() * 1e6);
        let name = if e.source.is_empty() { e.op } else { e.source };
        let row = e.units.start + 1;
        self.rows.insert(row);
        let limbs = self.limbs.get(e.instruction);
        self.events.push(json!({
            "name": name, "cat": e.op, "ph": "X", "ts": begin, "dur": time, "pid": 1, "tid": row,
            "args": {"step": e.step, "instruction": e.instruction, "op": e.op, "units": format!("{}..{}", e.units.start, e.units.end), "limbs": limbs},
        }));
        for (at, when) in [(e.step, begin), (e.step + 1, begin + time)] {
            let bytes = self.live.get(at).copied().unwrap_or(0);
            self.events.push(json!({"name": "live ciphertexts", "ph": "C", "ts": when, "pid": 1, "args": {"bytes": bytes}}));
        }
    }

    /// The trace as JSON in the Trace Event Format.
    pub fn json(&self) -> Value {
        let title = |what: &str, tid: usize, name: String| json!({"name": what, "ph": "M", "pid": 1, "tid": tid, "args": {"name": name}});
        let mut all = vec![title("process_name", 0, format!("chiffre run {}", self.name))];
        all.extend(self.rows.iter().map(|&r| title("thread_name", r, format!("from unit {}", r - 1))));
        all.extend(self.events.iter().cloned());
        json!({"displayTimeUnit": "ms", "otherData": {"steps": self.steps.len()}, "traceEvents": all})
    }
}
