//! `chiffre check`.

use crate::args::CheckArgs;
use chiffre::Error;
use chiffre_frontend::{Fate, FrontendError, Model, Survey, survey};

/// Says what the compiler makes of a model; fails if something stands in its way.
pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let found = survey(&args.model, &args.input_shape.options())?;
    super::print(report(&found))?;
    match found.model {
        Some(_) => Ok(()),
        None => Err(FrontendError::Obstacles { file: args.model.display().to_string(), obstacles: found.obstacles }.into()),
    }
}

/// One line for each fate with the operators that meet it, then what the model takes and yields.
fn report(found: &Survey) -> String {
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
        let shape: Vec<String> = model.input_shape.iter().map(usize::to_string).collect();
        lines.push(format!("{:<13}\"{}\", {} for each image", "input", model.input_name, shape.join("×")));
        for (o, v) in model.outputs.iter().zip(&model.graph.outputs) {
            lines.push(format!("{:<13}\"{}\", {} values for each image", "output", o.name, model.graph.ty(*v).len()));
        }
        lines.extend(tail(model));
    }
    lines.extend(found.warnings.iter().map(|w| format!("{:<13}{w}", "warning")));
    lines.join("\n")
}

/// What is left to do with decrypted values, a line for each output.
pub(super) fn tail(model: &Model) -> Vec<String> {
    let of = model.outputs.iter().filter(|o| !o.tail.is_empty());
    of.map(|o| {
        let ops: Vec<String> = o.tail.iter().map(|t| format!("{t} (node \"{}\")", t.source)).collect();
        format!("{:<13}output \"{}\" is left before its {}, which is for the owner of the key", "tail", o.name, ops.join(", then "))
    })
    .collect()
}
