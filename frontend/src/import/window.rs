//! Strides and padding of convolutions and pools.

use super::context::Context;

/// A 2-D window over a value.
pub(super) struct Window {
    pub stride: [usize; 2],
    /// Top, left, bottom, right.
    pub pad: [usize; 4],
    pub dilation: [usize; 2],
}

/// Reads `strides`, `pads`, `auto_pad` and `dilations` for a kernel over `extent` positions.
pub(super) fn read(cx: &Context, extent: [usize; 2], kernel: [usize; 2]) -> Result<Window, String> {
    let stride = cx.sizes("strides", [1, 1])?;
    let dilation = cx.sizes("dilations", [1, 1])?;
    if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
        return Err("kernel, stride and dilation must be positive".into());
    }
    let mut pad = cx.sizes("pads", [0; 4])?;
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
