//! `chiffre debug`: the data owner runs a program, decrypts after every instruction, and compares
//! with the clear interpreter.

use crate::args::DebugArgs;
use chiffre::Error;
use chiffre_client::{ClientKey, Opened};
use chiffre_ir::graph::Op;
use chiffre_runtime::Engine;
use chiffre_runtime::server::{Event, Server};
use serde::Serialize;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

/// How one instruction's encrypted result compares with the clear one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    /// Index of the instruction.
    pub instruction: usize,
    /// Mnemonic.
    pub op: &'static str,
    /// ONNX node.
    pub node: String,
    /// Limbs of the result.
    pub limbs: usize,
    /// Largest magnitude of a clear value.
    pub largest: f64,
    /// Largest absolute error.
    pub max_error: f64,
    /// Root mean square of the errors.
    pub rms_error: f64,
    /// Bits between the largest value and the largest error.
    pub precision_bits: f64,
    /// Bits between the largest coefficient and the modulus.
    pub headroom_bits: f64,
    #[serde(skip)]
    values: usize,
    #[serde(skip)]
    squares: f64,
}

/// Clear values are f32: what agrees to so many bits is the same.
const MOST_BITS: f64 = 24.0;

impl Comparison {
    /// Takes a unit's values and what they should be.
    fn add(&mut self, got: &[f32], want: &[f32], headroom: f64) {
        for (g, w) in got.iter().zip(want) {
            let error = (f64::from(*g) - f64::from(*w)).abs();
            self.largest = self.largest.max(f64::from(w.abs()));
            self.max_error = if error.is_nan() { f64::INFINITY } else { self.max_error.max(error) };
            self.squares += error * error;
        }
        self.values += got.len().min(want.len());
        self.headroom_bits = self.headroom_bits.min(headroom);
        self.rms_error = (self.squares / self.values.max(1) as f64).sqrt();
        self.precision_bits = (self.largest.max(f64::MIN_POSITIVE) / self.max_error.max(f64::MIN_POSITIVE)).log2().min(MOST_BITS);
    }
}

/// Runs and prints one line per instruction.
pub(super) fn debug(args: &DebugArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let session = Arc::new(super::session(engine, &args.program, args.allow_insecure)?);
    let p = session.program();
    let key = ClientKey::load(&session, &args.secret)?;
    let options = super::program_data_options(&session, &args.program, &args.normalisation, args.count)?;
    let mut images = super::images(&session, &args.input, &options)?;
    images.n = images.n.min(p.header.batch);
    images.pixels.truncate(images.n * options.shape.iter().product::<usize>());
    let mut clear: Vec<Vec<f32>> = vec![vec![]; p.nodes.len()];
    chiffre_ir::program::visit(p, &images.pixels, images.n, |v, x| clear[v.index()] = x)?;
    let new_row = |(instruction, n): (usize, &chiffre_ir::graph::Node<chiffre_ir::program::Prog>)| Comparison {
        instruction,
        op: n.op.info().mnemonic,
        node: n.source.clone(),
        limbs: n.ty.limbs,
        largest: 0.0,
        max_error: 0.0,
        rms_error: 0.0,
        precision_bits: 0.0,
        headroom_bits: f64::INFINITY,
        values: 0,
        squares: 0.0,
    };
    let mut rows: Vec<Comparison> = p.nodes.iter().enumerate().map(new_row).collect();
    let (batch, _) = key.encrypt_unscreened(&session, &images.pixels, images.n, false)?;
    let keys = key.evaluation_keys(&session)?;
    let keys = keys.prepare(&session);
    let mut failure = None;
    let server = Server::new(session.clone(), keys, 0)?;
    let probe = |event: &Event| {
        let layout = p.nodes[event.instruction].ty.layout.unit();
        let per: usize = layout.shape.iter().product();
        for (unit, cts) in event.units.clone().zip(&event.results) {
            match key.open(&session, event.instruction, cts) {
                Ok(Opened { slots, headroom }) => {
                    let first = unit * layout.batch;
                    let count = images.n.saturating_sub(first).min(layout.batch);
                    let want = &clear[event.instruction][first * per..(first + count) * per];
                    rows[event.instruction].add(&layout.unpack(&slots, count), want, headroom);
                }
                Err(e) => {
                    failure = Some(e);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    };
    let _ = server.start(batch).and_then(|mut run| run.drive(probe))?;
    if let Some(e) = failure {
        return Err(e.into());
    }
    rows.retain(|r| r.values > 0);
    if args.json {
        return super::print(serde_json::to_string(&rows).map_err(Error::failed)?);
    }
    super::print(table(&rows, images.n))
}

/// Bits of precision that an instruction may lose before it is marked.
const MARK: f64 = 2.0;

fn table(rows: &[Comparison], images: usize) -> String {
    let width = rows.iter().map(|r| r.node.chars().count()).max().unwrap_or(0).max(9);
    let mut out = format!("{images} images, decrypted after every instruction and compared with the clear program\n");
    let _ = writeln!(
        out,
        "{:<10} {:<width$} {:>5} {:>10} {:>10} {:>10} {:>9} {:>8}",
        "op", "ONNX node", "limbs", "largest", "max error", "rms error", "precision", "headroom"
    );
    let mut before: Option<f64> = None;
    for r in rows {
        let note = match before {
            _ if r.headroom_bits < 1.0 => "  OUT OF RANGE",
            Some(b) if r.precision_bits < b - MARK => "  precision is lost here",
            _ => "",
        };
        let Comparison { op, node, limbs, largest, max_error, rms_error, precision_bits, headroom_bits, .. } = r;
        let _ = writeln!(
            out,
            "{op:<10} {node:<width$} {limbs:>5} {largest:>10.3} {max_error:>10.2e} {rms_error:>10.2e} {precision_bits:>4.1} bits {headroom_bits:>4.1} bits{note}"
        );
        // An input is exact; what the first instruction leaves is where precision starts.
        before = (r.op != "input").then_some(r.precision_bits);
    }
    if let Some(worst) = rows.iter().min_by(|a, b| a.precision_bits.total_cmp(&b.precision_bits)) {
        let _ = write!(out, "least precision: {:.1} bits at \"{}\" ({})", worst.precision_bits, worst.node, worst.op);
    }
    out
}
