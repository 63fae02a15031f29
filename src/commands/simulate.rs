//! `chiffre simulate`.

use crate::cli::SimulateArgs;
use crate::{Error, data, report};
use chiffre_ir::he::{He, Noise, interp};
use chiffre_ir::text;
use std::collections::BTreeSet;

/// Runs a program in the clear, with the noise model: once without noise, once with, and compares.
pub(super) fn simulate(args: &SimulateArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, true)?;
    let images = data::load(&args.input, &super::program_data_options(&session, &args.normalisation, args.count)?)?;
    let source = session.file.stages.get("he").ok_or_else(|| Error::input("the program file does not hold its HE IR"))?;
    let mut g = text::parse::<He>(source).map_err(|e| Error::input(format!("HE IR of the program: {e}")))?;
    g.consts.resolve(&session.file.store);
    let g = chiffre_ir::he::verify(g).map_err(|e| Error::input(format!("HE IR of the program: {e}")))?;
    let exact = interp(&g, &images.pixels, images.n, None).map_err(Error::input)?.swap_remove(0);
    let q: Vec<f64> = session.program().header.q.iter().map(|&q| (q as f64).log2()).collect();
    let mut noise = Noise {
        ring_degree: session.context.ring().n,
        log2_prime: Box::new(move |i| q.get(i as usize).copied().unwrap_or(0.0)),
        refresh_std: session.program().header.bootstrap.as_ref().map_or(0.0, |b| b.noise),
        seed: args.seed,
    };
    let noisy = interp(&g, &images.pixels, images.n, Some(&mut noise)).map_err(Error::input)?.swap_remove(0);
    let classes = exact.len() / images.n.max(1);
    let c = report::compare(&noisy, &exact, classes, &BTreeSet::new())?;
    let mut out = format!(
        "{} images: argmax with noise equals the exact one on {:.2} %, largest logit error {:.4}",
        images.n,
        100.0 * c.agreement,
        c.max_abs_error
    );
    if args.labels {
        let labels = images.labels.as_ref().ok_or_else(|| Error::input(format!("{} has no labels", args.input.display())))?;
        let top1 = |l: &[f32]| report::top1(l, labels, classes).unwrap_or(0.0) * 100.0;
        out += &format!("\ntop-1: {:.2} % exact, {:.2} % with noise", top1(&exact), top1(&noisy));
    }
    super::print(out)
}
