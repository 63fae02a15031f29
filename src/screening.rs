//! Images before they are encrypted: which ones cannot be encrypted with others, and whether all
//! of them differ from those that a program was calibrated on.

use crate::data::{Images, Normalisation};
use crate::{Error, Setting};
pub use chiffre_client::{Absurd, Reason};
use chiffre_ir::program::{ChannelStatistics, ProgramHeader};
use std::fmt;

/// Images whose reasons an error gives.
const EXPLAINED: usize = 3;
/// Images that an error names.
const NAMED: usize = 20;
/// Fewer images than this may well be all dark or all bright.
const SEVERAL: usize = 8;

/// The error that names images which cannot be encrypted with the others.
pub fn refusal(absurd: &[Absurd], names: &[String]) -> Error {
    let name = |a: &Absurd| names.get(a.image).cloned().unwrap_or_else(|| format!("image {}", a.image));
    let explained: Vec<String> = absurd.iter().take(EXPLAINED).map(|a| format!("{}: {}", name(a), a.reason)).collect();
    let named: Vec<String> = absurd.iter().skip(EXPLAINED).take(NAMED - EXPLAINED).map(name).collect();
    let more = absurd.len().saturating_sub(NAMED);
    let mut text = format!("{} of {} images cannot be encrypted with the others. {}", absurd.len(), names.len(), explained.join("; "));
    if !named.is_empty() {
        text += &format!("; and so it is with {}", named.join(", "));
    }
    if more > 0 {
        text += &format!(" and {more} more");
    }
    Error::input(text).advise("leave them out").setting_to(Setting::LeaveOut)
}

/// The same images without some, by number.
pub fn without(images: &Images, left_out: &[usize]) -> Images {
    let kept: Vec<usize> = (0..images.n).filter(|i| !left_out.contains(i)).collect();
    let per = images.shape.iter().product();
    Images {
        pixels: chiffre_client::chosen(&images.pixels, per, &kept),
        n: kept.len(),
        shape: images.shape,
        labels: images.labels.as_ref().map(|l| kept.iter().map(|&i| l[i]).collect()),
        names: kept.iter().map(|&i| images.names[i].clone()).collect(),
    }
}

/// How images differ from those that a program was calibrated on.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The channel that differs most.
    pub channel: usize,
    /// Of the images.
    pub images: ChannelStatistics,
    /// Of the calibration images.
    pub calibrated: ChannelStatistics,
    /// What may have happened, if it explains the figures.
    pub cause: Option<Cause>,
}

/// What explains figures other than those of the calibration images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Pixels from 0 to 255.
    Pixels,
    /// Pixels divided by 255, and nothing else.
    Scaled,
    /// Normalised twice.
    Twice,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { channel, images: i, calibrated: c, cause } = self;
        write!(
            f,
            "these images have mean {:.3}, deviation {:.3} and values from {:.3} to {:.3} in channel {channel}, where those that the program was \
             calibrated on had mean {:.3}, deviation {:.3} and {:.3} to {:.3}: ",
            i.mean, i.deviation, i.lowest, i.highest, c.mean, c.deviation, c.lowest, c.highest
        )?;
        f.write_str(match cause {
            Some(Cause::Pixels) => "they look like pixels from 0 to 255 that were not normalised",
            Some(Cause::Scaled) => "they look like pixels from 0 to 1 that were not normalised",
            Some(Cause::Twice) => "they look as if they were normalised twice",
            None => "were they normalised as the model expects?",
        })
    }
}

/// How `images` differ from those that the program was calibrated on, if they do so more than
/// images of one kind do from each other. `None` as well if nothing is known of those.
pub fn difference(header: &ProgramHeader, images: &Images) -> Option<Difference> {
    let calibrated = header.calibrated.as_ref()?;
    let normalisation: Option<Normalisation> = header.normalisation.as_deref().and_then(|n| n.parse().ok());
    let figures = ChannelStatistics::of(&images.pixels, images.n, images.shape[0]);
    let pairs = || figures.iter().zip(calibrated).enumerate();
    let odd = pairs().filter_map(|(channel, (a, b))| Some((oddity(a, b, images.n)?, channel)));
    let (_, channel) = odd.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // A cause has to explain every channel.
    let explains = |cause: &Cause| {
        let n = normalisation.as_ref();
        pairs().all(|(c, (a, b))| expected(*cause, b, n, c).is_some_and(|expected| oddity(a, &expected, images.n).is_none()))
    };
    let cause = [Cause::Pixels, Cause::Scaled, Cause::Twice].into_iter().find(explains);
    Some(Difference { channel, images: figures[channel], calibrated: calibrated[channel], cause })
}

/// The figures that images like the calibrated ones would have after a mistake.
fn expected(cause: Cause, calibrated: &ChannelStatistics, n: Option<&Normalisation>, channel: usize) -> Option<ChannelStatistics> {
    let n = n?;
    let [mean, std] = [n.mean(), n.std()].map(|v| f64::from(v[channel % v.len()]));
    let (factor, shift) = match cause {
        Cause::Pixels => (255.0 * std, 255.0 * mean),
        Cause::Scaled => (std, mean),
        Cause::Twice => (1.0 / std, -mean / std),
    };
    let ChannelStatistics { lowest, highest, mean, deviation } = *calibrated;
    let [lowest, highest, mean] = [lowest, highest, mean].map(|x| factor * x + shift);
    Some(ChannelStatistics { lowest, highest, mean, deviation: factor * deviation })
}

