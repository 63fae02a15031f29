//! The functions that polynomials stand in for.

use chiffre_ir::consts::Consts;
use chiffre_ir::error::InterpError;
use chiffre_ir::tensor::{ActivationKind, Expr, TensorOp, activate};

/// An elementwise function, one for all channels or one per channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// A named activation with its parameter.
    Named(ActivationKind, Option<f64>),
    /// Polynomials: rows of coefficients, lowest power first, for each channel or for all.
    Poly(Vec<Vec<f64>>),
    /// A function without a name; its parameters, for each channel or for all.
    Composed(Expr, Vec<Vec<f64>>),
}

impl Function {
    /// The function of a node that `approximate-activations` may rewrite; `None` for other ops.
    ///
    /// # Errors
    /// The coefficients have no data.
    pub fn of(op: &TensorOp, consts: &Consts) -> Result<Option<Function>, InterpError> {
        Ok(match op {
            TensorOp::Activation { kind, alpha } => Some(Function::Named(*kind, *alpha)),
            TensorOp::Poly { coeffs } => {
                let a = consts.array(*coeffs)?;
                let rows = a.data.chunks_exact(a.shape[1].max(1));
                Some(Function::Poly(rows.map(|r| r.iter().map(|&c| f64::from(c)).collect()).collect()))
            }
            TensorOp::Function { of, params: None } => Some(Function::Composed(of.clone(), vec![vec![]])),
            TensorOp::Function { of, params: Some(params) } => {
                let a = consts.array(*params)?;
                let rows = a.data.chunks_exact(a.shape[1].max(1)).map(|r| r.iter().map(|&c| f64::from(c)).collect());
                Some(Function::Composed(of.clone(), rows.collect()))
            }
            _ => None,
        })
    }
    /// The value at `x` in channel `c`.
    pub fn at(&self, c: usize, x: f64) -> f64 {
        match self {
            Function::Named(kind, alpha) => activate(*kind, *alpha, x),
            Function::Composed(of, rows) => of.value(x, &rows[c % rows.len()]),
            Function::Poly(rows) => rows[c % rows.len()].iter().rev().fold(0.0, |acc, a| acc * x + a),
        }
    }
    /// The degree, if the function is a polynomial.
    pub fn degree(&self) -> Option<usize> {
        match self {
            Function::Named(..) | Function::Composed(..) => None,
            Function::Poly(rows) => rows.iter().map(|r| r.iter().rposition(|c| *c != 0.0).unwrap_or(0)).max(),
        }
    }
    /// True if all channels have the same function.
    pub fn is_shared(&self) -> bool {
        match self {
            Function::Named(..) => true,
            Function::Poly(rows) | Function::Composed(_, rows) => rows.len() == 1,
        }
    }
    /// Name for people: `relu`, `leaky_relu(0.1)`, `poly`.
    pub fn name(&self) -> String {
        match self {
            Function::Named(kind, None) => kind.to_string(),
            Function::Named(kind, Some(alpha)) => format!("{kind}({alpha})"),
            Function::Poly(_) => "poly".into(),
            Function::Composed(of, _) => of.to_string(),
        }
    }
}
