//! Security and the range certificate.

use super::chart::{Bar, bars};
use super::tables::{breakable, head};
use super::{definitions, escape, region};
use crate::overview::Overview;
use chiffre_ir::tensor::CertifiedNode;
use std::fmt::Write;

/// The section.
pub(super) fn section(v: &Overview) -> String {
    let level = match v.insecure {
        true => "below 128 bits: for tests only".to_string(),
        false => format!("{} bits against classical attacks", v.security_bits),
    };
    let bound = v.max_log_qp.map_or("the table has no such ring".into(), |m| {
        format!("log2 QP = {:.1}, at most {m} for 128 bits at N = 2^{}", v.log_qp, v.log_n)
    });
    let mut items = vec![("Security", level), ("Modulus", bound)];
    if let Some(b) = &v.bootstrap {
        let count = (v.bootstraps.max(1) as f64).log2();
        let failure = v.log2_failure.map_or("none can fail".into(), |one| {
            format!("one fails with probability 2^{:.0} at most, any of a batch with 2^{:.0}", one, one + count)
        });
        items.push(("Bootstraps", failure));
        items.push(("Ephemeral secret", format!("{} non-zero coefficients", b.weight)));
    }
    let nodes: Result<Vec<CertifiedNode>, _> = v.certificate.as_deref().map_or(Ok(vec![]), serde_json::from_str);
    let certificate = match (&nodes, &v.certificate) {
        (Ok(nodes), _) if !nodes.is_empty() => table(nodes),
        (Err(_), Some(text)) => format!("<h3>Range certificate</h3>\n<p>Not in the form that this version reads:</p>\n{}", region("Range certificate", &format!("<pre>{}</pre>\n", escape(text)))),
        _ => "<p>The file holds no range certificate: this network's activations are polynomials on all numbers, or were not calibrated.</p>\n".into(),
    };
    definitions(&items) + &certificate
}

/// A share in percent.
fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        p if p < 0.01 => "below 0.01 %".into(),
        p => format!("{p:.2} %"),
    }
}

fn table(nodes: &[CertifiedNode]) -> String {
    let mut s = head(&[
        "ONNX node",
        "function",
        "degree#",
        "bootstrap",
        "channels × polynomials#",
        "calibrated range#",
        "margin#",
        "rms error#",
        "largest error#",
        "outside#",
    ]);
    for n in nodes {
        let c = &n.certificate;
        let _ = writeln!(
            s,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{} × {}</td><td class=\"n\">{:.3} to {:.3}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            breakable(&n.node),
            escape(&c.function),
            n.degree,
            if n.refresh { "yes" } else { "no" },
            n.channels[0],
            n.channels[1],
            c.range[0],
            c.range[1],
            c.margin,
            percent(c.rms),
            percent(c.max),
            percent(c.outside)
        );
    }
    let words = "<h3>Range certificate</h3>\n<p>Where each approximated activation holds: the smallest and largest operand on the calibration images over all channels, and the margin, the factor by which each channel's own values \
                 are widened to its range. Errors are the worst channel's, as shares of half its range: on the calibration images, and anywhere within the range, where it may lie far from the values of any image. \
                 The last column says how many calibration values were outside.</p>\n";
    words.to_string() + &chart(nodes) + &region("Table of approximated activations", &(s + "</tbody>\n</table>\n"))
}

/// The calibrated ranges on one scale.
fn chart(nodes: &[CertifiedNode]) -> String {
    let low = nodes.iter().map(|n| n.certificate.range[0]).fold(0.0, f64::min);
    let high = nodes.iter().map(|n| n.certificate.range[1]).fold(0.0, f64::max);
    let part = |x: f64| (x - low) / (high - low).max(1e-12);
    let row = |n: &CertifiedNode| {
        let [from, to] = n.certificate.range;
        Bar {
            label: n.node.clone(),
            note: format!("degree {}", n.degree),
            class: if n.refresh { "refresh" } else { "product" },
            span: [part(from), part(to)],
            value: format!("{from:.1} to {to:.1}"),
        }
    };
    let rows: Vec<Bar> = nodes.iter().map(row).collect();
    let description = format!(
        "{} activations; all calibrated operands are between {low:.1} and {high:.1}. The table below has the numbers.",
        nodes.len()
    );
    let caption = "Calibrated range of each activation's operand; the line is zero. Behind bootstraps in the bootstraps' colour.";
    bars("range-chart", ["Calibrated ranges", &description], &rows, Some(part(0.0)), caption)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_well() {
        assert_eq!([0.0, 2e-5, 0.00012, 0.5].map(percent), ["0 %", "below 0.01 %", "0.01 %", "50.00 %"]);
    }
}
