//! `chiffre encrypt` and `chiffre decrypt`: the data owner's side.

use crate::args::{DecryptArgs, EncryptArgs, Share};
use chiffre::memory::Task;
use chiffre::{Client, EncryptOptions, Encrypted, Error, Interface, OnAbsurd, Program, logits, outputs, report, screening};
use chiffre_client::{ClientKey, Decrypted, Receipt, share};
use chiffre_ir::output::Output;
use chiffre_runtime::{Engine, RESULT_KIND, ResultBatch, Session};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the names of receipts end with.
const RECEIPT: &str = "receipt";

/// Encrypts images, and writes the receipt beside them.
pub(super) fn encrypt(args: &EncryptArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    // The number of images is checked again when they are there.
    let task_of = if args.canary { Task::Canary } else { Task::Encrypt };
    let task = |p: &chiffre_ir::program::Program| Ok(task_of(args.count.map_or(1, |n| n.get().min(p.header.batch))));
    let session = super::admitted(engine, &args.program, args.allow_insecure, &args.memory, task)?;
    let options = super::program_data_options(&session, &args.program, &args.normalisation, args.count)?;
    let images = super::images(&session, &args.input, &options)?;
    if let Some(difference) = screening::difference(&session.program().header, &images) {
        eprintln!("warning: {}: {difference}", super::listed(&args.input));
    }
    let session = Arc::new(session);
    let client = Client::with_key(&Program::from(session.clone()), ClientKey::load(&session, &args.secret)?);
    let absurd = match (args.unscreened, args.skip_absurd) {
        (true, _) => OnAbsurd::Take,
        (_, true) => OnAbsurd::LeaveOut,
        _ => OnAbsurd::Refuse,
    };
    let options = EncryptOptions { canaries: args.canary, absurd, memory: args.memory.memory };
    let Encrypted { batch, receipt, left_out } = client.encrypt_with(&images, &options)?;
    left_out.iter().for_each(|a| eprintln!("left out: {}: {}", images.names[a.image], a.reason));
    let path = receipt_path(args)?;
    Output::finish_together([batch.stage(&session, &args.output)?, receipt.stage(&session, &path)?])?;
    let canaries = match receipt.canaries() {
        0 => String::new(),
        1 => " and 1 canary".into(),
        n => format!(" and {n} canaries"),
    };
    let ciphertexts = batch.cts.iter().map(Vec::len).sum::<usize>();
    let sent = images.n - receipt.left_out().len();
    let skipped = match receipt.left_out().len() {
        0 => String::new(),
        n => format!(", {n} left out,"),
    };
    super::print(format!("{sent} images{canaries}{skipped} in {ciphertexts} ciphertexts; receipt in {}", path.display()))
}

/// The receipt to write.
pub(super) fn receipt_path(args: &EncryptArgs) -> Result<PathBuf, Error> {
    let path = args.receipt.clone().unwrap_or_else(|| {
        let mut name = args.output.file_name().map(|n| n.to_os_string()).unwrap_or_default();
        name.push(".");
        name.push(RECEIPT);
        args.output.with_file_name(name)
    });
    match path == args.output {
        true => Err(Error::input(format!("{} cannot be both the ciphertexts and their receipt", path.display()))),
        false => Ok(path),
    }
}

/// Decrypts answers and writes them. Images without an answer get NaN and are named on stderr, and
/// the command fails after writing.
pub(super) fn decrypt(args: &DecryptArgs, engine: &Arc<Engine>) -> Result<(), Error> {
    let task = |p: &_| Ok(Task::Decrypt(super::images_in(p, &args.input, RESULT_KIND)?));
    let session = super::admitted(engine, &args.program, args.allow_insecure, &args.memory, task)?;
    let key = ClientKey::load(&session, &args.secret)?;
    let result = ResultBatch::load(&session, &args.input)?;
    let receipt = receipt(args)?.map(|path| Receipt::load(&session, &path)).transpose()?;
    let Decrypted { logits, report } = match &receipt {
        Some(receipt) => key.decrypt(&session, &result, receipt)?,
        None => key.decrypt_unbound(&session, &result)?,
    };
    let names = receipt.as_ref().map(Receipt::names);
    report::without_answer(&report, names).iter().for_each(|line| eprintln!("{line}"));
    let affected = report.affected();
    let missing = match args.share {
        Some(Share::Label) if !report.refused.is_empty() => {
            return Err(Error::failed("a canary has a wrong answer: nothing of such a result is shared"));
        }
        Some(Share::Label) => {
            share_labels(args, &session, &key, receipt.as_ref(), &logits, report.images)?;
            "undecided"
        }
        None => {
            let numbered: Vec<String> = (0..report.images).map(|i| i.to_string()).collect();
            write_answers(args, &session.file.interface, names.unwrap_or(&numbered), &logits, &affected)?;
            "NaN"
        }
    };
    // Whoever left images out knows of them.
    let damaged = report.damaged();
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} of {} images have no answer ({missing} in {}); the others are not affected. One image whose activations leave the range takes with \
         it all that share its ciphertexts: the clear model shows which, and the others can be run again without it",
        damaged.len(),
        report.images,
        args.output.display()
    )))
}

