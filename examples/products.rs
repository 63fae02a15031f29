//! What `minimise-products` gains: models with and without the pass, as they are and with their
//! activations in other forms.
//!
//!     cargo run --release --example products -- MODEL.onnx… [--batch B] [--calibrate DATA]
//!
//! Without DATA, noise takes the place of calibration images; the polynomials' degrees, and so the
//! figures, do not depend on it unless there are other activations.

use chiffre::pipeline::{CKKS, Request, compile_graph, counts, predicted_seconds};
use chiffre_backend::ckks::work_of;
use chiffre_backend::cost::Work;
use chiffre_ir::consts::Array;
use chiffre_ir::program::Program;
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use chiffre_passes::options::{CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::{DEFAULT, Pipeline};
use chiffre_passes::reduce::noise;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Activations that networks for encrypted inference are trained with, beside quadratics:
/// coefficients, lowest power first.
const FORMS: [(&str, &[f32]); 4] = [
    ("x^4", &[0.0, 0.0, 0.0, 0.0, 0.0625]),
    ("cubic", &[0.0, 0.5, 0.25, -0.03125]),
    ("quartic", &[0.125, 0.5, 0.25, 0.03125, -0.015625]),
    ("steep quartic", &[0.125, 0.5, 0.25, 0.03125, -0.0001]),
];

fn main() -> Result<(), Failure> {
    let (mut models, mut batch, mut data) = (vec![], 64, None);
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        match a.as_str() {
            "--batch" => batch = args.next().ok_or("--batch needs a number")?.parse()?,
            "--calibrate" => data = args.next(),
            _ => models.push(a),
        }
    }
    println!("| network | activation | pass | ring, levels | bootstraps | products | key switches | G MACs | predicted | pass takes |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for path in models {
        let model = chiffre_frontend::load(Path::new(&path))?;
        let shape = [0, 1, 2].map(|i: usize| model.input_shape.get(i).copied().unwrap_or(1));
        let mut options = CompileOptions { batch, ..CompileOptions::default() };
        let set = match &data {
            Some(d) => {
                let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse()).transpose()?;
                let images = chiffre::data::load(Path::new(d), &chiffre::data::DataOptions { shape, normalisation, count: None })?;
                CalibrationSet { images: images.pixels, n: images.n, labels: images.labels }
            }
            None => CalibrationSet { images: noise(shape, 64), n: 64, labels: None },
        };
        options.activations.calibration = Some(Arc::new(set));
        let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        compare(&name, "as it is", &model.graph, &options)?;
        for (form, coefficients) in FORMS {
            compare(&name, form, &with_activation(&model.graph, &options, coefficients)?, &options)?;
        }
    }
    Ok(())
}

/// The network with every activation, or polynomial of one value, replaced.
fn with_activation(g: &TensorGraph, options: &CompileOptions, coefficients: &[f32]) -> Result<TensorGraph, Failure> {
    let cx = Context { options, target: &CKKS, machine: &Default::default() };
    let state = Pipeline::parse("recognise-activation,fold-affine")?.run(g.clone().into(), &cx, |_, _, _| {})?;
    let mut g = state.tensor().cloned().ok_or("no tensor IR")?;
    let coeffs = g.consts.add("form", Array::new(vec![1, coefficients.len()], coefficients.to_vec()));
    for n in &mut g.nodes {
        if matches!(n.op, TensorOp::Activation { .. } | TensorOp::Poly { .. } | TensorOp::Square {}) {
            n.op = TensorOp::Poly { coeffs };
        }
    }
    Ok(g)
}

/// A row without the pass and one with it.
fn compare(name: &str, form: &str, g: &TensorGraph, options: &CompileOptions) -> Result<(), Failure> {
    for (pass, spec) in [("without", DEFAULT.replace("minimise-products,", "")), ("with", DEFAULT.to_string())] {
        let request = Request { options: options.clone(), passes: Some(spec), ..Request::default() };
        let clock = Instant::now();
        match compile_graph(g, "", &request) {
            Err(e) => println!("| {name} | {form} | {pass} | {e} | | | | | | |"),
            Ok(c) => {
                let p = &c.program;
                let macs = counts(p, options.batch).iter().map(|c| c.mac).sum::<f64>() * (1u64 << p.header.log_n) as f64 / 1e9;
                let took = c
                    .times
                    .iter()
                    .find(|t| t.0 == "minimise-products")
                    .map(|t| format!("{:.1} ms of {:.1} s", 1e3 * t.1.as_secs_f64(), clock.elapsed().as_secs_f64()));
                let [products, switches] = switches(p, options.batch);
                println!(
                    "| {name} | {form} | {pass} | 2^{}, {} | {} | {products} | {switches} | {macs:.1} | {:.2} s | {} |",
                    p.header.log_n,
                    p.header.q.len() - 1,
                    chiffre::pipeline::bootstraps(p, options.batch),
                    predicted_seconds(p, &request.cost, options.batch),
                    took.unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}

/// Products of bundles in the program, and key switches of a run without those inside bootstraps.
fn switches(p: &Program, images: usize) -> [usize; 2] {
    let (mut products, mut all) = (0, 0.0);
    for (n, f) in p.nodes.iter().zip(p.flow(images)) {
        let one = match work_of(p, n) {
            Some(Work::Series(s)) => {
                products += s.relinearisations();
                let halves = if s.complex { 2 } else { 1 };
                (s.cts * (halves * s.relinearisations() + halves - 1)) as f64
            }
            Some(w) => {
                products += usize::from(w.product_switches() > 0);
                (w.rotations() + w.product_switches()) as f64
            }
            None => 0.0,
        };
        all += one * f.units as f64;
    }
    [products, all as usize]
}
