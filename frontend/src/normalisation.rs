//! From pixels to network inputs: `(px/255 - mean) / std`, per channel; the metadata key
//! `normalisation` of a model says it.

use std::fmt;
use std::str::FromStr;

/// Per-channel normalisation of 8-bit pixels. Each list holds one value per channel, or a single
/// value for all channels.
///
/// Invariant: all values are finite, every `std` is positive, neither list is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// Why a normalisation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NormalisationError {
    /// The text has another form than the ones this parser knows.
    #[error("{0:?} is not of the form `(px/255-mean)/std mean=M,… std=S,…` or `(px/255-M)/S`")]
    Form(String),
    /// A number that cannot be read, is not finite, or is a standard deviation that is not
    /// positive.
    #[error("{what} {text:?} is not {expected}")]
    Number {
        /// `mean` or `std`.
        what: &'static str,
        /// The offending text.
        text: String,
        /// What was expected instead.
        expected: &'static str,
    },
    /// As many values as channels, or one, are needed.
    #[error("{what} has {got} values, but the model's input has {channels} channels")]
    Channels {
        /// `mean` or `std`.
        what: &'static str,
        /// Values given.
        got: usize,
        /// Channels of the model's input.
        channels: usize,
    },
}

impl Normalisation {
    /// From the values of `--mean` and `--std`, or of any other source.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self, NormalisationError> {
        for (what, values) in [("mean", &mean), ("std", &std)] {
            if values.is_empty() {
                return Err(NormalisationError::Number { what, text: String::new(), expected: "a list of numbers" });
            }
            if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                return Err(NormalisationError::Number { what, text: bad.to_string(), expected: "a finite number" });
            }
        }
        if let Some(bad) = std.iter().find(|&&v| v <= 0.0) {
            return Err(NormalisationError::Number { what: "std", text: bad.to_string(), expected: "positive" });
        }
        Ok(Normalisation { mean, std })
    }

    /// Means in units of 1 (pixels are divided by 255 first): one per channel, or one for all.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviations in units of 1: one per channel, or one for all.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Makes sure that there is one value per channel, or one for all.
    ///
    /// # Errors
    /// [`NormalisationError::Channels`].
    pub fn check(&self, channels: usize) -> Result<(), NormalisationError> {
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != 1 && values.len() != channels {
                return Err(NormalisationError::Channels { what, got: values.len(), channels });
            }
        }
        Ok(())
    }

    /// The input value of a pixel of channel `c`.
    pub fn apply(&self, pixel: u8, c: usize) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean[c % self.mean.len()]) / self.std[c % self.std.len()]
    }

    /// One table of 256 values per channel: entry `[c][px]` is `(px/255 - mean_c) / std_c`.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn tables(&self, channels: usize) -> Result<Vec<[f32; 256]>, NormalisationError> {
        self.check(channels)?;
        Ok((0..channels).map(|c| std::array::from_fn(|px| self.apply(px as u8, c))).collect())
    }
}

impl FromStr for Normalisation {
    type Err = NormalisationError;

    /// Reads the ONNX metadata key `normalisation`; blanks are free around every token.
    fn from_str(text: &str) -> Result<Self, NormalisationError> {
        let form = || NormalisationError::Form(text.chars().take(200).collect());
        let (formula, named) = match text.find("mean=").filter(|&at| at > 0) {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        let formula: String = formula.chars().filter(|c| !c.is_whitespace()).collect();
        match named {
            Some(named) => {
                if formula != "(px/255-mean)/std" {
                    return Err(form());
                }
                let (mean, std) = named.strip_prefix("mean=").and_then(|rest| rest.split_once("std=")).ok_or_else(form)?;
                Self::new(numbers("mean", mean)?, numbers("std", std)?)
            }
            None if formula == "px/255" => Self::new(vec![0.0], vec![1.0]),
            None => {
                let (mean, std) = formula.strip_prefix("(px/255-").and_then(|rest| rest.split_once(")/")).ok_or_else(form)?;
                Self::new(numbers("mean", mean)?, numbers("std", std)?)
            }
        }
    }
}

impl fmt::Display for Normalisation {
    /// The metadata form; reading it back gives the same values.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        write!(f, "(px/255-mean)/std mean={} std={}", list(&self.mean), list(&self.std))
    }
}

fn numbers(what: &'static str, list: &str) -> Result<Vec<f32>, NormalisationError> {
    let number = |text: &str| text.parse::<f32>().map_err(|_| NormalisationError::Number { what, text: text.into(), expected: "a number" });
    list.trim().trim_end_matches(',').split(',').map(|text| number(text.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        let full: Normalisation = "(px/255-mean)/std mean=0.49,0.48,0.44 std=0.2,0.21,0.22".parse().unwrap();
        assert_eq!(full, Normalisation::new(vec![0.49, 0.48, 0.44], vec![0.2, 0.21, 0.22]).unwrap());
        let short: Normalisation = " (px/255 - 0.1307) / 0.3081 ".parse().unwrap();
        assert_eq!(short, Normalisation::new(vec![0.1307], vec![0.3081]).unwrap());
        let plain: Normalisation = "px/255".parse().unwrap();
        assert_eq!(plain.tables(1).unwrap()[0][255], 1.0);
    }

    #[test]
    fn prints_what_it_reads() {
        for n in [Normalisation::new(vec![0.1307], vec![0.3081]), Normalisation::new(vec![0.5, -1e-7, 3.0], vec![1.0])] {
            let n = n.unwrap();
            assert_eq!(n.to_string().parse(), Ok(n));
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in [
            "",
            "px",
            "(px-mean)/std mean=1 std=1",
            "(px/255-mean)/std",
            "(px/255-mean)/std mean=1",
            "mean=1 std=1",
            "(px/255-0.5)/",
            "(px/255-0.5)/0",
            "(px/255-0.5)/-1",
            "(px/255-nan)/1",
            "(px/255-0.5)/inf",
            "(px/255-mean)/std mean=,1 std=1",
            "(px/255-mean)/std mean=a std=1",
            "(px/255-mean)/std mean= std=",
        ] {
            assert!(text.parse::<Normalisation>().is_err(), "{text}");
        }
    }

    #[test]
    fn tables_follow_the_formula_and_check_channels() {
        let n = Normalisation::new(vec![0.5], vec![0.25, 0.5]).unwrap();
        assert_eq!(n.tables(2).unwrap()[1][255], 1.0);
        assert_eq!(n.tables(2).unwrap()[0][0], -2.0);
        assert_eq!(n.tables(3), Err(NormalisationError::Channels { what: "std", got: 2, channels: 3 }));
    }
}
