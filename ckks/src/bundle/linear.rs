//! The fused linear map on a bundle of ciphertexts.

use super::error::LEAST_DEGREE;
use super::expand::Expander;
use super::giants::Giants;
use super::op::LinearOp;
use super::panels::{Panel, Plan};
use super::patterns::check_table;
use super::span::{span_of, span_order};
use super::switch::{check_gadget, mod_up_all};
use super::{BiasPoly, BundleError, Input, KeyProvider, PreparedKey, check_inputs};
use crate::ring::{Carried, Gadget, GaloisTable, ModDown, ModUp, NttTable, Ring, RnsPoly};
use crate::simd::{Buffer, InputLimbs, Isa, LimbPanel, PanelRow, TapRows, add_assign, largest, linear_windows};
use rayon::prelude::*;

/// Applies a linear map to several bundles: `out_o = rescale(sum W[k][o] rot_t(in_i)) + bias_o`,
/// each output with `limbs_in - drop_limbs` limbs.
///
/// With giant steps, what would be outputs is rotated and added before that division
/// ([`GiantSteps`](super::GiantSteps)).
///
/// Needs a key of shape `gadget` for each rotation in use, none when all taps are the identity. The
/// divisions by the special modulus and by the dropped primes are one rounding. Row by row, the
/// memory of owned operands becomes the outputs'.
///
/// Weights are expanded once for all bundles. That saves up to a quarter of the time with periodic
/// weights, and needs the temporaries of every bundle at the same time: at first for each input its
/// digits in the extended basis, and at last for each output two polynomials in the extended basis.
///
/// # Errors
/// Any [`BundleError`]; nothing is computed then, and owned operands are lost.
pub fn apply_linear(
    ring: &Ring,
    isa: Isa,
    bundles: Vec<Vec<Input<'_>>>,
    op: &LinearOp<'_>,
    provider: &dyn KeyProvider,
) -> Result<Vec<Vec<[RnsPoly; 2]>>, BundleError> {
    let LinearOp { table, limbs_in: limbs, gadget, .. } = *op;
    for inputs in &bundles {
        check(ring, inputs, op)?;
    }
    let made;
    let plan = match op.plan.and_then(|p| p.of(table, ring.log_n, op.input_scales.len())) {
        Some(plan) => plan,
        None => {
            made = Plan::new(table, op.first, ring.log_n, op.input_scales.len());
            &made
        }
    };
    let peaks: Vec<f64> = op.patterns.all().par_iter().map(|p| largest(p)).collect();
    let rotated = !plan.galois.is_empty();
    if rotated {
        check_gadget(ring, gadget, limbs)?;
    }
    let keys: Vec<&PreparedKey> = plan.galois.iter().map(|&g| provider.require(g.into(), gadget)).collect::<Result<_, _>>()?;
    let tables =
        keys.iter().zip(&plan.galois).map(|(key, &galois)| key.table().ok_or(BundleError::MissingKey { target: galois.into(), gadget }));
    let tables: Vec<&GaloisTable> = tables.collect::<Result<_, _>>()?;
    let alpha = if rotated { gadget.alpha } else { 0 };

    let keep = limbs - op.drop_limbs;
    let giants = op.giants.map(|g| Giants::new(ring, isa, &g, table.outputs, [limbs, keep], provider)).transpose()?;

    let polys = 2 * table.outputs * bundles.len();
    let mut totals = giants.as_ref().map_or(vec![], |g| g.totals(bundles.len()));
    let mut hoisted: Vec<Hoisted<'_>> = bundles.into_iter().map(|inputs| Hoisted::new(ring, isa, inputs, plan, gadget, limbs)).collect();
    let mut sums: Vec<RnsPoly> = (0..polys).map(|_| RnsPoly::new_zero(ring.n, 0)).collect();
    let order = span_order(ring.n, tables.first().copied());
    let limb = Limb { ring, isa, op, plan, peaks: &peaks, keys: &keys, tables: &tables, order: &order };
    for row in 0..limbs + alpha {
        sums.iter_mut().for_each(RnsPoly::push_unspecified);
        limb.run(row, &hoisted, sums.iter_mut().map(|s| s.row_mut(row)).collect());
        hoisted.iter_mut().for_each(|h| h.free_row(row));
        giants.iter().for_each(|g| g.gather(row, &mut sums, &mut totals));
    }
    drop(hoisted);

    if let Some(g) = giants {
        sums = g.finish(sums, totals, alpha);
    } else if alpha + op.drop_limbs > 0 {
        let down = ModDown::new(ring, limbs, alpha, keep, Carried::Nothing);
        let inner = sums.len() < 2 * rayon::current_num_threads();
        sums = sums.into_par_iter().with_max_len(1).map(|s| down.run(ring, isa, s, None, inner)).collect();
    }
    if let Some(bias) = op.bias {
        add_bias(ring, isa, bias, &mut sums);
    }
    let mut pairs = Vec::with_capacity(sums.len() / 2);
    let mut sums = sums.into_iter();
    while let (Some(c0), Some(c1)) = (sums.next(), sums.next()) {
        pairs.push([c0, c1]);
    }
    let mut out = Vec::new();
    while !pairs.is_empty() {
        let rest = pairs.split_off(op.outputs());
        out.push(std::mem::replace(&mut pairs, rest));
    }
    Ok(out)
}

