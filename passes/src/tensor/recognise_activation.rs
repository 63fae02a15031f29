//! `recognise-activation`: elementwise chains over one value become one per-channel polynomial.
//!
//! Exporters write `a·x² + b·x + c` as three to five Mul and Add nodes, with batch norm around
//! them. Here every value is followed as a polynomial in its *base*, the nearest value that is not
//! itself such a chain (a convolution, a sum of two branches, the input): coefficients per channel,
//! exact in f64. A value of degree 2 or more becomes one `poly` of its base; sums and products that
//! turn out to have degree 1 become one `affine`. A plain affine stays as it is.
//!
//! Every value is rewritten for itself, so a chain whose middle is used elsewhere keeps working;
//! what nothing reads any more is pruned.

use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp};

/// Chains beyond this degree stay apart: the monomial coefficients of a composition lose all
/// precision in f32.
const MAX_DEGREE: usize = 16;

/// A value as a polynomial in `base`: a row of coefficients, lowest power first, for each channel
/// or for all.
#[derive(Clone, Debug, PartialEq)]
struct Form {
    base: ValueId,
    rows: Vec<Vec<f64>>,
}

impl Form {
    fn identity(v: ValueId) -> Form {
        Form { base: v, rows: vec![vec![0.0, 1.0]] }
    }
    fn degree(&self) -> usize {
        self.rows.iter().map(|r| r.iter().rposition(|&c| c != 0.0).unwrap_or(0)).max().unwrap_or(0)
    }
    /// Row by row with another list of rows; single rows serve all channels.
    fn zip(&self, other: &[Vec<f64>], f: impl Fn(&[f64], &[f64]) -> Vec<f64>) -> Form {
        let n = self.rows.len().max(other.len());
        let rows = (0..n).map(|c| f(&self.rows[c % self.rows.len()], &other[c % other.len()])).collect();
        Form { base: self.base, rows }
    }
    fn plus(&self, other: &Form, factor: f64) -> Form {
        self.zip(&other.rows, |a, b| add(a, b, factor))
    }
    /// The product, unless its degree is too high.
    fn times(&self, other: &Form) -> Option<Form> {
        (self.degree() + other.degree() <= MAX_DEGREE).then(|| self.zip(&other.rows, product))
    }
    /// `outer` of this polynomial, unless the degree is too high.
    fn under(&self, outer: &[Vec<f64>]) -> Option<Form> {
        let degree = Form { base: self.base, rows: outer.to_vec() }.degree();
        let horner = |x: &[f64], p: &[f64]| p.iter().take(degree + 1).rev().fold(vec![], |acc, &c| add(&product(&acc, x), &[c], 1.0));
        (self.degree() * degree <= MAX_DEGREE).then(|| self.zip(outer, horner))
    }
    /// All rows cut to the degree.
    fn trimmed(mut self) -> Form {
        let n = self.degree() + 1;
        self.rows.iter_mut().for_each(|r| r.resize(n, 0.0));
        self
    }
}

fn add(a: &[f64], b: &[f64], factor: f64) -> Vec<f64> {
    let at = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
    (0..a.len().max(b.len())).map(|i| at(a, i) + factor * at(b, i)).collect()
}

fn product(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; (a.len() + b.len()).saturating_sub(1)];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            out[i + j] += x * y;
        }
    }
    out
}

/// Rewrites every elementwise polynomial chain into one op on its base. Constants without data
/// leave their chain as it is.
pub fn recognise_activation(g: &TensorGraph) -> TensorGraph {
    let mut out = g.clone();
    let mut forms: Vec<Form> = Vec::with_capacity(g.nodes.len());
    for (v, _) in g.iter() {
        let deep = |a: ValueId| forms[a.index()].clone();
        let form = form(g, deep, v).or_else(|| form(g, Form::identity, v)).map_or_else(|| Form::identity(v), Form::trimmed);
        rewrite(&mut out, v, &form);
        forms.push(form);
    }
    out.prune(|op| matches!(op, TensorOp::Input {}));
    out
}

