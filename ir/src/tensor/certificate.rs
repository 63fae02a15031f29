//! What stands behind a polynomial that replaces an activation: the function, the calibrated range,
//! and how good the fit is.

use super::{OperandRange, Tensor, TensorGraph, TensorOp, operand_ranges};
use crate::error::InterpError;
use crate::graph::Node;
use crate::ops::{Attr, AttrValue};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Origin and quality of a `chebyshev`. Its text form is one quoted attribute, `"relu
/// range=[-3.1,4.2] margin=1.2 limit=4.1 rms=0.001 max=0.02 outside=0.0"`, whose numbers read back
/// exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The function that is approximated, as in `relu`, `leaky_relu(0.1)`, `poly`; no white space.
    pub function: String,
    /// Smallest and largest value of the function's operand on the calibration data, over all
    /// channels.
    pub range: [f64; 2],
    /// A channel's range is its calibrated values, widened about their middle by this factor; what
    /// lies beyond is outside.
    pub margin: f64,
    /// Largest |operand| of the `chebyshev` within the ranges of all channels: 1 where the operand
    /// is the argument of the polynomial itself, an angle in radians behind a sine (beyond π/2
    /// where the fit lets values fold).
    pub limit: f64,
    /// Root mean square error on the calibration data, as a share of the radius (half the width) of
    /// the channel's range; the worst channel's.
    pub rms: f64,
    /// Largest error within the range, as a share of its radius; the worst channel's. Behind a
    /// sine it lies where hardly any calibrated value is, as a rule.
    pub max: f64,
    /// Share of the calibration values outside the range, in [0, 1].
    pub outside: f64,
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate { function, range: [lo, hi], margin, limit, rms, max, outside } = self;
        // `{:?}` prints the shortest digits that read back to the same number.
        write!(f, "{function} range=[{lo:?},{hi:?}] margin={margin:?} limit={limit:?} rms={rms:?} max={max:?} outside={outside:?}")
    }
}

impl FromStr for Certificate {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let mut words = s.split(' ');
        let function = words.next().filter(|w| !w.is_empty() && !w.contains(char::is_whitespace)).ok_or("names no function")?.to_string();
        let mut field = |name: &str| {
            let value = words.next().and_then(|w| w.strip_prefix(name)?.strip_prefix('='));
            value.ok_or_else(|| format!("has no {name} where it should be"))
        };
        let number = |s: &str| s.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(|| format!("`{s}` is not a finite number"));
        let range = field("range")?.strip_prefix('[').and_then(|r| r.strip_suffix(']')).and_then(|r| r.split_once(','));
        let (lo, hi) = range.ok_or("range is not [a,b]")?;
        let range = [number(lo)?, number(hi)?];
        let mut next = |name: &str| field(name).and_then(number);
        let (margin, limit, rms, max, outside) = (next("margin")?, next("limit")?, next("rms")?, next("max")?, next("outside")?);
        match words.next() {
            None => Ok(Certificate { function, range, margin, limit, rms, max, outside }),
            Some(more) => Err(format!("has `{more}` too much")),
        }
    }
}

impl AttrValue for Certificate {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Str(self.to_string()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        match a {
            Some(Attr::Str(s)) => s.parse(),
            Some(_) => Err("must be a quoted string".into()),
            None => Err("is missing".into()),
        }
    }
}

/// One `chebyshev` of a graph, for lists of them. As JSON, an object with the certificate's fields
/// beside these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertifiedNode {
    /// ONNX node of the activation.
    pub node: String,
    /// Degree of the polynomial.
    pub degree: usize,
    /// Behind a bootstrap: the polynomial is in the sine of the operand.
    pub refresh: bool,
    /// Channels, and polynomials for them (one, or one each).
    pub channels: [usize; 2],
    /// Predicted standard deviation of the error of the operand, by the bootstrap (radians) or the
    /// rescale before the polynomial; 0 as long as no parameters are chosen.
    #[serde(default)]
    pub noise: f64,
    /// The operands that are within the range of their channel, for each channel or once for all.
    pub operands: OperandRange,
    /// Origin and quality.
    #[serde(flatten)]
    pub certificate: Certificate,
}

/// All `chebyshev` nodes with a certificate, in the order of the graph.
///
/// # Errors
/// Ranges without data.
pub fn certified(g: &TensorGraph) -> Result<Vec<CertifiedNode>, InterpError> {
    let mut operands = operand_ranges(g)?.into_iter();
    let one = |n: &Node<Tensor>| match &n.op {
        TensorOp::Chebyshev { coeffs, sine, certificate: Some(c), .. } => {
            let shape = g.consts.get(*coeffs).shape();
            let channels = [n.ty.chw()[0], shape[0]];
            Some(CertifiedNode {
                node: n.source.clone(),
                degree: shape[1].max(1) - 1,
                refresh: *sine,
                channels,
                noise: 0.0,
                operands: operands.next().unwrap_or_default(),
                certificate: c.clone(),
            })
        }
        TensorOp::Chebyshev { .. } => {
            operands.next();
            None
        }
        _ => None,
    };
    Ok(g.nodes.iter().filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_json_and_back() {
        let text = "tensor @t {
            const @c : f32[1x3] = [0, 1, 2]
            const @r : f32[2x2] = [-4, 1.5, -2, 1]
            %0 = input : f32[2] ; \"in\"
            %1 = chebyshev %0 {coeffs=@c, sine=true, ranges=@r, certificate=\"relu range=[-1.0,2.5] margin=1.2 limit=1.27 rms=0.01 max=0.1 outside=0.0\"} : f32[2] ; \"act\"
            %2 = chebyshev %1 {coeffs=@c} : f32[2]
            return %2
            }";
        let list = certified(&crate::text::parse(text).unwrap()).unwrap();
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(
            json,
            r#"[{"node":"act","degree":2,"refresh":true,"channels":[2,1],"noise":0.0,"operands":[[-4.0,1.5],[-2.0,1.0]],"function":"relu","range":[-1.0,2.5],"margin":1.2,"limit":1.27,"rms":0.01,"max":0.1,"outside":0.0}]"#
        );
        assert_eq!(serde_json::from_str::<Vec<CertifiedNode>>(&json).unwrap(), list);
    }

    #[test]
    fn reads_what_it_writes() {
        let c = Certificate {
            function: "leaky_relu(0.1)".into(),
            range: [-1.0 / 3.0, 44.9],
            margin: 1.2,
            limit: 1.27,
            rms: 1e-300,
            max: 0.012,
            outside: 0.0,
        };
        assert_eq!(c.to_string().parse(), Ok(c.clone()));
        assert_eq!(Certificate::from_attr(c.to_attr()), Ok(c.clone()));
        for (text, message) in [
            ("", "names no function"),
            ("relu", "has no range"),
            ("relu range=[1] margin=1 limit=1 rms=0 max=0 outside=0", "range is not [a,b]"),
            ("relu range=[0,1] margin=inf limit=1 rms=0 max=0 outside=0", "`inf` is not a finite number"),
            ("relu range=[0,1] margin=1 limit=1 rms=0 max=0", "has no outside"),
            ("relu range=[0,1] margin=1 limit=1 rms=0 max=0 outside=0 x", "has `x` too much"),
        ] {
            assert!(text.parse::<Certificate>().unwrap_err().contains(message), "{text}");
        }
    }
}
