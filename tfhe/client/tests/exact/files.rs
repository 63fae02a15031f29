//! Keys, batches and results as files: what is written is read back, and what does not belong
//! together is refused.

use crate::session;
use chiffre_ir::quant::run_integers;
use chiffre_testing::Sealed;
use chiffre_tfhe::{Batch, Checkpoints, EvaluationKeys, Results, Server, Session, TfheError};
use chiffre_tfhe_client::{ClientKey, Receipt};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

fn program(flip: i64) -> Arc<Session> {
    session(&format!(
        "const @t : i64[1x4] = [0, 1, 2, 3]
        %0 = input : int<bits=2 range=-4..3 scale=0.5> 3
        %1 = lookup %0 {{table=@t, flip={flip}}} : int<bits=3 range=-1..4 scale=4.0> 3
        return %1"
    ))
}

/// The files of a run on two images, and what it should yield.
struct Life {
    s: Arc<Session>,
    files: [Vec<u8>; 4],
    clear: Vec<Vec<i64>>,
}

fn life() -> Life {
    let s = program(3);
    let images = [-2.0, -0.5, 0.0, 0.5, 1.0, 1.5];
    let key = ClientKey::generate(&s).unwrap();
    let keys = key.evaluation_keys(&s).unwrap();
    let mut files = [const { Vec::new() }; 4];
    keys.write(&s, &mut files[1], "eval").unwrap();
    let batch = key.encrypt(&s, &images, 2).unwrap();
    let result = Server::new(s.clone(), keys).unwrap().run(&batch, None, |_| ControlFlow::Continue(())).unwrap();
    key.write(&s, &mut files[0], "secret").unwrap();
    batch.write(&s, &mut files[2], "batch").unwrap();
    result.write(&s, &mut files[3], "result").unwrap();
    let clear = run_integers(s.program(), &images, 2).unwrap();
    Life { s, files, clear }
}

/// Reads file number `which` as what it is.
fn read(s: &Session, which: usize, bytes: &[u8]) -> Result<(), TfheError> {
    let source = Cursor::new(bytes);
    match which {
        0 => ClientKey::read(s, source, "it").map(|_| ()),
        1 => EvaluationKeys::read(s, source, "it").map(|_| ()),
        2 => Batch::read(s, source, "it").map(|_| ()),
        _ => Results::read(s, source, "it").map(|_| ()),
    }
}

#[test]
fn everything_goes_through_files() {
    let Life { s, files, clear } = life();
    let key = ClientKey::read(&s, Cursor::new(&files[0]), "secret").unwrap();
    let keys = EvaluationKeys::read(&s, Cursor::new(&files[1]), "eval").unwrap();
    let batch = Batch::read(&s, Cursor::new(&files[2]), "batch").unwrap();
    let result = Results::read(&s, Cursor::new(&files[3]), "result").unwrap();
    let again = Server::new(s.clone(), keys).unwrap().run(&batch, None, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((&again.outputs, &again.input), (&result.outputs, &batch.digest));
    assert_eq!(key.decrypt_integers(&s, &result).unwrap(), clear);
    assert_eq!(key.decrypt(&s, &result).unwrap()[0][3], clear[0][3] as f32 * 4.0);
    // A new key of the same program is another key.
    let other = ClientKey::generate(&s).unwrap();
    assert!(matches!(other.decrypt_integers(&s, &result), Err(TfheError::Mismatch(_))));
    let stranger = Server::new(s.clone(), other.evaluation_keys(&s).unwrap()).unwrap();
    assert!(matches!(stranger.run(&batch, None, |_| ControlFlow::Continue(())), Err(TfheError::Mismatch(_))));
    let stopped = stranger.run(&other.encrypt(&s, &[0.0; 3], 1).unwrap(), None, |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(TfheError::Cancelled { left: 1, steps: 2 })), "{stopped:?}");
}

