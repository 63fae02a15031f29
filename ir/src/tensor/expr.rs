//! Functions of one value that have no name of their own: small expressions, with values and
//! derivatives.
//!
//! The text form is `mul(x, tanh(softplus(x)))`: `x` is the value, `p0`, `p1`, … are the parameters
//! of the channel, numbers stand for themselves.

use super::interp::erf;
use crate::ops::{Attr, AttrValue};
use std::fmt;
use std::str::FromStr;

/// Most nodes of an expression.
pub const MAX_EXPR: usize = 256;

/// A function of one value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The value.
    X,
    /// A number, the same for all channels.
    Number(f64),
    /// A number of the channel: this column of the parameters.
    Param(usize),
    /// A function of an expression.
    Unary(Unary, Box<Expr>),
    /// A function of two expressions.
    Binary(Binary, Box<[Expr; 2]>),
}

macro_rules! words {
    ($(#[$m:meta])* $name:ident { $($(#[doc = $doc:literal])+ $v:ident = $w:literal),* $(,)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $v),* }
        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$v),*];
            /// The word of the text form.
            pub fn word(self) -> &'static str {
                match self { $($name::$v => $w),* }
            }
            fn of(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|f| f.word() == word)
            }
        }
    };
}
words! {
    /// Functions of one number, as ONNX defines them.
    Unary {
        /// −x
        Neg = "neg",
        /// |x|
        Abs = "abs",
        /// e^x
        Exp = "exp",
        /// The natural logarithm.
        Log = "log",
        /// √x
        Sqrt = "sqrt",
        /// 1/x
        Reciprocal = "reciprocal",
        /// 1/(1 + e^−x)
        Sigmoid = "sigmoid",
        /// The hyperbolic tangent.
        Tanh = "tanh",
        /// The error function.
        Erf = "erf",
        /// log(1 + e^x)
        Softplus = "softplus",
        /// sin x
        Sin = "sin",
        /// cos x
        Cos = "cos",
        /// tan x
        Tan = "tan",
        /// The inverse of the sine.
        Asin = "asin",
        /// The inverse of the cosine.
        Acos = "acos",
        /// The inverse of the tangent.
        Atan = "atan",
        /// The hyperbolic sine.
        Sinh = "sinh",
        /// The hyperbolic cosine.
        Cosh = "cosh",
        /// The inverse of the hyperbolic sine.
        Asinh = "asinh",
        /// The inverse of the hyperbolic cosine.
        Acosh = "acosh",
        /// The inverse of the hyperbolic tangent.
        Atanh = "atanh",
    }
}
words! {
    /// Functions of two numbers.
    Binary {
        /// a + b
        Add = "add",
        /// a − b
        Sub = "sub",
        /// a·b
        Mul = "mul",
        /// a/b
        Div = "div",
        /// The larger one.
        Max = "max",
        /// The smaller one.
        Min = "min",
        /// a^b, where b does not depend on the value.
        Pow = "pow",
    }
}

/// A number and its derivative by the value.
type Dual = (f64, f64);

impl Unary {
    /// The function and its derivative at `a`; at a kink, the derivative of the left side.
    fn at(self, a: f64) -> Dual {
        let sigmoid = |a: f64| 1.0 / (1.0 + (-a).exp());
        match self {
            Unary::Neg => (-a, -1.0),
            Unary::Abs => (a.abs(), if a > 0.0 { 1.0 } else { -1.0 }),
            Unary::Exp => (a.exp(), a.exp()),
            Unary::Log => (a.ln(), 1.0 / a),
            Unary::Sqrt => (a.sqrt(), 0.5 / a.sqrt()),
            Unary::Reciprocal => (1.0 / a, -1.0 / (a * a)),
            Unary::Sigmoid => (sigmoid(a), sigmoid(a) * sigmoid(-a)),
            Unary::Tanh => (a.tanh(), 1.0 - a.tanh().powi(2)),
            Unary::Erf => (erf(a), std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp()),
            Unary::Softplus => (a.max(0.0) + (-a.abs()).exp().ln_1p(), sigmoid(a)),
            Unary::Sin => (a.sin(), a.cos()),
            Unary::Cos => (a.cos(), -a.sin()),
            Unary::Tan => (a.tan(), 1.0 + a.tan().powi(2)),
            Unary::Asin => (a.asin(), 1.0 / (1.0 - a * a).sqrt()),
            Unary::Acos => (a.acos(), -1.0 / (1.0 - a * a).sqrt()),
            Unary::Atan => (a.atan(), 1.0 / (1.0 + a * a)),
            Unary::Sinh => (a.sinh(), a.cosh()),
            Unary::Cosh => (a.cosh(), a.sinh()),
            Unary::Asinh => (a.asinh(), 1.0 / (1.0 + a * a).sqrt()),
            Unary::Acosh => (a.acosh(), 1.0 / (a * a - 1.0).sqrt()),
            Unary::Atanh => (a.atanh(), 1.0 / (1.0 - a * a)),
        }
    }
}

