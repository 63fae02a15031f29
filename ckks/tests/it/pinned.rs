//! Encrypted results have the same bits for the same seeds, on every instruction set: digests of
//! keys, encryptions and of every kind of operation, recorded once. A change of a digest is a
//! change of what existing keys and ciphertexts give.

use chiffre_ckks::Isa;
use chiffre_ckks::bootstrap::{Activation, BootstrapSpec, Bootstrapper, FactorSpec, RefreshOp};
use chiffre_ckks::bundle::{
    BiasPoly, CtRef, EncodedTable, GiantSteps, Input, LinearOp, PreparedKey, PreparedKeys, apply_linear, conjugate, mul_relin, pair_mul,
    pair_square, rotate, square_relin,
};
use chiffre_ckks::context::Context;
use chiffre_ckks::engine::Engine;
use chiffre_ckks::keys::{KeyTarget, SeededSwitchingKey};
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::polynomial::{Basis, Coefficients, Parity, Plan, PolynomialOp, evaluate, evaluate_packed};
use chiffre_ckks::ring::{Gadget, Galois, RnsPoly};
use chiffre_ckks::scale::Scale;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, PublicKeyEncryptor, SecretKey, SecretKeyEncryptor};
use chiffre_params::table::{DiagTable, Entry, Masks, Row, TableLiteral, WeightType};
use num_complex::Complex64;

const LOG_N: u32 = 9;
const LIMBS: usize = 7;
const WIDE: Gadget = Gadget { limbs: LIMBS, alpha: 3 };
const NARROW: Gadget = Gadget { limbs: 5, alpha: 2 };
const TAPS: [isize; 4] = [0, 1, -1, 16];
const STEPS: [isize; 3] = [-8, 0, 8];

/// The first eight bytes of a BLAKE3 digest, in hexadecimal, of residues in order.
fn digest<'a>(polys: impl IntoIterator<Item = &'a RnsPoly>) -> String {
    let mut hasher = blake3::Hasher::new();
    for poly in polys {
        hasher.update(&(poly.rows() as u64).to_le_bytes());
        poly.iter().flatten().for_each(|word| _ = hasher.update(&word.to_le_bytes()));
    }
    hasher.finalize().to_hex()[..16].to_string()
}

fn rng(seed: u8) -> Csprng {
    Csprng::from_seed([seed; 32])
}

/// Slots with real and imaginary parts in [-1, 1], from integer arithmetic alone.
fn slots(count: usize, seed: u64) -> Vec<Complex64> {
    let mut state = seed;
    let mut number = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| Complex64::new(number(), number())).collect()
}

struct Lab {
    context: Context,
    secret: SecretKey,
    seeded: Vec<SeededSwitchingKey>,
    keys: PreparedKeys,
}

impl Lab {
    fn new(log_n: u32, q_bits: &[u32], p_bits: &[u32], targets: &[(KeyTarget, Gadget)], weight: usize) -> Self {
        let literal = CkksParamsLiteral::generate(log_n, q_bits, p_bits).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let secret = SecretKey::generate(&context, &mut rng(1));
        let mut generator = KeyGenerator::new(&context, &secret, rng(2)).with_sparse_weight(weight);
        let seeded = generator.switching_keys(targets).expect("keys");
        let keys = seeded.iter().map(|k| PreparedKey::new(context.ring(), k.expand(context.ring()))).collect();
        Self { context, secret, seeded, keys }
    }

    fn encrypt(&self, count: usize, scale: &Scale, limbs: usize) -> Vec<[RnsPoly; 2]> {
        let mut encryptor = SecretKeyEncryptor::new(&self.context, &self.secret, rng(3));
        let encrypt = |i: usize| {
            let plaintext = self.context.encode(&slots(self.context.slots(), i as u64), scale, limbs).expect("encode");
            let ct = encryptor.encrypt(&plaintext).expand(self.context.ring(), limbs);
            <[RnsPoly; 2]>::try_from(ct.polys).expect("two polynomials")
        };
        (0..count).map(encrypt).collect()
    }

    fn key_digest(&self) -> String {
        digest(self.seeded.iter().flat_map(SeededSwitchingKey::b))
    }
}

/// A table with masks of period 8 and scalars, from two inputs to `outputs` outputs.
fn table(context: &Context, outputs: usize) -> EncodedTable {
    let mut masks = Masks::new(8).expect("a power of two");
    (0..3).for_each(|p| masks.push((0..8).filter(|j| (3 * j + p) % 5 < 3)));
    let taps = TAPS.iter().map(|&t| t as i64).collect();
    let mut table = TableLiteral { taps, outputs, masks, weights: WeightType::F64, ..TableLiteral::default() };
    let weights = slots(TAPS.len() * 2 * outputs, 77);
    for tap in 0..TAPS.len() {
        for ct in 0..2 {
            let row = table.rows.len() as u32;
            table.rows.push(Row { operand: 0, ct, tap: tap as u32 });
            for output in 0..outputs {
                let mask = ((tap + output) % 4 != 3).then_some(((tap + output) % 3) as u32);
                let weight = weights[row as usize * outputs + output].re;
                table.entries.push(Entry { row, output: output as u32, mask, weight });
            }
        }
    }
    EncodedTable::new(context.encoder(), DiagTable::new(table).expect("a table").into(), vec![0]).expect("encoded")
}

