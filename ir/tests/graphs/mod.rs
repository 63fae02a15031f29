//! Small random graphs of every level. They follow the grammar, not the verifiers' rules.

use crate::common::Rng;
use chiffre_ir::consts::{ConstId, Consts, IntsId, TableId};
use chiffre_ir::graph::{Dialect, Graph, ValueId};
use chiffre_ir::he::{He, HeOp, HeType, PrimeIndex, Scale};
use chiffre_ir::layout::{Bit, Dim, Layout, bit};
use chiffre_ir::packed::{Packed, PackedOp};
use chiffre_ir::program::{ChannelStatistics, Prog, ProgramHeader, ProgramOp};
use chiffre_ir::quant::{Quant, QuantHeader, QuantOp, QuantType};
use chiffre_ir::tensor::{ActivationKind, Binary, Certificate, Expr, Reads, Tensor, TensorOp, TensorType, Unary};
use chiffre_params::Gadget;
use chiffre_params::bootstrap::{BootstrapSpec, FactorSpec};
use chiffre_params::tfhe::{Decomposition, TfheParams};

impl Rng {
    fn array<const N: usize>(&mut self, n: usize) -> [usize; N] {
        std::array::from_fn(|_| self.below(n))
    }
    fn text(&mut self) -> String {
        const CHARS: &[char] = &['a', 'Z', '0', '/', '"', '\\', '\n', '\t', '\r', '\u{7}', ';', '#', '%', '}', ' ', 'é', '数', '\u{2028}'];
        self.list(8, |r| CHARS[r.below(CHARS.len())]).into_iter().collect()
    }
    fn consts(&mut self) -> Consts {
        let mut c = Consts::default();
        for _ in 0..1 + self.below(3) {
            let name = self.text();
            let data = self.data();
            c.add_data(&name, data);
        }
        c
    }
    fn scale(&mut self) -> Scale {
        let k = self.int() as i32 % 90;
        (0..self.below(3)).fold(Scale::pow2(k), |s, _| {
            let q = Scale::prime(PrimeIndex(self.below(40) as u32));
            if self.coin() { &s * &q } else { &s / &q }
        })
    }
    fn gadget(&mut self) -> Gadget {
        Gadget { limbs: self.below(40), alpha: self.below(40) }
    }
    fn statistics(&mut self) -> ChannelStatistics {
        let [lowest, highest, mean, deviation] = self.array(1 << 40).map(|x| x as f64 / 7.0 - 1e9);
        ChannelStatistics { lowest, highest, mean, deviation }
    }
    fn bootstrap(&mut self, log_n: u32) -> BootstrapSpec {
        let factor = |r: &mut Self| FactorSpec { log_radix: r.below(9) as u32, babies: r.below(40) };
        BootstrapSpec {
            log_n,
            limbs: self.below(30),
            alpha: self.below(9),
            low_alpha: self.below(9),
            slots_to_coeffs: self.list(3, factor),
            coeffs_to_slots: self.list(5, factor),
            range: self.below(100),
            degree: self.below(30),
            doublings: self.below(6),
            weight: self.below(64),
            real_only: false,
        }
    }
    /// A layout that [`Layout::check`] accepts.
    pub fn layout(&mut self) -> Layout {
        let mut l = Layout { slots: vec![], cts: vec![], complex: None, shape: [1; 3], batch: 1, copies: 0, dirty: self.coin() };
        let count: [usize; 4] = self.array(4);
        let mut bits: Vec<Bit> = Dim::ALL.into_iter().zip(count).flat_map(|(d, n)| (0..n).map(move |i| bit(d, i))).collect();
        // Sorted bits print as ranges, shuffled ones one by one.
        if self.coin() {
            for i in (1..bits.len()).rev() {
                let j = self.below(i + 1);
                bits.swap(i, j);
            }
        }
        for b in bits {
            match self.below(6) {
                0 if b.dim == Dim::B && l.complex.is_none() => l.complex = Some(b),
                1 if b.dim != Dim::B => l.cts.push(b),
                2 => l.slots.extend([None, Some(b)]),
                _ => l.slots.push(Some(b)),
            }
        }
        if self.coin() {
            l.copies = self.below(3);
            l.slots.resize(l.slots.len() + l.copies, None);
        }
        // As many slots as there may be at most.
        if l.slots.len() > 20 {
            return self.layout();
        }
        let extent: [usize; 4] = count.map(|n| 1 + self.below(1 << n));
        (l.batch, l.shape) = (extent[0], [extent[1], extent[2], extent[3]]);
        assert_eq!(l.check(), [""; 0], "{l}");
        l
    }
    fn he_type(&mut self) -> HeType {
        HeType { limbs: self.below(40), scale: self.scale(), parts: self.below(4), layout: self.layout() }
    }
    /// A graph with random arguments and outputs among `op`'s results.
    fn graph<D: Dialect>(
        &mut self,
        mut op: impl FnMut(&mut Self, ConstId, usize) -> D::Op,
        mut ty: impl FnMut(&mut Self) -> D::Type,
    ) -> Graph<D> {
        let name = self.text();
        let mut g = Graph::<D>::new(&name);
        g.consts = self.consts();
        for v in 0..1 + self.below(8) {
            let c = ConstId(self.below(g.consts.len()) as u32);
            let args = if v == 0 { vec![] } else { self.list(3, |r| ValueId(r.below(v) as u32)) };
            let source = self.text();
            let (op, ty) = (op(self, c, v), ty(self));
            g.push(op, args, ty, &source);
        }
        let n = g.nodes.len();
        g.outputs = self.list(3, |r| ValueId(r.below(n) as u32));
        g
    }
    fn certificate(&mut self) -> Certificate {
        let [margin, limit, rms, max, outside] = self.array(1 << 40).map(|x| x as f64 / 7.0);
        let range = [self.int() as f64, self.int() as f64 / 3.0];
        Certificate { function: ["relu", "clip(0.5)", "数\""][self.below(3)].into(), range, margin, limit, rms, max, outside }
    }
    fn expr(&mut self, depth: usize) -> Expr {
        let number = |r: &mut Self| r.int() as f64 / 7.0;
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => Expr::X,
            1 => Expr::Number(number(self)),
            2 => Expr::Param(self.below(4)),
            3 => Expr::unary(Unary::ALL[self.below(Unary::ALL.len())], self.expr(depth - 1)),
            _ => Expr::binary(Binary::ALL[self.below(Binary::ALL.len())], self.expr(depth - 1), self.expr(depth - 1)),
        }
    }
    /// Tensor IR.
    pub fn tensor(&mut self) -> Graph<Tensor> {
        use ActivationKind::*;
        const KINDS: [ActivationKind; 8] = [Relu, LeakyRelu, Sigmoid, Silu, Gelu, Tanh, HardSwish, Clip];
        self.graph(
            |r, c, _| match r.below(20) {
                0 => TensorOp::Input {},
                1 => {
                    let bias = r.coin().then_some(c);
                    TensorOp::Conv2d { weight: c, bias, stride: r.array(4), pad: r.array(4), dilation: r.array(4) }
                }
                2 => TensorOp::Linear { weight: c, bias: r.coin().then_some(c) },
                3 => TensorOp::Affine { scale: c, shift: c },
                4 => TensorOp::AddConst { value: c },
                5 => TensorOp::Add {},
                6 => TensorOp::Sub {},
                7 => TensorOp::Mul {},
                8 => TensorOp::Square {},
                9 => TensorOp::Poly { coeffs: c },
                10 => {
                    let alpha = r.coin().then(|| f64::from_bits(r.below(usize::MAX) as u64)).filter(|x| x.is_finite());
                    TensorOp::Activation { kind: KINDS[r.below(8)], alpha }
                }
                11 => TensorOp::AvgPool { kernel: r.array(4), stride: r.array(4), pad: r.array(4), count_pad: r.coin() },
                12 => TensorOp::MaxPool { kernel: r.array(4), stride: r.array(4), pad: r.array(4) },
                13 => TensorOp::Slice { start: r.array(9), count: r.array(9), step: r.array(9) },
                14 => TensorOp::Pad { before: r.array(9), after: r.array(9) },
                15 => TensorOp::Concat {},
                16 => TensorOp::Flatten {},
                17 => {
                    let (sine, ranges) = (r.coin(), r.coin().then_some(c));
                    TensorOp::Chebyshev { coeffs: c, sine, ranges, certificate: r.coin().then(|| r.certificate()) }
                }
                18 => TensorOp::Function { of: r.expr(5), params: r.coin().then_some(c) },
                _ => TensorOp::LinearMap {
                    kernels: r.list(3, |_| c),
                    strides: r.list(3, |r| r.array(4)),
                    origins: r.list(3, |r| [r.int(), r.int()]),
                    bias: r.coin().then_some(c),
                    reads: Reads(r.list(3, |r| [(); 2].map(|()| r.list(3, |r| r.list(4, |r| r.int()))))),
                    groups: r.coin().then(|| r.list(3, |r| r.below(5))),
                },
            },
            |r| TensorType::new((0..1 + r.below(4)).map(|_| 1 + r.below(40)).collect::<Vec<_>>()),
        )
    }
    /// Quant IR.
    pub fn quant(&mut self) -> Graph<Quant> {
        let mut g = self.graph(
            |r, c, _| match r.below(5) {
                0 => QuantOp::Input {},
                1 => QuantOp::Round { slack: r.coin().then_some(1) },
                2 => QuantOp::Lookup { table: IntsId(c), flip: r.int() },
                _ => QuantOp::LinearMap {
                    kernels: r.list(3, |_| IntsId(c)),
                    strides: r.list(3, |r| r.array(4)),
                    origins: r.list(3, |r| [r.int(), r.int()]),
                    bias: r.coin().then_some(IntsId(c)),
                    reads: Reads(r.list(3, |r| [(); 2].map(|()| r.list(3, |r| r.list(4, |r| r.int()))))),
                    groups: r.coin().then(|| r.list(3, |r| r.below(5))),
                },
            },
            |r| {
                let shape = TensorType::new((0..1 + r.below(4)).map(|_| 1 + r.below(40)).collect::<Vec<_>>());
                let scale = (0..1 + r.below(3)).map(|_| r.int() as f64 / 7.0).collect();
                QuantType { bits: 1 + r.below(16) as u32, range: [0; 2].map(|_: i64| r.below(1 << 30) as i64 - (1 << 29)), scale, shape }
            },
        );
        let digits = |r: &mut Self| Decomposition { base_log: 1 + r.below(20) as u32, levels: 1 + r.below(3) as u32 };
        let set = |r: &mut Self, k: usize, log_n: u32| TfheParams {
            n: 1 + r.below(2000),
            k: 1 + r.below(k),
            log_n: 8 + r.below(log_n as usize) as u32,
            rotation: digits(r),
            keyswitch: digits(r),
            lwe_bound: r.below(60) as u32,
            glwe_bound: r.below(60) as u32,
            removal: None,
        };
        let params = self.coin().then(|| {
            let p = set(self, 4, 8);
            if self.coin() { p.with_removal(set(self, p.k, p.log_n - 7)) } else { p }
        });
        g.header = QuantHeader {
            model: self.text(),
            normalisation: self.coin().then(|| self.text()),
            params,
            log2_failure: self.coin().then(|| self.int() as f64 / 7.0),
            insecure: self.coin(),
        };
        g
    }
    /// Packed IR.
    pub fn packed(&mut self) -> Graph<Packed> {
        self.graph(
            |r, c, _| match r.below(5) {
                0 => PackedOp::Input {},
                1 => PackedOp::Mul {},
                2 => PackedOp::Square {},
                _ => PackedOp::Linear { taps: r.list(5, Rng::int), table: TableId(c), bias: r.coin().then_some(c) },
            },
            Rng::layout,
        )
    }
    /// HE IR.
    pub fn he(&mut self) -> Graph<He> {
        self.graph(
            |r, c, _| match r.below(8) {
                0 => HeOp::Input {},
                1 => HeOp::Mul {},
                2 => HeOp::Square {},
                3 => HeOp::Relin {},
                4 => HeOp::Rescale {},
                5 => HeOp::ModDrop {},
                _ => {
                    let bias = r.coin().then_some(c);
                    HeOp::Linear { taps: r.list(5, Rng::int), table: TableId(c), bias, scales: r.list(3, Rng::scale) }
                }
            },
            Rng::he_type,
        )
    }
    /// A program.
    pub fn program(&mut self) -> Graph<Prog> {
        let mut g = self.graph(
            |r, c, _| match r.below(5) {
                0 => ProgramOp::Input {},
                1 => ProgramOp::Mul { gadget: r.gadget() },
                2 => ProgramOp::Square { gadget: r.gadget() },
                _ => ProgramOp::Linear {
                    taps: r.list(5, Rng::int),
                    table: TableId(c),
                    bias: r.coin().then_some(c),
                    scales: r.list(3, Rng::scale),
                    drop: r.below(3),
                    gadget: r.coin().then(|| r.gadget()),
                    giants: r.coin().then(|| r.list(4, Rng::int)),
                    giant_gadget: r.coin().then(|| r.gadget()),
                },
            },
            Rng::he_type,
        );
        let log_n = self.below(18) as u32;
        g.header = ProgramHeader {
            log_n,
            q: self.list(4, |r| r.below(1 << 50) as u64),
            p: self.list(2, |r| r.below(1 << 50) as u64),
            insecure: self.coin(),
            batch: self.below(100),
            tile: self.below(100),
            normalisation: self.coin().then(|| self.text()),
            input_range: self.coin().then(|| self.list(3, |r| [r.int() as f64 / 7.0, r.int() as f64])),
            calibrated: self.coin().then(|| self.list(3, Rng::statistics)),
            model: self.text(),
            bootstrap: self.coin().then(|| self.bootstrap(log_n)),
            predicted_bytes: self.below(1 << 40),
            predicted_us: self.below(1 << 40),
        };
        g
    }
}