/// How much figures differ, if that is more than chance: 1 and more. Few images may be all dark or
/// without contrast, but they do not go far beyond the range of many.
fn oddity(images: &ChannelStatistics, calibrated: &ChannelStatistics, n: usize) -> Option<f64> {
    let width = (calibrated.highest - calibrated.lowest).max(f64::MIN_POSITIVE);
    let deviation = calibrated.deviation.max(1e-3 * width);
    let ratio = images.deviation / deviation;
    let beyond = (calibrated.lowest - images.lowest).max(images.highest - calibrated.highest) / width;
    let shift = (images.mean - calibrated.mean).abs() / deviation;
    let several = n >= SEVERAL;
    let odd = [
        beyond / 0.5,
        shift / if several { 1.5 } else { 3.0 },
        ratio / 2.5,
        // Less contrast, and less of the range, than any few images have.
        if several { 0.4 / ratio.max(1e-6) } else { 0.0 },
        if several { 0.52 * width / (images.highest - images.lowest).max(1e-6 * width) } else { 0.0 },
    ];
    Some(odd.into_iter().fold(0.0, f64::max)).filter(|odd| *odd > 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataOptions, load};
    use std::path::Path;

    /// The shipped pictures, and a header as that of a program which was calibrated on them.
    fn shipped() -> (Images, ProgramHeader) {
        let text = "(px/255-mean)/std mean=0.4914,0.4822,0.4465 std=0.2470,0.2435,0.2616";
        let normalisation: Normalisation = text.parse().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny3_test.npz");
        let images = load(&path, &DataOptions { shape: [3, 8, 8], normalisation: Some(normalisation), count: None }).unwrap();
        let calibrated = Some(ChannelStatistics::of(&images.pixels, images.n, 3));
        (images, ProgramHeader { calibrated, normalisation: Some(text.into()), ..ProgramHeader::default() })
    }

    fn some(images: &Images, first: usize, n: usize) -> Images {
        let left_out: Vec<usize> = (0..images.n).filter(|i| !(first..first + n).contains(i)).collect();
        without(images, &left_out)
    }

    #[test]
    fn ordinary_images_do_not_differ() {
        let (all, header) = shipped();
        for n in [1, 2, 7, 8, 16, 60] {
            for first in (0..all.n - n).step_by(n.max(5)) {
                assert_eq!(difference(&header, &some(&all, first, n)), None, "{n} from {first}");
            }
        }
        let unknown = ProgramHeader { calibrated: None, ..header };
        assert_eq!(difference(&unknown, &all), None, "nothing to compare with");
    }

    #[test]
    fn mistakes_are_named() {
        let (all, header) = shipped();
        let n: Normalisation = header.normalisation.as_deref().unwrap().parse().unwrap();
        let undone = |x: f32, c: usize| x * n.std()[c] + n.mean()[c];
        let changed = |count: usize, f: &dyn Fn(f32, usize) -> f32| {
            let mut x = some(&all, 3, count);
            x.pixels.iter_mut().enumerate().for_each(|(i, v)| *v = f(*v, i / 64 % 3));
            difference(&header, &x)
        };
        let cause = |d: Option<Difference>| d.expect("a difference").cause;
        for count in [8, 40] {
            assert_eq!(cause(changed(count, &|x, c| 255.0 * undone(x, c))), Some(Cause::Pixels), "{count}");
            assert_eq!(cause(changed(count, &undone)), Some(Cause::Scaled), "{count}");
            assert_eq!(cause(changed(count, &|x, c| (x - n.mean()[c]) / n.std()[c])), Some(Cause::Twice), "{count}");
            assert_eq!(cause(changed(count, &|x, _| x + 7.0)), None, "{count}");
        }
        // One image tells what is far off.
        assert!(changed(1, &|x, c| 255.0 * undone(x, c)).is_some());
        let said = changed(40, &|x, c| 255.0 * undone(x, c)).unwrap().to_string();
        assert!(said.starts_with("these images have mean 1") && said.contains("calibrated on had mean"), "{said}");
        assert!(said.ends_with("they look like pixels from 0 to 255 that were not normalised"), "{said}");
    }

    #[test]
    fn refusals_name_images_and_some_reasons() {
        let names: Vec<String> = (0..40).map(|i| format!("x.npy[{i}]")).collect();
        let one = |image| Absurd { image, reason: Reason::Outside { channel: 1, value: 255.0, range: [-2.0, 2.0] } };
        let text = refusal(&[one(7)], &names).to_string();
        let reason = "it has the value 255 in channel 1, and the program takes -2.000 to 2.000 there";
        assert_eq!(text, format!("1 of 40 images cannot be encrypted with the others. x.npy[7]: {reason}: leave them out"));
        let text = refusal(&(0..30).map(one).collect::<Vec<_>>(), &names).to_string();
        assert!(
            text.contains(&format!("x.npy[2]: {reason}; and so it is with x.npy[3], ")) && text.contains("x.npy[19] and 10 more"),
            "{text}"
        );
    }
}
