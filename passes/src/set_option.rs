//! Options of passes in pipeline specs, by name.

use crate::options::{CompileOptions, FitMethod, MaximumForm};

impl CompileOptions {
    /// Sets the option of a pass, as in `{key=value}`.
    ///
    /// # Errors
    /// A name that is no option, a value that is none of it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let o = self;
        let number = || value.parse::<usize>().map_err(|_| format!("option {key}={value}: expected a number"));
        let positive = || {
            value
                .parse::<f64>()
                .ok()
                .filter(|x| x.is_finite() && *x > 0.0)
                .ok_or_else(|| format!("option {key}={value}: expected a positive number"))
        };
        let word = |words: [&str; 2]| match value {
            v if v == words[0] => Ok(true),
            v if v == words[1] => Ok(false),
            _ => Err(format!("option {key}={value}: expected {} or {}", words[0], words[1])),
        };
        let a = &mut o.activations;
        match key {
            "degree" => {
                a.degree = Some(number()?)
                    .filter(|d| (1..=1024).contains(d))
                    .map(Some)
                    .ok_or_else(|| format!("option {key}={value}: must lie in 1..=1024"))?
            }
            "refresh" => a.refresh = word(["yes", "no"])?,
            "fit" => a.fit.method = if word(["lsq", "minimax"])? { FitMethod::LeastSquares } else { FitMethod::Minimax },
            "per" => a.fit.per_channel = word(["channel", "layer"])?,
            "margin" => a.fit.margin = positive()?,
            "angle" => {
                let below = positive()?;
                a.fit.angle = Some(below)
                    .filter(|x| *x < std::f64::consts::FRAC_PI_2)
                    .ok_or_else(|| format!("option {key}={value}: must lie below π/2"))?;
            }
            "reach" => a.fit.reach = positive()?,
            "uniform" => a.fit.uniform = positive()?,
            "uniform-refreshed" => {
                let share = positive()?;
                let fits = Some(share).filter(|x| *x < 1.0);
                a.fit.uniform_refreshed = fits.ok_or_else(|| format!("option {key}={value}: must lie below 1"))?;
            }
            "probes" => a.probes = number()?,
            "centred" => a.fit.centred = word(["yes", "no"])?,
            "log-n" => o.log_n = Some(value.parse().map_err(|_| format!("option {key}={value}: expected a number"))?),
            "channels" => o.packing.channels = Some(number()?),
            "tile" => o.packing.tile = Some(number()?),
            "fill" => o.packing.fill = Some(number()?),
            "phases" => {
                let bits = value.split_once('x').and_then(|(y, x)| Some([y.parse().ok()?, x.parse().ok()?]));
                o.packing.phases = Some(bits.ok_or_else(|| format!("option {key}={value}: expected bits of rows and columns, as in 1x1"))?);
            }
            "input-bits" | "weight-bits" | "activation-bits" => {
                let bits = number()?;
                let fits = u32::try_from(bits).ok().filter(|b| (2..=8).contains(b));
                let bits = fits.ok_or_else(|| format!("option {key}={value}: must lie in 2..=8"))?;
                let which = ["input-bits", "weight-bits", "activation-bits"].iter().position(|k| *k == key).unwrap_or(0);
                o.quant.bits.get_or_insert([4; 3])[which] = bits;
            }
            "table-bits" => {
                let bits = number()?;
                let fits = u32::try_from(bits).ok().filter(|b| (1..=8).contains(b));
                o.quant.table_bits = Some(fits.ok_or_else(|| format!("option {key}={value}: must lie in 1..=8"))?);
            }
            "form" => {
                let absolute = word(["absolute", "rectified"])?;
                o.maximum = if absolute { MaximumForm::Absolute } else { MaximumForm::Rectified };
            }
            "output-scale" => o.quant.common_scale = word(["common", "own"])?,
            "rounding" => o.quant.approximate = word(["approximate", "exact"])?,
            "range-margin" => o.quant.margin = positive()?,
            "precision" => o.precision = Some(positive()?),
            "log-scale" => {
                let bits = number()?;
                let fits = i32::try_from(bits).ok().filter(|b| (1..=60).contains(b));
                o.log_scale = Some(fits.ok_or_else(|| format!("option {key}={value}: must lie in 1..=60"))?);
            }
            _ => return Err(format!("unknown option {key}")),
        }
        Ok(())
    }
}
