//! Programs with keys and batches from fixed seeds.

#[path = "../../passes/tests/common/mod.rs"]
mod common;

use chiffre::pipeline::{Compiled, Request, compile, compile_graph};
use chiffre_ckks::engine::Engine;
use chiffre_ckks::{Gadget, Galois, KeyTarget};
use chiffre_ckks_client::{Csprng, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_ir::consts::digest;
use chiffre_ir::program::file::ProgramFile;
use chiffre_passes::options::{BootstrapWish, CompileOptions, PackingWish};
use chiffre_runtime::{Batch, EvalKeySet, ResultBatch, ServerKeys, Session};
use common::{Rng, residual_net, with_series};
use std::path::Path;
use std::sync::Arc;

/// A program with its keys and a batch, all from fixed seeds.
pub struct Case {
    pub session: Arc<Session>,
    pub batch: Arc<Batch>,
    seed: u8,
}

impl Case {
    fn new(engine: Engine, compiled: Compiled, seed: u8, images: usize) -> Case {
        let file = ProgramFile::in_memory(compiled.program, compiled.stages).unwrap();
        let session = Arc::new(Session::on(engine, file, true).unwrap());
        let per: usize = session.input_layout().unwrap().shape.iter().product();
        let mut rng = Rng(u64::from(seed));
        let pixels: Vec<f32> = (0..images * per).map(|_| rng.next()).collect();
        let batch = Arc::new(encrypt(&session, seed, &pixels, images));
        Case { session, batch, seed }
    }

    /// Linear maps, products and merges of units, 40 images of 64, in a ring of degree `2^log_n`.
    /// The pinned bits are those for 2^10.
    pub fn squares_on(engine: Engine, log_n: u32) -> Case {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let model = chiffre_frontend::load(&models.join("tiny_resnet.onnx")).unwrap();
        let packing = PackingWish { phases: Some([0, 0]), fill: Some(0), tile: Some(1), ..PackingWish::default() };
        let options = CompileOptions { batch: 64, log_n: Some(log_n), packing, allow_insecure: true, ..CompileOptions::default() };
        Case::new(engine, compile(&model, &Request { options, ..Request::default() }).unwrap(), 1, 40)
    }

    /// Series with and without bootstraps, 16 images with even and odd columns in ciphertexts of
    /// their own, as is every channel.
    pub fn series_on(engine: Engine) -> Case {
        let g = with_series(residual_net(5), 5, 7, |s| s != "act0");
        let packing = PackingWish { phases: Some([0, 1]), channels: Some(0), fill: Some(0), tile: None };
        // The pinned bits are those of the smaller range.
        let bootstrap = BootstrapWish { log2_failure: Some(-40.0), ..BootstrapWish::default() };
        let options = CompileOptions { batch: 16, log_n: Some(10), packing, bootstrap, allow_insecure: true, ..CompileOptions::default() };
        Case::new(engine, compile_graph(&g, "test", &Request { options, ..Request::default() }).unwrap(), 2, 16)
    }

    fn rng(seed: u8, stream: u64) -> Csprng {
        Csprng::from_seed_stream([seed; 32], stream)
    }

    /// The evaluation keys, in seeded form.
    pub fn key_set(&self) -> EvalKeySet {
        let s = &self.session;
        let secret = SecretKey::generate(&s.context, &mut Case::rng(self.seed, 0));
        let mut generator = KeyGenerator::new(&s.context, &secret, Case::rng(self.seed, 1));
        if let Some(b) = &s.program().header.bootstrap {
            generator = generator.with_sparse_weight(b.weight);
        }
        EvalKeySet { id: [self.seed; 16], keys: generator.switching_keys(&self.targets()).unwrap() }
    }

    /// The keys in the order in which the pinned answers take them from the random stream:
    /// rotations by their offsets.
    fn targets(&self) -> Vec<(KeyTarget, Gadget)> {
        let log_n = self.session.program().header.log_n;
        let offset = |g: Galois| g.rotation_offset(log_n).unwrap();
        let place = |target: KeyTarget| match target {
            KeyTarget::Relinearization => (0, 0),
            KeyTarget::Galois(g) if g == Galois::conjugation(log_n) => (1, 0),
            KeyTarget::Galois(g) => (2, offset(g)),
            KeyTarget::DenseToSparse => (3, 0),
            KeyTarget::SparseToDense(g) => (4, offset(g)),
        };
        let mut targets = self.session.key_targets();
        targets.sort_by_key(|&(target, gadget)| (place(target), gadget.limbs, gadget.alpha));
        targets
    }

    pub fn keys(&self) -> ServerKeys {
        self.key_set().prepare(&self.session)
    }
}

fn encrypt(s: &Session, seed: u8, pixels: &[f32], n: usize) -> Batch {
    let secret = SecretKey::generate(&s.context, &mut Case::rng(seed, 0));
    let mut encryptor = SecretKeyEncryptor::new(&s.context, &secret, Case::rng(seed, 2));
    let ty = s.input().unwrap();
    let (unit, per) = (ty.layout.unit(), ty.layout.shape.iter().product::<usize>());
    let scale = ty.scale.over(&s.program().header.q).unwrap();
    let mut one = |v: &Vec<_>| encryptor.encrypt(&s.context.encode(v, &scale, ty.limbs).unwrap());
    let cts = pixels.chunks(per * unit.batch).map(|c| unit.pack(c, c.len() / per).iter().map(&mut one).collect()).collect();
    Batch::new(s, [seed; 16], [seed; 16], n, cts).unwrap()
}

/// The digest of all residues of a result.
pub fn bits(r: &ResultBatch) -> String {
    let rows = r.cts.iter().flatten().flat_map(|c| &c.polys).flat_map(|p| p.iter());
    digest(&rows.flat_map(|row| row.iter().flat_map(|w| w.to_le_bytes())).collect::<Vec<u8>>())
}

/// The answer of [`Case::squares_on`] in the ring of degree 2^10, from the first version that had
/// this test.
pub const SQUARES: &str = "0a5d4bcbb1cd2e4385b8bebc374d8d610397893f81942ce5ecfecff44d95dfc2";
/// The answer of [`Case::series_on`], from the first version that had this test.
pub const SERIES: &str = "eb6144903ffc113711d07ad0d07b7576e021ff265404cf099a343ac41f780be8";
