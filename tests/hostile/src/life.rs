//! The life of a small program: keys, a batch, a run, its answers, all from fixed seeds, so that a
//! file that one process has made is read by another.

use crate::program::engine;
use chiffre::pipeline::{Request, compile_graph};
use chiffre_ckks_client::{Csprng, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_client::ClientKey;
use chiffre_ir::container::Dtype;
use chiffre_ir::program::file::ProgramFile;
use chiffre_ir::tensor::Tensor as TensorLevel;
use chiffre_ir::{tensor, text};
use chiffre_passes::options::{CalibrationSet, CompileOptions};
use chiffre_runtime::server::{Checkpoints, Policy, Server};
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch, Session, hex};
use chiffre_testing::{Rng, Sealed, Tensor};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Name of the key and nonce of the batch.
const NAME: [u8; 16] = [7; 16];
/// Images of the batch, of the 32 that the program takes in two units.
pub(crate) const IMAGES: usize = 20;
/// log2 of the smallest ring degree in which programs run.
const SMALL: u32 = 6;
/// log2 of the smallest ring degree with a bootstrap.
const BOOTSTRAPPED: u32 = 9;
/// Steps that the interrupted run has done.
const STEPS_DONE: usize = 2;

/// A program with all that came of it.
pub struct Life {
    /// The program, in a ring of degree 2^6.
    pub session: Arc<Session>,
    /// The data owner's key.
    pub client: ClientKey,
    /// Its evaluation keys.
    pub keys: EvalKeySet,
    /// The server with the expanded keys.
    pub server: Server,
    /// The encrypted batch.
    pub batch: Arc<Batch>,
    /// The answers.
    pub result: ResultBatch,
    /// The files of a run on the batch that was interrupted.
    pub journal: BTreeMap<String, Sealed>,
}

static LIFE: LazyLock<Life> = LazyLock::new(Life::new);

/// A network of 2×2 images, with squares.
fn squares() -> String {
    network("%2 = poly %1 {coeffs=@p} : f32[2x2x2] ; \"act\"", "const @p : f32[2x3] = [0.1, 0.5, 0.3, 0, 1, 0.2]")
}

/// The same with an activation that is approximated.
fn relu() -> String {
    network("%2 = activation %1 {kind=relu} : f32[2x2x2] ; \"act\"", "")
}

fn network(activation: &str, constant: &str) -> String {
    let mut rng = Rng::new(5);
    let mut weights =
        |count: usize| (0..count).map(|_| format!("{:.2}", rng.below(200) as f64 / 100.0 - 1.0)).collect::<Vec<_>>().join(", ");
    let square = "stride=[1, 1], dilation=[1, 1]";
    format!(
        "tensor @tiny {{\n  const @w : f32[2x1x3x3] = [{}]\n  const @v : f32[3x2x2x2] = [{}]\n  {constant}\n  %0 = input : f32[1x2x2] ; \"in\"\n  \
         %1 = conv2d %0 {{weight=@w, pad=[1, 1, 1, 1], {square}}} : f32[2x2x2] ; \"conv\"\n  {activation}\n  \
         %3 = conv2d %2 {{weight=@v, pad=[0, 0, 0, 0], {square}}} : f32[3x1x1] ; \"fc\"\n  return %3\n}}\n",
        weights(18),
        weights(24)
    )
}

/// The images that the network gets, and is calibrated on.
fn images(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(6);
    (0..4 * count).map(|_| rng.below(200) as f32 / 100.0 - 1.0).collect()
}

/// A network and how it is compiled.
pub(crate) struct Network {
    /// Tensor IR.
    pub text: String,
    /// log2 of the ring degree.
    log_n: u32,
    /// The pipeline, unless it is the default one.
    passes: Option<&'static str>,
}

/// Squares; series; series behind bootstraps.
pub(crate) fn networks() -> [Network; 3] {
    let refreshed = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,calibrate-activations,\
                     approximate-activations{refresh=yes},fold-scales),choose-layout,lower-linear,\
                     he(assign-levels,place-relin,select-params),schedule";
    [
        Network { text: squares(), log_n: SMALL, passes: None },
        Network { text: relu(), log_n: SMALL, passes: None },
        Network { text: relu(), log_n: BOOTSTRAPPED, passes: Some(refreshed) },
    ]
}

