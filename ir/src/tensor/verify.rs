//! Verifier of the tensor IR.
//!
//! **Invariants**
//! 1. Structure: arguments are defined before use, arities fit, constants and outputs exist, there
//!    is an output.
//! 2. There is exactly one `input`.
//! 3. Every value is `[C]` or `[C, H, W]` with extents of at least 1, and bounded ([`MAX_EXTENT`],
//!    [`MAX_ELEMENTS`]).
//! 4. Every node's type is what the op's shape rule yields ([`infer`]); a `linear_map` has the
//!    channels of its kernels and a bias of `[out]` or of its own shape.
//! 5. The values of constants, where they are known, are finite.
//!
//! All findings are collected; a node whose operands are broken is still checked against their
//! declared types.

#[cfg(doc)]
use super::{MAX_ELEMENTS, MAX_EXTENT};
use super::{Tensor, TensorGraph, TensorOp, TensorType, infer, infer::check_size, reads};
use crate::consts::{Consts, Data};
use crate::error::{Finding, VerifyError};
use crate::graph::Verified;

/// Checks all invariants.
///
/// # Errors
/// Every finding, with value and source node.
pub fn verify(g: TensorGraph) -> Result<Verified<Tensor>, VerifyError> {
    let mut findings = vec![];
    g.check_structure(&mut findings);
    if findings.is_empty() {
        check(&g, &mut findings);
    }
    Verified::from_findings(g, findings)
}

fn check(g: &TensorGraph, findings: &mut Vec<Finding>) {
    for (_, c) in g.consts.iter() {
        if let Some(x) = c.data.as_ref().and_then(Data::not_finite) {
            findings.push(Finding::of_graph(format!("constant @{} holds {x}", c.name)));
        }
    }
    let mut inputs = 0;
    for (v, n) in g.iter() {
        inputs += usize::from(matches!(n.op, TensorOp::Input {}));
        let args: Vec<_> = n.args.iter().map(|&a| g.ty(a)).collect();
        let rule = check_size(&n.ty).and_then(|()| infer(&n.op, &args, &g.consts)).and_then(|ty| match (ty, &n.op) {
            (Some(ty), _) if ty != n.ty => Err(format!("declared {}, but the op yields {ty}", n.ty)),
            (None, op @ TensorOp::LinearMap { .. }) => check_declared(op, &args, &n.ty, &g.consts),
            _ => Ok(()),
        });
        if let Err(message) = rule {
            findings.push(g.finding(v, format!("{}: {message}", crate::graph::Op::info(&n.op).mnemonic)));
        }
    }
    if inputs != 1 {
        findings.push(Finding::of_graph(format!("the graph has {inputs} inputs, not one")));
    }
}

/// Checks a `linear_map` with a result of type `ty`: the rules of [`infer`], and that the
/// declaration fits.
///
/// # Errors
/// The rule that is broken, in words.
pub(crate) fn check_linear_map(op: &TensorOp, args: &[&TensorType], ty: &TensorType, consts: &Consts) -> Result<(), String> {
    check_size(ty)?;
    infer(op, args, consts)?;
    check_declared(op, args, ty, consts)
}