/// A run that is stopped behind every one of its steps goes on, and the result has the same words;
/// what is in the way of that is said.
#[test]
fn an_interrupted_run_goes_on() {
    let Life { s, files, .. } = life();
    let keys = || EvaluationKeys::read(&s, Cursor::new(&files[1]), "eval").unwrap();
    let batch = Batch::read(&s, Cursor::new(&files[2]), "batch").unwrap();
    let whole = Results::read(&s, Cursor::new(&files[3]), "result").unwrap();
    let server = Server::new(s.clone(), keys()).unwrap();
    for every in [Duration::ZERO, Duration::from_secs(3600)] {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("run");
        let mut done = 0;
        let result = loop {
            let mut checkpoints = Checkpoints::open(&s, &batch, &dir, every).unwrap();
            assert_eq!((checkpoints.warning(), checkpoints.resumed().unwrap_or(0)), (None, done));
            let ended = server.run(&batch, Some(&mut checkpoints), |step| {
                assert!(step.warning.is_none());
                done += 1;
                ControlFlow::Break(())
            });
            match ended {
                Ok(result) => {
                    checkpoints.finish().unwrap();
                    break result;
                }
                Err(e) => assert!(matches!(e, TfheError::Cancelled { .. }), "{e}"),
            }
        };
        assert_eq!((done, &result.outputs, dir.exists()), (server.steps(2), &whole.outputs, false));
    }
    // A journal of another batch is refused and stays.
    let tmp = tempfile::tempdir().unwrap();
    let key = ClientKey::read(&s, Cursor::new(&files[0]), "secret").unwrap();
    let other = key.encrypt(&s, &[0.0; 3], 1).unwrap();
    let mut checkpoints = Checkpoints::open(&s, &other, tmp.path(), Duration::ZERO).unwrap();
    server.run(&other, Some(&mut checkpoints), |_| ControlFlow::Break(())).unwrap_err();
    drop(checkpoints);
    assert!(matches!(Checkpoints::open(&s, &batch, tmp.path(), Duration::ZERO), Err(TfheError::Mismatch(_))));
    assert_eq!(Checkpoints::open(&s, &other, tmp.path(), Duration::ZERO).unwrap().resumed(), Some(1));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let Life { files, .. } = life();
    let other = program(2);
    for (which, bytes) in files.iter().enumerate().skip(1) {
        let e = read(&other, which, bytes).unwrap_err();
        assert!(matches!(e, TfheError::Mismatch(_)), "{which}: {e}");
        let wrong = read(&other, (which + 1) % 4, bytes).unwrap_err();
        assert!(wrong.to_string().contains("kind"), "{which}: {wrong}");
    }
    // The secret key is for parameters, not for a program.
    read(&other, 0, &files[0]).unwrap();
}

/// Files whose digest is right, and whose tensors are not.
#[test]
fn wrong_sizes_are_refused() {
    let Life { s, files, .. } = life();
    for (which, bytes) in files.iter().enumerate() {
        read(&s, which, bytes).unwrap();
        let sealed = Sealed::parse(bytes).unwrap();
        for name in sealed.tensors.keys() {
            let mut shorter = Sealed::parse(bytes).unwrap();
            let tensor = shorter.tensors.get_mut(name).unwrap();
            let rows = tensor.shape[0];
            tensor.bytes.truncate(tensor.bytes.len() / rows * (rows - 1));
            tensor.shape[0] -= 1;
            let e = read(&s, which, &shorter.to_bytes().unwrap()).unwrap_err();
            assert!(e.to_string().contains(name.as_str()), "{which} {name}: {e}");
        }
        for key in sealed.metadata.keys().filter(|k| *k != "input") {
            let mut altered = Sealed::parse(bytes).unwrap();
            altered.metadata.insert(key.clone(), "3".into());
            assert!(read(&s, which, &altered.to_bytes().unwrap()).is_err(), "{which} {key}");
        }
        for at in (0..bytes.len()).step_by(bytes.len() / 199) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(read(&s, which, &flipped).is_err(), "{which}: byte {at}");
            assert!(read(&s, which, &bytes[..at]).is_err(), "{which}: cut at {at}");
        }
    }
}

#[test]
fn what_is_not_secure_has_to_be_permitted() {
    let file = program(3).file().clone();
    assert!(matches!(Session::new(file, false), Err(TfheError::Insecure)));
}

#[test]
fn images_are_checked() {
    let s = program(3);
    let key = ClientKey::generate(&s).unwrap();
    for (images, n) in [(&[][..], 0), (&[0.0; 4][..], 1), (&[0.0, f32::NAN, 0.0][..], 1), (&[0.0; 3][..], usize::MAX)] {
        assert!(matches!(key.encrypt(&s, images, n), Err(TfheError::Input(_))), "{n}");
    }
}

/// A receipt tells the result of its batch from all others.
#[test]
fn receipts_know_their_batch() {
    let Life { s, files, .. } = life();
    let batch = Batch::read(&s, Cursor::new(&files[2]), "batch").unwrap();
    let result = Results::read(&s, Cursor::new(&files[3]), "result").unwrap();
    assert!(Receipt::of(&batch, vec!["a".into()]).is_err());
    let receipt = Receipt::of(&batch, vec!["a".into(), "b".into()]).unwrap();
    let mut bytes = vec![];
    receipt.write(&s, &mut bytes, "receipt").unwrap();
    let receipt = Receipt::read(&s, Cursor::new(&bytes), "receipt").unwrap();
    assert_eq!(receipt.names(), ["a", "b"]);
    receipt.check(&result).unwrap();
    let altered = |change: fn(&mut Results)| {
        let mut other = result.clone();
        change(&mut other);
        receipt.check(&other).unwrap_err().to_string()
    };
    assert!(altered(|r| r.id[3] ^= 1).contains("under key"));
    assert!(altered(|r| r.nonce[3] ^= 1).contains("another batch"));
    assert!(altered(|r| r.images = 1).contains("1 answers"));
    assert!(altered(|r| r.input.push('0')).contains("a changed one"));
    assert!(matches!(Receipt::read(&program(2), Cursor::new(&bytes), "receipt"), Err(TfheError::Mismatch(_))));
}
