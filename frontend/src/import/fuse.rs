//! Elementwise subgraphs over one value become one function of it.
//!
//! Every value is followed as an expression of its *base*, the nearest value that is not such a
//! function of another. Where two paths from a base meet (`x·sigmoid(x)`), or a function that is no
//! polynomial follows another op that only together they make a function (`√(x² + 1)`), the value
//! becomes one function of the base, so that one series stands in for all of it. Affine maps alone
//! stay as they are, as layers around them take them in, and so do polynomials, which are exact. A
//! function that others read as well stays apart from sums and products: its series is there
//! anyway.

use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, Binary, Expr, MAX_EXPR, TensorGraph, TensorOp, Unary};

/// A value as a function of its base.
#[derive(Clone)]
struct Form {
    base: ValueId,
    of: Expr,
    /// Ops on the way that are neither affine nor polynomials.
    functions: usize,
    /// Something is gained by one function: paths meet, or functions follow each other.
    joined: bool,
}

impl Form {
    fn base(v: ValueId) -> Form {
        Form { base: v, of: Expr::X, functions: 0, joined: false }
    }
    /// True if the value is the base under an affine map.
    fn is_linear(&self) -> bool {
        is_linear(&self.of)
    }
}

fn is_linear(e: &Expr) -> bool {
    match e {
        Expr::X | Expr::Number(_) => true,
        Expr::Binary(Binary::Add | Binary::Sub, ab) => is_linear(&ab[0]) && is_linear(&ab[1]),
        Expr::Binary(Binary::Mul, ab) => (is_linear(&ab[0]) && !ab[1].depends()) || (!ab[0].depends() && is_linear(&ab[1])),
        _ => false,
    }
}

/// Fuses what can be, and drops what nothing reads any more.
pub(super) fn fuse(g: &mut TensorGraph) {
    let mut forms: Vec<Form> = vec![];
    let uses = g.use_counts();
    let mut changed = false;
    for i in 0..g.nodes.len() {
        let v = ValueId(i as u32);
        let form = form(g, &forms, &uses, v).filter(|f| f.of.size() <= MAX_EXPR).unwrap_or_else(|| Form::base(v));
        if form.joined && form.functions > 0 {
            g.nodes[i].op = op_of(&form.of);
            g.nodes[i].args = vec![form.base];
            changed = true;
        }
        forms.push(form);
    }
    if changed {
        g.prune(|op| matches!(op, TensorOp::Input {}));
    }
}

fn form(g: &TensorGraph, forms: &[Form], uses: &[usize], v: ValueId) -> Option<Form> {
    let n = g.node(v);
    let arg = |k: usize| n.args.get(k).map(|a| &forms[a.index()]);
    let inner = arg(0)?;
    let shared = |k: usize| n.args.get(k).is_some_and(|a| forms[a.index()].functions > 0 && uses[a.index()] > 1);
    let apart = shared(0) || shared(1);
    // A function of a function, or of what only looks like one behind it.
    let under = |of: Expr| {
        let joined = inner.joined || !inner.is_linear();
        Some(Form { base: inner.base, of: of.of(&inner.of), functions: inner.functions + 1, joined })
    };
    match &n.op {
        TensorOp::Affine { scale, shift } => {
            let (s, t) = (number(g, *scale)?, number(g, *shift)?);
            let scaled = if s == 1.0 { inner.of.clone() } else { Expr::binary(Binary::Mul, Expr::Number(s), inner.of.clone()) };
            let of = if t == 0.0 { scaled } else { Expr::binary(Binary::Add, scaled, Expr::Number(t)) };
            Some(Form { of, joined: inner.joined && !apart, ..inner.clone() })
        }
        TensorOp::Activation { kind, alpha } => under(expr_of(*kind, *alpha)?),
        TensorOp::Function { of, params: None } => under(of.clone()),
        TensorOp::Square {} | TensorOp::Add {} | TensorOp::Sub {} | TensorOp::Mul {} if apart => None,
        TensorOp::Square {} => {
            let of = Expr::binary(Binary::Mul, inner.of.clone(), inner.of.clone());
            Some(Form { of, joined: inner.functions > 0, ..inner.clone() })
        }
        TensorOp::Add {} => joined(Binary::Add, inner, arg(1)?),
        TensorOp::Sub {} => joined(Binary::Sub, inner, arg(1)?),
        TensorOp::Mul {} => joined(Binary::Mul, inner, arg(1)?),
        _ => None,
    }
}