/// The network as a program for 32 images.
pub(crate) fn compiled(network: &Network) -> ProgramFile {
    let graph = tensor::verify(text::parse::<TensorLevel>(&network.text).expect("a network")).expect("a valid network");
    let mut options = CompileOptions { batch: 32, log_n: Some(network.log_n), allow_insecure: true, ..CompileOptions::default() };
    options.activations.degree = Some(7);
    options.activations.calibration = Some(Arc::new(CalibrationSet { images: images(50), n: 50, labels: None }));
    let request = Request { options, passes: network.passes.map(str::to_string), ..Request::default() };
    let compiled = compile_graph(&graph, &"0".repeat(64), &request).expect("a program");
    ProgramFile::in_memory(compiled.program, compiled.stages).expect("a valid program")
}

fn rng(stream: u64) -> Csprng {
    Csprng::from_seed_stream([9; 32], stream)
}

impl Life {
    /// The same for all tests of a process.
    pub fn get() -> &'static Life {
        &LIFE
    }

    fn new() -> Life {
        let session = Arc::new(Session::on(engine(), compiled(&networks()[0]), true).expect("a session"));
        let s = &session;
        let secret = SecretKey::generate(&s.context, &mut rng(0));
        let bytes = secret_file(s, &secret).to_bytes().expect("bytes");
        let client = ClientKey::read(s, Cursor::new(&bytes), "secret").expect("a secret key");
        let mut generator = KeyGenerator::new(&s.context, &secret, rng(1));
        let keys = || EvalKeySet { id: NAME, keys: generator.switching_keys(&s.key_targets()).expect("keys") };
        let keys = { keys }();
        let prepared = EvalKeySet { id: NAME, keys: keys.keys.clone() }.prepare(s);
        let server = Server::new(session.clone(), prepared, 0).expect("a server");
        let batch = Arc::new(encrypt(s, &secret, &images(IMAGES)));
        let result = server.run(batch.clone()).expect("a result");
        let journal = interrupted(&server, &batch);
        Life { client, keys, server, batch, result, journal, session }
    }
}

/// The file of a secret key.
fn secret_file(s: &Session, secret: &SecretKey) -> Sealed {
    let bytes: Vec<u8> = secret.expose_coefficients().iter().map(|&c| c as u8).collect();
    Sealed {
        kind: chiffre_client::KIND.into(),
        metadata: BTreeMap::from([("params".into(), hex(&s.context.params().digest())), ("key-id".into(), hex(&NAME))]),
        tensors: BTreeMap::from([("secret".into(), Tensor { dtype: Dtype::I8, shape: vec![bytes.len()], bytes })]),
    }
}

fn encrypt(s: &Session, secret: &SecretKey, pixels: &[f32]) -> Batch {
    let mut encryptor = SecretKeyEncryptor::new(&s.context, secret, rng(2));
    let ty = s.input().expect("an input");
    let (unit, scale) = (ty.layout.unit(), s.scale(&ty.scale));
    let mut one = |v: &Vec<_>| encryptor.encrypt(&s.context.encode(v, &scale, ty.limbs).expect("a plaintext"));
    let cts = pixels.chunks(4 * unit.batch).map(|c| unit.pack(c, c.len() / 4).iter().map(&mut one).collect()).collect();
    Batch::new(s, NAME, NAME, pixels.len() / 4, cts).expect("a batch")
}

/// The files that a run leaves which is stopped behind its first steps.
fn interrupted(server: &Server, batch: &Arc<Batch>) -> BTreeMap<String, Sealed> {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("run");
    let policy = Policy { least: Duration::ZERO, ..Policy::EVERY_MOMENT };
    let checkpoints = Checkpoints::open(server.session(), batch, &dir).expect("a journal").with_policy(policy);
    let mut run = server.start_with(batch.clone(), checkpoints).expect("a run");
    let mut left = STEPS_DONE;
    let stopped = run.drive(|_| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(stopped.expect("a stop").is_break(), "the run has more steps");
    drop(run);
    read_folder(&dir)
}

fn read_folder(dir: &Path) -> BTreeMap<String, Sealed> {
    let entries = std::fs::read_dir(dir).expect("a journal").map(|e| e.expect("an entry").path());
    let files = entries.filter(|p| p.extension().is_some_and(|e| e == "chf"));
    files.map(|p| (p.file_name().expect("a name").to_string_lossy().into_owned(), Sealed::read(&p))).collect()
}
