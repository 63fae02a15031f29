//! Prepared state: a server that is written and read again gives the same bits; what does not
//! belong together is refused.

use super::case::{Case, SERIES, SQUARES, bits};
use super::{series, squares};
use chiffre_ir::container::ContainerError;
use chiffre_runtime::server::Server;
use chiffre_runtime::{RuntimeError, ServerKeys};
use chiffre_testing::{Rng, Sealed};
use std::io::Cursor;

fn stored(server: &Server) -> Vec<u8> {
    let mut bytes = vec![];
    server.write(&mut bytes, "memory").unwrap();
    bytes
}

fn read(case: &Case, bytes: &[u8]) -> Result<Server, RuntimeError> {
    Server::read(case.session.clone(), Cursor::new(bytes), "memory", 0)
}

#[test]
fn a_stored_server_gives_the_same_bits() {
    for (case, again, answer) in [(squares(), squares(), SQUARES), (series(), series(), SERIES)] {
        let bytes = stored(&Server::new(case.session.clone(), case.keys(), 0).unwrap());
        let server = read(&again, &bytes).unwrap();
        assert_eq!(bits(&server.run(again.batch.clone()).unwrap()), answer);
        assert_eq!((server.keys().id(), server.keys().bytes()), (case.batch.id, case.keys().bytes()));
        assert!(stored(&server) == bytes, "the same server gives the same bytes");
        // As a file.
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("server.chf");
        server.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
        assert_eq!(bits(&Server::load(again.session.clone(), &path, 0).unwrap().run(again.batch.clone()).unwrap()), answer);
    }
}

#[test]
fn keys_go_over_streams_too() {
    let case = squares();
    let mut bytes = vec![];
    case.key_set().write(&case.session, &mut bytes, "memory").unwrap();
    let keys = ServerKeys::read(&case.session, Cursor::new(&bytes), "memory").unwrap();
    let mut sent = vec![];
    case.batch.write(&case.session, &mut sent, "socket").unwrap();
    let batch = chiffre_runtime::Batch::receive(&case.session, &sent[..], "socket", 1 << 30).unwrap();
    assert_eq!((&batch.digest, batch.nonce), (&case.batch.digest, case.batch.nonce), "in memory as in the file");
    let result = Server::new(case.session.clone(), keys, 0).unwrap().run(batch).unwrap();
    let mut answer = vec![];
    result.write(&case.session, &mut answer, "socket").unwrap();
    let received = chiffre_runtime::ResultBatch::receive(&case.session, &answer[..], "socket", 1 << 30).unwrap();
    assert_eq!(bits(&received), SQUARES);
    assert_eq!((received.input.as_ref(), received.nonce), (Some(&case.batch.digest), case.batch.nonce));
    let e = chiffre_runtime::Batch::receive(&case.session, &sent[..], "socket", 1000).unwrap_err();
    assert!(matches!(&e, RuntimeError::Container(ContainerError::Content { .. })) && e.to_string().starts_with("socket: more than"), "{e}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let case = squares();
    let bytes = stored(&Server::new(case.session.clone(), case.keys(), 0).unwrap());
    let other = series();
    assert!(matches!(read(&other, &bytes), Err(RuntimeError::Mismatch(_))));
    for at in [0, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 2;
        let e = read(&case, &damaged).unwrap_err();
        assert!(matches!(e, RuntimeError::Container(ContainerError::Content { .. })), "byte {at}: {e}");
        assert!(read(&case, &bytes[..at]).is_err());
    }
}

/// The folder of a server's file, and what a reader makes of it after a change.
struct Stored {
    case: Case,
    folder: tempfile::TempDir,
    good: Sealed,
}

impl Stored {
    fn new(case: Case) -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.chf");
        Server::new(case.session.clone(), case.keys(), 0).unwrap().save(&path).unwrap();
        Stored { case, folder, good: Sealed::read(&path) }
    }

    /// The server of a file whose digest is right.
    fn open(&self, sealed: &Sealed) -> Result<Server, RuntimeError> {
        let path = self.folder.path().join("bad.chf");
        sealed.write(&path);
        Server::load(self.case.session.clone(), &path, 0)
    }
}

/// Behind a right digest every tensor and every text of the file is looked at.
#[test]
fn resealed_state_is_refused_or_the_same() {
    for (seed, (case, answer, cases)) in [(squares(), SQUARES, 300), (series(), SERIES, 30)].into_iter().enumerate() {
        let stored = Stored::new(case);
        let (mut rng, mut refused, mut same) = (Rng::new(seed as u64), 0, 0);
        for _ in 0..cases {
            let mut sealed = stored.good.clone();
            let what = sealed.mutate(&mut rng);
            match stored.open(&sealed) {
                Err(RuntimeError::Container(e)) => assert!(e.is_content() && !e.to_string().contains("digest"), "{what}: {e}"),
                Err(RuntimeError::Mismatch(_)) => {}
                Err(e) => panic!("{what}: {e}"),
                Ok(server) => {
                    let changed = stored.good.tensors.iter().any(|(n, t)| sealed.tensors.get(n).is_some_and(|s| s.bytes != t.bytes));
                    let result = server.start(stored.case.batch.clone()).and_then(|mut run| {
                        while run.step()?.is_some() {}
                        Ok(run.finish()?.result)
                    });
                    // Another key's name is noticed when a batch comes.
                    if changed || matches!(result, Err(RuntimeError::Mismatch(_))) {
                        continue;
                    }
                    assert_eq!(bits(&result.unwrap()), answer, "{what}");
                    same += 1;
                    continue;
                }
            }
            refused += 1;
        }
        println!("{refused} of {cases} are refused, {same} give the same answer");
        assert!(refused > cases / 3 && same > 0, "{refused} of {cases} are refused, {same} give the same answer");
    }
}

#[test]
fn every_residue_of_resealed_keys_is_below_its_modulus() {
    let stored = Stored::new(squares());
    for name in stored.good.tensors.keys() {
        for at in [0, stored.good.tensors[name].bytes.len() - 8] {
            let mut sealed = stored.good.clone();
            sealed.tensors.get_mut(name).unwrap().bytes[at..at + 8].copy_from_slice(&(1u64 << 50).to_le_bytes());
            let e = stored.open(&sealed).unwrap_err();
            assert!(e.to_string().contains(name.as_str()), "{name}, byte {at}: {e}");
        }
    }
}

/// Tables are not read from the file: one that names the right program cannot bring its own.
#[test]
fn a_state_of_an_older_form_is_refused() {
    let stored = Stored::new(squares());
    assert!(stored.good.tensors.keys().all(|n| n.starts_with("key.")), "{:?}", stored.good.tensors.keys());
    let mut sealed = stored.good.clone();
    sealed.metadata.insert("prepared-version".into(), "1".into());
    let e = stored.open(&sealed).unwrap_err();
    assert!(matches!(&e, RuntimeError::Mismatch(m) if m.contains("form 1")), "{e}");
}

#[test]
fn a_server_that_was_read_says_when() {
    let stored = Stored::new(squares());
    let before = std::time::Instant::now();
    let server = stored.open(&stored.good).unwrap();
    let at = server.read_at().expect("it was read");
    assert!(before < at && at <= std::time::Instant::now());
    assert!(Server::new(stored.case.session.clone(), stored.case.keys(), 0).unwrap().read_at().is_none());
}
