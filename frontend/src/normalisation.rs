//! The metadata key `normalisation`: how 8-bit pixels become inputs.

/// `input = (pixel / 255 − mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// One mean per channel, or one for all.
    pub mean: Vec<f32>,
    /// One positive standard deviation per channel, or one for all.
    pub std: Vec<f32>,
}

impl std::fmt::Display for Normalisation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |v: &[f32]| v.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        write!(f, "(px/255-mean)/std mean={} std={}", list(&self.mean), list(&self.std))
    }
}

impl Normalisation {
    /// Reads `(px/255-mean)/std mean=0.49,0.48,0.45 std=0.2,0.2,0.2` or `(px/255-0.1307)/0.3081` for `channels` channels.
    ///
    /// # Errors
    /// What is missing or malformed.
    pub fn parse(text: &str, channels: usize) -> Result<Normalisation, String> {
        let bad = || format!("`{text}` is not of the form `(px/255-mean)/std mean=… std=…`");
        let field = |key: &str| text.split_whitespace().find_map(|w| w.strip_prefix(key));
        let (mean, std) = match (field("mean="), field("std=")) {
            (Some(m), Some(s)) => (m, s),
            _ => text.trim().strip_prefix("(px/255-").and_then(|t| t.split_once(")/")).ok_or_else(bad)?,
        };
        let list = |t: &str| -> Result<Vec<f32>, String> {
            let v: Vec<f32> = t.split(',').map(|x| x.trim().parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
            if v.len() == 1 || v.len() == channels {
                Ok(v)
            } else {
                Err(format!("`{text}` gives {} values for {channels} channels", v.len()))
            }
        };
        let n = Normalisation { mean: list(mean)?, std: list(std)? };
        if n.mean.iter().any(|m| !m.is_finite()) || n.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(format!("`{text}` needs finite means and positive standard deviations"));
        }
        Ok(n)
    }

    /// The input value of a pixel of channel `c`.
    pub fn apply(&self, pixel: u8, c: usize) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean[c % self.mean.len()]) / self.std[c % self.std.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_parse() {
        let n = Normalisation::parse("(px/255-mean)/std mean=0.5,0.25,0 std=0.5,1,1", 3).unwrap();
        assert_eq!(n, Normalisation { mean: vec![0.5, 0.25, 0.0], std: vec![0.5, 1.0, 1.0] });
        assert_eq!(n.apply(255, 0), 1.0);
        assert_eq!(Normalisation::parse("(px/255-0.1307)/0.3081", 1).unwrap(), Normalisation { mean: vec![0.1307], std: vec![0.3081] });
    }

    #[test]
    fn malformed_text_is_an_error() {
        for (t, message) in [
            ("imagenet", "not of the form"),
            ("(px/255-x)/2", "not of the form"),
            ("mean=1,2 std=1,2,3", "2 values for 3 channels"),
            ("mean=0 std=0", "positive standard"),
            ("mean=nan std=1", "finite means"),
        ] {
            let e = Normalisation::parse(t, 3).unwrap_err();
            assert!(e.contains(message), "{e}");
        }
    }
}
