//! `chiffre encrypt` and `chiffre decrypt`: the data owner's side.

use crate::cli::{DecryptArgs, EncryptArgs};
use crate::{Error, data, report};
use chiffre_runtime::ResultBatch;
use chiffre_runtime::client::ClientKey;

/// Encrypts images.
pub(super) fn encrypt(args: &EncryptArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let key = ClientKey::load(&session, &args.secret).map_err(super::runtime_error)?;
    let options = super::program_data_options(&session, &args.normalisation, args.count)?;
    let images = data::load(&args.input, &options)?;
    let batch = key.encrypt(&session, &images.pixels, images.n).map_err(super::runtime_error)?;
    batch.save(&session, &args.output).map_err(super::runtime_error)?;
    super::print(format!("{} images in {} ciphertexts", images.n, batch.cts.iter().map(Vec::len).sum::<usize>()))
}

/// Decrypts logits and writes them.
pub(super) fn decrypt(args: &DecryptArgs) -> Result<(), Error> {
    super::set_threads(&args.threads)?;
    let session = super::session(&args.program, args.allow_insecure)?;
    let key = ClientKey::load(&session, &args.secret).map_err(super::runtime_error)?;
    let result = ResultBatch::load(&session, &args.input).map_err(super::runtime_error)?;
    let logits = key.decrypt(&session, &result).map_err(super::runtime_error)?;
    let classes = logits.len() / result.images.max(1);
    report::write_logits(&args.output, &logits, classes)?;
    if let Some(k) = args.top {
        for (i, row) in logits.chunks(classes).enumerate() {
            let best: Vec<String> = report::top_k(row, k.get()).iter().map(|(c, v)| format!("{c} ({v:.3})")).collect();
            super::print(format!("{i}: {}", best.join(", ")))?;
        }
    }
    Ok(())
}
