//! What a program on integers asks of parameters: its look-ups, with the noise of what they read.

use chiffre_ir::consts::IntsId;
use chiffre_ir::error::InterpError;
use chiffre_ir::graph::Node;
use chiffre_ir::quant::{Quant, QuantGraph, QuantOp};
use chiffre_params::tfhe::{Demand, MARGIN_OF_SIGN, Noise, Site, TfheParams, lookup_margin};

/// Squared norms of a value's worst element as a sum of results of look-ups and of fresh
/// ciphertexts, each of them independent of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Norms {
    /// Over results of look-ups in tables.
    pub lookups: f64,
    /// Over results of look-ups that remove bits.
    pub removals: f64,
    /// Over fresh ciphertexts.
    pub fresh: f64,
}

/// Look-ups that a node of a run on one image makes.
pub fn lookups(g: &QuantGraph, n: &Node<Quant>) -> usize {
    match n.op {
        QuantOp::Lookup { .. } => n.ty.shape.len(),
        QuantOp::Round { slack: None } => n.ty.shape.len() * (g.ty(n.args[0]).bits - n.ty.bits) as usize,
        QuantOp::Round { slack: Some(_) } | QuantOp::Input {} | QuantOp::LinearMap { .. } => 0,
    }
}

/// The norms of every value.
///
/// # Errors
/// Weights without data.
pub fn norms(g: &QuantGraph) -> Result<Vec<Norms>, InterpError> {
    let mut all: Vec<Norms> = vec![];
    for n in &g.nodes {
        let operand = |i: usize| all[n.args[i].index()];
        let of = match &n.op {
            QuantOp::Input {} => Norms { fresh: 1.0, ..Norms::default() },
            QuantOp::Lookup { .. } => Norms { lookups: 1.0, ..Norms::default() },
            QuantOp::Round { slack: Some(_) } => operand(0),
            QuantOp::Round { slack: None } => {
                let removed = g.ty(n.args[0]).bits - n.ty.bits;
                Norms { removals: operand(0).removals + f64::from(removed), ..operand(0) }
            }
            QuantOp::LinearMap { kernels, .. } => linear(g, n, kernels, &all)?,
        };
        all.push(of);
    }
    Ok(all)
}

/// Of a linear map: squares of weights add up where all elements that are read are independent;
/// where they may share noise, magnitudes do.
fn linear(g: &QuantGraph, n: &Node<Quant>, kernels: &[IntsId], all: &[Norms]) -> Result<Norms, InterpError> {
    let independent = |i: usize| {
        let once = n.args.iter().filter(|a| **a == n.args[i]).count() == 1;
        once && matches!(g.node(n.args[i]).op, QuantOp::Input {} | QuantOp::Lookup { .. })
    };
    let channels = n.ty.chw()[0];
    let (mut apart, mut together) = (vec![Norms::default(); channels], vec![Norms::default(); channels]);
    for (i, kernel) in kernels.iter().enumerate() {
        let (a, of) = (g.ty(n.args[i]), all[n.args[i].index()]);
        let shift = 2f64.powi((a.bits - n.ty.bits) as i32);
        let weights = g.consts.ints(*kernel)?;
        let per = (weights.data.len() / channels).max(1);
        for (c, row) in weights.data.chunks(per).enumerate() {
            let magnitude = |w: &i64| shift * w.unsigned_abs() as f64;
            if independent(i) {
                let squares: f64 = row.iter().map(|w| magnitude(w).powi(2)).sum();
                apart[c].lookups += squares * of.lookups;
                apart[c].removals += squares * of.removals;
                apart[c].fresh += squares * of.fresh;
            } else {
                let sum: f64 = row.iter().map(magnitude).sum();
                together[c].lookups += sum * of.lookups.sqrt();
                together[c].removals += sum * of.removals.sqrt();
                together[c].fresh += sum * of.fresh.sqrt();
            }
        }
    }
    let whole = |(a, b): (&Norms, &Norms)| {
        // Two sums that may share noise: magnitudes add up, where there are both.
        let join = |apart: f64, together: f64| (apart.sqrt() + together).powi(2);
        Norms { lookups: join(a.lookups, b.lookups), removals: join(a.removals, b.removals), fresh: join(a.fresh, b.fresh) }
    };
    let larger =
        |a: Norms, b: Norms| Norms { lookups: a.lookups.max(b.lookups), removals: a.removals.max(b.removals), fresh: a.fresh.max(b.fresh) };
    Ok(apart.iter().zip(&together).map(whole).fold(Norms::default(), larger))
}

