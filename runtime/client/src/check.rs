//! Which answers of a decrypted result can be used.
//!
//! Arithmetic modulo Q is exact, so a value that leaves the range at some level does no harm by
//! itself. The result is wrong exactly if the integer plaintext of an output, computed without a
//! modulus, has a coefficient beyond q/2, where q is the product of the output's limbs. Then all
//! slots of that ciphertext are noise, and with them every image that it holds. What tells this is
//! the room that answers leave unused: a coefficient is at most scale · (mean magnitude of the
//! slots), some 17 bits below q, while coefficients that were reduced modulo q fill all of it.
//! Large values that have not wrapped are refused too, because they disturb the images that they
//! share ciphertexts with. `docs/robustness.md` has the whole argument.

use chiffre_ir::layout::Layout;
use chiffre_ir::program::Program;
use chiffre_runtime::{RuntimeError, Session};
use num_complex::Complex64;
use std::collections::{BTreeMap, BTreeSet};

/// A ciphertext is damaged if a coefficient of its plaintext exceeds this fraction of q, or a slot
/// this fraction of q / scale.
///
/// No false alarm while all slots are at most [`Limits::image`]. A miss needs all coefficients
/// small: one that is uniform modulo q is so with probability 1/128.
pub const ROOM: f64 = 1.0 / 256.0;

/// From the largest logit of an answer to the slot that damages a ciphertext.
const MARGIN: f64 = 4.0;

/// What the values of a result may be, from its modulus q and scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Product of the result's limbs (of the first three, which is what decoding takes).
    pub q: f64,
    /// Scale of the result.
    pub scale: f64,
}

impl Limits {
    /// Those of the session's program.
    ///
    /// # Errors
    /// A program without exactly one output.
    pub fn of(s: &Session) -> Result<Limits, RuntimeError> {
        Limits::of_program(s.program())
    }
    /// Those of a verified program.
    ///
    /// # Errors
    /// As [`Limits::of`].
    pub fn of_program(p: &Program) -> Result<Limits, RuntimeError> {
        let [output] = p.outputs[..] else {
            return Err(RuntimeError::Input("the program does not have exactly one output".into()));
        };
        let (ty, primes) = (p.ty(output), &p.header.q);
        let q = primes.iter().take(ty.limbs.min(3)).map(|&q| q as f64).product();
        let scale = ty.scale.over(primes).ok_or_else(|| RuntimeError::Input("a scale over primes that the chain lacks".into()))?;
        Ok(Limits { q, scale: scale.to_f64() })
    }
    /// An image whose logits exceed this magnitude has no answer: `slot() / 4`, 2^10 for 49-bit
    /// primes and scale 2^27. If all slots stay below it, nothing is reported.
    pub fn image(&self) -> f64 {
        self.slot() / MARGIN
    }
    /// A ciphertext with a slot beyond this magnitude is damaged, although it has not left the
    /// modulus: `ROOM · q / scale / 4`, 2^12 for the same parameters. What rounded masks let
    /// through to other images, some 2^-17 of a network's largest logit, grows with it.
    pub fn slot(&self) -> f64 {
        ROOM * self.q / self.scale / 4.0
    }
}

/// How far a decrypted polynomial fills its modulus, as fractions of q. Uniform noise has rms 0.289
/// and peak 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Root mean square of the centred coefficients.
    pub rms: f64,
    /// Largest magnitude of a centred coefficient.
    pub peak: f64,
}

impl Spread {
    /// Of centred coefficients modulo q.
    pub fn of(coefficients: &[f64], q: f64) -> Spread {
        let squares: f64 = coefficients.iter().map(|c| (c / q) * (c / q)).sum();
        let peak = coefficients.iter().fold(0.0, |m: f64, c| m.max(c.abs())) / q;
        Spread { rms: (squares / coefficients.len().max(1) as f64).sqrt(), peak }
    }
}

/// A ciphertext whose images have no answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DamagedCiphertext {
    /// Unit of the result.
    pub unit: usize,
    /// Ciphertext of the unit.
    pub ciphertext: usize,
    /// How far its plaintext fills the modulus.
    pub spread: Spread,
    /// Largest magnitude of its slots.
    pub largest: f64,
}

