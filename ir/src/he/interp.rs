//! Clear interpreter of the HE IR, with an optional noise model: what decryption of each value
//! would show.

use super::{He, HeGraph, HeOp, PrimeIndex};
use crate::error::InterpError;
use crate::gauss::Gauss;
use crate::graph::{Node, ValueId};
use crate::packed::interp::{Bundle, add_bias, by_batches, by_units, chebyshev, multiply};
use crate::program::{Program, ProgramOp};
use crate::table::{DiagTable, TableError, apply};
use chiffre_params::bootstrap::CALIBRATED_RADIANS;
use chiffre_params::noise::NoiseModel;
use num_complex::Complex64;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Noise model of an execution: sizes of rounding errors, and the generator of the errors drawn.
///
/// Rescaling (and the ModDown merged with it) leaves an error of standard deviation
/// `sqrt(N/12·(1 + 2N/3))` per slot at the result's scale for a uniform ternary secret; a weight at
/// scale ω is an integer (error of a scalar ≤ 1/2) or an integer polynomial with 2g coefficients
/// (error sqrt(2g/12) per slot). Every rotated operand of a linear map brings the error of its key
/// switch, at the operand's scale and times its weight, and so does the conjugate of a complex
/// operand of a product.
pub struct Noise {
    /// Ring degree N.
    pub ring_degree: usize,
    /// log2 of the chain's primes.
    pub log2_prime: Box<dyn Fn(PrimeIndex) -> f64 + Sync>,
    /// Standard deviation of the error that a bootstrap leaves in each of its real values, radians.
    pub refresh_std: f64,
    /// Error that the keys leave in a polynomial of so many limbs, before the division by the
    /// scale: root mean square over complex slots.
    pub switch_std: BTreeMap<usize, f64>,
    /// The errors drawn: a fixed seed gives the same.
    pub gauss: Gauss,
}

impl Noise {
    /// The model for the parameters and keys of a verified program.
    pub fn of(p: &Program, seed: u64) -> Noise {
        let (h, model) = (&p.header, NoiseModel::new(&p.header.chain()));
        let mut switch_std = BTreeMap::new();
        for n in &p.nodes {
            let limbs = n.args.iter().map(|a| p.ty(*a).limbs).min().unwrap_or(1);
            let gadgets = match &n.op {
                ProgramOp::Linear { gadget, drop, giant_gadget, .. } => vec![(limbs, *gadget), (limbs - drop, *giant_gadget)],
                ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } => vec![(limbs, Some(*gadget))],
                _ => vec![],
            };
            for (limbs, gadget) in gadgets {
                if let Some(gadget) = gadget {
                    let most = switch_std.entry(limbs).or_insert(0.0);
                    *most = model.key_switch(gadget, limbs).max(*most);
                }
            }
        }
        let q: Vec<f64> = h.q.iter().map(|&q| (q as f64).log2()).collect();
        Noise {
            ring_degree: 1 << h.log_n,
            log2_prime: Box::new(move |PrimeIndex(i)| q.get(i as usize).copied().unwrap_or(0.0)),
            refresh_std: h.refresh_noise(CALIBRATED_RADIANS).unwrap_or(0.0),
            switch_std,
            gauss: Gauss::new(seed),
        }
    }
    fn disturb(&mut self, bundle: &mut Bundle, std: f64) {
        // Independent errors in both parts; a real bundle decrypts the real part only.
        let s = std / std::f64::consts::SQRT_2;
        for z in bundle.iter_mut().flatten() {
            *z += Complex64::new(s * self.gauss.number(), s * self.gauss.number());
        }
    }
    /// Standard deviation (in units of the plaintext) of the rounding error of a rescale to
    /// `scale`.
    pub fn rescale_std(&self, scale: &super::Scale) -> f64 {
        let n = self.ring_degree as f64;
        (n / 12.0 * (1.0 + 2.0 * n / 3.0)).sqrt() / self.size(scale)
    }
    /// Standard deviation of the error of a key switch of a value, in units of the plaintext.
    fn key_std(&self, limbs: usize, scale: &super::Scale) -> f64 {
        self.switch_std.get(&limbs).copied().unwrap_or(0.0) / self.size(scale)
    }
    fn size(&self, scale: &super::Scale) -> f64 {
        2f64.powf(scale.log2_with(&self.log2_prime))
    }
}

