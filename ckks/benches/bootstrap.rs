//! Refreshes at full size with real keys: time by stage, precision, bytes.
//!
//! `cargo bench -p chiffre-ckks --bench bootstrap -- [relu15 | classic16] [bundle] [group]
//! [threads] [repetitions] [degree] [doublings]`
//!
//! `CHIFFRE_ISA=scalar|avx2|avx512|neon` chooses the instruction set. Times are processor seconds
//! for each ciphertext (what counts on a shared machine) and wall seconds for the bundle.

use chiffre_ckks::Isa;
use chiffre_ckks::bootstrap::{Activation, Arcsine, BootstrapOp, BootstrapSpec, Bootstrapper, RefreshOp};
use chiffre_ckks::bundle::{Input, PreparedKey, PreparedKeys};
use chiffre_ckks::ciphertext::Ciphertext;
use chiffre_ckks::context::Context;
use chiffre_ckks::engine::Engine;
use chiffre_ckks::params::{CkksParams, CkksParamsLiteral};
use chiffre_ckks::polynomial::{Basis, Coefficients, Parity, Plan, evaluate_clear};
use chiffre_ckks::ring::RnsPoly;
use chiffre_ckks::scale::Scale;
use chiffre_ckks::seed::UniformSampler;
use chiffre_ckks_client::{Csprng, Decryptor, KeyGenerator, SecretKey, SecretKeyEncryptor};
use num_complex::Complex64;
use std::num::NonZeroUsize;
use std::time::Instant;

struct Lab {
    context: Context,
    secret: SecretKey,
    keys: PreparedKeys,
}

impl Lab {
    /// Keys are made in parts, so that seeded and full forms do not exist together.
    fn new(spec: &BootstrapSpec, q_bits: &[u32], p_bits: u32) -> Self {
        let literal = CkksParamsLiteral::generate(spec.log_n, q_bits, &vec![p_bits; spec.alpha]).expect("primes");
        let context = Context::new(CkksParams::try_from(literal).expect("secure")).expect("context");
        println!(
            "N = 2^{}, {} + {} primes, log QP = {:.1}, failure 2^{:.1} for each ciphertext",
            spec.log_n,
            q_bits.len(),
            spec.alpha,
            context.params().log_qp(),
            spec.log2_failure_of_run(1.0)
        );
        let secret = SecretKey::generate(&context, &mut Csprng::from_seed([1; 32]));
        let mut generator = KeyGenerator::new(&context, &secret, Csprng::from_seed([2; 32])).with_sparse_weight(spec.weight);
        let start = Instant::now();
        let seeded = generator.switching_keys(&spec.keys()).expect("keys");
        let keys: PreparedKeys = seeded.into_iter().map(|k| PreparedKey::new(context.ring(), k.expand(context.ring()))).collect();
        println!("{} keys, {:.2} GiB, made in {:.1} s", spec.keys().len(), gib(keys.bytes()), start.elapsed().as_secs_f64());
        assert_eq!(keys.bytes(), spec.key_bytes());
        Self { context, secret, keys }
    }

    fn messages(&self, count: usize, size: f64) -> Vec<Vec<Complex64>> {
        let mut sampler = UniformSampler::new([5; 32], 0);
        let mut words = vec![0; 2 * self.context.slots()];
        (0..count)
            .map(|_| {
                sampler.fill(&mut words, 1 << 40);
                let number = |w: u64| size * (w as f64 / 2f64.powi(39) - 1.0);
                words.chunks_exact(2).map(|w| Complex64::new(number(w[0]), number(w[1]))).collect()
            })
            .collect()
    }

    fn encrypt(&self, values: &[Complex64], scale: &Scale, limbs: usize) -> [RnsPoly; 2] {
        let plaintext = self.context.encode(values, scale, limbs).expect("encode");
        let seeded = SecretKeyEncryptor::new(&self.context, &self.secret, Csprng::from_seed([3; 32])).encrypt(&plaintext);
        <[RnsPoly; 2]>::try_from(seeded.expand(self.context.ring(), limbs).polys).expect("two")
    }