fn check(ring: &Ring, inputs: &[Input<'_>], op: &LinearOp<'_>) -> Result<(), BundleError> {
    if ring.n < LEAST_DEGREE {
        return Err(BundleError::Degree(ring.n));
    }
    let (limbs, drop, chain) = (op.limbs_in, op.drop_limbs, ring.q_count);
    if !(drop + 1..=chain).contains(&limbs) {
        return Err(BundleError::Limbs { limbs, drop, chain });
    }
    check_inputs(ring.n, inputs, limbs)?;
    check_table(op.table, op.first, ring.n, inputs.len())?;
    op.patterns.check(op.table)?;
    let fail = |message: String| Err(BundleError::Table(message));
    if op.input_scales.len() != inputs.len() || op.input_scales.iter().any(|s| !s.is_finite()) {
        return fail(format!("{} weight scales for {} inputs", op.input_scales.len(), inputs.len()));
    }
    if let Some(bias) = op.bias {
        if bias.len() != op.outputs() {
            return fail(format!("{} biases for {} outputs", bias.len(), op.outputs()));
        }
        for BiasPoly(b) in bias {
            let fits = b.is_empty() || (b.len().is_power_of_two() && b.len() <= ring.n);
            if !fits {
                return fail(format!("a bias of {} coefficients", b.len()));
            }
        }
    }
    Ok(())
}

/// A bundle with the extended digits of the inputs that are rotated; others have none.
struct Hoisted<'a> {
    inputs: Vec<Input<'a>>,
    up: Option<ModUp>,
    digits: Vec<Vec<RnsPoly>>,
}

impl<'a> Hoisted<'a> {
    fn new(ring: &Ring, isa: Isa, mut inputs: Vec<Input<'a>>, plan: &Plan, gadget: Gadget, limbs: usize) -> Self {
        for input in &mut inputs {
            if let Input::Owned(pair) = input {
                pair.iter_mut().for_each(|p| p.truncate(limbs));
            }
        }
        let mut digits: Vec<Vec<RnsPoly>> = inputs.iter().map(|_| Vec::new()).collect();
        if plan.galois.is_empty() {
            return Self { inputs, up: None, digits };
        }
        let up = ModUp::new(ring, gadget, limbs);
        let used: Vec<usize> = (0..inputs.len()).filter(|&i| plan.hoisted[i]).collect();
        let polys: Vec<&RnsPoly> = used.iter().map(|&i| inputs[i].view().c1).collect();
        for (&i, d) in used.iter().zip(mod_up_all(ring, isa, &up, &polys)) {
            digits[i] = d;
        }
        Self { inputs, up: Some(up), digits }
    }

    /// Frees everything that only row `row` of the sums needed.
    fn free_row(&mut self, row: usize) {
        self.inputs.iter_mut().for_each(|input| input.free_row(row));
        if let Some(up) = &self.up {
            for digits in &mut self.digits {
                digits.iter_mut().enumerate().for_each(|(d, extended)| up.free_row(extended, d, row));
            }
        }
    }

    /// The digits of one input at one row.
    fn rows(&self, input: usize, row: usize) -> Vec<&[u64]> {
        let c1 = self.inputs[input].view().c1;
        let Some(up) = &self.up else { return Vec::new() };
        self.digits[input].iter().enumerate().map(|(d, e)| up.row(c1, e, d, row)).collect()
    }
}

/// What the computation of one limb reads.
struct Limb<'a> {
    ring: &'a Ring,
    isa: Isa,
    op: &'a LinearOp<'a>,
    plan: &'a Plan,
    /// Largest coefficients of patterns.
    peaks: &'a [f64],
    keys: &'a [&'a PreparedKey],
    tables: &'a [&'a GaloisTable],
    order: &'a [usize],
}