/// The polynomial of a value, given those of its operands, if it is one in their common base and of
/// bounded degree.
fn form(g: &TensorGraph, operand: impl Fn(ValueId) -> Form, v: ValueId) -> Option<Form> {
    let n = g.node(v);
    let arg = |i: usize| operand(n.args[i]);
    let same = || arg(0).base == arg(1).base;
    match &n.op {
        TensorOp::Affine { scale, shift } => {
            let (scale, shift) = (column(g, *scale)?, column(g, *shift)?);
            let rows = (0..scale.len().max(shift.len())).map(|c| vec![shift[c % shift.len()], scale[c % scale.len()]]).collect::<Vec<_>>();
            arg(0).under(&rows)
        }
        TensorOp::Poly { coeffs } => {
            let a = g.consts.array(*coeffs).ok()?;
            let rows: Vec<Vec<f64>> = a.data.chunks_exact(*a.shape.get(1)?).map(|r| r.iter().map(|&c| f64::from(c)).collect()).collect();
            arg(0).under(&rows)
        }
        TensorOp::Square {} => arg(0).times(&arg(0)),
        TensorOp::Mul {} if same() => arg(0).times(&arg(1)),
        TensorOp::Add {} if same() => Some(arg(0).plus(&arg(1), 1.0)),
        TensorOp::Sub {} if same() => Some(arg(0).plus(&arg(1), -1.0)),
        _ => None,
    }
}

fn column(g: &TensorGraph, c: ConstId) -> Option<Vec<f64>> {
    Some(g.consts.array(c).ok()?.data.iter().map(|&x| f64::from(x)).collect())
}

