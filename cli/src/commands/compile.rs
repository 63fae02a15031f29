//! `chiffre compile`.

use crate::args::CompileArgs;
use chiffre::export::{self, Example};
use chiffre::memory::human_bytes;
use chiffre::overview::Overview;
use chiffre::{Error, pipeline, survey};
use chiffre_backend::cost::CostModel;
use chiffre_backend::target::{Executable, Target};
use chiffre_backend::tfhe::Tfhe;
use chiffre_frontend::Reference;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::file;
use std::path::Path;
use std::time::Duration;

/// Compiles a model and writes the program.
pub(super) fn compile(args: &CompileArgs) -> Result<(), Error> {
    let model = chiffre_frontend::load_with(&args.model, &args.compiler.import())?;
    if let Some(path) = &args.reference {
        let example = Example::load(path, &model, &super::data_options(&model, &args.compiler.normalisation, None)?)?;
        let reference = Reference::load_with(&args.model, &args.compiler.import())?;
        let worst = export::compare(&model, &reference, &args.model.display().to_string(), &example)?;
        eprintln!("{} computes the outputs of {} images in the clear, up to {worst:.1e}", args.model.display(), example.images.n);
    }
    let request = super::request(&args.compiler, &model)?;
    let target = pipeline::target(&args.compiler.target)?;
    if target.name() == Tfhe.name() {
        return super::tfhe::compile(args, &model, &request);
    }
    if target.name() != pipeline::CKKS.name() {
        let lowered = pipeline::compile_for(target, &model.graph, &model.digest.to_string(), &request)?;
        show(args, &lowered.dumps, &lowered.times)?;
        return save(args, target, &*lowered.program);
    }
    let compiled = pipeline::compile(&model, &request)?;
    show(args, &compiled.dumps, &compiled.times)?;
    if args.compiler.explain {
        super::explain(&compiled.explained);
    }
    let digest = file::save(&args.output, &compiled.program, &compiled.stages).map_err(Error::input)?;
    let ports = survey::ports(&model.interface());
    let tail: String = ports.into_iter().chain(survey::tail(&model)).map(|line| format!("{line}\n")).collect();
    let summary = Overview::of_program(&compiled.program).summary();
    super::print(format!("{summary}\n{tail}wrote {} ({}…)", args.output.display(), &digest[..16]))
}

/// Dumps and times of passes.
pub(super) fn show(args: &CompileArgs, dumps: &[(String, AnyGraph)], times: &[(&'static str, Duration)]) -> Result<(), Error> {
    match &args.compiler.dump_to {
        Some(folder) => write_dumps(folder, dumps)?,
        None => dumps.iter().for_each(|(title, g)| eprintln!("# {title}\n{}", g.print(0))),
    }
    if args.compiler.time_passes {
        for (pass, time) in times {
            eprintln!("{pass:<22} {:9.1} ms", time.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// Writes the program of a target whose programs are IR: text, with its constants beside it.
fn save(args: &CompileArgs, target: &dyn Target, program: &dyn Executable) -> Result<(), Error> {
    let g = program.graph().ok_or_else(|| Error::input(format!("programs of the {} target have no file form", target.name())))?;
    chiffre::ir_file::save(&args.output, &g, 0)?;
    let batch = args.compiler.batch.map_or(64, std::num::NonZeroUsize::get);
    let seconds = target.cost(program, &CostModel::default(), batch);
    super::print(format!(
        "network      {}\ntarget       {}: {}\nmemory       {} predicted for {batch} images\ntime         {seconds:.3} s predicted for {batch} images\n\
         wrote {}: `chiffre interp` runs it",
        g.name(),
        target.name(),
        target.summary(),
        human_bytes(target.memory(program, batch).peak() as u64),
        args.output.display()
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
