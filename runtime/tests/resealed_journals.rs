//! Hostile journals: manifest and values are changed, and all digests are right. A run goes on,
//! starts anew with a warning, or is refused.

use chiffre_ckks::ring::primes::ntt_primes_below;
use chiffre_ckks::ring::{Ring, RnsPoly};
use chiffre_runtime::journal::{Journal, Opened, Shapes};
use chiffre_testing::{Rng, Sealed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const LIMBS: usize = 2;
const STEPS: usize = 6;

fn ring() -> Ring {
    Ring::new(10, &ntt_primes_below(49, 10, LIMBS, &[]).expect("primes"), &[]).expect("a ring")
}

/// Two values are live before each step, with two ciphertexts each.
fn live(step: usize) -> Option<Shapes> {
    (step <= STEPS).then(|| (step.saturating_sub(2)..step).map(|v| ((v, 0), [2, LIMBS])).collect())
}

fn open(dir: &Path, ring: &Ring) -> Result<Opened, chiffre_ir::journal::JournalError> {
    Journal::open(dir, ring, BTreeMap::from([("program".to_string(), "p".to_string())]), live)
}

/// The files of an interrupted run, by name.
fn interrupted(ring: &Ring) -> BTreeMap<String, Sealed> {
    let tmp = tempfile::tempdir().expect("a folder");
    let dir = tmp.path().join("run");
    let mut journal = open(&dir, ring).expect("a new journal").journal;
    let value = vec![[RnsPoly::new_zero(1 << 10, LIMBS), RnsPoly::new_zero(1 << 10, LIMBS)]; 2];
    let values: Vec<_> = live(4).expect("a step").into_keys().collect();
    journal.commit(4, values.iter().map(|k| (*k, &value))).expect("committed");
    drop(journal);
    let names = std::fs::read_dir(&dir).expect("a folder").map(|e| e.expect("an entry").path());
    let chf = names.filter(|p: &PathBuf| p.extension().is_some_and(|e| e == "chf"));
    chf.map(|p| (p.file_name().expect("a name").to_string_lossy().into_owned(), Sealed::read(&p))).collect()
}

/// Writes the files, and the digests of the values into the manifest where it still names the old
/// ones.
fn write(dir: &Path, files: &BTreeMap<String, Sealed>, old: &BTreeMap<String, String>) {
    std::fs::create_dir(dir).expect("a folder");
    let mut manifest = files["manifest.chf"].clone();
    for (name, file) in files.iter().filter(|(n, _)| *n != "manifest.chf") {
        let digest = file.write(&dir.join(name));
        manifest.metadata.values_mut().for_each(|text| *text = text.replace(&old[name], &digest));
    }
    manifest.write(&dir.join("manifest.chf"));
}

#[test]
fn resealed_journals_are_survived() {
    let (ring, mut rng, tmp) = (ring(), Rng::new(1), tempfile::tempdir().expect("a folder"));
    let good = interrupted(&ring);
    let scratch = tmp.path().join("digest");
    let digests: BTreeMap<String, String> = good.iter().map(|(n, f)| (n.clone(), f.write(&scratch))).collect();
    let names: Vec<String> = good.keys().cloned().collect();
    assert_eq!(names.len(), 3, "a manifest and two values");
    let (mut resumed, mut warned, mut refused) = (0, 0, 0);
    for case in 0..200 {
        let mut files = good.clone();
        let name = rng.one_of(&names).clone();
        let what = files.get_mut(&name).expect("named").mutate(&mut rng);
        let dir = tmp.path().join(format!("run-{case}"));
        write(&dir, &files, &digests);
        match open(&dir, &ring) {
            Ok(Opened { resume: Some(r), .. }) => {
                let shapes = live(r.step).expect("a step of the run");
                assert!(shapes.keys().eq(r.values.keys()), "{what}");
                resumed += 1;
            }
            Ok(Opened { warning: Some(w), .. }) => {
                assert!(!w.contains("does not match its digest"), "{what}: {w}");
                warned += 1;
            }
            Ok(_) => panic!("{name}: {what}: the run starts anew without a word"),
            Err(e) => {
                assert!(chiffre_runtime::RuntimeError::from(e).is_user_error() && dir.join("manifest.chf").exists(), "{what}");
                refused += 1;
            }
        }
        std::fs::remove_dir_all(&dir).expect("removed");
    }
    println!("{resumed} journals were taken, {warned} dropped with a warning, {refused} refused");
    assert!(resumed > 10 && warned > 40 && refused > 10, "{resumed} {warned} {refused}");
}
