//! The fused operations give the same bits as the plain key switch.

use crate::reference::{LinearTransform, Reference, keyswitch};
use chiffre_ckks::Isa;
use chiffre_ckks::bundle::{CtRef, EncodedTable, Input, LinearOp, PreparedKey, PreparedKeys, apply_linear, key_switch, mul_relin, rotate};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::keys::{EvaluationKeys, KeyTarget};
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::ring::{Gadget, Galois};
use chiffre_ckks::scale::Scale;
use chiffre_ckks_client::{Csprng, KeyGenerator, SecretKey, SecretKeyEncryptor};
use chiffre_params::table::{DiagTable, Entry, Masks, Row, TableLiteral, WeightType};
use num_complex::Complex64;

const LOG_N: u32 = 10;
const LIMBS: usize = 7;
const OFFSETS: [isize; 2] = [3, -20];

struct Lab {
    context: Context,
    gadget: Gadget,
    plain: EvaluationKeys,
    fused: PreparedKeys,
    inputs: [Ciphertext; 2],
}

impl Lab {
    fn new(alpha: usize) -> Self {
        let literal = CkksParamsLiteral::generate(LOG_N, &[50; LIMBS], &[50; 4][..alpha]).expect("primes");
        let context = Context::new(CkksParams::try_from(literal.insecure()).expect("marked")).expect("context");
        let ring = context.ring();
        let secret = SecretKey::generate(&context, &mut Csprng::from_seed([1; 32]));
        let gadget = Gadget { limbs: LIMBS, alpha };
        let targets: Vec<_> = OFFSETS
            .iter()
            .map(|&r| Galois::rotation(r, LOG_N).into())
            .chain([KeyTarget::Relinearization])
            .map(|target| (target, gadget))
            .collect();
        let seeded = KeyGenerator::new(&context, &secret, Csprng::from_seed([2; 32])).switching_keys(&targets).expect("keys");
        let plain = seeded.iter().map(|k| k.expand(ring)).collect();
        let fused = seeded.iter().map(|k| PreparedKey::new(ring, k.expand(ring))).collect();
        let inputs = [0.0, 1.0].map(|shift| {
            let values: Vec<_> = (0..context.slots()).map(|j| Complex64::from_polar(1.0, j as f64 + shift)).collect();
            let plaintext = context.encode(&values, &Scale::pow2(30), LIMBS).expect("encode");
            SecretKeyEncryptor::new(&context, &secret, Csprng::from_seed([3; 32])).encrypt(&plaintext).expand(ring, LIMBS)
        });
        Self { context, gadget, plain, fused, inputs }
    }

    fn at(&self, limbs: usize) -> [Ciphertext; 2] {
        let evaluator = Reference::new(&self.context, &self.plain);
        [0, 1].map(|i| evaluator.mod_drop(&self.inputs[i], limbs).expect("drop"))
    }
}

#[test]
fn key_switches_rotations_and_products() {
    for alpha in 1..=4 {
        let lab = Lab::new(alpha);
        let ring = lab.context.ring();
        let evaluator = Reference::new(&lab.context, &lab.plain);
        for limbs in 1..=LIMBS {
            let [a, b] = lab.at(limbs);
            let (x, y) = (CtRef::new(&a).expect("degree 1"), CtRef::new(&b).expect("degree 1"));
            let key = lab.plain.get(KeyTarget::Relinearization, lab.gadget).expect("key");
            let switched = keyswitch::key_switch(ring, &a.polys[1], key);
            let turned = evaluator.rotate(&a, OFFSETS[1]).expect("rotate");
            let product = evaluator.relinearize(&evaluator.mul(&a, &b).expect("mul")).expect("relinearize");
            for isa in Isa::available() {
                let prepared = PreparedKey::new(ring, key.clone());
                assert!(key_switch(ring, isa, &a.polys[1], limbs, &prepared).expect("switch") == switched);
                let galois = Galois::rotation(OFFSETS[1], LOG_N);
                let got = rotate(ring, isa, x, limbs, galois, &lab.fused, lab.gadget).expect("rotate");
                assert!(got[..] == turned.polys[..]);
                let got = mul_relin(ring, isa, vec![x.into()], vec![y.into()], limbs, &lab.fused, lab.gadget).expect("mul");
                assert!(got[0][..] == product.polys[..]);
            }
        }
    }
}

#[test]
fn linear_maps_with_merged_rescale() {
    let lab = Lab::new(3);
    let ring = lab.context.ring();
    let evaluator = Reference::new(&lab.context, &lab.plain);
    let period = 16;
    let mask: Vec<f64> = (0..period).map(|j| f64::from(u8::from(j % 3 != 0))).collect();
    let weights = [(0isize, 0.3), (OFFSETS[0], -0.7), (OFFSETS[1], 1.1)];
    let scale = Scale::pow2(20);
    let diagonals: Vec<_> = weights.iter().map(|&(r, w)| (r, mask.iter().map(|m| Complex64::from(m * w)).collect())).collect();
    let table = DiagTable::new(TableLiteral {
        taps: weights.iter().map(|w| w.0 as i64).collect(),
        rows: (0..3).map(|tap| Row { operand: 0, ct: 0, tap }).collect(),
        outputs: 1,
        masks: Masks::of_slots(period, [&(0..period).filter(|j| j % 3 != 0).collect::<Vec<_>>()[..]]).expect("masks"),
        entries: (0u32..).zip(&weights).map(|(row, w)| Entry { row, output: 0, mask: Some(0), weight: w.1 }).collect(),
        weights: WeightType::F64,
    });
    let table = EncodedTable::new(lab.context.encoder(), table.expect("a table").into(), vec![0]).expect("encoded");
    for (limbs, drop) in [(7, 1), (5, 1), (4, 2), (3, 0)] {
        let [a, _] = lab.at(limbs);
        let transform = LinearTransform::encode(&lab.context, &diagonals, &scale, limbs, 3).expect("encode");
        let want = evaluator.linear_transform(&a, &transform, drop).expect("transform");
        let input = [CtRef::new(&a).expect("degree 1")];
        for isa in Isa::available() {
            let op = LinearOp {
                table: table.table(),
                first: table.first(),
                patterns: table.patterns(),
                plan: None,
                input_scales: &[scale.to_f64()],
                limbs_in: limbs,
                bias: None,
                gadget: lab.gadget,
                drop_limbs: drop,
                giants: None,
            };
            let got = apply_linear(ring, isa, vec![Input::borrowed(&input)], &op, &lab.fused).expect("apply").swap_remove(0);
            assert!(got[0][..] == want.polys[..], "{limbs} limbs, {drop} dropped");
        }
    }
}