/// A unit whose canary has a wrong answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The images of the unit.
    pub images: BTreeSet<usize>,
    /// Largest error of a logit of the canary; infinite if it has no answer.
    pub error: f64,
    /// The largest error that passes.
    pub bound: f64,
}

/// What is wrong with a result; nothing, usually.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Number of images.
    pub images: usize,
    /// Damaged ciphertexts.
    pub ciphertexts: Vec<DamagedCiphertext>,
    /// Images with at least one output in a damaged ciphertext.
    pub lost: BTreeSet<usize>,
    /// Images that only have logits beyond [`Limits::image`], with the largest magnitude.
    pub implausible: BTreeMap<usize, f64>,
    /// Units whose canary has a wrong answer: theirs are not to be trusted.
    pub refused: Vec<Refused>,
    /// Images that were not encrypted.
    pub left_out: BTreeSet<usize>,
}

impl Report {
    /// All images without an answer.
    pub fn affected(&self) -> BTreeSet<usize> {
        self.damaged().into_iter().chain(self.left_out.iter().copied()).collect()
    }
    /// Images without an answer that were encrypted.
    pub fn damaged(&self) -> BTreeSet<usize> {
        let refused = self.refused.iter().flat_map(|r| &r.images);
        self.lost.iter().chain(self.implausible.keys()).chain(refused).copied().collect()
    }
}

/// Decrypted answers.
#[derive(Clone, Debug)]
pub struct Decrypted {
    /// Logits `[images, outputs]`; NaN for every affected image.
    pub logits: Vec<f32>,
    /// Which images are affected, and why.
    pub report: Report,
}

/// A decrypted ciphertext: the spread of its coefficients and its slots.
pub(super) type Plain = (Spread, Vec<Complex64>);

