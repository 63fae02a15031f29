//! `chiffre compile`.

use crate::args::{CompileArgs, Target};
use chiffre::Error;
use chiffre::overview::Overview;
use chiffre::pipeline;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::file;
use std::path::Path;

/// Compiles a model and writes the program.
pub(super) fn compile(args: &CompileArgs) -> Result<(), Error> {
    super::set_threads(&args.compiler.threads)?;
    let model = chiffre_frontend::load(&args.model)?;
    let request = super::request(&args.compiler, &model)?;
    let compiled = pipeline::compile(&model, &request)?;
    match &args.compiler.dump_to {
        Some(folder) => write_dumps(folder, &compiled.dumps)?,
        None => compiled.dumps.iter().for_each(|(title, g)| eprintln!("# {title}\n{}", g.print(0))),
    }
    if args.compiler.time_passes {
        for (pass, time) in &compiled.times {
            eprintln!("{pass:<22} {:9.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    if args.compiler.explain {
        super::explain(&compiled.explained);
    }
    let digest = file::save(&args.output, &compiled.program, &compiled.stages)?;
    let note = if args.compiler.target == Target::Clear { " (clear target: `simulate` runs it)" } else { "" };
    super::print(format!(
        "{}\nwrote {} ({}…){note}",
        Overview::of_program(&compiled.program).summary(),
        args.output.display(),
        &digest[..16]
    ))
}

/// Writes dumps as `NN-after-PASS.tir` (`.pir`, `.hir`), each with its constants beside it.
fn write_dumps(folder: &Path, dumps: &[(String, AnyGraph)]) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|e| Error::write(folder, e))?;
    for (i, (title, g)) in dumps.iter().enumerate() {
        let path = folder.join(format!("{i:02}-{}.{}", title.replace(' ', "-"), g.extension()));
        chiffre::ir_file::save(&path, g, 0)?;
    }
    Ok(())
}
