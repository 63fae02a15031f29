//! Prepared state: a server that is written and read again gives the same bits; what does not
//! belong together is refused.

use super::case::{Case, SERIES, SQUARES, bits};
use super::{series, squares};
use chiffre_ir::container::ContainerError;
use chiffre_runtime::server::Server;
use chiffre_runtime::{RuntimeError, ServerKeys};
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
    assert!(batch.digest.is_some());
    let result = Server::new(case.session.clone(), keys, 0).unwrap().run(batch).unwrap();
    let mut answer = vec![];
    result.write(&case.session, &mut answer, "socket").unwrap();
    let received = chiffre_runtime::ResultBatch::receive(&case.session, &answer[..], "socket", 1 << 30).unwrap();
    assert_eq!(bits(&received), SQUARES);
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