impl Decrypted {
    /// The same with places for images that were left out, by number among all: NaN.
    pub(super) fn among(self, left_out: &[usize]) -> Decrypted {
        if left_out.is_empty() {
            return self;
        }
        let Decrypted { logits, report } = self;
        let outputs = logits.len() / report.images.max(1);
        let left_out: BTreeSet<usize> = left_out.iter().copied().collect();
        let images = report.images + left_out.len();
        let sent: Vec<usize> = (0..images).filter(|i| !left_out.contains(i)).collect();
        let mut all = vec![f32::NAN; images * outputs];
        sent.iter().zip(logits.chunks_exact(outputs.max(1))).for_each(|(i, row)| all[i * outputs..][..outputs].copy_from_slice(row));
        let numbered = |images: BTreeSet<usize>| images.into_iter().map(|i| sent[i]).collect();
        let report = Report {
            images,
            ciphertexts: report.ciphertexts,
            lost: numbered(report.lost),
            implausible: report.implausible.into_iter().map(|(i, x)| (sent[i], x)).collect(),
            refused: report.refused.into_iter().map(|r| Refused { images: numbered(r.images), ..r }).collect(),
            left_out,
        };
        Decrypted { logits: all, report }
    }
    /// Adds `images` answers of unit `unit` from all its ciphertexts.
    pub(super) fn push(&mut self, limits: &Limits, layout: &Layout, unit: usize, plain: Vec<Plain>, images: usize) {
        let (spreads, slots): (Vec<Spread>, Vec<Vec<Complex64>>) = plain.into_iter().unzip();
        let mut damaged = BTreeSet::new();
        for (ciphertext, (&spread, slots)) in spreads.iter().zip(&slots).enumerate() {
            let largest = slots.iter().fold(0.0, |m: f64, z| m.max(z.re.abs()).max(z.im.abs()));
            if spread.peak > ROOM || largest > limits.slot() {
                damaged.insert(ciphertext);
                self.report.ciphertexts.push(DamagedCiphertext { unit, ciphertext, spread, largest });
            }
        }
        let [c, h, w] = layout.shape;
        let outputs = c * h * w;
        let mut logits = layout.unpack(&slots, images);
        for (b, row) in logits.chunks_exact_mut(outputs).enumerate() {
            let image = self.report.images + b;
            let largest = row.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
            if (0..outputs).any(|i| damaged.contains(&layout.place([b, i / (h * w), i / w % h, i % w]).ct)) {
                self.report.lost.insert(image);
            } else if largest > limits.image() {
                self.report.implausible.insert(image, largest);
            } else {
                continue;
            }
            row.fill(f32::NAN);
        }
        self.logits.extend(logits);
        self.report.images += images;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ckks::context::Context;
    use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
    use chiffre_ckks::scale::Scale;
    use chiffre_ir::graph::Type;
    use chiffre_ir::layout::{Dim, bit};
    use proptest::prelude::*;

    const LOG_N: u32 = 10;

    fn context() -> Context {
        let literal = CkksParamsLiteral::generate(LOG_N, &[49, 49], &[50]).unwrap();
        Context::new(CkksParams::try_from(literal.insecure()).unwrap()).unwrap()
    }

    fn limits(c: &Context) -> Limits {
        Limits { q: c.ring().moduli()[0].q() as f64, scale: 2f64.powi(27) }
    }

    /// Encodes with all limbs, as if there were no modulus, and keeps the last limb, as a run does.
    fn plain(c: &Context, slots: &[Complex64]) -> Plain {
        let scale = Scale::pow2(27);
        let mut p = c.encode(slots, &scale, 2).unwrap();
        p.poly.truncate(1);
        let coefficients = c.encoder().coefficients(c.ring(), &p);
        (Spread::of(&coefficients, limits(c).q), c.encoder().slots_of(&coefficients, &scale))
    }

    fn judge(c: &Context, layout: &Layout, plains: Vec<Plain>, images: usize) -> Decrypted {
        let mut d = Decrypted { logits: vec![], report: Report::default() };
        d.push(&limits(c), layout, 0, plains, images);
        d
    }

    /// Two classes of 512 real images, one ciphertext per class.
    fn two_classes() -> Layout {
        Layout::parse("slots[b8..b0] cts[c0] shape=2x1x1 batch=512").unwrap()
    }

    fn noise(i: usize) -> f64 {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / 2f64.powi(52) - 1.0
    }

    fn ordinary(seed: usize) -> Vec<Complex64> {
        (0..512).map(|i| Complex64::new(30.0 * noise(512 * seed + i), 0.0)).collect()
    }

    #[test]
    fn ordinary_logits_are_far_below_the_threshold() {
        let c = context();
        let l = limits(&c);
        assert!((l.image().log2() - 10.0).abs() < 0.01 && (l.slot().log2() - 12.0).abs() < 0.01, "{l:?}");
        // Even 30 in every slot is nine bits below.
        for v in [ordinary(1), vec![Complex64::new(30.0, 0.0); 512]] {
            let (spread, _) = plain(&c, &v);
            assert!(spread.peak < ROOM / 500.0 && spread.rms < spread.peak, "{spread:?}");
        }
        let d = judge(&c, &two_classes(), vec![plain(&c, &ordinary(1)), plain(&c, &ordinary(2))], 500);
        assert_eq!(d.report, Report { images: 500, ..Report::default() });
        assert!(d.logits.iter().all(|v| v.is_finite()) && d.logits.len() == 1000);
    }

    #[test]
    fn wrapped_plaintexts_are_found_whatever_wrapped_them() {
        let c = context();
        for bits in [33, 36, 40, 50, 60] {
            let mut v = ordinary(1);
            v[7].re = 2f64.powi(bits);
            let (spread, slots) = plain(&c, &v);
            assert!(spread.peak > 100.0 * ROOM, "2^{bits}: {spread:?}");
            assert!(bits < 40 || (spread.rms - 12f64.powf(-0.5)).abs() < 0.02, "2^{bits}: {spread:?}");
            let d = judge(&c, &two_classes(), vec![plain(&c, &ordinary(2)), (spread, slots)], 512);
            assert_eq!((d.report.lost.len(), d.report.ciphertexts.len(), d.report.ciphertexts[0].ciphertext), (512, 1, 1));
            assert!(d.logits.iter().all(|v| v.is_nan()));
        }
    }

    #[test]
    fn one_large_logit_is_reported_alone_and_a_larger_one_takes_all() {
        let c = context();
        for (value, lost, implausible) in [(1000.0, 0, 0), (1050.0, 0, 1), (4000.0, 0, 1), (4200.0, 512, 0)] {
            let mut v = ordinary(1);
            v[7].re = -value;
            let d = judge(&c, &two_classes(), vec![plain(&c, &ordinary(2)), plain(&c, &v)], 512);
            assert_eq!((d.report.lost.len(), d.report.implausible.len()), (lost, implausible), "{value}");
            assert!(d.report.implausible.keys().all(|&i| i == 7));
            assert_eq!(d.logits.iter().filter(|v| v.is_nan()).count(), 2 * d.report.affected().len());
        }
    }

    #[test]
    fn images_that_were_left_out_keep_their_places() {
        let report = Report {
            images: 3,
            lost: BTreeSet::from([1]),
            implausible: [(2, 9.0)].into(),
            refused: vec![Refused { images: BTreeSet::from([0, 2]), error: 1.0, bound: 0.5 }],
            ..Report::default()
        };
        let d = Decrypted { logits: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], report };
        let all = d.clone().among(&[0, 2]);
        assert_eq!(all.logits[2..4], [1.0, 2.0]);
        assert_eq!(all.logits[6..], [3.0, 4.0, 5.0, 6.0]);
        assert!([0, 1, 4, 5].iter().all(|&i| all.logits[i].is_nan()));
        let r = &all.report;
        assert_eq!((r.images, &r.lost, &r.implausible), (5, &BTreeSet::from([3]), &[(4, 9.0)].into()));
        assert_eq!((&r.refused[0].images, &r.left_out), (&BTreeSet::from([1, 4]), &BTreeSet::from([0, 2])));
        assert_eq!((r.affected().len(), r.damaged()), (5, BTreeSet::from([1, 3, 4])));
        assert_eq!(d.clone().among(&[]).report, d.report);
    }

