//! Canaries: images that the data owner hides among its own, and whose logits it knows.
//!
//! Each unit of images that share ciphertexts gets one more image, at a random place. It is a
//! random mixture of two images of the batch, shifted, with noise: within the range of both, and
//! unlike any other. Its logits are computed in the clear, by the interpreter of the HE IR, and
//! compared at decryption. So a result of other images, or of another computation, is found; one
//! that spoils single images is found only if the canary is among them.
//!
//! **What an answer may be off by** is predicted: canaries, and images beside them, run in the
//! clear with the noise model. Of the largest error of each image the median is taken, [`FACTOR`]
//! times. Images that stand out, by their pixels or their logits, take no part in that: in a
//! ciphertext they disturb all others, and that is what a canary is to notice.

use crate::check::{Decrypted, Limits, Refused, Report};
use crate::randomness;
use crate::screening::chosen;
use chiffre_ckks_client::Csprng;
use chiffre_ir::he::{Noise, interp};
use chiffre_runtime::{RuntimeError, Session};
use std::collections::BTreeSet;
use std::ops::Range;

/// From the median of the images' largest simulated errors to the bound on decrypted ones. The
/// largest of many images is some three times the median, and encrypted runs were seen to have
/// three times the error of simulated ones (key switching and the neighbours in a ciphertext are
/// not in the model), which leaves a factor of three for images that make more noise than these.
const FACTOR: f64 = 32.0;
/// What is more than so many times the median stands out.
const ODD: f64 = 8.0;
/// Least bound, as a share of the largest logit: what single precision leaves.
const PRECISION: f64 = 1e-6;
/// Images that are simulated beside the canaries at least, if there are so many.
const FEW: usize = 3;
/// How often canaries are drawn before the images are at fault.
const TRIES: usize = 4;
/// Noise on a canary, as a share of the range of the images that it is mixed from.
const GRAIN: f64 = 1.0 / 16.0;

/// Canaries of a batch, one for each unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Canaries {
    /// Images of a unit, its canary among them.
    unit: usize,
    /// Where in the batch they are: one in each unit.
    places: Vec<usize>,
    /// Their logits in the clear, `[canaries, outputs]`.
    logits: Vec<f32>,
    bound: f64,
}

/// The fewest images that share ciphertexts anywhere in the program.
fn unit(s: &Session) -> Result<usize, RuntimeError> {
    let alone = || RuntimeError::Input("the program takes one image, and a canary takes a place beside it".into());
    s.program().fewest_together().ok_or_else(alone)
}

/// Outputs of an image.
fn outputs(s: &Session) -> Result<usize, RuntimeError> {
    Ok(s.output()?.layout.shape.iter().product())
}

