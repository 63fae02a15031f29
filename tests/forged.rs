//! Forged files of every kind: changed along their grammar, with digests that are right. Every
//! reader takes such a file or answers with an error that has a class; it does not panic, nor take
//! more memory than it may. `CHIFFRE_CASES=20` makes twenty times as many,
//! `CHIFFRE_KINDS=program,journal` only files of these kinds.
//!
//! A binary of its own, because its allocator counts.

use cap::Cap;
use chiffre::Class;
use chiffre_hostile::{Kind, Life, allowance, faulty, forge, published, read, seeds, session_of};
use chiffre_ir::program::ProgramOp;
use chiffre_runtime::Session;
use chiffre_testing::{Rng, Sealed};
use std::alloc::System;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What no reader comes near: an allocation beyond it ends the process.
const CEILING: usize = 3 << 30;

/// No file of this size takes so long, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(20);

/// Panics, those among them that somebody has caught.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Cases of a kind: as many as take about a second, times `CHIFFRE_CASES` for longer tests.
fn cases(kind: Kind) -> usize {
    let ordinary = match kind {
        Kind::Program => 300,
        Kind::Model | Kind::Journal | Kind::TfheEvaluationKeys => 400,
        Kind::EvaluationKeys | Kind::Prepared | Kind::Batch | Kind::SecretKey => 500,
        _ => 1500,
    };
    ordinary * std::env::var("CHIFFRE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// The file that is read now, kept in case the process ends.
fn kept(kind: Kind) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("forged-{}", kind.name()))
}

/// What became of the cases of a kind.
#[derive(Debug, Default)]
struct Heard {
    taken: usize,
    classes: BTreeMap<Class, usize>,
    /// Messages without names and numbers, which show that many checks are reached.
    messages: BTreeSet<String>,
}

/// Reads a file, and says what is wrong with how it was read.
fn case(kind: Kind, file: &[u8], heard: &mut Heard) -> Result<(), String> {
    std::fs::write(kept(kind), file).map_err(|e| e.to_string())?;
    let (before, panics) = (MEMORY.allocated(), PANICS.load(Ordering::SeqCst));
    let began = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| read(kind, file)));
    if began.elapsed() > LONGEST {
        return Err(format!("takes {:?}", began.elapsed()));
    }
    // The largest that ever was: no case may exceed what it may take by itself.
    let peak = MEMORY.max_allocated().saturating_sub(before);
    if peak > allowance(kind, file.len()) {
        return Err(format!("takes {peak} bytes of memory for a file of {}", file.len()));
    }
    if PANICS.load(Ordering::SeqCst) > panics {
        return Err("panics".into());
    }
    match read {
        Err(_) => return Err("panics".into()),
        Ok(Ok(())) => heard.taken += 1,
        Ok(Err(e)) if faulty(&e) => return Err(format!("ends in {:?}: {e}", e.class())),
        Ok(Err(e)) => {
            let text = e.to_string();
            if text.contains("does not match its digest") {
                // A raw change; there must not be only such.
                return Ok(());
            }
            *heard.classes.entry(e.class()).or_default() += 1;
            let words = text.split_whitespace().filter(|w| !w.contains('/') && w.chars().all(|c| c.is_alphabetic()));
            heard.messages.insert(words.take(16).collect::<Vec<_>>().join(" "));
        }
    }
    let _ = std::fs::remove_file(kept(kind));
    Ok(())
}

/// The fewest different messages of a kind that show that its checks are reached.
fn fewest(kind: Kind) -> usize {
    match kind {
        Kind::Model | Kind::Text | Kind::Program => 15,
        Kind::SecretKey | Kind::Cifar => 2,
        _ => 6,
    }
}

/// Whether files of a kind were asked for.
fn wanted(kind: &Kind) -> bool {
    std::env::var("CHIFFRE_KINDS").map_or(true, |list| list.split(',').any(|name| name == kind.name()))
}

