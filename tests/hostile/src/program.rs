//! Programs, with all that the commands do to them.

use chiffre::overview::Overview;
use chiffre::pipeline::{bootstraps, predicted_seconds};
use chiffre::{CostModel, Error, page};
use chiffre_backend::ckks::{Task, peak};
use chiffre_client::ClientKey;
use chiffre_ir::container::{Dtype, Reader};
use chiffre_ir::level::AnyGraph;
use chiffre_ir::program::Program;
use chiffre_ir::program::file::{self, ProgramFile};
use chiffre_ir::tail::TailOp;
use chiffre_ir::tensor::CertifiedNode;
use chiffre_passes::activation::degree::Accuracy;
use chiffre_runtime::server::Server;
use chiffre_runtime::{Engine, RuntimeError, Session};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

/// The largest ring in which keys are made and runs are computed.
const MOST_LOG_N: u32 = 10;
/// Most primes of such a ring.
const MOST_PRIMES: usize = 40;
/// Memory that such a run may be predicted to need, bytes.
const MOST_BYTES: usize = 256 << 20;
/// Time that such a run may be predicted to take, seconds.
const MOST_SECONDS: f64 = 0.2;

static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| Arc::new(Engine::builder().threads(NonZeroUsize::MIN).build().expect("a thread")));

/// An engine with one thread, which all sessions share.
pub(crate) fn engine() -> Arc<Engine> {
    ENGINE.clone()
}

/// Reads a program, shows it, plans it, and takes it through its life if that is short.
pub(crate) fn read(bytes: &[u8]) -> Result<(), Error> {
    let file = file::read(Cursor::new(bytes), "bad")?;
    let overview = Overview::of(&file);
    page::html(&overview);
    overview.summary();
    for name in ["tensor", "packed", "he"] {
        if let Some(Ok((graph, map))) = file.stages.get(name).map(|text| AnyGraph::parse(text))
            && let Err(e) = graph.verify()
        {
            map.locate(&e);
        }
    }
    let _ = file.he();
    let stage = |name: &str| file.stages.get(name).map(String::as_str).unwrap_or("null");
    let _ = serde_json::from_str::<Vec<CertifiedNode>>(stage("certificate"));
    let _ = serde_json::from_str::<Accuracy>(stage("accuracy"));
    let _ = serde_json::from_str::<Vec<Vec<TailOp>>>(stage("tail"));
    let p = &file.program;
    let batch = p.header.batch;
    let tasks =
        [Task::Keygen, Task::Encrypt(batch), Task::Canary(batch), Task::Prepare, Task::Run(1), Task::Run(batch), Task::Decrypt(batch)];
    let peaks = tasks.map(|task| peak(p, task, 2));
    bootstraps(p, batch);
    let seconds = predicted_seconds(p, &CostModel::default(), batch);
    if p.header.log_n > MOST_LOG_N || p.header.q.len() + p.header.p.len() > MOST_PRIMES {
        return Ok(());
    }
    if p.header.insecure {
        assert!(Session::on(engine(), file.clone(), false).is_err(), "insecure parameters have to be permitted");
    }
    let session = Arc::new(Session::on(engine(), file, true)?);
    if peaks.into_iter().all(|bytes| bytes <= MOST_BYTES) && seconds <= MOST_SECONDS {
        live(&session)?;
    }
    Ok(())
}

/// Keys, an image, a run and its answer.
fn live(s: &Arc<Session>) -> Result<(), RuntimeError> {
    let client = ClientKey::generate(s)?;
    let keys = client.evaluation_keys(s)?;
    let image = vec![0.5; s.input_layout()?.shape.iter().product()];
    let (batch, receipt) = client.encrypt(s, &image, 1)?;
    let result = Server::new(s.clone(), keys.prepare(s), 0)?.run(batch)?;
    client.decrypt(s, &result, &receipt).map(|_| ())
}

/// A verified program that is in no file.
pub(crate) fn bytes(file: &ProgramFile) -> Vec<u8> {
    let mut out = vec![];
    file::write(&mut out, "memory", &file.program, &file.stages).expect("bytes");
    out
}

/// What `keygen` publishes for a program: the names of the tensors in the file of its evaluation
/// keys, with their shapes.
///
/// # Errors
/// A program for which no keys are made.
pub fn published(s: &Session) -> Result<BTreeMap<String, Vec<u64>>, Error> {
    let mut file = vec![];
    ClientKey::generate(s)?.evaluation_keys(s)?.write(s, &mut file, "memory")?;
    let reader = Reader::new(Cursor::new(file), "keys", "evaluation-keys")?;
    let words = reader.tensors().iter().filter(|(_, t)| t.dtype == Dtype::U64);
    Ok(words.map(|(name, t)| (name.trim_end_matches(".b").to_string(), t.shape.clone())).collect())
}

/// The program, if its keys are made quickly.
pub fn session_of(bytes: &[u8]) -> Option<Session> {
    let file = file::read(Cursor::new(bytes), "bad").ok()?;
    let small = |p: &Program| p.header.log_n <= MOST_LOG_N && peak(p, Task::Keygen, 1) <= MOST_BYTES;
    let small = small(&file.program);
    small.then(|| Session::on(engine(), file, true).ok()).flatten()
}
