//! What the compiler makes of a model's operators, in words.

use chiffre_frontend::{Fate, Model, Survey};
use chiffre_ir::interface::Interface;

/// One line for each fate with the operators that meet it, then what the model takes and yields.
pub fn report(found: &Survey) -> String {
    let line = |fate: Fate, word: &str, meaning: &str| {
        let of = found.operators.iter().filter(|((f, _), _)| *f == fate);
        let list: Vec<String> = of.map(|((_, op), n)| if *n == 1 { op.clone() } else { format!("{n} {op}") }).collect();
        (!list.is_empty()).then(|| format!("{word:<13}{} ({meaning})", list.join(", ")))
    };
    let mut lines: Vec<String> = [
        line(Fate::Exact, "exact", "linear maps and products"),
        line(Fate::Approximated, "approximated", "polynomials stand in, fitted on calibration images"),
        line(Fate::Tail, "tail", "computed with decrypted values"),
        line(Fate::Free, "free", "constants, shapes and views"),
        line(Fate::Open, "open", "what they read is not known, because something before is refused"),
        line(Fate::Refused, "refused", "see below"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(model) = &found.model {
        lines.extend(ports(&model.interface()));
        lines.extend(tail(model));
    }
    lines.extend(found.warnings.iter().map(|w| format!("{:<13}{w}", "warning")));
    lines.join("\n")
}

/// What a model or a program takes and yields, a line for each input and output.
pub fn ports(interface: &Interface) -> Vec<String> {
    let shown = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let inputs = interface.inputs.iter().map(|p| {
        let axes = p.shape.iter().rposition(|d| *d > 1).map_or(1, |last| last + 1);
        format!("{:<13}\"{}\", {} for each image", "input", p.name, shown(&p.shape[..axes]))
    });
    let outputs = interface.outputs.iter().map(|o| {
        let shape = if o.shape.is_empty() { "one value".into() } else { shown(&o.shape) };
        format!("{:<13}\"{}\", {shape} for each image", "output", o.name)
    });
    inputs.chain(outputs).collect()
}

/// What is left to do with decrypted values, a line for each output.
pub fn tail(model: &Model) -> Vec<String> {
    let of = model.outputs.iter().filter(|o| !o.tail.is_empty());
    of.map(|o| {
        let ops: Vec<String> = o.tail.iter().map(|t| format!("{t} (node \"{}\")", t.source)).collect();
        format!("{:<13}output \"{}\" is left before its {}, which is for the owner of the key", "tail", o.name, ops.join(", then "))
    })
    .collect()
}