    /// Standard deviation and largest magnitude of the errors, in bits.
    fn precision(&self, got: &[RnsPoly; 2], scale: &Scale, want: impl Iterator<Item = Complex64>) -> [f64; 2] {
        let ct = Ciphertext::new(got.clone(), scale.clone());
        let got = self.context.decode(&Decryptor::new(&self.context, &self.secret).decrypt(&ct).expect("decrypt"));
        let (mut sum, mut worst) = (0.0, 0f64);
        for (g, w) in got.iter().zip(want) {
            let d = g - w;
            sum += d.norm_sqr() / 2.0;
            worst = worst.max(d.re.abs()).max(d.im.abs());
        }
        [-(sum / got.len() as f64).sqrt().log2(), -worst.log2()]
    }
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / 2f64.powi(30)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (bundle, group, threads, repetitions) = (at(0, 4), at(1, 4), at(2, 1), at(3, 2));
    let isa = std::env::var("CHIFFRE_ISA").map_or_else(|_| Isa::detect(), |name| name.parse().expect("an instruction set"));
    let threads = NonZeroUsize::new(threads).expect("at least one thread");
    let engine = Engine::builder().threads(threads).isa(isa).build().expect("an engine");
    println!("bundle {bundle}, groups of {group}, {threads} threads, {}", isa.name());
    engine.install(|| {
        if arguments.iter().any(|a| a == "classic16") {
            classic(bundle, group, repetitions, (at(4, 16), at(5, 4)));
        } else {
            relu(bundle, group, repetitions, (at(4, 16), at(5, 4)));
        }
    });
}

/// `N = 2^15`, degree 7 behind the sine.
fn relu(bundle: usize, group: usize, repetitions: usize, (degree, doublings): (usize, usize)) {
    let spec = BootstrapSpec { degree, doublings, ..BootstrapSpec::relu_15() };
    let mut q_bits = vec![36; spec.limbs];
    q_bits[0] = 30;
    let lab = Lab::new(&spec, &q_bits, 37);
    let (ring, isa) = (lab.context.ring(), Isa::current());
    let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &spec).expect("spec").with_group(group);
    println!("diagonals {:.2} GiB", gib(bootstrapper.transforms().bytes()));
    let (input_scale, output_scale) = (Scale::pow2(54), Scale::pow2(32));
    // ReLU of the angle, by its first Chebyshev coefficients.
    let plan = Plan::new(7, Parity::Full, Basis::Chebyshev).expect("plan");
    let row = [0.3, 0.5, 0.2, 0.05, -0.03, 0.02, 0.01, -0.01];
    let rows = vec![Coefficients::Row(&row); bundle];
    let messages = lab.messages(bundle, 1.06);
    let activation = Some(Activation { plan: &plan, coefficients: &rows });
    let op = RefreshOp { input_scale: &input_scale, radians: 1.0, activation, output_scale: &output_scale };
    for _ in 0..repetitions {
        let inputs = messages.iter().map(|m| Input::Owned(lab.encrypt(m, &input_scale, spec.limbs_in()))).collect();
        let clock = Clock::start();
        let out = bootstrapper.refresh(ring, isa, inputs, &op, &lab.keys).expect("refresh");
        clock.report("refresh", bundle);
        let value = |v: f64| evaluate_clear(Basis::Chebyshev, &row, v.sin());
        let [std, worst] = lab.precision(&out[0], &output_scale, messages[0].iter().map(|z| Complex64::new(value(z.re), value(z.im))));
        println!("  precision behind the polynomial: {std:.1} bits, worst {worst:.1}; limbs {}", out[0][0].rows());
    }
    let counts = spec.counts(Some(&plan));
    println!("{:?}, total {:?}", counts, counts.total());
    println!("one transform takes {:.1} us now; predicted noise 2^{:.1}", transform(ring), bootstrapper.predicted_noise(ring, 1.06).log2());
    // Stage by stage, one group.
    let count = group.min(bundle);
    let inputs = messages[..count].iter().map(|m| Input::Owned(lab.encrypt(m, &input_scale, spec.limbs_in()))).collect();
    let clock = Clock::start();
    let low = bootstrapper.transforms().slots_to_coeffs(ring, isa, inputs, input_scale.to_f64(), &lab.keys).expect("low");
    clock.report("SlotsToCoeffs", count);
    let clock = Clock::start();
    let raised = bootstrapper.transforms().raise(ring, isa, low, &lab.keys).expect("raise");
    clock.report("raise, CoeffsToSlots", count);
    let clock = Clock::start();
    let halves = bootstrapper.sines(ring, isa, raised, &lab.keys).expect("sines");
    clock.report("split, EvalMod", count);
    let only = RefreshOp { activation: None, ..op };
    let sines = halves.each_ref().map(|h| h.iter().map(|i| Input::Borrowed(i.view())).collect());
    let out = bootstrapper.finish(ring, isa, sines, &only, 0..count, &lab.keys).expect("finish");
    let want = messages[0].iter().map(|z| Complex64::new(z.re.sin(), z.im.sin()));
    let [std, worst] = lab.precision(&out[0], bootstrapper.sine_scale(), want);
    let clock = Clock::start();
    bootstrapper.finish(ring, isa, halves, &op, 0..count, &lab.keys).expect("finish");
    clock.report("polynomial of degree 7", count);
    println!("  precision of the sines: {std:.1} bits, worst {worst:.1}");
    println!("peak {:.2} GiB", peak());
}