#[track_caller]
fn check(got: &[(&str, String)], want: &[&str]) {
    let got: Vec<String> = got.iter().map(|(name, digest)| format!("{name} {digest}")).collect();
    assert_eq!(got, want);
}

/// Runs a check on an engine of each instruction set: keys and encryptions use it as well.
fn on_every_isa(check: impl Fn(Isa) + Sync) {
    for isa in Isa::available() {
        Engine::builder().isa(isa).build().expect("engine").install(|| check(isa));
    }
}

#[test]
fn keys_and_encryptions() {
    on_every_isa(|_| {
        let gadgets =
            [(KeyTarget::Relinearization, WIDE), (Galois::rotation(5, LOG_N).into(), NARROW), (Galois::conjugation(LOG_N).into(), WIDE)];
        let lab = Lab::new(LOG_N, &[50; LIMBS], &[50; 3], &gadgets, 32);
        let context = &lab.context;
        let public = KeyGenerator::new(context, &lab.secret, rng(4)).public_key();
        let plaintext = context.encode(&slots(context.slots(), 5), &Scale::pow2(40), LIMBS).expect("encode");
        let encrypted = PublicKeyEncryptor::new(context, &public, rng(6)).encrypt(&plaintext);
        let decrypted = Decryptor::new(context, &lab.secret).decrypt(&encrypted).expect("decrypt");
        let got = [
            ("keys", lab.key_digest()),
            ("public key", digest([public.b()])),
            ("encoding", digest([&plaintext.poly])),
            ("encryption", digest(&encrypted.polys)),
            ("seeded encryption", digest(lab.encrypt(1, &Scale::pow2(40), LIMBS).iter().flatten())),
            ("decryption", digest([&decrypted.poly])),
        ];
        check(&got, &KEYS);
    });
}

#[test]
fn bundle_operations() {
    on_every_isa(|isa| {
        let rotations = TAPS.iter().chain(&STEPS).filter(|r| **r != 0).map(|&r| KeyTarget::from(Galois::rotation(r, LOG_N)));
        let targets = rotations.chain([KeyTarget::Relinearization, Galois::conjugation(LOG_N).into()]);
        let targets: Vec<_> = targets.flat_map(|t| [(t, WIDE), (t, NARROW)]).collect();
        let lab = Lab::new(LOG_N, &[50; LIMBS], &[50; 3], &targets, 32);
        let (context, ring, keys) = (&lab.context, lab.context.ring(), &lab.keys);
        let cts = lab.encrypt(4, &Scale::pow2(40), LIMBS);
        let borrowed = |range: std::ops::Range<usize>| -> Vec<Input<'_>> { cts[range].iter().map(|c| Input::Borrowed(c.into())).collect() };
        let (plain, split) = (table(context, 3), table(context, 4 * 2 + 3));
        let bias = [BiasPoly(vec![12345]), BiasPoly::default(), BiasPoly(vec![1, -2, 3, -4])];
        let linear = |table: &EncodedTable, limbs: usize, gadget: Gadget, giants: Option<GiantSteps<'_>>| {
            let op = LinearOp {
                table: table.table(),
                first: table.first(),
                patterns: table.patterns(),
                plan: None,
                input_scales: &[2f64.powi(45); 2],
                limbs_in: limbs,
                bias: Some(&bias),
                gadget,
                drop_limbs: 1,
                giants,
            };
            let out = apply_linear(ring, isa, vec![borrowed(0..2), borrowed(2..4)], &op, keys).expect("linear");
            digest(out.iter().flatten().flatten())
        };
        let one = |ct: usize| CtRef::from(&cts[ct]);
        let products = |out: Vec<[RnsPoly; 2]>| digest(out.iter().flatten());
        let giants = GiantSteps { steps: &STEPS, outputs: 3, gadget: NARROW };
        let got = [
            ("keys", lab.key_digest()),
            ("linear map", linear(&plain, LIMBS, WIDE, None)),
            ("linear map at five limbs", linear(&plain, 5, NARROW, None)),
            ("linear map with giant steps", linear(&split, 6, WIDE, Some(giants))),
            ("pair square", products(pair_square(ring, isa, borrowed(0..4), LIMBS, keys, WIDE).expect("square"))),
            ("pair product", products(pair_mul(ring, isa, borrowed(0..2), borrowed(2..4), 4, keys, NARROW).expect("product"))),
            ("square", products(square_relin(ring, isa, borrowed(0..4), LIMBS, keys, WIDE).expect("square"))),
            ("product", products(mul_relin(ring, isa, borrowed(0..2), borrowed(2..4), 5, keys, NARROW).expect("product"))),
            ("rotation", digest(&rotate(ring, isa, one(0), 6, Galois::rotation(-8, LOG_N), keys, WIDE).expect("rotation"))),
            ("conjugation", digest(&conjugate(ring, isa, one(1), 3, keys, NARROW).expect("conjugation"))),
        ];
        check(&got, &BUNDLES);
    });
}

