//! Files of programs for TFHE, under a set that is not secure and therefore small: what is read
//! without the library that computes on ciphertexts.

use chiffre::Error;
use chiffre_ir::quant::file::{self, QuantFile};
use chiffre_ir::quant::run_integers;
use chiffre_params::tfhe::TfheParams;
use chiffre_tfhe::{Batch, EvaluationKeys, LookupKeys, Results, Session, TfheError};
use std::io::Cursor;
use std::path::Path;
use std::sync::LazyLock;

/// Most elements of all values of a program that is run in the clear.
const MOST_ELEMENTS: usize = 1 << 14;

/// A sum that is rounded and looked up, with a second table.
const PROGRAM: &str = "quant @t {
    const @k : i64[2x2x1x1] = [3, -4, 1, 2]
    const @b : i64[2] = [1, 2]
    const @t : i64[1x8] = [0, 0, 0, 1, 2, 3, 4, 5]
    %0 = input : int<bits=6 range=-8..7 scale=1.0> 2
    %1 = linear_map %0 {kernels=[@k], strides=[[1, 1]], origins=[[0, 0]], bias=@b} : int<bits=5 range=-30..30 scale=1.0> 2
    %2 = round %1 : int<bits=3 range=-8..7 scale=4.0> 2
    %3 = lookup %2 {table=@t, flip=5} : int<bits=4 range=0..5 scale=1.0> 2
    return %3
}";

static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let mut graph: chiffre_ir::quant::QuantGraph = chiffre_ir::text::parse(PROGRAM).expect("a program");
    graph.header.params = Some(TfheParams::toy_with_removal());
    graph.header.insecure = true;
    Session::new(QuantFile::in_memory(graph, [].into()).expect("a program"), true).expect("a session")
});

fn error(e: TfheError) -> Error {
    match e {
        TfheError::Container(e) => e.into(),
        TfheError::Insecure => Error::insecure(e),
        TfheError::Mismatch(_) => Error::mismatch(e),
        TfheError::Input(_) => Error::input(e),
        TfheError::Randomness(_) | TfheError::Cancelled { .. } => Error::bug(e),
    }
}

/// A program.
pub(crate) fn program() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.chf");
    file::save(&path, &SESSION.file().program, &SESSION.file().stages).expect("a file");
    std::fs::read(path).expect("a file")
}

/// Evaluation keys of the right sizes, of no secret key.
pub(crate) fn keys() -> Vec<u8> {
    let p = SESSION.params();
    let kind = |of: &TfheParams| LookupKeys {
        rotation: vec![7; of.n * of.rotation.levels as usize * (of.k + 1) * of.degree()],
        rotation_seed: [1; 16],
        keyswitch: vec![9; p.big() * of.keyswitch.levels as usize],
        keyswitch_seed: [2; 16],
    };
    let keys = EvaluationKeys { id: [3; 16], table: kind(p), removal: p.removing().as_ref().map(kind) };
    let mut out = vec![];
    keys.write(&SESSION, &mut out, "memory").expect("bytes");
    out
}

/// Two images.
pub(crate) fn batch() -> Vec<u8> {
    let batch = Batch::new(&SESSION, [3; 16], [4; 16], vec![5; 4], vec![[6; 16], [7; 16]]).expect("a batch");
    let mut out = vec![];
    batch.write(&SESSION, &mut out, "memory").expect("bytes");
    out
}

/// Their answers.
pub(crate) fn result() -> Vec<u8> {
    let result = Results {
        name: "the result".into(),
        id: [3; 16],
        nonce: [4; 16],
        input: "00".into(),
        images: 2,
        outputs: vec![vec![8; 2 * 2 * SESSION.words()]],
    };
    let mut out = vec![];
    result.write(&SESSION, &mut out, "memory").expect("bytes");
    out
}

/// Reads a program, judges it as a session does, and runs it in the clear if it is small.
pub(crate) fn read_program(bytes: &[u8]) -> Result<(), Error> {
    let file = file::read(Cursor::new(bytes), "bad").map_err(Error::from)?;
    let elements = file.program.nodes.iter().fold(0usize, |n, node| n.saturating_add(node.ty.shape.len()));
    if elements <= MOST_ELEMENTS {
        let input = file.program.nodes.first().map_or(0, |n| n.ty.shape.len());
        run_integers(&file.program, &vec![0.5; input], 1).map_err(|e| Error::input_in(Path::new("bad"), e))?;
    }
    Session::new(file, true).map(|_| ()).map_err(error)
}

/// Reads evaluation keys, and holds them against the parameters.
pub(crate) fn read_keys(bytes: &[u8]) -> Result<(), Error> {
    let keys = EvaluationKeys::read(&SESSION, Cursor::new(bytes), "bad").map_err(error)?;
    keys.check(SESSION.params()).map_err(error)
}

/// Reads a batch.
pub(crate) fn read_batch(bytes: &[u8]) -> Result<(), Error> {
    Batch::read(&SESSION, Cursor::new(bytes), "bad").map(|_| ()).map_err(error)
}

/// Reads a result, and holds it against the program.
pub(crate) fn read_result(bytes: &[u8]) -> Result<(), Error> {
    let result = Results::read(&SESSION, Cursor::new(bytes), "bad").map_err(error)?;
    result.check(&SESSION).map_err(error)
}