impl Binary {
    fn at(self, (a, da): Dual, (b, db): Dual) -> Dual {
        match self {
            Binary::Add => (a + b, da + db),
            Binary::Sub => (a - b, da - db),
            Binary::Mul => (a * b, da * b + a * db),
            Binary::Div => (a / b, (da - a / b * db) / b),
            Binary::Max if a.is_nan() || b.is_nan() => (f64::NAN, f64::NAN),
            Binary::Min if a.is_nan() || b.is_nan() => (f64::NAN, f64::NAN),
            Binary::Max => {
                if a > b {
                    (a, da)
                } else {
                    (b, db)
                }
            }
            Binary::Min => {
                if a < b {
                    (a, da)
                } else {
                    (b, db)
                }
            }
            Binary::Pow if b == 0.0 => (1.0, 0.0),
            Binary::Pow => (a.powf(b), b * a.powf(b - 1.0) * da),
        }
    }
}

impl Expr {
    /// `f` of an expression.
    pub fn unary(f: Unary, a: Expr) -> Expr {
        Expr::Unary(f, Box::new(a))
    }
    /// `f` of two expressions.
    pub fn binary(f: Binary, a: Expr, b: Expr) -> Expr {
        Expr::Binary(f, Box::new([a, b]))
    }
    /// The value at `x`; `params` are those of the channel.
    pub fn value(&self, x: f64, params: &[f64]) -> f64 {
        self.dual(x, params).0
    }
    /// The derivative at `x`; at a kink, that of one side.
    pub fn slope(&self, x: f64, params: &[f64]) -> f64 {
        self.dual(x, params).1
    }
    fn dual(&self, x: f64, params: &[f64]) -> Dual {
        match self {
            Expr::X => (x, 1.0),
            Expr::Number(n) => (*n, 0.0),
            Expr::Param(k) => (params.get(*k).copied().unwrap_or(f64::NAN), 0.0),
            Expr::Unary(f, a) => {
                let (a, da) = a.dual(x, params);
                let (y, dy) = f.at(a);
                // A part that does not depend on the value has no slope, whatever the function's.
                (y, if da == 0.0 { 0.0 } else { dy * da })
            }
            Expr::Binary(f, ab) => f.at(ab[0].dual(x, params), ab[1].dual(x, params)),
        }
    }
    /// The expression with `inner` in place of the value.
    pub fn of(&self, inner: &Expr) -> Expr {
        match self {
            Expr::X => inner.clone(),
            Expr::Number(_) | Expr::Param(_) => self.clone(),
            Expr::Unary(f, a) => Expr::unary(*f, a.of(inner)),
            Expr::Binary(f, ab) => Expr::binary(*f, ab[0].of(inner), ab[1].of(inner)),
        }
    }
    /// Number of nodes.
    pub fn size(&self) -> usize {
        match self {
            Expr::X | Expr::Number(_) | Expr::Param(_) => 1,
            Expr::Unary(_, a) => 1 + a.size(),
            Expr::Binary(_, ab) => 1 + ab[0].size() + ab[1].size(),
        }
    }
    /// One more than the largest index of a parameter.
    pub fn params(&self) -> usize {
        match self {
            Expr::X | Expr::Number(_) => 0,
            Expr::Param(k) => k + 1,
            Expr::Unary(_, a) => a.params(),
            Expr::Binary(_, ab) => ab[0].params().max(ab[1].params()),
        }
    }
    /// True if the value occurs.
    pub fn depends(&self) -> bool {
        match self {
            Expr::X => true,
            Expr::Number(_) | Expr::Param(_) => false,
            Expr::Unary(_, a) => a.depends(),
            Expr::Binary(_, ab) => ab[0].depends() || ab[1].depends(),
        }
    }
    /// What makes the expression unusable, in words.
    ///
    /// # Errors
    /// It is too large, holds a number that is not finite, or a power whose exponent depends on the
    /// value.
    pub fn check(&self) -> Result<(), String> {
        if self.size() > MAX_EXPR {
            return Err(format!("the function has more than {MAX_EXPR} parts"));
        }
        self.check_parts()
    }
    fn check_parts(&self) -> Result<(), String> {
        match self {
            Expr::Number(n) if !n.is_finite() => Err(format!("the function holds the number {n}")),
            Expr::X | Expr::Number(_) | Expr::Param(_) => Ok(()),
            Expr::Unary(_, a) => a.check_parts(),
            Expr::Binary(Binary::Pow, ab) if ab[1].depends() => Err("an exponent depends on the value".into()),
            Expr::Binary(_, ab) => ab.iter().try_for_each(Expr::check_parts),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::X => f.write_str("x"),
            Expr::Number(n) => write!(f, "{n}"),
            Expr::Param(k) => write!(f, "p{k}"),
            Expr::Unary(u, a) => write!(f, "{}({a})", u.word()),
            Expr::Binary(b, ab) => write!(f, "{}({}, {})", b.word(), ab[0], ab[1]),
        }
    }
}