/// Replaces the op of `v` by the one op that its form needs.
fn rewrite(out: &mut TensorGraph, v: ValueId, form: &Form) {
    let n = out.node(v);
    let (base, degree, source) = (form.base, form.degree(), n.source.clone());
    let direct = n.args.first() == Some(&base);
    let keep = match &n.op {
        _ if base == v => true,
        TensorOp::Affine { .. } => degree < 2,
        TensorOp::Square {} => direct && degree == 2,
        TensorOp::Poly { .. } => direct && degree >= 2,
        _ => false,
    };
    let coefficients = || form.rows.iter().flatten().map(|&c| c as f32);
    if keep || !coefficients().all(f32::is_finite) {
        return;
    }
    let mut constant = |what: &str, shape: Vec<usize>, data: Vec<f32>| out.consts.add(&format!("{source}.{what}"), Array::new(shape, data));
    let rows = form.rows.len();
    let op = if degree >= 2 {
        TensorOp::Poly { coeffs: constant("coeffs", vec![rows, degree + 1], coefficients().collect()) }
    } else {
        let power = |k: usize| form.rows.iter().map(|r| r.get(k).map_or(0.0, |&c| c as f32)).collect();
        TensorOp::Affine { scale: constant("scale", vec![rows], power(1)), shift: constant("shift", vec![rows], power(0)) }
    };
    let n = &mut out.nodes[v.index()];
    n.op = op;
    n.args = vec![base];
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ir::tensor::{Tensor, interp, verify};
    use chiffre_ir::text::{parse, print};

    fn graph(body: &str) -> TensorGraph {
        let g = parse::<Tensor>(&format!("tensor @t {{\n{body}\n}}")).unwrap();
        verify(g).unwrap_or_else(|e| panic!("{e}")).into_inner()
    }
    /// Runs the pass, checks that it is idempotent and keeps the meaning, and prints the nodes.
    fn run(body: &str) -> (String, TensorGraph) {
        let g = graph(body);
        let h = verify(recognise_activation(&g)).unwrap_or_else(|e| panic!("{e}")).into_inner();
        assert_eq!(print(&recognise_activation(&h)), print(&h));
        let n = 3 * g.nodes[0].ty.len();
        let x: Vec<f32> = (0..n).map(|i| ((i * 7919 % 83) as f32 - 41.0) / 41.0).collect();
        for (a, b) in interp(&g, &x, 3).unwrap().iter().flatten().zip(interp(&h, &x, 3).unwrap().iter().flatten()) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} against {b}");
        }
        (print(&h).lines().filter(|l| l.contains("%")).map(str::trim).collect::<Vec<_>>().join("\n"), h)
    }
    fn coeffs(g: &TensorGraph, name: &str) -> Vec<f32> {
        g.consts.array(g.consts.find(name).unwrap()).unwrap().data.clone()
    }

    const AESPA: &str = "const @w2 : f32[2] = [0.5, 0.25]\nconst @w1 : f32[2] = [1, 2]\nconst @w0 : f32[2] = [3, 4]\nconst @one : f32[1] = [1]\nconst @zero : f32[1] = [0]
        %0 = input : f32[2x2x2] ; \"in\"
        %1 = square %0 : f32[2x2x2] ; \"act/Mul\"
        %2 = affine %1 {scale=@w2, shift=@zero} : f32[2x2x2] ; \"act/Mul_1\"
        %3 = affine %0 {scale=@w1, shift=@zero} : f32[2x2x2] ; \"act/Mul_2\"
        %4 = add %2, %3 : f32[2x2x2] ; \"act/Add\"
        %5 = affine %4 {scale=@one, shift=@w0} : f32[2x2x2] ; \"act/Add_1\"";

    #[test]
    fn an_exported_quadratic_becomes_one_poly() {
        let (text, g) = run(&format!("{AESPA}\nreturn %5"));
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2x2x2] ; "in"
        %1 = poly %0 {coeffs=@act_Add_1.coeffs} : f32[2x2x2] ; "act/Add_1"
        return %1
        "#);
        assert_eq!(coeffs(&g, "act_Add_1.coeffs"), [3., 1., 0.5, 4., 2., 0.25]);
    }

    #[test]
    fn batch_norm_on_both_sides_folds_in() {
        let (text, g) = run("const @a : f32[1] = [2]\nconst @b : f32[2] = [1, -1]\nconst @p : f32[1x3] = [0, 0, 1]
            %0 = input : f32[2]
            %1 = affine %0 {scale=@a, shift=@b} : f32[2] ; \"bn1\"
            %2 = poly %1 {coeffs=@p} : f32[2] ; \"act\"
            %3 = affine %2 {scale=@a, shift=@b} : f32[2] ; \"bn2\"
            return %3");
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2]
        %1 = poly %0 {coeffs=@bn2.coeffs} : f32[2] ; "bn2"
        return %1
        "#);
        // 2(2x ± 1)² ± 1
        assert_eq!(coeffs(&g, "bn2.coeffs"), [3., 8., 8., 1., -8., 8.]);
    }

    #[test]
    fn a_sum_of_two_bases_is_a_base() {
        let (text, _) = run("const @w : f32[2x2x1x1] = [1, 2, 3, 4]\nconst @a : f32[1] = [2]
            %0 = input : f32[2x2x2]
            %1 = conv2d %0 {weight=@w, stride=[1, 1], pad=[0, 0, 0, 0], dilation=[1, 1]} : f32[2x2x2] ; \"conv\"
            %2 = add %1, %0 : f32[2x2x2] ; \"join\"
            %3 = mul %2, %2 : f32[2x2x2] ; \"square\"
            %4 = add %3, %2 : f32[2x2x2] ; \"act\"
            %5 = mul %4, %1 : f32[2x2x2] ; \"gate\"
            return %5");
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2x2x2]
        %1 = conv2d %0 {weight=@w, stride=[1, 1], pad=[0, 0, 0, 0], dilation=[1, 1]} : f32[2x2x2] ; "conv"
        %2 = add %1, %0 : f32[2x2x2] ; "join"
        %3 = poly %2 {coeffs=@act.coeffs} : f32[2x2x2] ; "act"
        %4 = mul %3, %1 : f32[2x2x2] ; "gate"
        return %4
        "#);
    }

    #[test]
    fn middles_that_are_used_stay() {
        let (text, g) = run(&format!("{AESPA}\nreturn %5, %1, %3"));
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2x2x2] ; "in"
        %1 = square %0 : f32[2x2x2] ; "act/Mul"
        %2 = affine %0 {scale=@w1, shift=@zero} : f32[2x2x2] ; "act/Mul_2"
        %3 = poly %0 {coeffs=@act_Add_1.coeffs} : f32[2x2x2] ; "act/Add_1"
        return %3, %1, %2
        "#);
        assert_eq!(g.consts.len(), 3);
    }

    #[test]
    fn degree_one_is_an_affine() {
        let (text, g) = run("const @a : f32[1] = [2]
            %0 = input : f32[2]
            %1 = affine %0 {scale=@a, shift=@a} : f32[2] ; \"plain\"
            %2 = square %0 : f32[2] ; \"s\"
            %3 = sub %2, %1 : f32[2] ; \"d\"
            %4 = sub %2, %3 : f32[2] ; \"back\"
            return %1, %4");
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2]
        %1 = affine %0 {scale=@a, shift=@a} : f32[2] ; "plain"
        %2 = affine %0 {scale=@back.scale, shift=@back.shift} : f32[2] ; "back"
        return %1, %2
        "#);
        assert_eq!((coeffs(&g, "back.scale"), coeffs(&g, "back.shift")), (vec![2.0], vec![2.0]));
    }

    #[test]
    fn long_chains_stop_at_the_degree_limit() {
        let body: String = (1..=6).map(|i| format!("%{i} = square %{} : f32[2] ; \"s{i}\"\n", i - 1)).collect();
        let (text, _) = run(&format!("%0 = input : f32[2]\n{body}return %6"));
        insta::assert_snapshot!(text, @r#"
        %0 = input : f32[2]
        %1 = poly %0 {coeffs=@s4.coeffs} : f32[2] ; "s4"
        %2 = poly %1 {coeffs=@s6.coeffs} : f32[2] ; "s6"
        return %2
        "#);
    }
}