/// What the declared type of a `linear_map` that follows the other rules has to have.
fn check_declared(op: &TensorOp, args: &[&TensorType], ty: &TensorType, consts: &Consts) -> Result<(), String> {
    let TensorOp::LinearMap { kernels, bias, reads, .. } = op else { return Ok(()) };
    let out = consts.get(kernels[0]).shape()[0];
    let bias = bias.map(|b| consts.get(b).shape());
    if ty.chw()[0] != out {
        return Err(format!("declared {ty}, but the kernels yield {out} channels"));
    }
    let [_, h, w] = ty.chw();
    for (k, a) in args.iter().enumerate() {
        let (Some(lists), shape) = (reads.of(k), consts.get(kernels[k]).shape()) else { continue };
        let [_, rows, columns] = a.chw();
        reads::check(lists, [shape[2], shape[3]], [rows, columns], [h, w]).map_err(|e| format!("operand {k}: {e}"))?;
    }
    match bias {
        Some(b) if b != [out] && b != ty.chw() && b != ty.shape => Err(format!("bias has shape {b:?}, expected [{out}] or {:?}", ty.shape)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(body: &str) -> String {
        let g = crate::text::parse::<Tensor>(&format!("tensor @t {{\n{body}\n}}")).unwrap();
        verify(g).map(|_| "ok".to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn accepts_every_op() {
        let text = "const @w : f32[2x3x3x3] blake3:0000000000000000000000000000000000000000000000000000000000000000
            const @k : f32[2x2x1x1] = [1, 0, 0, 1]
            const @c : f32[2] = [1, 2]
            const @p : f32[1x3] = [0, 1, 1]
            const @r : f32[2x2] = [-1, 2, -3, 1]
            const @fc : f32[1x18] = [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]
            const @a : f32[2x4x4] = [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]
            %0 = input : f32[3x8x8]
            %1 = conv2d %0 {weight=@w, bias=@c, stride=[2, 2], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[2x4x4]
            %2 = affine %1 {scale=@c, shift=@c} : f32[2x4x4]
            %3 = add_const %2 {value=@a} : f32[2x4x4]
            %4 = add %3, %2 : f32[2x4x4]
            %5 = sub %4, %2 : f32[2x4x4]
            %6 = mul %5, %2 : f32[2x4x4]
            %7 = square %6 : f32[2x4x4]
            %8 = poly %7 {coeffs=@p} : f32[2x4x4]
            %9 = activation %8 {kind=leaky_relu, alpha=0.1} : f32[2x4x4]
            %10 = avg_pool %9 {kernel=[2, 2], stride=[2, 2], pad=[0, 0, 0, 0]} : f32[2x2x2]
            %11 = max_pool %9 {kernel=[3, 3], stride=[2, 2], pad=[1, 1, 0, 0]} : f32[2x2x2]
            %12 = concat %10, %11 : f32[4x2x2]
            %13 = slice %12 {start=[1, 0, 0], count=[2, 1, 1], step=[1, 1, 1]} : f32[2x1x1]
            %14 = pad %13 {before=[0, 1, 1], after=[0, 1, 1]} : f32[2x3x3]
            %15 = flatten %14 : f32[18]
            %16 = linear %15 {weight=@fc} : f32[1]
            %17 = linear_map %14, %14 {kernels=[@k, @k], strides=[[1, 1], [2, 2]], origins=[[0, 0], [-1, 0]], bias=@c} : f32[2x3x3]
            %18 = chebyshev %14 {coeffs=@p, sine=true, ranges=@r, certificate=\"relu range=[-1,2.5] margin=1.2 limit=1.27 rms=0.01 max=0.1 outside=0\"} : f32[2x3x3]
            %19 = linear_map %14 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]], reads=[[[[0, 0, -1, 2]], [[2, 1]]]], groups=[1]} : f32[2x4x2]
            return %16, %17, %18, %19";
        assert_eq!(findings(text), "ok");
    }

    #[test]
    fn every_shape_rule_has_a_message() {
        let consts = "const @w : f32[2x3x3x3] blake3:0000000000000000000000000000000000000000000000000000000000000000
            const @m : f32[2x5] blake3:0000000000000000000000000000000000000000000000000000000000000000
            const @c : f32[2] = [1, 2]
            const @p : f32[1x5] = [0, 1, 2, 3, 4]
            const @r : f32[2x2] = [0, 1, 2, 3]
            %0 = input : f32[3x4x4] ; \"in\"";
        let cases = [
            ("conv2d %0 {weight=@w, stride=[1, 1], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[2x5x5]", "the op yields f32[2x4x4]"),
            ("conv2d %0 {weight=@w, stride=[0, 1], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[2x4x4]", "must be positive"),
            ("conv2d %0 {weight=@w, stride=[1, 1], pad=[0, 0, 0, 0], dilation=[2, 2]} : f32[2x4x4]", "window of 5 does not fit"),
            ("conv2d %0 {weight=@m, stride=[1, 1], pad=[0, 0, 0, 0], dilation=[2, 2]} : f32[2x4x4]", "expected [out, in, kh, kw]"),
            ("linear %0 {weight=@m} : f32[2]", "flatten it first"),
            ("affine %0 {scale=@c, shift=@c} : f32[3x4x4]", "scale has shape [2], expected [1] or [3]"),
            ("add_const %0 {value=@c} : f32[3x4x4]", "value has shape [2]"),
            ("poly %0 {coeffs=@m} : f32[3x4x4]", "coeffs has shape [2]"),
            ("chebyshev %0 {coeffs=@m} : f32[3x4x4]", "coeffs has shape [2]"),
            ("chebyshev %0 {coeffs=@c} : f32[3x4x4]", "coeffs has shape [2], expected [C, degree+1]"),
            ("chebyshev %0 {coeffs=@p, ranges=@p} : f32[3x4x4]", "ranges has 5 columns, expected 2"),
            ("chebyshev %0 {coeffs=@p, ranges=@r} : f32[3x4x4]", "ranges has shape [2], expected [1] or [3]"),
            ("activation %0 {kind=clip} : f32[3x4x4]", "clip needs a finite alpha"),
            ("activation %0 {kind=relu, alpha=1.0} : f32[3x4x4]", "relu takes no alpha"),
            ("function %0 {of=\"pow(x, x)\"} : f32[3x4x4]", "an exponent depends on the value"),
            ("function %0 {of=\"mul(x, p0)\"} : f32[3x4x4]", "params has 0 columns, the function 1 parameters"),
            ("function %0 {of=\"add(p0, p1)\", params=@r} : f32[3x4x4]", "params has shape [2], expected [1] or [3]"),
            ("avg_pool %0 {kernel=[2, 2], stride=[2, 2], pad=[2, 0, 0, 0]} : f32[3x3x2]", "holds padding only"),
            ("slice %0 {start=[0, 0, 3], count=[1, 1, 2], step=[1, 1, 1]} : f32[1x1x2]", "dimension 2 of extent 4"),
            ("concat %0 : f32[4x4x4]", "the op yields f32[3x4x4]"),
            ("flatten %0 : f32[47]", "the op yields f32[48]"),
            ("linear_map %0 {kernels=[@w], strides=[], origins=[[0, 0]]} : f32[2x4x4]", "as many kernels"),
            ("linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]]} : f32[3x4x4]", "kernels yield 2 channels"),
            ("linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], reads=[[[], []], [[], []]]} : f32[2x1x1]", "reads for 2"),
            ("linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], groups=[2]} : f32[2x1x1]", "3 channels in each of 2 groups"),
            ("linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], groups=[1, 1]} : f32[2x1x1]", "other than 1 operands"),
            ("linear_map %0 {kernels=[@w], strides=[[2, 1]], origins=[[0, 0]], reads=[[[[0]], [[0]]]]} : f32[2x1x1]", "and a stride"),
            (
                "linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], reads=[[[[0]], [[0], [1], [2]]]]} : f32[2x1x1]",
                "1 lists of rows for 3 taps",
            ),
            (
                "linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], reads=[[[[0], [1], [2, 3]], [[0], [1], [2]]]]} : f32[2x1x1]",
                "a list of 2 rows for a result of 1",
            ),
            (
                "linear_map %0 {kernels=[@w], strides=[[1, 1]], origins=[[0, 0]], reads=[[[[0], [1], [4]], [[0], [1], [2]]]]} : f32[2x1x1]",
                "end at 4, and 4 is read",
            ),
        ];
        for (op, message) in cases {
            let text = findings(&format!("{consts}\n%1 = {op} ; \"the node\"\nreturn %1"));
            assert!(text.contains(message) && text.contains("%1 (node \"the node\"): "), "{op}\n{text}");
        }
    }

    #[test]
    fn collects_all_findings() {
        let text = findings("%0 = input : f32[2x2x2]\n%1 = input : f32[2x2]\n%2 = flatten %0 : f32[3] ; \"f\"\nreturn %2");
        assert_eq!(
            text,
            "%1: input: a value is [C] or [C, H, W], not of rank 2\n%2 (node \"f\"): flatten: declared f32[3], but the op yields f32[8]\nthe graph has 2 inputs, not one"
        );
        assert_eq!(
            findings("%0 = input : f32[1]\n%1 = add %0 : f32[1]\nreturn"),
            "%1: add takes 2 operands, not 1\nthe graph has no output"
        );
    }

    #[test]
    fn constants_must_be_finite() {
        let mut g = TensorGraph::new("n");
        let ty = super::super::TensorType::new([1]);
        let x = g.push(TensorOp::Input {}, vec![], ty.clone(), "x");
        let c = g.consts.add("w", crate::consts::Array::new(vec![1], vec![f32::NAN]));
        let y = g.push(TensorOp::Affine { scale: c, shift: c }, vec![x], ty, "bn");
        g.outputs.push(y);
        assert_eq!(verify(g).unwrap_err().to_string(), "constant @w holds NaN");
    }
}
