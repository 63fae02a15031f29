//! The readers of all kinds of files, with what a command does behind them, and what they may take.

use crate::{Kind, Life, program, tfhe};
use chiffre::data::{self, DataOptions, Normalisation};
use chiffre::{Class, Error};
use chiffre_client::{ClientKey, Receipt};
use chiffre_ir::level::AnyGraph;
use chiffre_runtime::server::{Checkpoints, Server};
use chiffre_runtime::{Batch, ResultBatch, RuntimeError, ServerKeys, parse_id};
use chiffre_testing::Sealed;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// Memory that reading a file of so many bytes may take, bytes, with what a command does behind it.
pub fn allowance(kind: Kind, bytes: usize) -> usize {
    let (base, each) = match kind {
        // The importer's budget for constants that it computes, in several widths.
        Kind::Model => (384 << 20, 512),
        // Deflate packs a thousand bytes into one.
        Kind::Npz => (16 << 20, 4096),
        Kind::Text | Kind::Npy | Kind::Picture | Kind::Cifar => (16 << 20, 256),
        // The life of a small program.
        Kind::Program => (384 << 20, 256),
        _ => (32 << 20, 64),
    };
    base + each * bytes
}

/// True for errors that no file may lead to.
pub fn faulty(e: &Error) -> bool {
    matches!(e.class(), Class::Bug | Class::Cancelled)
}

/// Reads a file of a kind, and does with it what a command does.
///
/// # Errors
/// What the command says.
pub fn read(kind: Kind, bytes: &[u8]) -> Result<(), Error> {
    match kind {
        Kind::Model => Ok(chiffre_frontend::load_bytes("bad.onnx", bytes).map(|_| ())?),
        Kind::Text => text(bytes),
        Kind::Npy => {
            let images = images("bad.npy", bytes, [1, 2, 2]);
            let logits = in_file("bad.npy", bytes, |path| Ok(data::load_logits(path, 3).map(|_| ())?));
            images.or(logits)
        }
        Kind::Npz => images("bad.npz", bytes, [1, 2, 2]),
        Kind::Picture => {
            let name = if bytes.starts_with(b"\x89PNG") { "bad.png" } else { "bad.jpg" };
            images(name, bytes, [3, 4, 5])
        }
        Kind::Cifar => images("bad.bin", bytes, [3, 32, 32]),
        Kind::Program => program::read(bytes),
        Kind::SecretKey => secret_key(bytes),
        Kind::EvaluationKeys => {
            let life = Life::get();
            let keys = ServerKeys::read(&life.session, Cursor::new(bytes), "bad")?;
            answer(&Server::new(life.session.clone(), keys, 0)?)
        }
        Kind::Batch => {
            let life = Life::get();
            let mut batch = Batch::read(&life.session, Cursor::new(bytes), "bad")?;
            // Whoever forges a batch knows the name of the key.
            batch.id = life.batch.id;
            life.server.run(batch)?;
            Ok(())
        }
        Kind::Result => {
            let life = Life::get();
            let mut result = ResultBatch::read(&life.session, Cursor::new(bytes), "bad")?;
            result.id = life.result.id;
            life.client.decrypt_unbound(&life.session, &result)?;
            Ok(())
        }
        Kind::Receipt => receipt(bytes),
        Kind::Journal => journal(bytes),
        Kind::TfheProgram => tfhe::read_program(bytes),
        Kind::TfheEvaluationKeys => tfhe::read_keys(bytes),
        Kind::TfheBatch => tfhe::read_batch(bytes),
        Kind::TfheResult => tfhe::read_result(bytes),
        Kind::Prepared => answer(&Server::read(Life::get().session.clone(), Cursor::new(bytes), "bad", 0)?),
    }
}

/// A text of any level: an error with a place, or a graph that prints and reads back and survives
/// its verifier.
fn text(bytes: &[u8]) -> Result<(), Error> {
    let text = std::str::from_utf8(bytes).map_err(Error::input)?;
    let (graph, map) = AnyGraph::parse(text).map_err(|e| {
        assert!(e.line > 0 && e.column > 0, "an error without a place: {e}");
        Error::input_in(Path::new("bad.tir"), e.with_caret(text))
    })?;
    let printed = graph.print(0);
    assert_eq!(AnyGraph::parse(&printed).map(|(g, _)| g.print(0)), Ok(printed), "what is printed is read");
    let located = |e| map.locate(&e).into_iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n");
    graph.verify().map(|_| ()).map_err(|e| Error::input(located(e)))
}