/// Rounds the weights to integers at their operand's scale.
fn quantise(t: &DiagTable, omega: &[f64]) -> Result<DiagTable, TableError> {
    t.with_weights(|e| {
        let w = omega[t.rows[e.row as usize].operand as usize];
        if e.mask.is_none() && w < 2f64.powi(40) { f64::from(((e.weight * w).round() / w) as f32) } else { e.weight }
    })
}

/// Mean |x|² of the slots of every operand's ciphertexts.
fn energies(args: &[&[Vec<Complex64>]]) -> Vec<Vec<f64>> {
    let mean = |x: &Vec<Complex64>| x.iter().map(Complex64::norm_sqr).sum::<f64>() / x.len() as f64;
    args.iter().map(|cts| cts.iter().map(mean).collect()).collect()
}

/// Root of the sum of squares over rows of mean |x|², times the rounding error of a periodic
/// weight: the error they cause together.
fn periodic_weight_std(t: &DiagTable, omega: &[f64], energy: &[Vec<f64>], output: usize) -> f64 {
    if t.masks.is_empty() {
        return 0.0;
    }
    let mut rows: Vec<u32> = t.entries.iter().filter(|e| e.output as usize == output && e.mask.is_some()).map(|e| e.row).collect();
    rows.dedup();
    let unit = 2.0 * t.period() as f64 / 12.0;
    rows.iter()
        .map(|&r| {
            let r = t.rows[r as usize];
            unit / omega[r.operand as usize].powi(2) * energy[r.operand as usize].get(r.ct as usize).unwrap_or(&0.0)
        })
        .sum::<f64>()
        .sqrt()
}

/// For each output of a table, the root of the sum of the mean squares of the weights of rotated
/// operands, each times the error of its key switch.
fn rotation_std(t: &DiagTable, taps: &[i64], keys: &[f64]) -> Vec<f64> {
    let share = |m: usize| t.masks.ones(m).count() as f64 / t.period() as f64;
    let shares: Vec<f64> = (0..t.masks.len()).map(share).collect();
    let mut out = vec![0.0; t.outputs];
    for e in &t.entries {
        let row = &t.rows[e.row as usize];
        if taps[row.tap as usize] != 0 {
            out[e.output as usize] += (e.weight * keys[row.operand as usize]).powi(2) * e.mask.map_or(1.0, |m| shares[m as usize]);
        }
    }
    out.into_iter().map(f64::sqrt).collect()
}

/// Runs the graph on the slot vectors of its inputs.
pub fn run(g: &HeGraph, inputs: &[Bundle], noise: Option<&mut Noise>) -> Result<Vec<Bundle>, InterpError> {
    run_watched(g, inputs, noise, |_, _| {})
}