impl FromStr for Expr {
    type Err = String;
    fn from_str(text: &str) -> Result<Expr, String> {
        let mut rest = text;
        let e = parse(&mut rest, 0)?;
        if rest.trim().is_empty() { Ok(e) } else { Err(format!("`{}` behind the function", rest.trim())) }
    }
}

/// Takes an expression off the front of the text; nesting is bounded as size is.
fn parse(rest: &mut &str, depth: usize) -> Result<Expr, String> {
    if depth > MAX_EXPR {
        return Err(format!("the function is nested more than {MAX_EXPR} deep"));
    }
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    *rest = rest.trim_start();
    let (token, behind) = rest.split_at(rest.find(|c| !word(c)).unwrap_or(rest.len()));
    *rest = behind.trim_start();
    let Some(open) = rest.strip_prefix('(') else {
        let param = token.strip_prefix('p').and_then(|k| k.parse().ok()).filter(|k| *k < MAX_EXPR);
        return match (token, param, token.parse::<f64>()) {
            ("x", ..) => Ok(Expr::X),
            (_, Some(k), _) => Ok(Expr::Param(k)),
            (_, _, Ok(n)) => Ok(Expr::Number(n)),
            _ => Err(format!("`{token}` where x, a parameter, a number or a function is expected")),
        };
    };
    *rest = open;
    let first = parse(rest, depth + 1)?;
    let e = if let Some(b) = Binary::of(token) {
        *rest = rest.trim_start().strip_prefix(',').ok_or_else(|| format!("{token} takes two operands"))?;
        Expr::binary(b, first, parse(rest, depth + 1)?)
    } else {
        Expr::unary(Unary::of(token).ok_or_else(|| format!("there is no function `{token}`"))?, first)
    };
    *rest = rest.trim_start().strip_prefix(')').ok_or_else(|| format!("`)` expected behind the operands of {token}"))?;
    Ok(e)
}

impl AttrValue for Expr {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Str(self.to_string()))
    }
    fn from_attr(a: Option<Attr>) -> Result<Self, String> {
        String::from_attr(a)?.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expr(text: &str) -> Expr {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn texts_are_read_back() {
        for text in ["x", "mul(x, tanh(softplus(x)))", "add(max(x, 0), mul(p0, min(x, 0)))", "pow(add(x, -1.5e-7), 2)", "erf(p12)"] {
            let e = expr(text);
            assert_eq!(expr(&e.to_string()), e);
        }
        for (text, why) in [
            ("", "where x, a parameter"),
            ("y", "`y`"),
            ("sinc(x)", "no function `sinc`"),
            ("mul(x)", "takes two operands"),
            ("exp(x", "`)` expected"),
            ("x x", "behind the function"),
        ] {
            assert!(text.parse::<Expr>().unwrap_err().contains(why), "{text}");
        }
        assert!("abs(".repeat(100_000).parse::<Expr>().is_err());
        assert!(expr("pow(x, x)").check().is_err() && expr("pow(x, p0)").check().is_ok());
    }

    #[test]
    fn values_are_those_of_the_formulas() {
        let close = |text: &str, x: f64, want: f64| assert!((expr(text).value(x, &[0.25]) - want).abs() < 1e-12, "{text} at {x}");
        close("mul(x, tanh(softplus(x)))", 1.0, (1f64 + 1f64.exp()).ln().tanh());
        close("softplus(x)", 800.0, 800.0);
        close("softplus(x)", -800.0, 0.0);
        close("add(max(x, 0), mul(p0, min(x, 0)))", -2.0, -0.5);
        close("sqrt(add(mul(x, x), 1))", 2.0, 5f64.sqrt());
        assert!(expr("max(log(x), 0)").value(-1.0, &[]).is_nan());
    }

    #[test]
    fn slopes_are_those_of_differences() {
        for f in Unary::ALL {
            let at = if matches!(f, Unary::Acosh) { 1.7 } else { 0.4 };
            let e = Expr::unary(*f, expr("mul(x, add(x, 0.1))")).of(&expr("div(x, 1)"));
            let h = 1e-6;
            let want = (e.value(at + h, &[]) - e.value(at - h, &[])) / (2.0 * h);
            assert!((e.slope(at, &[]) - want).abs() < 1e-6 * want.abs().max(1.0), "{e}: {} {want}", e.slope(at, &[]));
        }
        for f in Binary::ALL {
            let e = Expr::binary(*f, expr("exp(x)"), if *f == Binary::Pow { Expr::Number(1.5) } else { expr("sin(x)") });
            let (at, h) = (0.4, 1e-6);
            let want = (e.value(at + h, &[]) - e.value(at - h, &[])) / (2.0 * h);
            assert!((e.slope(at, &[]) - want).abs() < 1e-6 * want.abs().max(1.0), "{e}");
        }
    }
}
