//! `chiffre keygen`.

use crate::args::KeygenArgs;
use chiffre::Error;
use chiffre_client::ClientKey;

/// Writes the secret key and the evaluation keys.
pub(super) fn keygen(args: &KeygenArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let key = ClientKey::generate(&session)?;
    let keys = key.evaluation_keys(&session)?;
    // The evaluation keys first: a secret key without them would be of no use.
    keys.save(&session, &args.eval)?;
    key.save(&session, &args.secret)?;
    super::print(format!("{} evaluation keys, {}", keys.keys.len(), chiffre::memory::human_bytes(keys.bytes() as u64)))
}