    #[test]
    fn only_images_of_a_damaged_ciphertext_are_lost() {
        let c = context();
        let mut v = ordinary(1);
        v[100].re = 1e12;
        // Class 1 of all images in the damaged ciphertext, classes 0 and 2 in the other.
        let classes = Layout::parse("slots[c1 b7..b0] cts[c0] complex=b8 shape=3x1x1 batch=512").unwrap();
        let d = judge(&c, &classes, vec![plain(&c, &ordinary(2)), plain(&c, &v)], 300);
        assert_eq!(d.report.affected(), (0..300).collect());
        // Images from 512 on in the damaged ciphertext.
        let images = Layout { cts: vec![bit(Dim::B, 9)], shape: [1, 1, 1], batch: 1024, ..two_classes() };
        let d = judge(&c, &images, vec![plain(&c, &ordinary(2)), plain(&c, &v)], 600);
        assert_eq!(d.report.affected(), (512..600).collect());
        assert!(d.logits[..512].iter().all(|v| v.is_finite()) && d.logits[512..].iter().all(|v| v.is_nan()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn nothing_below_the_limit_is_ever_reported(seed in 0usize..1 << 20, amplitude in 1.0f64..1020.0, constant in any::<bool>()) {
            let c = context();
            let v: Vec<Complex64> = (0..512).map(|i| {
                let (re, im) = (noise(seed + 2 * i), noise(seed + 2 * i + 1));
                if constant { Complex64::new(amplitude, amplitude / 2.0) } else { Complex64::new(amplitude * re, amplitude * im) / 2f64.sqrt() }
            }).collect();
            let mean = v.iter().map(|z| z.norm()).sum::<f64>() / 512.0;
            let layout = Layout::parse("slots[b8..b0] cts[] complex=b9 shape=1x1x1 batch=1024").unwrap();
            let (spread, slots) = plain(&c, &v);
            prop_assert!(spread.peak <= mean * 2f64.powi(27) / limits(&c).q + 1e-9, "coefficients are bounded by the mean slot");
            let d = judge(&c, &layout, vec![(spread, slots)], 1024);
            prop_assert!(d.report.affected().is_empty(), "{:?}", d.report);
        }
    }
}