/// `N = 2^16` without an activation: bits returned.
fn classic(bundle: usize, group: usize, repetitions: usize, (degree, doublings): (usize, usize)) {
    let (mut spec, q_bits, p_bits) = classic_set();
    (spec.degree, spec.doublings) = (degree, doublings);
    let lab = Lab::new(&spec, &q_bits, p_bits);
    let (ring, isa) = (lab.context.ring(), Isa::current());
    let bootstrapper = Bootstrapper::new(ring, isa, lab.context.encoder(), &spec).expect("spec").with_group(group);
    println!("diagonals {:.2} GiB", gib(bootstrapper.transforms().bytes()));
    let (input_scale, output_scale) = (Scale::pow2(56), Scale::pow2(45));
    let messages = lab.messages(bundle, 1.0);
    for (ratio, degree) in [(256.0, 1), (32.0, 3), (32.0, 7)] {
        let correction = Arcsine::new(degree).expect("odd");
        let limbs = spec.limbs_activation() - correction.depth();
        println!("one transform takes {:.1} us now", transform(ring));
        let bits = |limbs: usize| ring.moduli()[..limbs].iter().map(|m| (m.q() as f64).log2()).sum::<f64>();
        println!(
            "ratio {ratio}, arcsine of degree {degree}: {limbs} limbs, {:.0} bits above those that it needs",
            bits(limbs) - bits(spec.limbs_in())
        );
        for _ in 0..repetitions {
            let inputs = messages.iter().map(|m| Input::Owned(lab.encrypt(m, &input_scale, spec.limbs_in()))).collect();
            let clock = Clock::start();
            let op = BootstrapOp { input_scale: &input_scale, ratio, correction: &correction, output_scale: &output_scale };
            let out = bootstrapper.bootstrap(ring, isa, inputs, &op, &lab.keys).expect("bootstrap");
            let seconds = clock.report("bootstrap", bundle);
            let [std, worst] = lab.precision(&out[0], &output_scale, messages[0].iter().copied());
            let rate = (bits(limbs) - bits(spec.limbs_in())) * lab.context.slots() as f64 / seconds;
            println!("  precision {std:.1} bits, worst {worst:.1}; {:.2} M bits of slots a second", rate / 1e6);
        }
    }
    println!("peak {:.2} GiB", peak());
}

/// Of 28 limbs 14 to 17 return.
fn classic_set() -> (BootstrapSpec, Vec<u32>, u32) {
    let factor = |log_radix, babies| chiffre_ckks::bootstrap::FactorSpec { log_radix, babies };
    let mut spec = BootstrapSpec::relu_15();
    spec.log_n = 16;
    spec.limbs = 28;
    spec.alpha = 7;
    spec.slots_to_coeffs = vec![factor(8, 32), factor(7, 32)];
    spec.coeffs_to_slots = vec![factor(5, 32), factor(4, 8), factor(3, 4), factor(3, 4)];
    let mut q_bits = vec![49; spec.limbs];
    q_bits[..3].copy_from_slice(&[46, 46, 46]);
    (spec, q_bits, 50)
}

/// Processor microseconds of a transform at this moment.
fn transform(ring: &chiffre_ckks::ring::Ring) -> f64 {
    let mut rows: Vec<Vec<u64>> = (0..32).map(|i| vec![i; ring.n()]).collect();
    let (rounds, clock) = (50, Clock::start());
    for _ in 0..rounds {
        rows.iter_mut().for_each(|row| ring.ntt()[1].forward(row));
    }
    std::hint::black_box(&rows);
    (processor() - clock.1) * 1e6 / (rounds * rows.len()) as f64
}

/// Wall and processor time.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), processor())
    }
    /// Prints both; returns processor seconds for each ciphertext.
    fn report(&self, what: &str, count: usize) -> f64 {
        let (wall, used) = (self.0.elapsed().as_secs_f64(), processor() - self.1);
        println!("{what}: {:.3} core-s each, wall {wall:.3} s for {count}", used / count as f64);
        used / count as f64
    }
}

/// User and system seconds of this process, in steps of 10 ms.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].map(|i| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) / 100.0).iter().sum()
}

fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0) / 1048576.0
}
