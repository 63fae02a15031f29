//! `chiffre encrypt` and `chiffre decrypt`: the data owner's side.

use crate::args::{DecryptArgs, EncryptArgs};
use crate::report;
use chiffre::{Error, data, logits};
use chiffre_backend::ckks::Task;
use chiffre_client::{ClientKey, Decrypted};
use chiffre_runtime::{Engine, RESULT_KIND, ResultBatch};
use std::sync::Arc;

/// Encrypts images.
pub(super) fn encrypt(args: &EncryptArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let session = super::session(engine, &args.program, args.allow_insecure)?;
    let options = super::program_data_options(&session, &args.program, &args.normalisation, args.count)?;
    let images = data::load(&args.input, &options)?;
    super::admit(&session, Task::Encrypt(images.n.min(session.program().header.batch)), &args.memory)?;
    let key = ClientKey::load(&session, &args.secret)?;
    let batch = key.encrypt(&session, &images.pixels, images.n)?;
    batch.save(&session, &args.output)?;
    super::print(format!("{} images in {} ciphertexts", images.n, batch.cts.iter().map(Vec::len).sum::<usize>()))
}

/// Decrypts logits and writes them. Images without an answer get NaN and are named on stderr, and
/// the command fails after writing.
pub(super) fn decrypt(args: &DecryptArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let session = super::session(engine, &args.program, args.allow_insecure)?;
    super::admit(&session, Task::Decrypt(super::images_in(&session, &args.input, RESULT_KIND)?), &args.memory)?;
    let key = ClientKey::load(&session, &args.secret)?;
    let result = ResultBatch::load(&session, &args.input)?;
    let Decrypted { logits, report } = key.decrypt(&session, &result)?;
    let classes = logits.len() / result.images.max(1);
    logits::write_logits(&args.output, &logits, classes)?;
    let affected = report.affected();
    if let Some(k) = args.top {
        for (i, row) in logits.chunks(classes).enumerate() {
            let best: Vec<String> = logits::top_k(row, k.get()).iter().map(|(c, v)| format!("{c} ({v:.3})")).collect();
            super::print(format!("{i}: {}", if affected.contains(&i) { "no answer".into() } else { best.join(", ") }))?;
        }
    }
    if affected.is_empty() {
        return Ok(());
    }
    report::without_answer(&report).iter().for_each(|line| eprintln!("{line}"));
    Err(Error::failed(format!(
        "{} of {} images have no answer (NaN in {}); the others are not affected. One image whose activations leave the range takes with \
         it all that share its ciphertexts: the clear model shows which, and the others can be run again without it",
        affected.len(),
        result.images,
        args.output.display()
    )))
}
