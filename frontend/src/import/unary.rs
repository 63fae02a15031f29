//! Functions of one value by name.

use super::context::Context;
use super::{Bound, Var};
use chiffre_ir::tensor::{Binary, Expr, TensorOp, Unary};

type Result<T> = std::result::Result<T, String>;

/// Operators that are one function of the text form.
const PLAIN: [(&str, Unary); 18] = [
    ("Abs", Unary::Abs),
    ("Acos", Unary::Acos),
    ("Acosh", Unary::Acosh),
    ("Asin", Unary::Asin),
    ("Asinh", Unary::Asinh),
    ("Atan", Unary::Atan),
    ("Atanh", Unary::Atanh),
    ("Cos", Unary::Cos),
    ("Cosh", Unary::Cosh),
    ("Erf", Unary::Erf),
    ("Exp", Unary::Exp),
    ("Log", Unary::Log),
    ("Reciprocal", Unary::Reciprocal),
    ("Sin", Unary::Sin),
    ("Sinh", Unary::Sinh),
    ("Softplus", Unary::Softplus),
    ("Sqrt", Unary::Sqrt),
    ("Tan", Unary::Tan),
];

/// True for the operators that [`unary`] converts.
pub(super) fn is_unary(op: &str) -> bool {
    let formulas = ["Elu", "Selu", "Celu", "ThresholdedRelu", "Softsign", "Mish", "Swish"];
    formulas.contains(&op) || PLAIN.iter().any(|(name, _)| *name == op)
}

pub(super) fn unary(cx: &mut Context) -> Result<Bound> {
    let of = formula(cx)?;
    function(cx, 0, of)
}

/// A function of input `i`.
pub(super) fn function(cx: &mut Context, i: usize, of: Expr) -> Result<Bound> {
    let x = cx.value(i)?;
    of_value(cx, &x, of).map(Bound::Value)
}

/// A function of a value.
pub(super) fn of_value(cx: &mut Context, x: &Var, of: Expr) -> Result<Var> {
    let id = cx.elements(x)?;
    let id = cx.emit(TensorOp::Function { of, params: None }, vec![id])?;
    Ok(Var { id, ..x.clone() })
}

fn formula(cx: &Context) -> Result<Expr> {
    let op = cx.node.op.as_str();
    if let Some((_, f)) = PLAIN.iter().find(|(name, _)| *name == op) {
        return Ok(Expr::unary(*f, Expr::X));
    }
    let number = |name: &str, default: f32| cx.float(name, default).map(|x| Expr::Number(x.into()));
    let positive = || Expr::binary(Binary::Max, Expr::X, Expr::Number(0.0));
    let negative = || Expr::binary(Binary::Min, Expr::X, Expr::Number(0.0));
    let times = |a, b| Expr::binary(Binary::Mul, a, b);
    let plus = |a, b| Expr::binary(Binary::Add, a, b);
    // e^y − 1, for y ≤ 0.
    let grown = |y| Expr::binary(Binary::Sub, Expr::unary(Unary::Exp, y), Expr::Number(1.0));
    Ok(match op {
        "Elu" => plus(positive(), times(number("alpha", 1.0)?, grown(negative()))),
        "Selu" => {
            let elu = plus(positive(), times(number("alpha", 1.673_263_2)?, grown(negative())));
            times(number("gamma", 1.050_701)?, elu)
        }
        "Celu" => {
            let alpha = number("alpha", 1.0)?;
            if cx.float("alpha", 1.0)? <= 0.0 {
                return Err("alpha must be positive".into());
            }
            let scaled = Expr::binary(Binary::Div, Expr::X, alpha.clone());
            plus(positive(), times(alpha, grown(Expr::binary(Binary::Min, scaled, Expr::Number(0.0)))))
        }
        "ThresholdedRelu" => return Err("it jumps, and no polynomial follows a jump; use Relu".into()),
        "Softsign" => Expr::binary(Binary::Div, Expr::X, plus(Expr::Number(1.0), Expr::unary(Unary::Abs, Expr::X))),
        "Mish" => times(Expr::X, Expr::unary(Unary::Tanh, Expr::unary(Unary::Softplus, Expr::X))),
        "Swish" => times(Expr::X, Expr::unary(Unary::Sigmoid, times(number("alpha", 1.0)?, Expr::X))),
        other => return Err(super::operators::unsupported(other)),
    })
}