/// Writes a file under a name, for readers that take a path.
fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let folder = folder();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    read(&path)
}

/// A folder in memory where there is one.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}

fn images(name: &str, bytes: &[u8], shape: [usize; 3]) -> Result<(), Error> {
    let normalisation: Option<Normalisation> = "(px/255-0.5)/0.25".parse().ok();
    let options = DataOptions { shape, normalisation, count: None };
    in_file(name, bytes, |path| Ok(data::load(path, &options).map(|_| ())?))
}

fn secret_key(bytes: &[u8]) -> Result<(), Error> {
    let (life, s) = (Life::get(), &Life::get().session);
    let key = ClientKey::read(s, Cursor::new(bytes), "bad")?;
    key.encrypt(s, &[0.5; 4], 1)?;
    let mut result = life.result.clone();
    result.id = key.id();
    key.decrypt_unbound(s, &result)?;
    Ok(())
}

/// Runs the batch of the life, and decrypts the answer if it is under the life's key.
fn answer(server: &Server) -> Result<(), Error> {
    let life = Life::get();
    let mut batch = (*life.batch).clone();
    batch.id = server.keys().id();
    let mut result = server.run(batch)?;
    result.id = life.result.id;
    life.client.decrypt_unbound(&life.session, &result)?;
    Ok(())
}

/// Decrypts the life's answers as if they were of this receipt's batch.
fn receipt(bytes: &[u8]) -> Result<(), Error> {
    let life = Life::get();
    let receipt = Receipt::read(&life.session, Cursor::new(bytes), "bad")?;
    let said = Sealed::parse(bytes).map(|s| s.metadata).unwrap_or_default();
    let mut result = life.result.clone();
    result.nonce = said.get("nonce").and_then(|n| parse_id(n));
    result.input = said.get("input").cloned();
    life.client.decrypt(&life.session, &result, &receipt)?;
    Ok(())
}

/// A run that goes on from a journal in which this file stands for the manifest, or for a value
/// whose digest the manifest names.
fn journal(bytes: &[u8]) -> Result<(), Error> {
    let life = Life::get();
    let folder = folder();
    let mut files = life.journal.clone();
    let said = Sealed::parse(bytes);
    let field = |name: &str| said.as_ref().and_then(|s| s.metadata.get(name)).and_then(|n| n.parse::<usize>().ok());
    let value = match (field("value"), field("block")) {
        (Some(v), Some(b)) => Some(format!("value-{v:06}-{b:06}.chf")).filter(|name| files.contains_key(name)),
        _ => None,
    };
    let name = value.unwrap_or_else(|| "manifest.chf".into());
    if let (Some(old), Some(new)) = (files.remove(&name).and_then(|f| f.digest().ok()), said.and_then(|s| s.digest().ok()))
        && let Some(manifest) = files.get_mut("manifest.chf")
    {
        manifest.metadata.values_mut().for_each(|text| *text = text.replace(&old, &new));
    }
    for (name, file) in files {
        std::fs::write(folder.path().join(name), file.to_bytes()?).expect("a file");
    }
    std::fs::write(folder.path().join(name), bytes).expect("a file");
    let checkpoints = Checkpoints::open(&life.session, &life.batch, folder.path())?;
    let warned = checkpoints.warning().map(str::to_string);
    let mut run = life.server.start_with(Arc::clone(&life.batch), checkpoints)?;
    let (resumed, steps) = (run.done(), run.steps().len());
    while run.step()?.is_some() {}
    let finished = run.finish()?;
    assert!(resumed <= steps && finished.result.cts.len() == life.result.cts.len(), "a run that goes on ends like any other");
    // A journal that cannot be used is an error for whoever looks at the file.
    warned.map_or(Ok(()), |w| Err(RuntimeError::Mismatch(w).into()))
}
