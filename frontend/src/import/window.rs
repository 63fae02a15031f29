//! Kernels, strides and padding of convolutions and pools along one or two axes of positions.

use super::Var;
use super::context::Context;

/// A 2-D window over a value; along one axis only, the other has extent 1 and stands last.
pub(super) struct Window {
    pub stride: [usize; 2],
    /// Top, left, bottom, right.
    pub pad: [usize; 4],
    pub dilation: [usize; 2],
}

/// Number of axes of positions of a value that windows move over.
pub(super) fn axes(x: &Var) -> Result<usize, String> {
    match x.dims.len() {
        n @ (2 | 3) => Ok(n - 1),
        1 => Err(format!("the input has shape N×{:?}: it has no positions", x.dims)),
        _ => Err(format!("the input has shape N×{:?}: only windows along one or two axes are supported", x.dims)),
    }
}

/// A list with an entry for each axis.
pub(super) fn pair(cx: &Context, name: &str, axes: usize, default: [usize; 2]) -> Result<[usize; 2], String> {
    match axes {
        1 => cx.sizes::<1>(name, [default[0]]).map(|[a]| [a, 1]),
        _ => cx.sizes(name, default),
    }
}

/// Reads `strides`, `pads`, `auto_pad` and `dilations` for a kernel over `extent` positions.
pub(super) fn read(cx: &Context, axes: usize, extent: [usize; 2], kernel: [usize; 2]) -> Result<Window, String> {
    let stride = pair(cx, "strides", axes, [1, 1])?;
    let dilation = pair(cx, "dilations", axes, [1, 1])?;
    if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
        return Err("kernel, stride and dilation must be positive".into());
    }
    let mut pad = match axes {
        1 => cx.sizes::<2>("pads", [0; 2]).map(|[top, bottom]| [top, 0, bottom, 0])?,
        _ => cx.sizes("pads", [0; 4])?,
    };
    let auto = cx.word("auto_pad", "NOTSET")?;
    match auto.as_str() {
        "NOTSET" | "" => {}
        "VALID" => pad = [0; 4],
        "SAME_UPPER" | "SAME_LOWER" => {
            for d in 0..2 {
                let reach = (kernel[d] - 1) * dilation[d] + 1;
                let total = ((extent[d].div_ceil(stride[d]) - 1) * stride[d] + reach).saturating_sub(extent[d]);
                let small = total / 2;
                let before = if auto == "SAME_UPPER" { small } else { total - small };
                (pad[d], pad[d + 2]) = (before, total - before);
            }
        }
        other => return Err(format!("auto_pad {other} is unknown")),
    }
    Ok(Window { stride, pad, dilation })
}
