//! `chiffre keygen`.

use crate::args::KeygenArgs;
use chiffre::Error;
use chiffre::memory::Task;
use chiffre_client::ClientKey;
use chiffre_ir::output::Output;
use chiffre_runtime::Engine;
use std::sync::Arc;

/// Writes the secret key and the evaluation keys.
pub(super) fn keygen(args: &KeygenArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    for path in [&args.secret, &args.eval] {
        if !args.force && path.symlink_metadata().is_ok() {
            return Err(Error::input(format!("{} is there already: give another name, or --force to replace it", path.display())));
        }
    }
    let session = super::admitted(engine, &args.program, args.allow_insecure, &args.memory, |_| Ok(Task::Keygen))?;
    let key = ClientKey::generate(&session)?;
    let keys = key.evaluation_keys(&session)?;
    // The evaluation keys first: a secret key without them would be of no use.
    if args.force {
        Output::finish_together([keys.stage(&session, &args.eval)?, key.stage(&session, &args.secret)?])?;
    } else {
        // Another process may be making the same files: who comes first makes both.
        keys.save_new(&session, &args.eval)?;
        if let Err(e) = key.save(&session, &args.secret) {
            // Without their secret they are of no use.
            let _ = std::fs::remove_file(&args.eval);
            return Err(e.into());
        }
    }
    super::print(format!("{} evaluation keys, {}", keys.keys.len(), chiffre::memory::human_bytes(keys.bytes() as u64)))
}