/// Writes the outputs of the model file, and prints the best classes if they are wanted.
pub(super) fn write_answers(
    args: &DecryptArgs,
    interface: &Interface,
    names: &[String],
    logits: &[f32],
    affected: &BTreeSet<usize>,
) -> Result<(), Error> {
    let classes = logits.len() / names.len().max(1);
    let all = outputs::of(interface, logits, classes);
    outputs::write(&args.output, &all, names)?;
    let (Some(k), Some(first), Some(port)) = (args.top, all.first(), interface.outputs.first()) else { return Ok(()) };
    // Classes are ranked by what the file puts out for each, or by what its index or its list of
    // the best comes from.
    let ranked = if first.per_image() == port.count && !port.tail.iter().any(|t| t.reorders()) {
        first.values.clone()
    } else {
        logits::values_of(logits, classes, port)
    };
    for (i, (row, name)) in ranked.chunks(port.count.max(1)).zip(names).enumerate() {
        let best: Vec<String> = logits::top_k(row, k.get()).iter().map(|(c, v)| format!("{c} ({v:.3})")).collect();
        super::print(format!("{name}: {}", if affected.contains(&i) { "no answer".into() } else { best.join(", ") }))?;
    }
    Ok(())
}

/// The receipt that was named, or the only one beside the answers; warns if there is none.
pub(super) fn receipt(args: &DecryptArgs) -> Result<Option<PathBuf>, Error> {
    let found = match &args.receipt {
        _ if args.no_receipt => None,
        Some(path) => Some(path.clone()),
        None => beside(&args.input)?,
    };
    if found.is_none() {
        eprintln!(
            "warning: {} is decrypted without a receipt: nothing tells whether it is an old result, that of another batch, or a truncated one",
            args.input.display()
        );
    }
    Ok(found)
}

/// The only file beside the answers that is named as a receipt. With several, none is the right
/// one: an old result would find its own.
fn beside(answers: &Path) -> Result<Option<PathBuf>, Error> {
    let parent = answers.parent().unwrap_or(Path::new(""));
    let folder = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).map_err(|e| Error::read(folder, e))? {
        let name = PathBuf::from(entry.map_err(|e| Error::read(folder, e))?.file_name());
        if name.extension().is_some_and(|e| e == RECEIPT) {
            found.push(parent.join(name));
        }
    }
    found.sort();
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [first, second, ..] => Err(Error::input(format!(
            "{} may answer one of several batches: there are the receipts {}, {}{}. Name the right one (--receipt)",
            answers.display(),
            first.display(),
            second.display(),
            if found.len() > 2 { " and more" } else { "" }
        ))),
    }
}

/// Writes the labels that are certain, when they have been counted.
fn share_labels(
    args: &DecryptArgs,
    session: &Session,
    key: &ClientKey,
    receipt: Option<&Receipt>,
    logits: &[f32],
    images: usize,
) -> Result<(), Error> {
    let outputs = &session.file.interface.outputs;
    if outputs.len() > 1 {
        return Err(Error::input("labels are shared of programs with one output: choose it when compiling"));
    }
    let Some(bound) = receipt.and_then(Receipt::bound) else {
        return Err(Error::input(format!(
            "{}: nothing is known of the error of these answers; labels are shared of images that were encrypted with --canary, with their \
             receipt (--receipt)",
            args.input.display()
        )));
    };
    let rows = logits.chunks(logits.len() / images.max(1));
    let labels: Vec<Option<usize>> = rows.map(|row| logits::decided(row, bound)).collect();
    // Counted first: what could not be counted is not shared.
    let total = share::spend(&args.secret, key.id(), labels.len() as u64, args.share_budget)?;
    logits::write_labels(&args.output, &labels)?;
    let undecided = labels.iter().filter(|l| l.is_none()).count();
    super::print(format!(
        "{} labels, {undecided} undecided (margins up to {:.3}); {total} of {} shared under this key",
        labels.len(),
        2.0 * bound,
        args.share_budget
    ))
}
