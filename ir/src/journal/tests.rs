use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const STEPS: usize = 5;
const N: usize = 64;
/// Words of values are below this.
const BOUND_OF_WORDS: u64 = 1 << 40;

/// Values are lists of tensors `[rows, N]` of words that are not too large.
#[derive(Debug)]
enum Words {}

impl Codec for Words {
    type Value = Vec<Vec<u64>>;
    type Context = u64;
    type Shape = [usize; 2];

    fn tensors(value: &Vec<Vec<u64>>) -> Vec<Vec<usize>> {
        value.iter().map(|t| vec![t.len() / N, N]).collect()
    }
    fn bytes(value: &Vec<Vec<u64>>, tensor: usize) -> Vec<u8> {
        value[tensor].iter().flat_map(|w| w.to_le_bytes()).collect()
    }
    fn read(
        r: &mut Reader,
        bound: &u64,
        [count, rows]: [usize; 2],
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<Vec<u64>>, ContainerError> {
        if r.tensors().len() != count {
            return Err(r.error(format!("{} tensors, expected {count}", r.tensors().len())));
        }
        let mut tensors = vec![];
        for i in 0..count {
            let bytes = r.read(&name(i), Dtype::U64, &[rows, N])?;
            let words: Vec<u64> = bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
            if words.iter().any(|w| w >= bound) {
                return Err(r.error("a word is too large"));
            }
            tensors.push(words);
        }
        Ok(tensors)
    }
}

type Values = BTreeMap<Key, Vec<Vec<u64>>>;

/// Value v appears at step v, in two blocks of one to three tensors of one to three rows, and
/// is live for two steps.
fn live(step: usize) -> Option<Shapes<Words>> {
    let keys = (step.saturating_sub(2)..step).flat_map(|v| [(v, 0), (v, 1)]);
    (step <= STEPS).then(|| keys.map(|(v, b)| ((v, b), [1 + (v + b) % 3, 1 + v % 3])).collect())
}

fn value(key: Key) -> Vec<Vec<u64>> {
    let [count, rows] = live(key.0 + 1).expect("a step")[&key];
    let word = |i: usize, k: usize| (key.0 * 1000 + key.1 * 100 + i * 10 + k * 100_000) as u64;
    (0..count).map(|i| (0..rows * N).map(|k| word(i, k)).collect()).collect()
}

fn values(step: usize) -> Values {
    live(step).expect("a step").into_keys().map(|k| (k, value(k))).collect()
}

fn binding() -> BTreeMap<String, String> {
    ["program", "key-id", "input"].into_iter().map(|k| (k.to_string(), format!("{k} of this run"))).collect()
}

fn commit(j: &mut Journal<Words>, step: usize) -> Result<(), JournalError> {
    let v = values(step);
    j.commit(step, v.iter().map(|(k, v)| (*k, v)))
}

fn open(dir: &Path) -> Result<Opened<Words>, JournalError> {
    Journal::open(dir, &BOUND_OF_WORDS, binding(), live)
}

/// Opens and checks that the state is that of one of these steps (0: from the beginning), with
/// exact values and no other files.
fn state(dir: &Path, allowed: &[usize]) -> Opened<Words> {
    let o = open(dir).expect("opens");
    assert_eq!(o.warning, None);
    let step = o.resume.as_ref().map_or(0, |r| r.step);
    assert!(allowed.contains(&step), "step {step}, expected one of {allowed:?}");
    let mut want: BTreeSet<String> = BTreeSet::from([LOCK.to_string()]);
    if let Some(r) = &o.resume {
        assert!(r.values == values(step), "values of step {step}");
        want.extend(r.values.keys().map(|k| value_name(*k)).chain([MANIFEST.to_string()]));
    }
    assert_eq!(names(dir).expect("listed").into_iter().collect::<BTreeSet<_>>(), want);
    o
}

/// A folder with the state of step 3, and nobody in it.
fn interrupted(parent: &Path) -> PathBuf {
    let dir = parent.join("out.ct.partial-run");
    let mut j = open(&dir).expect("opens").journal;
    (1..=3).for_each(|s| commit(&mut j, s).expect("commits"));
    dir
}

/// A gate that fails operation number `from` and, if it is a kill, all that follow; and the count
/// of operations.
fn gate(from: usize, kill: bool) -> (Gate, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let c = count.clone();
    let gate = move |_: &Path| {
        let i = c.fetch_add(1, Ordering::Relaxed);
        if i == from || kill && i > from { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    (Box::new(gate), count)
}

#[test]
fn a_run_goes_on_where_it_was() {
    let tmp = tempfile::tempdir().expect("folder");
    let dir = directory(&tmp.path().join("out.ct"));
    assert!(dir.ends_with("out.ct.partial-run"));
    for step in 1..=STEPS {
        let mut j = state(&dir, &[step - 1]).journal;
        commit(&mut j, step).expect("commits");
    }
    state(&dir, &[STEPS]).journal.finish().expect("removed");
    assert!(!dir.exists());
}

#[test]
fn a_kill_between_any_two_operations_leaves_the_old_or_the_new_state() {
    let mut total = usize::MAX;
    let mut k = 0;
    while k <= total {
        let tmp = tempfile::tempdir().expect("folder");
        let dir = tmp.path().join("run");
        let (g, count) = gate(k, true);
        let mut done = 0;
        let mut finished = false;
        if let Ok(o) = Journal::open_with(&dir, &BOUND_OF_WORDS, binding(), live, g) {
            let mut j = o.journal;
            while done < STEPS && commit(&mut j, done + 1).is_ok() {
                done += 1;
            }
            if done == STEPS {
                finished = j.finish().is_ok();
            }
        }
        if finished {
            total = count.load(Ordering::Relaxed);
            assert!(!dir.exists());
        } else if done == STEPS {
            state(&dir, &[0, STEPS]);
        } else {
            // After a resume the rest can be done.
            let mut j = state(&dir, &[done, done + 1]).journal;
            (done + 2..=STEPS).for_each(|s| commit(&mut j, s).expect("commits"));
            j.finish().expect("removed");
            assert!(!dir.exists());
        }
        k += 1;
    }
    assert!(total > 50, "{total} operations");
}

/// Files of a folder, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn files(dir: &Path) -> Files {
    let read = |name: String| Some((name.clone(), std::fs::read(dir.join(&name)).ok()?));
    names(dir).unwrap_or_default().into_iter().filter_map(read).collect()
}

/// A power cut may lose any of the operations on a folder since it was last synced: before every
/// operation the folder is made anew with, for each name, what it has now or what it had at the
/// last sync. (What a file holds is on the disk before it has its name, see `ir::output`.)
#[test]
fn a_power_cut_at_any_time_leaves_the_old_or_the_new_state() {
    #[derive(Default)]
    struct Disk {
        synced: Files,
        /// Number of the last commit that has ended.
        done: usize,
        cuts: Vec<(usize, Files)>,
        random: u64,
    }
    let tmp = tempfile::tempdir().expect("folder");
    let dir = tmp.path().join("run");
    let disk = Arc::new(std::sync::Mutex::new(Disk::default()));
    let (d, watched) = (disk.clone(), dir.clone());
    let gate = move |path: &Path| {
        let mut d = d.lock().expect("one thread");
        let now = files(&watched);
        let all: BTreeSet<String> = now.keys().chain(d.synced.keys()).cloned().collect();
        let changed: Vec<String> = all.into_iter().filter(|n| now.get(n) != d.synced.get(n)).collect();
        // All of them lost, none of them, and some.
        let mut masks = vec![0, u64::MAX];
        for _ in 0..if changed.len() > 1 { 4 } else { 0 } {
            d.random = d.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            masks.push(d.random >> 20);
        }
        for mask in masks {
            let mut state = now.clone();
            for (_, name) in changed.iter().enumerate().filter(|(i, _)| mask >> (i % 64) & 1 == 1) {
                match d.synced.get(name) {
                    Some(bytes) => _ = state.insert(name.clone(), bytes.clone()),
                    None => _ = state.remove(name),
                }
            }
            let done = d.done;
            d.cuts.push((done, state));
        }
        // The folder is asked for right before it is synced, and nothing else happens on the way.
        if path == watched {
            d.synced = now;
        }
        Ok(())
    };
    let mut j = Journal::open_with(&dir, &BOUND_OF_WORDS, binding(), live, Box::new(gate)).expect("opens").journal;
    for step in 1..=STEPS {
        commit(&mut j, step).expect("commits");
        disk.lock().expect("one thread").done = step;
    }
    drop(j);
    let cuts = std::mem::take(&mut disk.lock().expect("one thread").cuts);
    assert!(cuts.len() > 100, "{} power cuts", cuts.len());
    for (i, (done, state)) in cuts.into_iter().enumerate() {
        let dir = tmp.path().join(format!("cut{i}"));
        std::fs::create_dir(&dir).expect("made");
        state.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).expect("written"));
        let o = open(&dir).expect("opens");
        assert_eq!(o.warning, None, "cut {i}, behind commit {done}");
        let step = o.resume.as_ref().map_or(0, |r| r.step);
        assert!(step == done || step == done + 1, "cut {i}: step {step} behind commit {done}");
        assert!(o.resume.is_none_or(|r| r.values == values(step)));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for name in names(from).expect("listed") {
        std::fs::copy(from.join(&name), to.join(&name)).expect("copied");
    }
}

#[test]
fn a_failed_operation_leaves_the_state_and_the_run_may_go_on() {
    let mut k = 0;
    loop {
        let tmp = tempfile::tempdir().expect("folder");
        let dir = tmp.path().join("run");
        let (g, count) = gate(k, false);
        k += 1;
        let mut j = match Journal::open_with(&dir, &BOUND_OF_WORDS, binding(), live, g) {
            Ok(o) => o.journal,
            Err(_) => open(&dir).expect("opens the second time").journal,
        };
        let (mut last, mut failures) = (0, 0);
        for step in 1..=STEPS {
            match commit(&mut j, step) {
                Ok(()) => last = step,
                Err(e) => {
                    assert!(e.to_string().contains("run") && e.to_string().contains("no storage space"), "{e}");
                    failures += 1;
                    let other = tmp.path().join(format!("copy{step}"));
                    copy(&dir, &other);
                    state(&other, &[last, step]);
                }
            }
        }
        assert!(failures <= 1);
        if failures == 0 || last == STEPS {
            drop(j);
            state(&dir, &[last]);
        }
        if count.load(Ordering::Relaxed) < k {
            break;
        }
    }
    assert!(k > 50, "{k} operations");
}

#[test]
fn damage_is_noticed_and_the_run_starts_again() {
    let tmp = tempfile::tempdir().expect("folder");
    let good = interrupted(tmp.path());
    for (i, name) in names(&good).expect("listed").into_iter().filter(|n| n != LOCK).enumerate() {
        let bytes = std::fs::read(good.join(&name)).expect("read");
        let at = bytes.len() * (i + 1) / 7;
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        for (what, content) in [("flip", Some(flipped)), ("cut", Some(bytes[..at].to_vec())), ("empty", Some(vec![])), ("gone", None)] {
            if name == MANIFEST && what == "gone" {
                continue;
            }
            let dir = tmp.path().join(format!("{what}{i}"));
            copy(&good, &dir);
            match content {
                Some(c) => std::fs::write(dir.join(&name), c).expect("written"),
                None => std::fs::remove_file(dir.join(&name)).expect("removed"),
            }
            let o = open(&dir).expect("opens");
            assert!(o.resume.is_none());
            let warning = o.warning.expect("a warning");
            assert!(warning.contains(&name) && warning.contains("from the beginning"), "{warning}");
            assert_eq!(names(&dir).expect("listed"), [LOCK]);
        }
    }
    state(&good, &[3]);
}

#[test]
fn a_file_of_another_value_is_damage() {
    let tmp = tempfile::tempdir().expect("folder");
    let dir = interrupted(tmp.path());
    std::fs::copy(dir.join(value_name((1, 0))), dir.join(value_name((2, 0)))).expect("copied");
    assert!(open(&dir).expect("opens").warning.expect("a warning").contains("not the file that was committed"));
}

#[test]
fn a_state_that_the_program_does_not_have_is_damage() {
    let none = |_| None;
    let fewer = |s| live(s).map(|mut m: Shapes<Words>| m.split_off(&(2, 0)));
    let limbs = |s| live(s).map(|m| m.into_iter().map(|(k, [c, l])| (k, [c, l + 1])).collect());
    let counts = |s| live(s).map(|m| m.into_iter().map(|(k, [c, l])| (k, [c + 1, l])).collect());
    type Plan<'a> = &'a dyn Fn(usize) -> Option<Shapes<Words>>;
    let plans: [(Plan, &str); 4] =
        [(&none, "does not have"), (&fewer, "other values"), (&limbs, "expected U64"), (&counts, "tensors, expected")];
    for (plan, message) in plans {
        let tmp = tempfile::tempdir().expect("folder");
        let dir = interrupted(tmp.path());
        let o = Journal::<Words>::open(&dir, &BOUND_OF_WORDS, binding(), plan).expect("opens");
        assert!(o.resume.is_none() && o.warning.as_ref().is_some_and(|w| w.contains(message)), "{:?}", o.warning);
    }
}

#[test]
fn words_out_of_range_are_damage() {
    let tmp = tempfile::tempdir().expect("folder");
    let dir = tmp.path().join("run");
    let mut j = open(&dir).expect("opens").journal;
    let mut v = values(1);
    v.get_mut(&(0, 1)).expect("live")[0][5] = BOUND_OF_WORDS;
    j.commit(1, v.iter().map(|(k, v)| (*k, v))).expect("commits");
    drop(j);
    assert!(open(&dir).expect("opens").warning.expect("a warning").contains("too large"));
}

#[test]
fn the_journal_of_another_run_is_refused_and_kept() {
    for other in ["program", "key-id", "input"] {
        let tmp = tempfile::tempdir().expect("folder");
        let dir = interrupted(tmp.path());
        let mut b = binding();
        b.insert(other.into(), "of that run".into());
        let e = Journal::<Words>::open(&dir, &BOUND_OF_WORDS, b, live).expect_err("foreign");
        assert!(matches!(e, JournalError::Mismatch(_)));
        let text = e.to_string();
        assert!(text.contains(dir.to_str().expect("text")) && text.contains(other) && text.contains("remove the folder"), "{text}");
        state(&dir, &[3]);
    }
}

#[test]
fn folders_in_use_or_of_somebody_else_are_left_alone() {
    let tmp = tempfile::tempdir().expect("folder");
    let dir = interrupted(tmp.path());
    let first = state(&dir, &[3]);
    assert!(open(&dir).expect_err("in use").to_string().contains("in use by another run"));
    drop(first);
    state(&dir, &[3]);
    std::fs::write(dir.join("thesis.txt"), "years of work").expect("written");
    assert!(open(&dir).expect_err("not ours").to_string().contains("thesis.txt"));
    let file = tmp.path().join("file");
    std::fs::write(&file, "").expect("written");
    assert!(open(&file).is_err());
}

/// Processes that end while others begin: at no time do two hold the folder.
#[cfg(unix)]
#[test]
fn the_folder_has_one_holder_at_a_time() {
    let tmp = tempfile::tempdir().expect("folder");
    let dir = tmp.path().join("run");
    let (holders, times) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let hold = || {
        for _ in 0..300 {
            // A folder that is in use, or that goes while it is looked at, is an error and no more.
            let Ok(o) = open(&dir) else { continue };
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the folder");
            times.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            holders.fetch_sub(1, Ordering::SeqCst);
            let _ = o.journal.finish();
        }
    };
    std::thread::scope(|s| (0..4).for_each(|_| _ = s.spawn(hold)));
    assert!(times.into_inner() > 100);
}