impl Canaries {
    /// Canaries for `n` images `[n, C, H, W]`, and all images with the canaries among them.
    ///
    /// # Errors
    /// A batch without room for them; a program file without HE IR; images of which no mixture has
    /// usable logits.
    pub fn among(s: &Session, images: &[f32], n: usize) -> Result<(Canaries, Vec<f32>), RuntimeError> {
        let (shape, unit, batch) = (s.input_layout()?.shape, unit(s)?, s.program().header.batch);
        let count = n.div_ceil(unit - 1);
        if n + count > batch {
            return Err(RuntimeError::Input(format!(
                "{n} images and {count} canaries: a canary takes one place of every {unit}, so that the program takes at most {} images \
                 beside them",
                batch - batch.div_ceil(unit)
            )));
        }
        let graph = s.file.he().map_err(|e| RuntimeError::Input(e.to_string()))?;
        let limit = Limits::of(s)?.image();
        let mut dice = Dice { rng: randomness()?, words: vec![] };
        let places: Vec<usize> = (0..count).map(|j| j * unit + dice.below(unit.min(n + count - j * unit))).collect();
        let (per, outputs) = (shape.iter().product::<usize>(), outputs(s)?);
        let usual = usual(images, per, f64::INFINITY);
        // Beside the canaries, what fits into their units and costs nothing, or a few.
        let layout = s.input_layout()?;
        let beside = (layout.units_for(count) * layout.unit_batch() - count).max(FEW).min(usual.len()).min(batch - count);
        let run = |x: &[f32], noise: Option<&mut Noise>| {
            let all = interp(&graph, x, x.len() / per, noise).map_err(|e| RuntimeError::Input(e.to_string()))?;
            all.into_iter().next().ok_or_else(|| RuntimeError::Input("the program has no output".into()))
        };
        for _ in 0..TRIES {
            let drawn: Vec<f32> = (0..count).flat_map(|_| dice.mixture(shape, images, &usual)).collect();
            let sample = [&drawn[..], &chosen(images, per, &usual[..beside])].concat();
            let exact = run(&sample, None)?;
            let kept = self::usual(&exact, outputs, limit);
            if !kept.iter().take(count).copied().eq(0..count) {
                continue;
            }
            let mut noise = Noise::of(s.program(), dice.word());
            let noisy = run(&chosen(&sample, per, &kept), Some(&mut noise))?;
            let Some(bound) = bound(&chosen(&exact, outputs, &kept), &noisy, outputs, count) else { continue };
            let all = merged(&places, &drawn, images, per);
            return Ok((Canaries { unit, places, logits: exact[..count * outputs].to_vec(), bound }, all));
        }
        Err(RuntimeError::Input(format!(
            "no canary can be had: the logits of mixtures of these images stand out from theirs or exceed {limit:.0}, as those of images far out \
             of range do"
        )))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The largest error of a logit that passes.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Number of canaries beside `n` images, and of outputs of each.
    pub fn shape(s: &Session, n: usize) -> Result<[usize; 2], RuntimeError> {
        Ok([n.div_ceil(unit(s)? - 1), outputs(s)?])
    }

    /// Logits and places, little-endian.
    pub fn bytes(&self) -> [Vec<u8>; 2] {
        let places = self.places.iter().flat_map(|&p| (p as u64).to_le_bytes()).collect();
        [self.logits.iter().flat_map(|x| x.to_le_bytes()).collect(), places]
    }

    /// What [`Self::bytes`] has written beside `n` images; `None` for what it never writes.
    pub fn from_bytes(s: &Session, n: usize, places: &[u8], logits: &[u8], bound: f64) -> Option<Canaries> {
        let unit = unit(s).ok()?;
        let word = |b: &[u8]| b.try_into().ok().map(u64::from_le_bytes).and_then(|p| usize::try_from(p).ok());
        let places: Vec<usize> = places.chunks_exact(8).map(word).collect::<Option<_>>()?;
        let number = |b: &[u8]| b.try_into().ok().map(f32::from_le_bytes).filter(|x| x.is_finite());
        let logits: Vec<f32> = logits.chunks_exact(4).map(number).collect::<Option<_>>()?;
        let all = n + places.len();
        let placed = places.iter().enumerate().all(|(j, &p)| p / unit == j && p < all);
        (placed && all <= s.program().header.batch && bound.is_finite() && bound > 0.0).then_some(Canaries { unit, places, logits, bound })
    }

    /// Compares the answers of canaries with what they should be, and leaves them out: images are
    /// numbered without them. Those of a unit whose canary has a wrong answer are refused.
    pub fn settle(&self, decrypted: Decrypted) -> Decrypted {
        let Decrypted { mut logits, report } = decrypted;
        let outputs = self.logits.len() / self.places.len().max(1);
        let number = |place: usize| place - self.places.iter().filter(|&&p| p < place).count();
        let real = |places: Range<usize>| places.filter(|p| !self.places.contains(p));
        let mut refused = vec![];
        for (j, (&place, want)) in self.places.iter().zip(self.logits.chunks_exact(outputs)).enumerate() {
            let got = &logits[place * outputs..][..outputs];
            // The answer of a canary that has none is NaN.
            let off = |(a, b): (&f32, &f32)| Some((f64::from(*a) - f64::from(*b)).abs()).filter(|e| e.is_finite()).unwrap_or(f64::INFINITY);
            let error = got.iter().zip(want).map(off).fold(0.0, f64::max);
            if error > self.bound {
                let unit = real(j * self.unit..((j + 1) * self.unit).min(report.images));
                refused.push((unit.collect::<Vec<_>>(), error));
            }
        }
        for place in refused.iter().flat_map(|(places, _)| places) {
            logits[place * outputs..][..outputs].fill(f32::NAN);
        }
        let numbered = |places: BTreeSet<usize>| places.into_iter().filter(|p| !self.places.contains(p)).map(number).collect();
        let report = Report {
            images: report.images - self.places.len(),
            ciphertexts: report.ciphertexts,
            lost: numbered(report.lost),
            implausible: report.implausible.into_iter().filter(|(p, _)| !self.places.contains(p)).map(|(p, x)| (number(p), x)).collect(),
            refused: refused
                .into_iter()
                .map(|(places, error)| Refused { images: places.into_iter().map(number).collect(), error, bound: self.bound })
                .collect(),
            left_out: BTreeSet::new(),
        };
        let rows = logits.chunks_exact(outputs).enumerate().filter(|(p, _)| !self.places.contains(p));
        Decrypted { logits: rows.flat_map(|(_, row)| row).copied().collect(), report }
    }
}

/// The largest magnitude of each row of `len` values; infinite where one is no number.
fn sizes(rows: &[f32], len: usize) -> Vec<f64> {
    let size = |m: f64, x: &f32| if x.is_finite() { m.max(f64::from(x.abs())) } else { f64::INFINITY };
    rows.chunks_exact(len).map(|row| row.iter().fold(0.0, size)).collect()
}

/// The upper median; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The rows of `len` values that do not stand out and are within the limit.
fn usual(rows: &[f32], len: usize, limit: f64) -> Vec<usize> {
    let sizes = sizes(rows, len);
    let most = limit.min(ODD * median(&sizes));
    (0..sizes.len()).filter(|&i| sizes[i] <= most).collect()
}

/// [`FACTOR`] times the median of the images' largest errors; `None` if that of a canary (the first
/// `count`) stands out, or is no number.
fn bound(exact: &[f32], noisy: &[f32], outputs: usize, count: usize) -> Option<f64> {
    let difference: Vec<f32> = exact.iter().zip(noisy).map(|(a, b)| a - b).collect();
    let errors = sizes(&difference, outputs);
    let precision = PRECISION * median(&sizes(exact, outputs));
    let median = median(&errors).max(precision).max(f64::from(f32::MIN_POSITIVE));
    (median.is_finite() && errors.iter().take(count).all(|e| *e <= ODD * median)).then_some(FACTOR * median)
}

/// The images with the canaries among them.
fn merged(places: &[usize], canaries: &[f32], images: &[f32], per: usize) -> Vec<f32> {
    let (mut canaries, mut images) = (canaries.chunks_exact(per), images.chunks_exact(per));
    let all = canaries.len() + images.len();
    let next = |place| if places.contains(&place) { canaries.next() } else { images.next() };
    (0..all).filter_map(next).flatten().copied().collect()
}

/// Secret choices.
struct Dice {
    rng: Csprng,
    words: Vec<u64>,
}

impl Dice {
    fn word(&mut self) -> u64 {
        if self.words.is_empty() {
            let seed = self.rng.seed();
            self.words.extend(seed.chunks_exact(8).map(|b| b.iter().fold(0, |w, &x| w << 8 | u64::from(x))));
        }
        self.words.pop().unwrap_or_default()
    }

