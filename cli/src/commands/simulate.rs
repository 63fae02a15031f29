//! `chiffre simulate`.

use crate::args::SimulateArgs;
use chiffre::{Error, clear, data, logits, outputs};
use chiffre_frontend::{ImportOptions, Reference};
use chiffre_runtime::Engine;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Runs a program in the clear, with the noise model: once without noise, once with, and compares;
/// says which images leave a calibrated range, and how the original network's answers and decrypted
/// ones compare.
pub(super) fn simulate(args: &SimulateArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let session = super::session(engine, &args.program, true)?;
    let interface = &session.file.interface;
    let ports = &interface.outputs;
    let import = ImportOptions { outputs: ports.iter().map(|o| o.name.clone()).collect(), ..args.input_shape.options() };
    let original = args.model.as_deref().map(|m| original(m, &import, &session.program().header.model, &args.program)).transpose()?;
    let options = super::program_data_options(&session, &args.program, &args.normalisation, args.count)?;
    let images = data::load_inputs(&args.input, &interface.inputs, &options)?;
    let certified = !clear::certificate(&session.file, &args.program)?.is_empty();
    let exact = clear::exact(&session, &args.program, &images)?;
    let (noisy, found) = clear::noisy(&session, &args.program, &images, args.seed)?;
    let classes = exact.len() / images.n.max(1);
    let c = logits::compare_outputs(&noisy, &exact, classes, ports, &BTreeSet::new())?;
    let mut out = format!(
        "{} images: argmax with noise equals the exact one on {:.2} %, largest logit error {:.4}",
        images.n,
        100.0 * c.agreement,
        c.max_abs_error
    );
    if let Some(original) = &original {
        let wanted = original.run(&images.pixels, images.n)?;
        let c = logits::compare_outputs(&noisy, &wanted, classes, ports, &BTreeSet::new())?;
        out += &format!(
            "\nbeside the original network: argmax the same on {:.2} %, logit error {:.2} %, largest {:.4}",
            100.0 * c.agreement,
            100.0 * c.logit_error,
            c.max_abs_error
        );
    }
    if certified {
        let lines = found.report(images.n);
        let none = || vec![format!("no image of {} leaves the range of an activation", images.n)];
        let lines = if lines.is_empty() { none() } else { lines };
        out += &format!("\n{}", lines.join("\n  "));
    }
    if args.labels {
        let labels = images.labels.as_ref().ok_or_else(|| Error::input(format!("{} has no labels", super::listed(&args.input))))?;
        let first = &ports[0];
        let top1 = |l: &[f32]| logits::top1(&logits::values_of(l, classes, first), labels, first.count).unwrap_or(0.0) * 100.0;
        out += &format!("\ntop-1: {:.2} % exact, {:.2} % with noise", top1(&exact), top1(&noisy));
    }
    if let Some(path) = &args.output {
        outputs::write(path, &outputs::of(interface, &noisy, classes), &images.names)?;
    }
    if let Some(path) = &args.answers {
        let [noisy, exact] = [noisy, exact].map(|values| outputs::of(interface, &values, classes));
        let answers = outputs::load(path, &exact)?;
        for ((answers, noisy), exact) in answers.iter().zip(&noisy).zip(&exact) {
            let of = if ports.len() > 1 { format!(", output \"{}\"", exact.name) } else { String::new() };
            out +=
                &format!("\n{}{of}: {}", path.display(), against(path, &answers.values, &noisy.values, &exact.values, exact.per_image())?);
        }
    }
    super::print(out)
}

/// The network that the program at `program` was compiled from, whose digest it holds.
pub(super) fn original(model: &Path, options: &ImportOptions, digest: &str, program: &Path) -> Result<Reference, Error> {
    if chiffre_frontend::load_with(model, options)?.digest.to_string() != digest {
        return Err(Error::input(format!("{} was not compiled from {}", program.display(), model.display())));
    }
    Ok(Reference::load_with(model, options)?)
}

/// Compares decrypted logits with the simulated ones of the same images, with and without noise.
fn against(path: &Path, answers: &[f32], noisy: &[f32], exact: &[f32], classes: usize) -> Result<String, Error> {
    let n = answers.len() / classes;
    if n == 0 || answers.len() > exact.len() {
        return Err(Error::input(format!("{} has {n} rows; {} images are simulated", path.display(), exact.len() / classes)));
    }
    let lost = (0..n).filter(|i| answers[i * classes..][..classes].iter().any(|x| x.is_nan())).collect();
    let [a, b] = [exact, noisy].map(|want| logits::compare(answers, &want[..answers.len()], classes, &lost));
    let (a, b) = (a?, b?);
    Ok(format!(
        "argmax as simulated on {:.2} % of {n} images with noise, {:.2} % without; largest logit difference {:.4}, {:.4}",
        100.0 * b.agreement,
        100.0 * a.agreement,
        b.max_abs_error,
        a.max_abs_error
    ))
}
