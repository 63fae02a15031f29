//! What approximated activations do to a network's answers, on the tensor level and in the clear:
//!
//!     cargo run --release --example activation_accuracy -- MODEL.onnx --calibrate DATA --data DATA [--noise RADIANS] [--probes N] \
//!       [--placed BATCH] [OPTIONS…]
//!
//! Every further argument holds the options of `approximate-activations`, as in
//! `degree=7,margin=1.2`, and gives one row: for the test images, and for the calibration images in
//! parentheses. All activations are behind bootstraps; with `--placed`, those that the compiler places
//! one before in a program for that batch. With `CHIFFRE_JSON` set, rows are records for `docs/bench-log`.

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
    let (mut calibrate, mut data, mut noise, mut placed, mut probes, mut rows) = (None, None, None, None, None, vec![]);
    let mut next = || args.next();
    while let Some(a) = next() {
        match a.as_str() {
            "--calibrate" => calibrate = next(),
            "--data" => data = next(),
            "--noise" => noise = next().map(|s| s.parse::<f64>()).transpose()?.filter(|x| *x > 0.0),
            "--placed" => placed = next().map(|s| s.parse::<usize>()).transpose()?,
            "--probes" => probes = next().map(|s| s.parse::<usize>()).transpose()?,
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
    let clear = clock.elapsed().as_secs_f64();
    eprintln!("clear run of {} images: {clear:.1} s", test.n);
    let mut options = CompileOptions::default();
    let set = Arc::new(CalibrationSet { images: sample.pixels, n: sample.n, labels: sample.labels });
    options.activations.calibration = Some(set.clone());
    options.batch = placed.unwrap_or(options.batch);
    options.activations.probes = probes.unwrap_or(options.activations.probes);
    let cx = Context { options: &options, target: &chiffre::pipeline::CKKS, machine: &CostModel::default() };
    let state = State::from(model.graph.clone().into_inner());
    let place = if placed.is_some() { "place-bootstraps," } else { "" };
    let start = format!("recognise-activation,fold-affine,compose-linear,remove-dead-channels,{place}calibrate-activations");
    let mut calibration = 0.0;
    let state = Pipeline::parse(&start)?.run(state, &cx, |step, _, time| {
        eprintln!("{}: {:.2} s", step.pass.name, time.as_secs_f64());
        calibration = time.as_secs_f64();
    })?;
    let exact_sample = state.statistics().ok_or("the network has no activation")?.logits.clone();
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
        let noise = |seed| noise.map(|radians| RefreshNoise { radians, seed });
        let found = simulate(g, &test.pixels, test.n, noise(7))?;
        let a = compare(&exact, &found.outputs[0], test.n, test.labels.as_deref());
        let on_sample = simulate(g, &set.images, set.n, noise(7))?;
        let s = compare(&exact_sample, &on_sample.outputs[0], set.n, set.labels.as_deref());
        let finite = found.outputs[0].iter().all(|x| x.is_finite());
        let largest = found.outputs[0].iter().fold(0f32, |m, x| m.max(x.abs()));
        let options = row.join(",");
        if std::env::var("CHIFFRE_JSON").is_ok() {
            let stem = Path::new(&path).file_stem().map(|s| s.to_string_lossy().into_owned());
            let record = serde_json::json!({
                "model": stem, "options": options, "noise": noise(7).map(|n| n.radians), "probes": cx.options.activations.probes, "placed": placed, "images": test.n,
                "calibration_images": set.n, "logit_error": a.logit_error, "agreement": a.agreement, "top1": a.top1.map(|t| t[1]),
                "top1_clear": a.top1.map(|t| t[0]), "logit_error_calibration": s.logit_error, "agreement_calibration": s.agreement,
                "images_out_of_range": found.outside.len(), "largest_logit": largest, "finite": finite, "clear_run_s": clear, "calibration_s": calibration,
                "fit_s": fitted,
            });
            println!("{record}");
        } else {
            let top1 = a.top1.map(|[a, b]| format!("top-1 {} of {}", share(b), share(a))).unwrap_or_default();
            println!(
                "logit error {} ({})  agreement {} ({})  {top1}  outside {:4}  largest {largest:.1}  ({fitted:.1} s)  {options}",
                share(a.logit_error),
                share(s.logit_error),
                share(a.agreement),
                share(s.agreement),
                found.outside.len()
            );
        }
        if std::env::var("WORST").is_ok() {
            found.report(test.n).iter().for_each(|l| println!("    {l}"));
        }
    }
    Ok(())
}
