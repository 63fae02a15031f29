//! Files with IR of any level, and the search for their constants.

use crate::Error;
use chiffre_ir::const_file::{self, Store};
use chiffre_ir::consts::{Array, Hash};
use chiffre_ir::container::ContainerError;
use chiffre_ir::input;
use chiffre_ir::interface::InputPort;
use chiffre_ir::level::AnyGraph;
use chiffre_ir::output::Output;
use chiffre_ir::quant;
use chiffre_ir::tail::TailOp;
use chiffre_ir::text::SourceMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A graph and the text it came from, for errors that point at it.
#[derive(Debug)]
pub struct IrFile {
    /// The graph, with all constants that were found.
    pub graph: AnyGraph,
    /// How pixels become inputs, where the file says so.
    pub normalisation: Option<String>,
    /// What is left to do with each output of a model to have that of its file; none for IR.
    pub tails: Vec<Vec<TailOp>>,
    /// The inputs of a model; none for IR.
    pub inputs: Vec<InputPort>,
    path: PathBuf,
    text: Option<(String, SourceMap)>,
}

impl IrFile {
    /// Reads text, a program or a model, and the constants beside it and in the files given.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else; errors in a text point at line and column.
    pub fn load(path: &Path, consts: &[PathBuf]) -> Result<IrFile, Error> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let whole = |graph, normalisation, tails, inputs| Ok(IrFile { graph, normalisation, tails, inputs, path: path.into(), text: None });
        match extension.as_str() {
            "onnx" => {
                let model = chiffre_frontend::load(path)?;
                let tails = model.outputs.into_iter().map(|o| o.tail).collect();
                let normalisation = model.normalisation.map(|n| n.to_string());
                return whole(AnyGraph::Tensor(model.graph.into_inner()), normalisation, tails, model.inputs);
            }
            "chf" => {
                let file = match chiffre_ir::program::file::load(path) {
                    Err(ContainerError::Kind { found, .. }) if found == quant::file::KIND => {
                        let program = quant::file::load(path)?.program.into_inner();
                        let normalisation = program.header.normalisation.clone();
                        return whole(AnyGraph::Quant(program), normalisation, vec![], vec![]);
                    }
                    other => other?,
                };
                let program = file.program.into_inner();
                let normalisation = program.header.normalisation.clone();
                return whole(AnyGraph::Program(program), normalisation, vec![], vec![]);
            }
            _ => {}
        }
        let text = input::read_to_string(path).map_err(|e| Error::read(path, e))?;
        let (mut graph, map) = AnyGraph::parse(&text).map_err(|e| Error::input_in(path, e.with_caret(&text)))?;
        let beside = const_file::beside(path);
        let also = beside.exists().then_some(beside);
        for file in also.iter().chain(consts) {
            let wanted = const_file::missing(graph.consts());
            if wanted.is_empty() {
                break;
            }
            graph.resolve(&constants(file, &wanted)?);
        }
        let normalisation = match &graph {
            AnyGraph::Program(p) => p.header.normalisation.clone(),
            AnyGraph::Tensor(g) => g.header.normalisation.clone(),
            AnyGraph::Quant(g) => g.header.normalisation.clone(),
            AnyGraph::Packed(_) | AnyGraph::He(_) => None,
        };
        Ok(IrFile { graph, normalisation, tails: vec![], inputs: vec![], path: path.into(), text: Some((text, map)) })
    }

    /// Runs the verifier; findings point at the text. With `products_open`, products of HE IR need
    /// not be relinearised yet.
    ///
    /// # Errors
    /// All findings.
    pub fn verify(&self, products_open: bool) -> Result<(), Error> {
        let found = match self.graph.clone() {
            AnyGraph::He(g) if products_open => chiffre_ir::he::verify_products_open(g).map(|_| ()),
            g => g.verify().map(|_| ()),
        };
        let Err(e) = found else { return Ok(()) };
        let message = match &self.text {
            Some((text, map)) => map.locate(&e).iter().map(|p| p.with_caret(text)).collect::<Vec<_>>().join("\n"),
            None => e.to_string(),
        };
        Err(Error::input_in(&self.path, message))
    }

    /// Makes sure that all constants have data.
    ///
    /// # Errors
    /// Names the constants that were not found and says where they are looked for.
    pub fn need_constants(&self) -> Result<(), Error> {
        let names: Vec<String> =
            self.graph.consts().iter().filter(|(_, c)| c.data.is_none()).map(|(_, c)| format!("@{}", c.name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (shown, more) = (names[..names.len().min(4)].join(", "), names.len().saturating_sub(4));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "{}: no values for the constants {shown}{more}; they are looked for by hash in {} and in files that are named for it (.consts, .chf or .npz)",
            self.path.display(),
            const_file::beside(&self.path).display()
        );
        Err(Error::constants(message, &self.path))
    }
}

/// Those of the wanted constants that a file holds.
fn constants(path: &Path, wanted: &BTreeSet<Hash>) -> Result<Store, Error> {
    match path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).as_deref() {
        Some("npz") => npz(path, wanted),
        Some("tir" | "qir" | "pir" | "hir" | "prog") => {
            let text = input::read_to_string(path).map_err(|e| Error::read(path, e))?;
            let (g, _) = AnyGraph::parse(&text).map_err(|e| Error::input_in(path, e.with_caret(&text)))?;
            Ok(g.consts().store())
        }
        Some("onnx") => Ok(chiffre_frontend::load(path)?.graph.consts.store()),
        _ => const_file::load(path, wanted).map_err(Error::from),
    }
}

fn npz(path: &Path, wanted: &BTreeSet<Hash>) -> Result<Store, Error> {
    let arrays = crate::data::float_arrays(path)?.into_iter().map(|a| Array::new(a.shape, a.data));
    let hashed = arrays.map(|a| (a.hash(), a.into()));
    Ok(hashed.filter(|(hash, _)| wanted.contains(hash)).collect())
}

/// Writes a graph as text, and its constants beside it.
///
/// # Errors
/// Files that cannot be written.
pub fn save(path: &Path, graph: &AnyGraph, values: usize) -> Result<(), Error> {
    Output::publish(path, graph.print(values)).map_err(|e| Error::write(path, e))?;
    const_file::save(&const_file::beside(path), graph.consts()).map_err(Error::from)
}