#[test]
fn series() {
    on_every_isa(|isa| {
        let gadget = Gadget { limbs: 8, alpha: 3 };
        let targets = [(KeyTarget::Relinearization, gadget), (Galois::conjugation(LOG_N).into(), gadget)];
        let lab = Lab::new(LOG_N, &[40, 36, 36, 36, 36, 36, 36, 36], &[42; 3], &targets, 32);
        let ring = lab.context.ring();
        let plan = Plan::new(11, Parity::Full, Basis::Chebyshev).expect("plan");
        let rows: Vec<Vec<f64>> = (0..4).map(|i| slots(12, 90 + i).iter().map(|z| z.re / 4.0).collect()).collect();
        let rows: Vec<Coefficients<'_>> = rows.iter().map(|r| Coefficients::Row(r)).collect();
        let (input_scale, output_scale) = (Scale::pow2(35), Scale::pow2(33));
        let cts = lab.encrypt(4, &input_scale, 7);
        let op =
            PolynomialOp { plan: &plan, coefficients: &rows, limbs: 7, input_scale: &input_scale, output_scale: &output_scale, gadget };
        let inputs = || cts.iter().map(|c| Input::Borrowed(c.into())).collect::<Vec<_>>();
        let got = [
            ("series", digest(evaluate(ring, isa, inputs(), &op, &lab.keys).expect("series").iter().flatten())),
            ("packed series", digest(evaluate_packed(ring, isa, inputs(), &op, &lab.keys).expect("series").iter().flatten())),
        ];
        check(&got, &SERIES);
    });
}

#[test]
fn refreshes() {
    on_every_isa(|isa| {
        let factor = |log_radix, babies| FactorSpec { log_radix, babies };
        let spec = BootstrapSpec {
            log_n: 10,
            alpha: 5,
            limbs: 16,
            slots_to_coeffs: vec![factor(4, 8), factor(5, 4)],
            coeffs_to_slots: vec![factor(3, 1), factor(3, 16), factor(3, 4)],
            range: 14,
            degree: 14,
            ..BootstrapSpec::relu_15()
        };
        let mut q_bits = vec![36; spec.limbs];
        q_bits[0] = 30;
        let lab = Lab::new(spec.log_n, &q_bits, &vec![37; spec.alpha], &spec.keys(), spec.weight);
        let (context, ring) = (&lab.context, lab.context.ring());
        let (input_scale, output_scale) = (Scale::pow2(54), Scale::pow2(32));
        let cts = lab.encrypt(2, &input_scale, 3);
        let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
        let row: Vec<f64> = slots(8, 5).iter().map(|z| z.re / 2.0).collect();
        let activation = Some(Activation { plan: &plan, coefficients: &[Coefficients::Row(&row); 2] });
        let bootstrapper = Bootstrapper::new(ring, isa, context.encoder(), &spec).expect("spec");
        let op = RefreshOp { input_scale: &input_scale, radians: 1.0, activation, output_scale: &output_scale };
        let inputs = cts.iter().map(|c| Input::Borrowed(c.into())).collect();
        let out = bootstrapper.refresh(ring, isa, inputs, &op, &lab.keys).expect("refresh");
        let got = [("keys", lab.key_digest()), ("refresh", digest(out.iter().flatten()))];
        check(&got, &REFRESHES);
    });
}

const KEYS: [&str; 6] = [
    "keys 5a85052c84db9e2e",
    "public key 0e0e538943164582",
    "encoding e9b254388ee122ad",
    "encryption 368c78e0afb66356",
    "seeded encryption f0f29b9bcb918ee2",
    "decryption 835c4d633472752b",
];
const BUNDLES: [&str; 10] = [
    "keys 36f98fb80c0da6e9",
    "linear map fdbf5ae772262e30",
    "linear map at five limbs b62749afd2fd60e9",
    "linear map with giant steps 1acf9cfe2d06dd4f",
    "pair square a164b86b87eb95f5",
    "pair product 6ed6f8f6fe20e3a0",
    "square fe76192dc312a0e9",
    "product 025f19db8512db82",
    "rotation dca69054ad0358b8",
    "conjugation db9ceeb4307f250b",
];
const SERIES: [&str; 2] = ["series a61fe1043800853c", "packed series 5eaed28c685c6ce9"];
const REFRESHES: [&str; 2] = ["keys 81e384f73379a7cf", "refresh bd9bdd59c323d172"];
