//! `chiffre keygen`, `chiffre encrypt` and `chiffre decrypt`: the data owner's side.

use super::{failed, images, session};
use crate::args::{DecryptArgs, EncryptArgs, KeygenArgs};
use crate::commands::crypt::{receipt, receipt_path, write_answers};
use crate::commands::print;
use chiffre::{Error, memory};
use chiffre_backend::tfhe::is_approximate;
use chiffre_ir::output::Output;
use chiffre_tfhe::Results;
use chiffre_tfhe_client::{ClientKey, Receipt};
use std::collections::BTreeSet;

/// Writes the secret key and the evaluation keys.
pub(in crate::commands) fn keygen(args: &KeygenArgs) -> Result<(), Error> {
    for path in [&args.secret, &args.eval] {
        if !args.force && path.symlink_metadata().is_ok() {
            return Err(Error::input(format!("{} is there already: give another name, or --force to replace it", path.display())));
        }
    }
    let s = session(&args.program, args.allow_insecure)?;
    memory::admit("key generation", s.params().seeded_key_bytes() as u64, args.memory.memory)?;
    let key = ClientKey::generate(&s).map_err(failed)?;
    let keys = key.evaluation_keys(&s).map_err(failed)?;
    let staged = |force: bool| -> Result<(), Error> {
        if force {
            return Ok(Output::finish_together([
                keys.stage(&s, &args.eval).map_err(failed)?,
                key.stage(&s, &args.secret).map_err(failed)?,
            ])?);
        }
        // The evaluation keys first: a secret key without them would be of no use.
        keys.save_new(&s, &args.eval).map_err(failed)?;
        key.save(&s, &args.secret).map_err(|e| {
            let _ = std::fs::remove_file(&args.eval);
            failed(e)
        })
    };
    staged(args.force)?;
    print(format!("2 evaluation keys, {}", memory::human_bytes(keys.bytes() as u64)))
}

/// Encrypts images, and writes the receipt beside them. No image can harm another one: nothing is
/// screened.
pub(in crate::commands) fn encrypt(args: &EncryptArgs) -> Result<(), Error> {
    if args.canary {
        return Err(Error::input("images of tfhe programs share no ciphertexts: there is no unit to hide a canary in"));
    }
    let path = receipt_path(args)?;
    let s = session(&args.program, args.allow_insecure)?;
    let key = ClientKey::load(&s, &args.secret).map_err(failed)?;
    let images = images(s.file(), &args.program, &args.input, &args.normalisation, args.count)?;
    let batch = key.encrypt(&s, &images.pixels, images.n).map_err(failed)?;
    let receipt = Receipt::of(&batch, images.names.clone()).map_err(failed)?;
    Output::finish_together([batch.stage(&s, &args.output).map_err(failed)?, receipt.stage(&s, &path).map_err(failed)?])?;
    print(format!("{} images in {} ciphertexts; receipt in {}", images.n, batch.bodies.len(), path.display()))
}

/// Decrypts answers and writes them: the very numbers of the clear run, where rounding is exact.
pub(in crate::commands) fn decrypt(args: &DecryptArgs) -> Result<(), Error> {
    let s = session(&args.program, args.allow_insecure)?;
    if args.share.is_some() {
        return Err(Error::input(match is_approximate(s.program()) {
            true => {
                "answers of programs with approximate rounding depend on noise under the secret key: give away the best class only (--top 1)"
            }
            false => "answers of tfhe programs carry no noise of the secret key: whatever is made of them may be given away",
        }));
    }
    let key = ClientKey::load(&s, &args.secret).map_err(failed)?;
    let result = Results::load(&s, &args.input).map_err(failed)?;
    let receipt = receipt(args)?.map(|path| Receipt::load(&s, &path)).transpose().map_err(failed)?;
    if let Some(receipt) = &receipt {
        receipt.check(&result).map_err(failed)?;
    }
    let answers = key.decrypt(&s, &result).map_err(failed)?.swap_remove(0);
    let numbered: Vec<String> = (0..result.images).map(|i| i.to_string()).collect();
    let names = receipt.as_ref().map_or(&numbered[..], Receipt::names);
    write_answers(args, &s.file().interface, names, &answers, &BTreeSet::new())
}
