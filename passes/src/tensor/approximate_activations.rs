//! `approximate-activations`: a polynomial takes the place of every activation that is not one.
//!
//! `f(x)` becomes `Σ c_k·T_k(u)` with a per-channel `affine` before it, which the linear map before
//! takes in, and a `chebyshev` that carries a certificate: u is what the `affine` gives, or behind
//! a bootstrap the sine of that angle. Polynomials of degree 2 that need no bootstrap stay as they
//! are; longer ones without a bootstrap are only written in another basis.

use crate::activation::degree::{Accuracy, DEGREES, ERROR_OF_LOSS, NOISE, accuracy};
use crate::activation::fit::{ENOUGH, Fitted, fit, is_searched, margin, ranges, widening};
use crate::activation::function::Function;
use crate::activation::histogram::Histogram;
use crate::activation::statistics::{NodeStatistics, Statistics};
use crate::error::{PassError, Setting};
use crate::options::{AccuracyTarget, ActivationOptions, ActivationPlan, FitOptions};
use crate::stop::Stop;
use chiffre_ir::consts::Array;
use chiffre_ir::graph::Node;
use chiffre_ir::tensor::{Certificate, Tensor, TensorGraph, TensorOp};
use rayon::prelude::*;
use std::collections::BTreeMap;

const PASS: &str = "approximate-activations";

/// Plans by ONNX node.
pub type Plans = BTreeMap<String, ActivationPlan>;

/// Rewrites all activations, with the degree that the options give or that meets their target on
/// the calibration images (with the least error of the logits, and a warning, if none does).
/// `placed` are the plans of an earlier pass for each degree; the options' own plans win. A degree
/// that an earlier pass found no room for is not tried. The second result is what the answers to
/// the calibration images lose, with [`NOISE`], if activations were measured and replaced.
///
/// # Errors
/// A plan for a node that is no activation; activations without statistics; a wish to stop.
pub fn approximate_activations(
    g: &TensorGraph,
    statistics: Option<&Statistics>,
    placed: &BTreeMap<usize, Plans>,
    o: &ActivationOptions,
    stop: &Stop,
) -> Result<(TensorGraph, Option<Accuracy>), PassError> {
    for (name, plan) in placed.values().flatten().chain(&o.plans) {
        let bad = |m: String| Err(PassError::at(PASS, name, m));
        let f = g.nodes.iter().filter(|n| n.source == *name).map(|n| Function::of(&n.op, &g.consts));
        if !f.into_iter().any(|f| matches!(f, Ok(Some(_)))) {
            return bad("there is a plan for this node, but it is no activation".into());
        }
        if plan.degree == 0 {
            return bad("a plan of degree 0: the least is 1".into());
        }
    }
    let with = |degree: usize| {
        let default = ActivationPlan { refresh: o.refresh, degree };
        let named = |source: &String| o.plans.get(source).or_else(|| placed.get(&degree)?.get(source)).copied();
        substitute(g, statistics, &o.fit, stop, |n, f| plan(f, named(&n.source), default))
    };
    let open = g.nodes.iter().any(|n| n.op.is_activation() && !o.plans.contains_key(&n.source));
    let degrees: Vec<usize> = match o.degree {
        Some(degree) => vec![degree],
        None => DEGREES.into_iter().filter(|d| placed.is_empty() || placed.contains_key(d)).collect(),
    };
    let first = degrees.first().copied().unwrap_or(DEGREES[0]);
    let (Some(s), Some(set)) = (statistics, &o.calibration) else { return Ok((with(first)?, None)) };
    warn_of_few_values(s);
    let mut seen: Vec<(usize, Accuracy, TensorGraph)> = vec![];
    for &degree in &degrees {
        let h = with(degree)?;
        stop.check(PASS)?;
        if h == *g {
            return Ok((h, None));
        }
        let found = accuracy(&h, s, set, Some(NOISE)).map_err(|e| PassError::clear(PASS, "", e))?;
        tracing::info!(
            degree,
            logit_error = found.logit_error,
            agreement = found.agreement,
            loss = found.loss(),
            outside = found.outside,
            "activations"
        );
        if !open || o.degree.is_some() || found.meets(o.target) {
            return Ok((h, Some(found)));
        }
        seen.push((degree, found, h));
    }
    // Positive numbers that are none come last.
    let best = seen.into_iter().min_by(|a, b| a.1.logit_error.abs().total_cmp(&b.1.logit_error.abs()));
    let Some((degree, found, h)) = best else { return Ok((with(first)?, None)) };
    tracing::warn!("no degree keeps to {} on the calibration images: degree {degree} is taken, with {found}", wanted(o.target));
    Ok((h, Some(found)))
}

/// Says which ranges rest on few values.
fn warn_of_few_values(s: &Statistics) {
    const SHOWN: usize = 6;
    let fewest = |n: &NodeStatistics| n.channels.iter().map(Histogram::count).min().unwrap_or(0);
    let few: Vec<&NodeStatistics> = s.nodes.iter().filter(|n| fewest(n) < ENOUGH).collect();
    let Some(least) = few.iter().map(|n| fewest(n)).min() else { return };
    let names: Vec<String> = few.iter().take(SHOWN).map(|n| format!("\"{}\"", n.source)).collect();
    let more = if few.len() > SHOWN { ", …" } else { "" };
    tracing::warn!(
        "the ranges of {}{more} rest on {least} values of each channel and are widened {:.1} times: give more calibration images ({ENOUGH} or more), so that the polynomials fit better",
        names.join(", "),
        widening(least)
    );
}

