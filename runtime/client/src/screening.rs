//! Screening: which images of a batch may be encrypted together.
//!
//! Images share ciphertexts, and what one of them adds to the values of others grows with its own.
//! For most programs with bootstraps it is proven that no image within the range of inputs harms
//! others; then screening looks at the range. Where it is not, images run in the clear as far as
//! that takes, by the instructions of the program ([`chiffre_ir::program::Sections`]).
//!
//! This protects the data owner from images by mistake. The server has no part in it: whoever
//! writes a program file can state any range, and weights to go with it.

use crate::check::Limits;
use chiffre_ir::program::{Harm, LARGEST_INPUT, Program, Sections};
use chiffre_runtime::{RuntimeError, Session};
use std::fmt;

/// Why an image is not encrypted with others.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// An input outside of the program's range.
    Outside {
        /// Channel of the input.
        channel: usize,
        /// The input.
        value: f32,
        /// `[lowest, highest]` that the program takes there.
        range: [f64; 2],
    },
    /// What its values do.
    Harm(Harm),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Outside { channel, value, range: [lowest, highest] } => {
                write!(f, "it has the value {value} in channel {channel}, and the program takes {lowest:.3} to {highest:.3} there")
            }
            Reason::Harm(Harm::Answer { largest, most }) => {
                write!(f, "its answer would have the magnitude {largest:.3e}, and answers go up to {most:.0}")
            }
            Reason::Harm(Harm::Spill { node, largest, spill, allowed, bootstrap }) => {
                let at = if *bootstrap { "radians at the bootstrap of" } else { "at" };
                write!(
                    f,
                    "its values reach {largest:.3e} {at} node \"{node}\", which disturbs those of other images by {spill:.1e}, where {allowed:.1e} is \
                     harmless"
                )
            }
        }
    }
}

/// An image that is not encrypted with others.
#[derive(Clone, Debug, PartialEq)]
pub struct Absurd {
    /// Its number.
    pub image: usize,
    /// Why.
    pub reason: Reason,
}

/// What the images of a program are screened by.
pub struct Screening<'a> {
    session: &'a Session,
    sections: Sections,
}

/// The sections of a program, with the largest answers that decryption takes.
///
/// # Errors
/// A program without exactly one output, or with constants that have no data.
pub fn sections(p: &Program) -> Result<Sections, RuntimeError> {
    Sections::of(p, Limits::of_program(p)?.image()).map_err(|e| RuntimeError::Input(e.to_string()))
}

impl<'a> Screening<'a> {
    /// Of the session's program: interval arithmetic, as much work as two images in the clear.
    ///
    /// # Errors
    /// As [`sections`].
    pub fn new(session: &'a Session) -> Result<Screening<'a>, RuntimeError> {
        Ok(Screening { session, sections: session.engine().install(|| sections(session.program()))? })
    }

    /// Bytes of slots that screening of `n` images takes at its worst moment.
    pub fn bytes(&self, n: usize) -> usize {
        self.sections.bytes(self.session.program(), n)
    }

    /// The images among `n`, `[n, C, H, W]`, that would harm others, or have no answer themselves,
    /// in ascending order.
    ///
    /// # Errors
    /// A number of values that is not that of `n` images.
    pub fn absurd(&self, images: &[f32], n: usize) -> Result<Vec<Absurd>, RuntimeError> {
        let (p, shape) = (self.session.program(), self.session.input_layout()?.shape);
        let per: usize = shape.iter().product();
        let mut out: Vec<Absurd> = vec![];
        let mut inside = vec![];
        for (image, values) in images.chunks(per).enumerate() {
            match outside(values, shape[0], p.header.input_range.as_deref()) {
                Some(reason) => out.push(Absurd { image, reason }),
                None => inside.push(image),
            }
        }
        let harms = if out.is_empty() { self.look(images, n)? } else { self.look(&chosen(images, per, &inside), inside.len())? };
        let found = inside.into_iter().zip(harms).filter_map(|(image, harm)| Some(Absurd { image, reason: Reason::Harm(harm?) }));
        out.extend(found);
        out.sort_by_key(|a| a.image);
        Ok(out)
    }

    fn look(&self, images: &[f32], n: usize) -> Result<Vec<Option<Harm>>, RuntimeError> {
        let look = || self.sections.look(self.session.program(), images, n);
        self.session.engine().install(look).map_err(|e| RuntimeError::Input(e.to_string()))
    }
}

/// The first value of an image that is outside of the range of its channel, or of any program.
fn outside(values: &[f32], channels: usize, range: Option<&[[f64; 2]]>) -> Option<Reason> {
    let any = [[-LARGEST_INPUT, LARGEST_INPUT]];
    let (range, plane) = (range.unwrap_or(&any), (values.len() / channels.max(1)).max(1));
    values.iter().enumerate().find_map(|(at, &value)| {
        let channel = at / plane;
        let range @ [lowest, highest] = range[channel % range.len()];
        let inside = (lowest..=highest).contains(&f64::from(value));
        (!inside).then_some(Reason::Outside { channel, value, range })
    })
}

/// Some of the images, each of `per` values.
pub fn chosen(images: &[f32], per: usize, which: &[usize]) -> Vec<f32> {
    which.iter().flat_map(|i| &images[i * per..(i + 1) * per]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_are_named_with_their_channel() {
        let range = [[-1.0, 1.0], [0.0, 5.0]];
        assert_eq!(outside(&[0.5, -1.0, 0.0, 5.0], 2, Some(&range)), None);
        let reason = outside(&[0.5, -1.0, 0.0, 5.5], 2, Some(&range)).unwrap();
        assert_eq!(reason.to_string(), "it has the value 5.5 in channel 1, and the program takes 0.000 to 5.000 there");
        assert!(matches!(outside(&[0.0, f32::NAN], 1, None), Some(Reason::Outside { channel: 0, .. })));
        assert!(outside(&[2e6], 1, None).is_some() && outside(&[9.9e5], 1, None).is_none());
    }
}
