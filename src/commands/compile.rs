//! `chiffre compile` and `chiffre passes`.

use crate::Error;
use crate::cli::{CompileArgs, PassesArgs, Target};
use crate::pipeline;
use chiffre_ir::program::file;
use chiffre_passes::pipeline::DEFAULT;
use chiffre_passes::registry::{PASSES, PassInfo};

/// Compiles a model and writes the program.
pub(super) fn compile(args: &CompileArgs) -> Result<(), Error> {
    super::set_threads(&args.compiler.threads)?;
    let model = chiffre_frontend::load(&args.model).map_err(Error::input)?;
    let request = super::request(&args.compiler, &model)?;
    let compiled = pipeline::compile(&model, &request)?;
    for (pass, text) in &compiled.dumps {
        eprintln!("# after {pass}\n{text}");
    }
    if args.compiler.time_passes {
        for (pass, time) in &compiled.times {
            eprintln!("{pass:<22} {:9.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    let digest = file::save(&args.output, &compiled.program, &compiled.stages).map_err(super::container_error)?;
    let note = if args.compiler.target == Target::Clear { " (clear target: `simulate` runs it)" } else { "" };
    super::print(format!("{}\nwrote {} ({}…){note}", super::inspect::summary(&compiled.program), args.output.display(), &digest[..16]))
}

/// Lists the passes, or describes one.
pub(super) fn passes(args: &PassesArgs) -> Result<(), Error> {
    let Some(name) = &args.pass else {
        let lines: Vec<String> = PASSES.iter().map(|p| format!("  {:<22} {:<7} {}", p.name, p.level, p.summary)).collect();
        return super::print(format!("passes:\n{}\n\ndefault pipeline:\n  {DEFAULT}", lines.join("\n")));
    };
    let p = PASSES
        .iter()
        .find(|p| p.name == name)
        .ok_or_else(|| Error::input(format!("there is no pass `{name}`; `chiffre passes` lists them")))?;
    super::print(describe(p))
}

fn describe(p: &PassInfo) -> String {
    let mut s = format!("{} (on {} IR): {}\n  requires:    {}\n  establishes: {}", p.name, p.level, p.summary, p.requires, p.establishes);
    for (option, meaning) in p.options {
        s += &format!("\n  {{{option}=…}}  {meaning}");
    }
    s
}