/// Answers of a program with approximate look-ups are this precise, in bits of the modulus, and
/// need not be more: look-ups before them read other entries than the clear run.
const OUTPUT_BITS: u32 = 6;

/// True if look-ups of an encrypted run may read neighbours of the right entries.
pub fn is_approximate(g: &QuantGraph) -> bool {
    g.nodes.iter().any(|n| matches!(n.op, QuantOp::Round { slack: Some(_) }))
}

/// What a program asks of parameters so that a run on one image is wrong with probability
/// 2^-`failure_bits` at most.
///
/// # Errors
/// Weights without data.
pub fn demand(g: &QuantGraph, failure_bits: f64) -> Result<Demand, InterpError> {
    let norms = norms(g)?;
    let mut sites = vec![];
    for n in &g.nodes {
        let Some(of) = n.args.first().map(|a| norms[a.index()]) else { continue };
        let bits = g.ty(n.args[0]).bits;
        let site = Site {
            lookups: n.ty.shape.len(),
            margin: lookup_margin(bits),
            of_lookups: of.lookups,
            of_fresh: of.fresh,
            of_removals: of.removals,
            bits,
            removes: false,
        };
        match n.op {
            QuantOp::Lookup { .. } => {
                // Behind an approximate rounding half an entry may be lost already, and some
                // entries before or behind the right one will do.
                let wider = match g.node(n.args[0]).op {
                    QuantOp::Round { slack: Some(entries) } => 2.0 * f64::from(entries),
                    _ => 1.0,
                };
                sites.push(Site { margin: site.margin * wider, ..site });
            }
            QuantOp::Round { slack: None } => {
                for j in 0..bits - n.ty.bits {
                    // Shifted to the top of the word, with what removing the bits below has added.
                    let shift = 4f64.powi((bits - j) as i32);
                    let [of_lookups, of_fresh, of_removals] =
                        [of.lookups, of.fresh, of.removals + f64::from(j)].map(|squared| shift * squared);
                    sites.push(Site { margin: MARGIN_OF_SIGN, of_lookups, of_fresh, of_removals, bits: 1, removes: true, ..site });
                }
            }
            QuantOp::Round { slack: Some(_) } | QuantOp::Input {} | QuantOp::LinearMap { .. } => {}
        }
    }
    let exact = !is_approximate(g);
    let output = |o: &chiffre_ir::graph::ValueId| {
        let (ty, of) = (g.ty(*o), norms[o.index()]);
        Site {
            lookups: ty.shape.len(),
            margin: lookup_margin(if exact { ty.bits } else { ty.bits.min(OUTPUT_BITS) }),
            of_lookups: of.lookups,
            of_fresh: of.fresh,
            of_removals: of.removals,
            bits: ty.bits,
            removes: false,
        }
    };
    Ok(Demand { sites, outputs: g.outputs.iter().map(output).collect(), failure_bits })
}