/// A target in words.
fn wanted(target: AccuracyTarget) -> String {
    match target {
        AccuracyTarget::Loss(most) => {
            format!("a loss of at most {:.2} % and a logit error of at most {:.2} %", 100.0 * most, 100.0 * ERROR_OF_LOSS * most)
        }
        AccuracyTarget::LogitError(most) => format!("a logit error of at most {:.2} %", 100.0 * most),
    }
}

/// The plan of one node; `None` to leave it as it is.
fn plan(f: &Function, named: Option<ActivationPlan>, default: ActivationPlan) -> Option<ActivationPlan> {
    match (f.degree(), named) {
        (None, named) => Some(named.unwrap_or(default)),
        (Some(_), Some(p)) if p.refresh => Some(p),
        (Some(d), _) if d <= 2 => None,
        (Some(degree), _) => Some(ActivationPlan { refresh: false, degree }),
    }
}

/// Rewrites the nodes that `plan` names a plan for.
///
/// # Errors
/// A node whose operand was not measured; a wish to stop.
pub fn substitute(
    g: &TensorGraph,
    statistics: Option<&Statistics>,
    o: &FitOptions,
    stop: &Stop,
    plan: impl Fn(&Node<Tensor>, &Function) -> Option<ActivationPlan>,
) -> Result<TensorGraph, PassError> {
    let mut out = TensorGraph::new(&g.name);
    out.consts = g.consts.clone();
    let mut map = vec![];
    for (v, n) in g.iter() {
        let args: Vec<_> = n.args.iter().map(|a: &chiffre_ir::graph::ValueId| map[a.index()]).collect();
        stop.check(PASS)?;
        let at = |m: String| PassError::at(PASS, &n.source, m);
        let f = Function::of(&n.op, &g.consts).map_err(|e| PassError::clear(PASS, &n.source, e))?;
        let planned = f.and_then(|f| plan(n, &f).map(|p| (f, p)));
        let Some((f, p)) = planned else {
            map.push(out.push(n.op.clone(), args, n.ty.clone(), &n.source));
            continue;
        };
        let s = statistics.and_then(|s| s.of(v, n)).ok_or_else(|| {
            let m = "nothing is known about its operand: run calibrate-activations right before, with calibration images";
            PassError::setting(PASS, &n.source, Setting::Calibration, m.into())
        })?;
        let fits = fits(&f, s, p, o);
        if fits.iter().any(|f| f.coeffs.iter().any(|c| !(*c as f32).is_finite())) {
            return Err(at(format!("no polynomial of degree {} fits: its operand is too large", p.degree)));
        }
        let mut constant =
            |what: &str, shape: Vec<usize>, data: Vec<f32>| out.consts.add(&format!("{}.{what}", n.source), Array::new(shape, data));
        let scale = constant("scale", vec![fits.len()], fits.iter().map(|f| f.scale as f32).collect());
        let shift = constant("shift", vec![fits.len()], fits.iter().map(|f| f.shift as f32).collect());
        let rows = if fits.iter().any(|f| f.coeffs != fits[0].coeffs) { &fits[..] } else { &fits[..1] };
        let data = rows.iter().flat_map(|f| f.coeffs.iter().map(|c| *c as f32)).collect();
        let coeffs = constant("chebyshev", vec![rows.len(), p.degree + 1], data);
        let operands = || fits.iter().flat_map(|f| f.operands().map(|x| x as f32)).collect();
        let ranges = is_searched(p, o).then(|| constant("ranges", vec![fits.len(), 2], operands()));
        let certificate = Some(certificate(&f, s, &fits, p, o));
        let t = out.push(TensorOp::Affine { scale, shift }, args, n.ty.clone(), &g.node(n.args[0]).source);
        map.push(out.push(TensorOp::Chebyshev { coeffs, sine: p.refresh, ranges, certificate }, vec![t], n.ty.clone(), &n.source));
    }
    out.outputs = g.outputs.iter().map(|o| map[o.index()]).collect();
    out.prune(|op| matches!(op, TensorOp::Input {}));
    Ok(out)
}

/// One fit per channel; all the same for a polynomial per layer.
fn fits(f: &Function, s: &NodeStatistics, p: ActivationPlan, o: &FitOptions) -> Vec<Fitted> {
    let ranges = ranges(&s.channels, p, o);
    if o.per_channel || !f.is_shared() {
        let each = s.channels.par_iter().zip(ranges).enumerate();
        return each.map(|(c, (h, r))| fit(f, c, h, r, p, o)).collect();
    }
    let mut all = Histogram::default();
    s.channels.iter().for_each(|h| all.merge(h));
    vec![fit(f, 0, &all, ranges[0], p, o); s.channels.len()]
}

fn certificate(f: &Function, s: &NodeStatistics, fits: &[Fitted], p: ActivationPlan, o: &FitOptions) -> Certificate {
    let most = |x: fn(&Fitted) -> f64| fits.iter().map(x).fold(0.0, f64::max);
    let range = s.channels.iter().map(Histogram::range).fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], [lo, hi]| [a.min(lo), b.max(hi)]);
    let range = range.map(round);
    let values: u64 = s.channels.iter().map(Histogram::count).sum();
    let outside = fits.iter().map(|f| f.outside).sum::<u64>() as f64 / values.max(1) as f64;
    Certificate {
        function: f.name(),
        range,
        margin: margin(p, o),
        limit: round(most(|f| f.operands().into_iter().fold(0.0, |m, x| m.max(x.abs())))),
        rms: round(most(|f| f.rms)),
        max: round(most(|f| f.max)),
        outside: round(outside),
    }
}

/// Three significant digits: enough for people.
fn round(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}