impl Limb<'_> {
    /// Fills row `row` of the sums of all bundles.
    fn run(&self, row: usize, hoisted: &[Hoisted<'_>], mut outs: Vec<&mut [u64]>) {
        let limbs = self.op.limbs_in;
        let panels = if row < limbs { &self.plan.q } else { &self.plan.p };
        if panels.is_empty() {
            outs.iter_mut().for_each(|o| o.fill(0));
            return;
        }
        let index = self.ring.modulus_index(row, limbs);
        let expander = Expander::new(self.ring, self.isa, index, self.op, self.plan, self.peaks);
        for (i, panel) in panels.iter().enumerate() {
            let weights = expander.expand(panel, self.ring.n);
            for (bundle, outs) in hoisted.iter().zip(outs.chunks_mut(2 * self.op.table.outputs)) {
                self.sweep(&self.limb_panel(bundle, row, panel, &weights), outs, i > 0);
            }
        }
    }

    fn limb_panel<'b>(&'b self, bundle: &'b Hoisted<'b>, row: usize, panel: &'b Panel, weights: &'b [u64]) -> LimbPanel<'b> {
        let limbs = self.op.limbs_in;
        let modulus = &self.ring.moduli[self.ring.modulus_index(row, limbs)];
        let alpha = self.keys.first().map_or(0, |k| k.gadget().alpha);
        let specials = &self.ring.moduli[self.ring.q_count..][..alpha];
        let inputs = bundle
            .inputs
            .iter()
            .enumerate()
            .map(|(i, input)| InputLimbs {
                digits: bundle.rows(i, row),
                own: (row < limbs).then(|| [input.view().c0.row(row), input.view().c1.row(row)]),
            })
            .collect();
        let digits = bundle.up.as_ref().map_or(0, ModUp::digits);
        let tap = |(g, rows): &(usize, Vec<PanelRow>)| {
            TapRows::new(&panel.shape, self.tables[*g], self.keys[*g].rows(digits, row, limbs), rows.clone())
        };
        LimbPanel {
            modulus,
            n: self.ring.n,
            shape: &panel.shape,
            own_factor: specials.iter().fold(modulus.r3, |p, s| modulus.mul(p, modulus.reduce(s.q))),
            inputs,
            taps: panel.taps.iter().map(tap).collect(),
            identity: panel.identity.clone(),
            padding: panel.padding.clone(),
            weights,
        }
    }

    /// One panel for all words of a limb, in parallel over pairs of spans.
    fn sweep(&self, panel: &LimbPanel<'_>, outs: &mut [&mut [u64]], accumulate: bool) {
        let span = span_of(self.ring.n);
        let mut by_span: Vec<Vec<&mut [u64]>> = self.order.iter().map(|_| Vec::with_capacity(outs.len())).collect();
        for out in outs {
            for (spans, words) in by_span.iter_mut().zip(out.chunks_exact_mut(span)) {
                spans.push(words);
            }
        }
        // Spans of the first half with their mirror images: rotations keep the halves apart.
        let last = by_span.len() - 1;
        let first_half = self.order.iter().filter(|s| **s <= last / 2);
        let tasks: Vec<(usize, [Vec<&mut [u64]>; 2])> =
            first_half.map(|&s| (s, [s, last - s].map(|s| std::mem::take(&mut by_span[s])))).collect();
        tasks.into_par_iter().for_each_init(
            || Buffer::unspecified(panel.shape.scratch_words()),
            |scratch, (s, [mut words, mut mirrored])| {
                linear_windows(self.isa, panel, s * span, [&mut words, &mut mirrored], accumulate, scratch);
            },
        );
    }
}

/// Adds biases to the constant components, `sums[2 o]`, of every bundle.
fn add_bias(ring: &Ring, isa: Isa, bias: &[BiasPoly], sums: &mut [RnsPoly]) {
    let limbs = sums.first().map_or(0, RnsPoly::rows);
    let largest = bias.iter().map(|b| b.0.len()).max().unwrap_or(0);
    let blocks = largest.max(NttTable::MIN_N);
    for row in 0..limbs {
        let (m, table) = (ring.moduli[row], ring.subring_ntt(row, blocks));
        sums.par_iter_mut().step_by(2).enumerate().for_each(|(i, sum)| {
            let BiasPoly(bias) = &bias[i % bias.len()];
            if bias.is_empty() {
                return;
            }
            let mut small = vec![0; blocks];
            for (j, &c) in bias.iter().enumerate() {
                small[j * (blocks / bias.len())] = m.reduce_i64(c);
            }
            table.forward(&mut small);
            let run = ring.n / blocks;
            let expanded: Vec<u64> = small.iter().flat_map(|&v| std::iter::repeat_n(v, run)).collect();
            add_assign(isa, &m, sum.row_mut(row), &expanded);
        });
    }
}