/// For each value the standard deviation of the noise with which approximate look-ups read its
/// elements, or with which it is decrypted in a program that has such look-ups, in integers, at
/// most; zero where it is read exactly.
///
/// # Errors
/// Weights without data.
pub fn read_deviations(g: &QuantGraph, p: &TfheParams) -> Result<Vec<f64>, InterpError> {
    let (norms, noise, removal) = (norms(g)?, Noise::of(p), Noise::of_removal(p));
    let mut out = vec![0.0; g.nodes.len()];
    // A unit is 2^-(bits + 1) of the torus.
    let deviation = |v: chiffre_ir::graph::ValueId, added: f64| {
        let of = norms[v.index()];
        let variance = of.lookups * noise.lookup + of.removals * removal.lookup + of.fresh * noise.fresh + added;
        2f64.powi(g.ty(v).bits as i32 + 1) * variance.sqrt()
    };
    if is_approximate(g) {
        g.outputs.iter().for_each(|o| out[o.index()] = deviation(*o, 0.0));
    }
    for n in g.nodes.iter().filter(|n| matches!(n.op, QuantOp::Round { slack: Some(_) })) {
        out[n.args[0].index()] = deviation(n.args[0], noise.keyswitch + noise.modulus_switch);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_follow_the_operations() {
        let text = "quant @t {
            const @k : i64[1x2x1x1] = [3, -4]
            const @m : i64[1x1x1x1] = [2]
            const @t : i64[1x8] = [0, 0, 0, 1, 2, 3, 4, 5]
            %0 = input : int<bits=6 range=-8..7 scale=1.0> 2
            %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]]} : int<bits=5 range=-30..30 scale=1.0> 1
            %2 = round %1 : int<bits=3 range=-8..7 scale=4.0> 1
            %3 = lookup %2 {table=@t, flip=5} : int<bits=4 range=0..5 scale=1.0> 1
            %4 = linear_map %3, %3 {kernels=[@m, @m], strides=[[1, 1], [1, 1]], origins=[[0, 0], [0, 0]]} : int<bits=4 range=0..20 scale=1.0> 1
            return %4
        }";
        let g = chiffre_ir::text::parse::<Quant>(text).unwrap();
        let found = norms(&g).unwrap();
        // One bit is lost on the way into the sum: weights count twice.
        assert_eq!(found[1], Norms { fresh: 100.0, ..Norms::default() });
        assert_eq!(found[2], Norms { lookups: 0.0, removals: 2.0, fresh: 100.0 });
        assert_eq!(found[4], Norms { lookups: 16.0, ..Norms::default() }, "the same value twice");
        let d = demand(&g, 40.0).unwrap();
        assert_eq!((d.lookups(), d.removals()), (3, 2));
        assert_eq!((d.sites[0].of_fresh, d.sites[1].of_fresh, d.sites[1].of_removals), (102_400.0, 25_600.0, 256.0));
        assert_eq!((d.sites[2].margin, d.outputs[0].margin), (1.0 / 32.0, 1.0 / 64.0));
        // An approximate rounding takes no look-ups, adds no noise, and needs less precision.
        let g = chiffre_ir::text::parse::<Quant>(&text.replace("round %1", "round %1 {slack=1}")).unwrap();
        assert_eq!(norms(&g).unwrap()[2], Norms { fresh: 100.0, ..Norms::default() });
        let d = demand(&g, 40.0).unwrap();
        assert_eq!((d.lookups(), d.sites[0].margin, d.sites[0].of_fresh), (1, 1.0 / 16.0, 100.0));
        // Of 64 units of the torus as many as the whole noise is of it.
        let p = TfheParams::toy();
        let (noise, found) = (Noise::of(&p), read_deviations(&g, &p).unwrap());
        let expected = 64.0 * (100.0 * noise.fresh + noise.keyswitch + noise.modulus_switch).sqrt();
        assert!(
            (found[1] / expected - 1.0).abs() < 1e-12 && found[4] > 0.0 && found.iter().filter(|d| **d > 0.0).count() == 2,
            "{found:?}"
        );
        // Answers need no more than six bits.
        let wide = chiffre_ir::text::parse::<Quant>(&text.replace("round %1", "round %1 {slack=1}").replace("bits=4", "bits=9")).unwrap();
        let exact = chiffre_ir::text::parse::<Quant>(&text.replace("bits=4", "bits=9")).unwrap();
        assert_eq!(demand(&wide, 40.0).unwrap().outputs[0].margin, lookup_margin(6));
        assert_eq!(demand(&exact, 40.0).unwrap().outputs[0].margin, lookup_margin(9));
    }
}