/// Two functions of one base together.
fn joined(f: Binary, a: &Form, b: &Form) -> Option<Form> {
    let functions = a.functions + b.functions;
    (a.base == b.base).then(|| Form { base: a.base, of: Expr::binary(f, a.of.clone(), b.of.clone()), functions, joined: functions > 0 })
}

/// The only value of a constant that is the same for all channels.
fn number(g: &TensorGraph, c: chiffre_ir::consts::ConstId) -> Option<f64> {
    match g.consts.array(c).ok()?.data[..] {
        [x] => Some(x.into()),
        _ => None,
    }
}

/// A named activation as an expression.
fn expr_of(kind: ActivationKind, alpha: Option<f64>) -> Option<Expr> {
    let text = match kind {
        ActivationKind::Relu => "max(x, 0)",
        ActivationKind::Sigmoid => "sigmoid(x)",
        ActivationKind::Silu => "mul(x, sigmoid(x))",
        ActivationKind::Gelu => "mul(mul(0.5, x), add(1, erf(mul(0.7071067811865476, x))))",
        ActivationKind::Tanh => "tanh(x)",
        ActivationKind::HardSwish => "div(mul(x, min(max(add(x, 3), 0), 6)), 6)",
        ActivationKind::LeakyRelu => {
            let negative = Expr::binary(Binary::Min, Expr::X, Expr::Number(0.0));
            let positive = Expr::binary(Binary::Max, Expr::X, Expr::Number(0.0));
            return Some(Expr::binary(Binary::Add, positive, Expr::binary(Binary::Mul, Expr::Number(alpha?), negative)));
        }
        ActivationKind::Clip => {
            return Some(Expr::binary(Binary::Min, Expr::binary(Binary::Max, Expr::X, Expr::Number(0.0)), Expr::Number(alpha?)));
        }
    };
    text.parse().ok()
}

/// The op of a function: a named activation where it is one.
fn op_of(of: &Expr) -> TensorOp {
    match is_gelu(of) {
        true => TensorOp::Activation { kind: ActivationKind::Gelu, alpha: None },
        false => TensorOp::Function { of: of.clone(), params: None },
    }
}

/// True for `x·(1 + erf(x/√2))/2`, in whichever order.
fn is_gelu(e: &Expr) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    let mut factors = vec![];
    flatten(Binary::Mul, e, &mut factors);
    let scale: f64 = factors.iter().filter_map(|f| if let Expr::Number(n) = f { Some(n) } else { None }).product();
    let rest: Vec<&&Expr> = factors.iter().filter(|f| !matches!(f, Expr::Number(_))).collect();
    let gate = |f: &Expr| {
        let mut terms = vec![];
        flatten(Binary::Add, f, &mut terms);
        let one = terms.iter().any(|t| matches!(t, Expr::Number(n) if near(*n, 1.0)));
        let erf = terms.iter().any(|t| match t {
            Expr::Unary(Unary::Erf, inner) => {
                let mut inside = vec![];
                flatten(Binary::Mul, inner, &mut inside);
                let x = inside.iter().filter(|i| ***i == Expr::X).count();
                let s: f64 = inside.iter().filter_map(|f| if let Expr::Number(n) = f { Some(n) } else { None }).product();
                x == 1 && inside.len() == 2 && near(s, std::f64::consts::FRAC_1_SQRT_2)
            }
            _ => false,
        });
        one && erf && terms.len() == 2
    };
    near(scale, 0.5) && rest.len() == 2 && rest.iter().any(|f| ***f == Expr::X) && rest.iter().any(|f| gate(f))
}

/// The operands of nested sums or products.
fn flatten<'a>(f: Binary, e: &'a Expr, out: &mut Vec<&'a Expr>) {
    match e {
        Expr::Binary(g, ab) if *g == f => ab.iter().for_each(|e| flatten(f, e, out)),
        e => out.push(e),
    }
}
