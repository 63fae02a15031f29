//! `chiffre keygen`.

use crate::Error;
use crate::cli::KeygenArgs;
use chiffre_runtime::client::ClientKey;

/// Writes the secret key and the evaluation keys.
pub(super) fn keygen(args: &KeygenArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let key = ClientKey::generate(&session).map_err(super::runtime_error)?;
    let keys = key.evaluation_keys(&session).map_err(super::runtime_error)?;
    // The evaluation keys first: a secret key without them would be of no use.
    keys.save(&session, &args.eval).map_err(super::runtime_error)?;
    key.save(&session, &args.secret).map_err(super::runtime_error)?;
    super::print(format!("{} evaluation keys, {}", keys.keys.len(), crate::report::human_bytes(keys.bytes() as u64)))
}
