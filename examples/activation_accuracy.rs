//! What approximated activations do to a network's answers, on the tensor level and in the clear:
//!
//!     cargo run --release --example activation_accuracy -- MODEL.onnx --calibrate DATA --data DATA [--noise 0.002] [OPTIONS…]
//!
//! Every further argument holds the options of `approximate-activations`, as in
//! `degree=7,margin=1.2`, and gives one row.

use chiffre::data::{DataOptions, Images, load};
use chiffre_backend::cost::CostModel;
use chiffre_ir::tensor::{RefreshNoise, interp, simulate};
use chiffre_passes::activation::degree::compare;
use chiffre_passes::activation::function::Function;
use chiffre_passes::options::{ActivationPlan, CalibrationSet, CompileOptions};
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("give a model")?;
    let (mut calibrate, mut data, mut noise, mut rows) = (None, None, None, vec![]);
    let mut next = || args.next();
    while let Some(a) = next() {
        match a.as_str() {
            "--calibrate" => calibrate = next(),
            "--data" => data = next(),
            "--noise" => noise = next().map(|s| s.parse::<f64>()).transpose()?.filter(|x| *x > 0.0),
            _ => rows.push(a),
        }
    }
    let model = chiffre_frontend::load(Path::new(&path))?;
    let images = |data: Option<String>| -> Result<Images, Failure> {
        let d = |i: usize| model.input_shape.get(i).copied().unwrap_or(1);
        let normalisation = model.normalisation.as_ref().map(|n| n.to_string().parse()).transpose()?;
        let data = data.ok_or("give --calibrate and --data")?;
        Ok(load(Path::new(&data), &DataOptions { shape: [d(0), d(1), d(2)], normalisation, count: None })?)
    };
    let (sample, test) = (images(calibrate)?, images(data)?);
    let clock = Instant::now();
    let exact = interp(&model.graph, &test.pixels, test.n)?.swap_remove(0);
    eprintln!("clear run of {} images: {:.1} s", test.n, clock.elapsed().as_secs_f64());
    let mut options = CompileOptions::default();
    let set = CalibrationSet { images: sample.pixels, n: sample.n, labels: sample.labels };
    options.activations.calibration = Some(Arc::new(set));
    let cx = Context { options: &options, target: &chiffre::pipeline::CKKS, machine: &CostModel::default() };
    let state = State::from(model.graph.clone().into_inner());
    let start = "recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations";
    let state = Pipeline::parse(start)?.run(state, &cx, |step, _, time| eprintln!("{}: {:.2} s", step.pass.name, time.as_secs_f64()))?;
    let share = |x: f64| format!("{:6.2}", 100.0 * x);
    for row in rows {
        let mut state = state.clone();
        // `quadratics=N`: a bootstrap of that degree before every polynomial too.
        let (own, row): (Vec<&str>, Vec<&str>) = row.split(',').partition(|o| o.starts_with("quadratics="));
        let g = state.tensor().cloned().ok_or("no tensor IR")?;
        for degree in own.iter().filter_map(|o| o.strip_prefix("quadratics=")?.parse().ok()) {
            for n in &g.nodes {
                if Function::of(&n.op, &g.consts)?.is_some() {
                    state.plans.entry(degree).or_default().insert(n.source.clone(), ActivationPlan { refresh: true, degree });
                }
            }
        }
        let spec = format!("approximate-activations{{{}}}", row.join(","));
        let clock = Instant::now();
        let state = Pipeline::parse(&spec)?.run(state, &cx, |_, _, _| {})?;
        let fitted = clock.elapsed().as_secs_f64();
        let g = state.tensor().ok_or("no tensor IR")?;
        let found = simulate(g, &test.pixels, test.n, noise.map(|share| RefreshNoise { share, seed: 7 }))?;
        let a = compare(&exact, &found.outputs[0], test.n, test.labels.as_deref());
        let top1 = a.top1.map(|[a, b]| format!("top-1 {} of {}", share(b), share(a))).unwrap_or_default();
        println!("agreement {}  {top1}  outside {:4}  ({fitted:.1} s)  {}", share(a.agreement), found.outside.len(), row.join(","));
        if std::env::var("WORST").is_ok() {
            found.report(test.n).iter().for_each(|l| println!("    {l}"));
        }
    }
    Ok(())
}