/// As [`run`]; shows `watch` the first operand of every node that has one.
pub(super) fn run_watched(
    g: &HeGraph,
    inputs: &[Bundle],
    mut noise: Option<&mut Noise>,
    mut watch: impl FnMut(&Node<He>, &[Vec<Complex64>]),
) -> Result<Vec<Bundle>, InterpError> {
    let mut last_use = vec![0; g.nodes.len()];
    for (v, n) in g.iter() {
        n.args.iter().for_each(|a| last_use[a.index()] = v.index());
    }
    g.outputs.iter().for_each(|o| last_use[o.index()] = usize::MAX);
    let mut values: Vec<Bundle> = vec![vec![]; g.nodes.len()];
    let mut next_input = inputs.iter();
    for (v, n) in g.iter() {
        let args: Vec<&[Vec<Complex64>]> = n.args.iter().map(|a| values[a.index()].as_slice()).collect();
        args.first().into_iter().for_each(|x| watch(n, x));
        let out = match &n.op {
            HeOp::Input {} => next_input.next().cloned().ok_or_else(|| InterpError::Unsupported("too few inputs".into()))?,
            HeOp::Linear { taps, table, bias, scales } => {
                let mut t = Cow::Borrowed(g.consts.table(*table)?.as_ref());
                let (mut omega, mut turned) = (vec![], vec![]);
                if let Some(noise) = &noise {
                    omega = scales.iter().map(|s| 2f64.powf(s.log2_with(&noise.log2_prime))).collect();
                    t = Cow::Owned(quantise(&t, &omega).map_err(|e| InterpError::Unsupported(e.to_string()))?);
                    let keys: Vec<f64> = n.args.iter().map(|a| noise.key_std(n.ty.limbs, &g.ty(*a).scale)).collect();
                    turned = rotation_std(&t, taps, &keys);
                }
                let layouts: Vec<_> = n.args.iter().map(|a| &g.ty(*a).layout).collect();
                let mut out = by_units(&args, &layouts, &n.ty.layout, |args| {
                    let mut out = apply(&t, args, n.ty.layout.slot_count());
                    let Some(noise) = &mut noise else { return out };
                    let energy = energies(args);
                    for (o, ct) in out.iter_mut().enumerate() {
                        let std = periodic_weight_std(&t, &omega, &energy, o).hypot(turned[o]);
                        let s = std / std::f64::consts::SQRT_2;
                        if s > 0.0 {
                            ct.iter_mut().for_each(|z| *z += Complex64::new(s * noise.gauss.number(), s * noise.gauss.number()));
                        }
                    }
                    out
                });
                add_bias(&g.consts, *bias, n.ty.layout.complex.is_some(), &mut out)?;
                out
            }
            HeOp::Mul {} | HeOp::Square {} => {
                let disturbed = noise.as_mut().filter(|_| n.ty.layout.complex.is_some()).map(|noise| {
                    let one = |(x, a): (&&[Vec<Complex64>], &ValueId)| {
                        // Half of the conjugate's error is in each part.
                        let std = noise.key_std(n.ty.limbs, &g.ty(*a).scale) / std::f64::consts::SQRT_2;
                        let mut x = x.to_vec();
                        noise.disturb(&mut x, std);
                        x
                    };
                    args.iter().zip(&n.args).map(one).collect::<Vec<Bundle>>()
                });
                let operand = |i: usize| disturbed.as_ref().map_or(args[i], |d| d[i].as_slice());
                multiply(operand(0), operand(args.len() - 1))
            }
            HeOp::Chebyshev { coeffs } | HeOp::Refresh { coeffs } => {
                let sine = matches!(n.op, HeOp::Refresh { .. });
                let mut x = args[0].to_vec();
                if let Some(noise) = noise.as_mut().filter(|_| sine) {
                    noise.disturb(&mut x, noise.refresh_std * std::f64::consts::SQRT_2);
                }
                let mut out = chebyshev(&g.consts, *coeffs, sine, &n.ty.layout, &x)?;
                if let Some(noise) = &mut noise {
                    let std = noise.rescale_std(&n.ty.scale);
                    noise.disturb(&mut out, std);
                }
                out
            }
            HeOp::Relin {} | HeOp::ModDrop {} => args[0].to_vec(),
            HeOp::Rescale {} => {
                let mut out = args[0].to_vec();
                if let Some(noise) = &mut noise {
                    let std = noise.rescale_std(&n.ty.scale);
                    noise.disturb(&mut out, std);
                }
                out
            }
        };
        values[v.index()] = out;
        for a in &n.args {
            if last_use[a.index()] == v.index() {
                values[a.index()] = vec![];
            }
        }
    }
    Ok(g.outputs.iter().map(|o| values[o.index()].clone()).collect())
}

/// Runs the graph on a batch of tensors `[n, C, H, W]`.
pub fn interp(g: &HeGraph, images: &[f32], n: usize, mut noise: Option<&mut Noise>) -> Result<Vec<Vec<f32>>, InterpError> {
    let inputs: Vec<&crate::layout::Layout> = g.nodes.iter().filter(|n| matches!(n.op, HeOp::Input {})).map(|n| &n.ty.layout).collect();
    let outputs: Vec<&crate::layout::Layout> = g.outputs.iter().map(|o| &g.ty(*o).layout).collect();
    by_batches(&inputs, &outputs, images, n, |b| run(g, &b, noise.as_deref_mut()))
}
