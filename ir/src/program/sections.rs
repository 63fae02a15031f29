//! Which bootstraps and outputs of a program any image can reach without harm to others, and what
//! images do where that is not proven.
//!
//! Bootstraps cut a program into sections: whatever a section reads from bootstraps before it is
//! bounded for all images. A section that reads the input is bounded by the range of inputs.

use super::bounds::{HUGE, bounds};
use super::magnitudes::{self, magnitudes};
use super::spill::{Spill, Verdict};
use super::{LARGEST_INPUT, Program, ProgramOp};
use crate::error::InterpError;
use serde::Serialize;

/// The end of a section: the operand of a bootstrap, or an output.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// Instruction that ends it.
    pub value: usize,
    /// Its ONNX node.
    pub node: String,
    /// True for a bootstrap: sizes are radians there.
    pub bootstrap: bool,
    /// Largest magnitude of any image's values there.
    pub largest: f64,
    /// Largest magnitude that an answer can have; null for bootstraps.
    pub most: Option<f64>,
    /// Standard deviation of what images of that size add to the values of others.
    pub spill: f64,
    /// What they may add.
    pub allowed: f64,
    /// True if no image within the range of inputs harms others in this section.
    pub proven: bool,
}

impl Section {
    /// The instruction whose result the section's values are.
    fn measured(&self, p: &Program) -> usize {
        if self.bootstrap { p.nodes[self.value].args[0].index() } else { self.value }
    }
    /// What is added to the values there. A bootstrap at an output has been judged by its operand.
    fn verdict(&self, p: &Program, all: &[Verdict]) -> Verdict {
        match p.nodes[self.value].op {
            ProgramOp::Refresh { .. } if !self.bootstrap => Verdict { spill: 0.0, allowed: 0.0 },
            _ => all[self.value],
        }
    }
}

/// What one image would do to others.
#[derive(Clone, Debug, PartialEq)]
pub enum Harm {
    /// It would add so much to their values at an ONNX node, where so much is allowed.
    Spill {
        /// The node.
        node: String,
        /// The image's largest value there; radians if `bootstrap`.
        largest: f64,
        /// What it adds, a standard deviation.
        spill: f64,
        /// What may be added.
        allowed: f64,
        /// At the operand of a bootstrap.
        bootstrap: bool,
    },
    /// Its own answer would be larger than answers can be.
    Answer {
        /// Its largest value.
        largest: f64,
        /// The largest that there can be.
        most: f64,
    },
}

/// The sections of a program, and what is needed to look at images where they are not proven.
pub struct Sections {
    spill: Spill,
    list: Vec<Section>,
    /// For each instruction, whether something that is not proven depends on it.
    wanted: Vec<bool>,
}

impl Sections {
    /// Of a verified program, for inputs within the range that its header states, or of any size;
    /// answers may have magnitudes up to `most`.
    ///
    /// # Errors
    /// Constants without data.
    pub fn of(p: &Program, most: f64) -> Result<Sections, InterpError> {
        let any = [[-LARGEST_INPUT, LARGEST_INPUT]];
        let sizes = bounds(p, p.header.input_range.as_deref().unwrap_or(&any))?;
        let spill = Spill::of(p)?;
        // Nothing is known of ordinary values, so that they may be as large as any, and allow
        // nothing.
        let verdicts = spill.judge(&sizes, &sizes, &vec![0.0; sizes.len()]);
        let mut list: Vec<Section> = vec![];
        for (v, n) in p.iter() {
            let mut end = |bootstrap: bool, most: Option<f64>| {
                let mut s = Section { value: v.index(), node: n.source.clone(), bootstrap, most, ..Section::default() };
                s.largest = sizes[s.measured(p)];
                let verdict = s.verdict(p, &verdicts);
                (s.spill, s.allowed) = (verdict.spill.min(HUGE), verdict.allowed.min(HUGE));
                s.proven = verdict.is_harmless() && most.is_none_or(|most| s.largest <= most);
                list.push(s);
            };
            if matches!(n.op, ProgramOp::Refresh { .. }) {
                end(true, None);
            }
            if p.outputs.contains(&v) {
                end(false, Some(most));
            }
        }
        let mut wanted = vec![false; p.nodes.len()];
        list.iter().filter(|s| !s.proven).for_each(|s| wanted[s.measured(p)] = true);
        for v in (0..wanted.len()).rev() {
            if wanted[v] {
                p.nodes[v].args.iter().for_each(|a| wanted[a.index()] = true);
            }
        }
        Ok(Sections { spill, list, wanted })
    }

    /// All ends of sections, in the order of the program.
    pub fn list(&self) -> &[Section] {
        &self.list
    }

    /// True if no image within the range harms others.
    pub fn are_proven(&self) -> bool {
        self.list.iter().all(|s| s.proven)
    }

    /// For each instruction, true if images have to be computed up to there to look at them.
    pub fn wanted(&self) -> &[bool] {
        &self.wanted
    }

    /// Bytes of slots that looking at `n` images takes at its worst moment.
    pub fn bytes(&self, p: &Program, n: usize) -> usize {
        magnitudes::bytes(p, n, &self.wanted)
    }

    /// What each of `n` images `[n, C, H, W]` would do to the others: they run in the clear as far
    /// as sections are not proven. `None` for an image that does no harm. Usual magnitudes are the
    /// lower quartile of the images'.
    ///
    /// # Errors
    /// As the interpreter.
    pub fn look(&self, p: &Program, images: &[f32], n: usize) -> Result<Vec<Option<Harm>>, InterpError> {
        if self.are_proven() || n == 0 {
            return Ok(vec![None; n]);
        }
        let sizes = magnitudes(p, images, n, &self.wanted)?;
        let quartile = |of: &Vec<f64>| {
            let mut sorted = of.clone();
            sorted.sort_by(f64::total_cmp);
            sorted.get((n - 1) / 4).copied().unwrap_or_default()
        };
        let usual: Vec<f64> = sizes.iter().map(quartile).collect();
        let one = |image: usize| {
            let own: Vec<f64> = sizes.iter().map(|s| s.get(image).copied().unwrap_or_default()).collect();
            let verdicts = self.spill.judge(&own, &usual, &usual);
            let harm = |s: &Section| {
                let (largest, verdict) = (own[s.measured(p)], s.verdict(p, &verdicts));
                let Verdict { spill, allowed } = verdict;
                match s.most {
                    Some(most) if largest > most => Some(Harm::Answer { largest, most }),
                    _ if verdict.is_harmless() => None,
                    _ => Some(Harm::Spill { node: s.node.clone(), largest, spill, allowed, bootstrap: s.bootstrap }),
                }
            };
            self.list.iter().filter(|s| !s.proven).find_map(harm)
        };
        Ok((0..n).map(one).collect())
    }
}
