//! The server's stages. Nothing here names a secret key, nor reads a file that holds one.

use crate::place::{Instance, Place, emptied, folder_of};
use chiffre::batches::{binding, pairs};
use chiffre::{Batch, Error, Program, Server};
use chiffre_ir::output::Output;
use chiffre_runtime::EVAL_KEYS_KIND;
use chiffre_runtime::server::PREPARED_KIND;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Gives a remote client what it makes keys for: the program.
pub fn get_params(place: &Place, size: Instance) -> Result<(), Error> {
    place.program(size)?.save(folder_of(&place.client_data(size))?)
}

/// Looks at the keys that a client has uploaded: they must be of the program that will run.
pub fn upload_ek(place: &Place, size: Instance) -> Result<(), Error> {
    let program = place.program(size)?;
    let [of, _] = binding(&place.evaluation_keys(size), EVAL_KEYS_KIND)?;
    if of == program.session().file.digest {
        return Ok(());
    }
    Err(Error::input_in(&place.evaluation_keys(size), "these keys were made for another program"))
}

/// Expands the keys, encodes the tables of the program, and stores both. Without a size, of all
/// sizes for which there are keys and no such state of them yet: the suite has just wiped what it
/// will run, so that this is one.
pub fn preprocess_model(place: &Place, size: Option<Instance>) -> Result<(), Error> {
    let wanted: Vec<Instance> = match size {
        Some(size) => vec![size],
        None => Instance::all().filter(|s| place.evaluation_keys(*s).exists() && !is_prepared(place, *s)).collect(),
    };
    let mut made = 0;
    for size in wanted {
        let program = place.program(size)?;
        Server::load(&program, place.evaluation_keys(size))?.save_prepared(folder_of(&place.prepared(size))?)?;
        made += 1;
    }
    if made == 0 && !Instance::all().any(|s| is_prepared(place, s)) {
        return Err(Error::input("there are no evaluation keys in io/: client_key_generation comes first"));
    }
    Ok(())
}

/// True if there is prepared state of the keys that there are.
fn is_prepared(place: &Place, size: Instance) -> bool {
    let keys = binding(&place.evaluation_keys(size), EVAL_KEYS_KIND);
    matches!((keys, binding(&place.prepared(size), PREPARED_KIND)), (Ok(a), Ok(b)) if a == b)
}

/// Runs all batches in this process, with keys and tables that are loaded once.
pub fn encrypted_compute(place: &Place, size: Instance) -> Result<(), Error> {
    let mut steps = Steps::default();
    let program = steps.time("load program", || place.program(size))?;
    let server = if is_prepared(place, size) {
        steps.time("load prepared state", || Server::load_prepared(&program, place.prepared(size)))?
    } else {
        eprintln!("there is no prepared state of these keys: they are expanded now");
        steps.time("expand keys", || Server::load(&program, place.evaluation_keys(size)))?
    };
    emptied(&place.download(size))?;
    for pair in pairs(&place.upload(size), &place.download(size))? {
        run(&program, &server, &pair.input, &pair.output, &mut steps)?;
    }
    let path = place.steps(size);
    Output::publish(&path, Value::from(steps.json()).to_string()).map_err(|e| Error::write(&path, e))
}

/// Runs one batch, and adds up the seconds of each kind of operation.
fn run(program: &Program, server: &Server, input: &Path, output: &Path, steps: &mut Steps) -> Result<(), Error> {
    let batch = steps.time("read ciphertexts", || Ok(Batch::load(program.session(), input)?))?;
    let mut run = server.start(batch)?;
    let _ = run.drive(|event| {
        steps.add(&format!("run: {}", event.op), event.time.as_secs_f64());
        ControlFlow::Continue(())
    })?;
    let result = run.finish()?.result;
    steps.time("write ciphertexts", || Ok(result.save(program.session(), output)?))
}

/// Seconds by name.
#[derive(Default)]
struct Steps(BTreeMap<String, f64>);

impl Steps {
    fn add(&mut self, name: &str, seconds: f64) {
        *self.0.entry(name.into()).or_default() += seconds;
    }

    fn time<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let began = Instant::now();
        let done = work();
        self.add(name, began.elapsed().as_secs_f64());
        done
    }

    /// With times as the suite's report shows them.
    fn json(&self) -> Map<String, Value> {
        self.0.iter().map(|(name, s)| (name.clone(), Value::from((s * 1e4).round() / 1e4))).collect()
    }
}