fn every_kind() {
    let mut faults = vec![];
    for kind in Kind::ALL.into_iter().filter(wanted) {
        let (good, mut rng, mut heard) = (seeds(kind), Rng::new(kind as u64), Heard::default());
        for (i, file) in good.iter().enumerate() {
            // Texts of the passes' tests are wrong on purpose, and an array is images or logits.
            match read(kind, file) {
                Err(e) if kind != Kind::Text => faults.push(format!("seed {i} of {}: {e}", kind.name())),
                _ => {}
            }
        }
        for n in 0..cases(kind) {
            let file = forge(kind, &good[rng.below(good.len())], &mut rng);
            if let Err(fault) = case(kind, &file, &mut heard) {
                let copy = kept(kind).with_extension(n.to_string());
                let _ = std::fs::write(&copy, &file);
                faults.push(format!("case {n} of {} {fault}: {}", kind.name(), copy.display()));
            }
        }
        println!("{}: {} taken, {:?}, {} messages", kind.name(), heard.taken, heard.classes, heard.messages.len());
        if heard.taken == 0 || heard.messages.len() < fewest(kind) {
            faults.push(format!("{} is not tested: {heard:?}", kind.name()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The keys that follow from the instructions and the plan of the bootstrap, derived here once
/// more: names as in files, and the rows of a digit.
fn derived(s: &Session) -> BTreeMap<String, u64> {
    let (p, n) = (s.program(), 1u64 << s.program().header.log_n);
    let mut out = BTreeMap::new();
    let mut key = |name: String, limbs: usize, alpha: usize| {
        out.insert(format!("{name}.{limbs:03}.{alpha:03}"), (limbs + alpha) as u64);
    };
    // 5^r modulo 2N, by repeated multiplication.
    let rotation = |r: i64| (0..r.rem_euclid(n as i64 / 2)).fold(1u64, |g, _| g * 5 % (2 * n));
    let galois = |g: u64| format!("g{g:06}");
    for node in &p.nodes {
        let complex = node.ty.layout.complex.is_some();
        match &node.op {
            ProgramOp::Linear { taps, gadget, giants, giant_gadget, .. } => {
                for (steps, gadget) in [(taps.clone(), gadget), (giants.clone().unwrap_or_default(), giant_gadget)] {
                    for r in steps.into_iter().filter(|r| r.rem_euclid(n as i64 / 2) != 0) {
                        let Some(g) = gadget else { continue };
                        key(galois(rotation(r)), g.limbs, g.alpha);
                    }
                }
            }
            ProgramOp::Mul { gadget } | ProgramOp::Square { gadget } | ProgramOp::Chebyshev { gadget, .. } => {
                key("relin".into(), gadget.limbs, gadget.alpha);
                if complex {
                    key(galois(2 * n - 1), gadget.limbs, gadget.alpha);
                }
            }
            ProgramOp::Refresh { .. } => {
                let Some(b) = &p.header.bootstrap else { continue };
                key("to-sparse".into(), 1, 1);
                key("relin".into(), b.limbs_reduction(), b.alpha);
                key(galois(2 * n - 1), b.limbs_reduction(), b.alpha);
            }
            ProgramOp::Input {} => {}
        }
    }
    out
}

/// The program's text with a number changed that says something of keys: of a bootstrap, a shape, a
/// rotation.
fn aimed(text: &str, rng: &mut Rng) -> String {
    let starts = ["bootstrap={", "gadget=[", "taps=[", "giants=["].iter().flat_map(|key| text.match_indices(key));
    let numbers: Vec<(usize, &str)> = starts
        .flat_map(|(at, key)| {
            let (from, close) = (at + key.len(), if key.ends_with('{') { '}' } else { ']' });
            let inside = &text[from..from + text[from..].find(close).unwrap_or(0)];
            let digits = |c: char| !c.is_ascii_digit();
            inside.split(digits).filter(|n| !n.is_empty()).map(|n| (n.as_ptr() as usize - text.as_ptr() as usize, n)).collect::<Vec<_>>()
        })
        .collect();
    let (at, old) = *rng.one_of(&numbers);
    let n: u64 = old.parse().unwrap_or(1);
    let new = [n + 1, n.saturating_sub(1), 2 * n, n / 2, 17, 7][rng.below(6)];
    format!("{}{new}{}", &text[..at], &text[at + old.len()..])
}

/// Whatever a program file says, keys are those that its plan derives, and under the ephemeral
/// secret there is one, at the bottom modulus.
fn keys_of_forged_programs() {
    let good = seeds(Kind::Program);
    let (mut rng, mut made, mut seen) = (Rng::new(77), 0, BTreeSet::new());
    for n in 0..3 * cases(Kind::Program) {
        // The bootstrapped one, mostly.
        let at = if rng.below(4) == 0 { rng.below(good.len()) } else { good.len() - 1 };
        let mut sealed = Sealed::parse(&good[at]).expect("a container");
        let what = match rng.below(4) {
            0 => sealed.mutate(&mut rng),
            _ => {
                let text = aimed(&sealed.metadata["program"], &mut rng);
                sealed.metadata.insert("program".into(), text.clone());
                text
            }
        };
        let Some(session) = sealed.to_bytes().ok().and_then(|file| session_of(&file)) else { continue };
        // Keys are made once for each list of them.
        if !seen.insert(format!("{:?}", session.key_targets())) {
            continue;
        }
        let Ok(files) = published(&session) else { continue };
        made += 1;
        let derived = derived(&session);
        for (name, rows) in &derived {
            assert_eq!(files.get(name).map(|shape| shape[1]), Some(*rows), "case {n}, {what}: {name}");
        }
        let bootstrap = session.program().header.bootstrap.as_ref();
        for (name, shape) in &files {
            let of_bootstrap = || {
                let b = bootstrap.expect("a program without a bootstrap has no such key");
                let back = name.starts_with("from-sparse-") && shape[1] == (b.limbs + 2) as u64;
                // Rotations of the slot transforms, at their limbs.
                back || name.starts_with('g') && shape[1] <= (b.limbs + b.alpha) as u64
            };
            assert!(derived.contains_key(name) || of_bootstrap(), "case {n}, {what}: {name} {shape:?}");
            assert!(!name.starts_with("to-sparse") || (name == "to-sparse.001.001" && shape[..2] == [1, 2]), "{name} {shape:?}");
        }
        let sparse = |start: &str| files.keys().any(|name| name.starts_with(start));
        assert_eq!(sparse("to-sparse"), sparse("from-sparse"), "case {n}, {what}");
    }
    println!("keys of {made} programs with different lists of keys are those that their plans derive");
    assert!(made > 8, "{made}");
    // Keys cannot be asked for: a list of them is no part of a header.
    let mut sealed = Sealed::parse(&good[good.len() - 1]).expect("a container");
    let text = sealed.metadata["program"].replacen("bootstrap={", "bootstrap={keys=[[3, 0, 17, 7]], ", 1);
    assert_ne!(text, sealed.metadata["program"]);
    sealed.metadata.insert("program".into(), text);
    let refused = read(Kind::Program, &sealed.to_bytes().expect("bytes"));
    assert!(refused.is_err_and(|e| e.to_string().contains("keys")), "a bootstrap has no keys of its own");
}

/// One test, so that nothing else of the process counts.
#[test]
fn forged_files_are_survived() {
    let Life { session, .. } = Life::get();
    assert!(session.program().header.insecure);
    MEMORY.set_limit(CEILING).expect("less is taken");
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    every_kind();
    if wanted(&Kind::Program) {
        keys_of_forged_programs();
    }
}
