//! The data owner's stages.

use crate::pixels;
use crate::place::{Instance, Place, batch_name, emptied, folder_of};
use chiffre::batches::pairs;
use chiffre::{Client, Error, Images, OnAbsurd, Receipt, ResultBatch, logits};
use chiffre::{EncryptOptions, data};
use chiffre_ir::output::Output;
use std::path::PathBuf;

/// The class that is written for an image without an answer: the suite wants a class for every
/// image, and counts the lines that there are.
const NO_ANSWER: usize = 0;

fn images_file(place: &Place, size: Instance) -> PathBuf {
    place.intermediate(size).join("images.npy")
}

fn logits_file(place: &Place, size: Instance) -> PathBuf {
    place.intermediate(size).join("logits.npy")
}

/// Makes the secret key and, in the folder that is measured, the evaluation keys.
pub fn key_generation(place: &Place, size: Instance) -> Result<(), Error> {
    let program = place.program(size)?;
    let client = Client::new(&program)?;
    let (secret, eval) = (place.secret_key(size), place.evaluation_keys(size));
    // The suite wipes these folders; keys of an earlier run elsewhere are of no use either.
    for path in [&secret, &eval] {
        emptied(path.parent().unwrap_or(path))?;
    }
    client.save(&secret)?;
    client.evaluation_keys()?.save(program.session(), &eval)?;
    Ok(())
}

/// Reads the suite's pixels and normalises them as the network wants them.
pub fn preprocess_input(place: &Place, size: Instance) -> Result<(), Error> {
    let options = place.program(size)?.data_options()?;
    let normalisation = options.normalisation.ok_or_else(|| Error::input("the program does not say how pixels are normalised"))?;
    let images = pixels::read(&place.pixels(size), options.shape, &normalisation)?;
    logits::write_logits(folder_of(&images_file(place, size))?, &images.pixels, images.pixels.len() / images.n)
}

/// Encrypts the images in as many batches as they fill. Images that would harm others in their
/// ciphertext are left out, and will have no answer.
pub fn encode_encrypt_input(place: &Place, size: Instance) -> Result<(), Error> {
    let program = place.program(size)?;
    let shape = program.image_shape()?;
    let per: usize = shape.iter().product();
    let all = data::load_logits(&images_file(place, size), per)?;
    let client = Client::load(&program, place.secret_key(size))?;
    emptied(&place.upload(size))?;
    for (i, part) in all.chunks(program.batch() * per).enumerate() {
        let images = Images::new(part.to_vec(), shape)?;
        let options = EncryptOptions { absurd: OnAbsurd::LeaveOut, ..EncryptOptions::default() };
        let made = client.encrypt_with(&images, &options)?;
        for absurd in &made.left_out {
            eprintln!("batch {i}: image {} is left out: its values would spoil the answers of others", absurd.image);
        }
        made.batch.save(program.session(), &place.upload(size).join(batch_name(i)))?;
        made.receipt.save(program.session(), &receipt_file(place, size, i))?;
    }
    Ok(())
}

fn receipt_file(place: &Place, size: Instance, batch: usize) -> PathBuf {
    place.intermediate(size).join(format!("{}.receipt", batch_name(batch)))
}

/// Decrypts the answers of all batches, each against its receipt; NaN for images without one.
pub fn decrypt_decode(place: &Place, size: Instance) -> Result<(), Error> {
    let program = place.program(size)?;
    let client = Client::load(&program, place.secret_key(size))?;
    let (mut all, mut classes) = (vec![], 1);
    for (i, pair) in pairs(&place.upload(size), &place.download(size))?.iter().enumerate() {
        let receipt = Receipt::load(program.session(), &receipt_file(place, size, i))?;
        let answers = client.decrypt(&ResultBatch::load(program.session(), &pair.output)?, &receipt)?;
        for row in answers.rows() {
            match row {
                Some(row) => all.extend_from_slice(row),
                None => all.extend(std::iter::repeat_n(f32::NAN, answers.classes)),
            }
        }
        classes = answers.classes;
    }
    logits::write_logits(&logits_file(place, size), &all, classes)
}

/// Writes the best class of every image, one in each line.
pub fn postprocess(place: &Place, size: Instance) -> Result<(), Error> {
    let program = place.program(size)?;
    let per: usize = program.image_shape()?.iter().product();
    let images = data::load_logits(&images_file(place, size), per)?.len() / per;
    let classes: usize = program.session().output()?.layout.shape.iter().product();
    let rows = data::load_logits(&logits_file(place, size), classes)?;
    if rows.len() != images * classes {
        return Err(Error::failed(format!("{} answers for {images} images", rows.len() / classes)));
    }
    let mut lost = 0;
    let mut lines = String::new();
    for row in rows.chunks(classes) {
        let best = if row.iter().any(|x| x.is_nan()) { None } else { logits::argmax(row) };
        lost += usize::from(best.is_none());
        lines += &format!("{}\n", best.unwrap_or(NO_ANSWER));
    }
    if lost > 0 {
        eprintln!("{lost} of {images} images have no answer; class {NO_ANSWER} stands in their lines");
    }
    let path = place.predictions(size);
    Output::publish(&path, lines).map_err(|e| Error::write(&path, e))
}
