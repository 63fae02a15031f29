//! `chiffre demo`.

use super::bench::{Compared, encrypted_run};
use crate::args::DemoArgs;
use chiffre::data::{self, DataOptions};
use chiffre::pipeline::Request;
use chiffre::{Error, logits};
use chiffre_frontend::Reference;
use chiffre_passes::options::CompileOptions;
use chiffre_runtime::Engine;
use std::path::PathBuf;
use std::sync::Arc;

/// Images of the demo.
const IMAGES: usize = 64;
/// Largest difference of a logit that the demo accepts.
const TOLERANCE: f64 = 0.15;
/// Names of the classes of the shipped data set, by label.
const CLASSES: [&str; 10] = ["disc", "ring", "frame", "triangle", "cross", "star", "stripes", "checkerboard", "crescent", "spiral"];

/// The shipped models: beside the sources the program was built from, or beside the current
/// directory.
fn models() -> Result<PathBuf, Error> {
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models"));
    [built, PathBuf::from("models")].into_iter().find(|p| p.join("manifest.toml").exists()).ok_or_else(|| {
        Error::input("the folder `models` with the shipped networks is not there: run the demo in a checkout of the project")
    })
}

/// Runs everything on a shipped model and checks the answers.
pub(super) fn demo(args: &DemoArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let models = models()?;
    let path = models.join("resnet20_shapes.onnx");
    let model = chiffre_frontend::load(&path)?;
    let reference = Reference::load(&path)?;
    let normalisation = model.normalisation.as_ref().map(ToString::to_string);
    let d = |i: usize| model.input_shape.get(i).copied().unwrap_or(1);
    let options = DataOptions {
        shape: [d(0), d(1), d(2)],
        normalisation: normalisation.as_deref().map(str::parse).transpose()?,
        count: Some(IMAGES),
    };
    let images = data::load(&models.join("shapes_test.npz"), &options)?;
    let memory = args.memory.memory.map(|m| usize::try_from(m).unwrap_or(usize::MAX));
    let options = CompileOptions { batch: IMAGES, memory, ..CompileOptions::default() };
    let request = Request { options, normalisation, ..Request::default() };
    super::print(format!("ResNet-20 with degree-2 activations on {IMAGES} encrypted 32×32 images; the server half has no secret key"))?;
    let Compared { outcome: out, reference: clear } =
        encrypted_run("resnet20_shapes", &model, &reference, &request, &images, engine, args.progress.progress)?;
    super::print("image  label      encrypted  clear      largest logit difference")?;
    let rows = out.answers.chunks(out.classes).zip(clear.chunks(out.classes));
    for (i, (a, b)) in rows.enumerate().take(8) {
        let name = |l: &[f32]| logits::argmax(l).and_then(|c| CLASSES.get(c)).copied().unwrap_or("?");
        let label = images.labels.as_ref().and_then(|l| CLASSES.get(l[i] as usize)).copied().unwrap_or("?");
        let error = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        let (encrypted, error) = if out.affected.contains(&i) { ("no answer", f32::NAN) } else { (name(a), error) };
        super::print(format!("{i:>5}  {label:<9}  {encrypted:<9}  {:<9}  {error:.4}", name(b)))?;
    }
    super::print(format!("  … {} more", images.n.saturating_sub(8)))?;
    super::print(out.table())?;
    // Written so that an error that is not a number does not pass.
    let close = out.report.max_abs_logit_error <= TOLERANCE;
    if out.report.agreement < 1.0 - 1.0 / IMAGES as f64 - 1e-9 || !close {
        return Err(Error::failed(format!(
            "encrypted answers differ: agreement {:.3}, largest logit error {:.3}",
            out.report.agreement, out.report.max_abs_logit_error
        )));
    }
    Ok(())
}