    /// A number below `n`, which is positive.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// A number in [0, 1).
    fn share(&mut self) -> f64 {
        (self.word() >> 11) as f64 / 2f64.powi(53)
    }

    /// A mixture of two of the images `[n, C, H, W]` that are listed, both shifted (around the
    /// edges), with noise; within the range that the two have in each channel.
    fn mixture(&mut self, [c, h, w]: [usize; 3], images: &[f32], list: &[usize]) -> Vec<f32> {
        let n = list.len();
        let a = self.below(n);
        // Another one, if there is another one.
        let b = (a + 1 + self.below((n - 1).max(1))) % n;
        let (a, b) = (list[a], list[b]);
        let shifts = [[self.below(h), self.below(w)], [self.below(h), self.below(w)]];
        let part = 0.25 + 0.5 * self.share();
        let plane = |image: usize, channel: usize| &images[(image * c + channel) * h * w..][..h * w];
        let mut out = vec![];
        for channel in 0..c {
            let planes = [plane(a, channel), plane(b, channel)];
            let both = || planes.iter().flat_map(|p| p.iter());
            let (low, high) = (both().copied().fold(f32::INFINITY, f32::min), both().copied().fold(f32::NEG_INFINITY, f32::max));
            let grain = GRAIN * f64::from(high - low);
            for at in 0..h * w {
                let shifted = |k: usize| f64::from(planes[k][(at / w + shifts[k][0]) % h * w + (at % w + shifts[k][1]) % w]);
                let value = part * shifted(0) + (1.0 - part) * shifted(1) + grain * (2.0 * self.share() - 1.0);
                out.push((value as f32).clamp(low, high));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dice(seed: u8) -> Dice {
        Dice { rng: Csprng::from_seed([seed; 32]), words: vec![] }
    }

    #[test]
    fn mixtures_stay_in_range_and_are_like_no_image() {
        let (shape, n) = ([2, 3, 4], 3);
        let images: Vec<f32> = (0..n * 24).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        for seed in 0..20 {
            // Of all images, and of one alone.
            for n in [n, 1] {
                let list: Vec<usize> = (0..n).collect();
                let x = dice(seed).mixture(shape, &images, &list);
                let y = dice(seed + 100).mixture(shape, &images, &list);
                assert!(x.len() == 24 && x != y && images.chunks(24).all(|i| i != x));
                assert!(x.iter().all(|v| (-1.0..=1.02).contains(v)), "{x:?}");
            }
        }
        assert_eq!(dice(1).mixture([1, 1, 1], &[0.5], &[0]), [0.5], "there is nothing to draw from");
    }

    #[test]
    fn canaries_are_left_out_and_a_wrong_one_takes_its_unit() {
        // Units of four: seven images, canaries at 2, 4 and 9.
        let c = Canaries { unit: 4, places: vec![2, 4, 9], logits: vec![1.0, 2.0, 3.0], bound: 0.25 };
        let images: Vec<f32> = (0..7).map(|i| 10.0 + i as f32).collect();
        let all = merged(&c.places, &c.logits, &images, 1);
        assert_eq!(all, [10.0, 11.0, 1.0, 12.0, 2.0, 13.0, 14.0, 15.0, 16.0, 3.0]);
        let answers = |logits: Vec<f32>| {
            let report = Report { images: 10, lost: BTreeSet::from([9]), implausible: [(5, 9.0)].into(), ..Report::default() };
            c.settle(Decrypted { logits, report })
        };
        let good = answers(all.clone());
        assert_eq!(good.logits, images);
        assert_eq!((good.report.images, good.report.lost.len(), good.report.refused.len()), (7, 0, 0));
        assert_eq!(good.report.implausible, [(3, 9.0)].into());
        // The first canary is off, and the last has no answer.
        let mut wrong = all;
        (wrong[2], wrong[4], wrong[9]) = (1.5, 2.2, f32::NAN);
        let d = answers(wrong);
        let refused: Vec<_> = d.report.refused.iter().map(|r| (r.images.iter().copied().collect::<Vec<_>>(), r.error)).collect();
        assert_eq!(refused, [(vec![0, 1, 2], 0.5), (vec![6], f64::INFINITY)]);
        let lost: Vec<bool> = d.logits.iter().map(|x| x.is_nan()).collect();
        assert_eq!(lost, [true, true, true, false, false, false, true]);
        assert_eq!(d.report.affected(), BTreeSet::from([0, 1, 2, 3, 6]));
    }

    #[test]
    fn bounds_follow_the_simulated_errors() {
        // Largest errors of 1/4, 1/8 and 1/2.
        let (exact, noisy) = ([1.0, -2.0, 3.0, 0.5, 0.0, 4.0], [1.0, -2.25, 3.0, 0.625, 0.5, 4.0]);
        assert_eq!(bound(&exact, &noisy, 2, 1), Some(32.0 * 0.25));
        let with = |at: usize, value: f32| {
            let mut noisy = noisy;
            noisy[at] = value;
            bound(&exact, &noisy, 2, 1)
        };
        // A large error of an image changes nothing, but a canary may not have it.
        assert_eq!((with(5, 50.0), with(1, 50.0), with(1, f32::NAN)), (Some(32.0 * 0.25), None, None));
        // What single precision leaves, where the model has no noise.
        assert_eq!(bound(&[4.0], &[4.0], 1, 1), Some(32.0 * 4e-6));
    }

    #[test]
    fn images_that_stand_out_are_left_out() {
        let rows = [1.0, -2.0, 3.0, 0.5, 0.0, 30.0, f32::INFINITY, 0.0, 2.0, 2.0];
        assert_eq!(usual(&rows, 2, f64::INFINITY), [0, 1, 4]);
        assert_eq!(usual(&rows, 2, 2.5), [0, 4]);
        assert_eq!(chosen(&rows, 2, &[4, 0]), [2.0, 2.0, 1.0, -2.0]);
        assert_eq!(usual(&[0.0; 3], 1, 1.0), [0, 1, 2]);
    }
}
