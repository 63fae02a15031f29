//! Networks and parameter facts for the tests of passes.
#![allow(dead_code)]

use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{ActivationKind, Lists, Reads, TensorGraph, TensorOp, TensorType};
use chiffre_params::bootstrap::{BootstrapSpec, BootstrapWish, FactorSpec};
use chiffre_params::tfhe::{Demand, Found, Unreachable, find};
use chiffre_passes::options::{CompileOptions, ParameterFacts};

/// Deterministic numbers in [-1, 1).
pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as f64 / (1u64 << 30) as f64 - 1.0) as f32
    }
    pub fn array(&mut self, shape: &[usize], scale: f32) -> Array {
        let n = shape.iter().product();
        Array::new(shape.to_vec(), (0..n).map(|_| scale * self.next()).collect())
    }
}

/// Numbers that look like a parameter table, without any cryptography: every odd number is a
/// "prime".
pub struct Facts;
impl ParameterFacts for Facts {
    fn max_log_qp(&self, log_n: u32) -> Option<f64> {
        [26.0, 53.0, 106.0, 214.0, 430.0, 868.0, 1747.0, 3523.0].get(log_n.checked_sub(10)? as usize).copied()
    }
    fn primes(&self, bits: u32, log_n: u32, count: usize, skip: &[u64]) -> Option<Vec<u64>> {
        let all = (1..).map(|i: u64| (1 << bits) - (i << (log_n + 1)) + 1);
        Some(all.filter(|p| !skip.contains(p)).take(count).collect())
    }
    fn tfhe(&self, demand: &Demand) -> Option<Result<Found, Unreachable>> {
        Some(find(demand))
    }
    fn bootstrap(&self, log_n: u32, _: usize, _: &BootstrapWish) -> Option<BootstrapSpec> {
        let slots = log_n - 1;
        let factor = |log_radix, babies| FactorSpec { log_radix, babies };
        let quarter = factor(slots / 4, 8);
        let first = slots - 3 * (slots / 4);
        let low = [slots / 2, slots - slots / 2].map(|k| factor(k, 8));
        let spec = BootstrapSpec { log_n, limbs: 12, alpha: 2, low_alpha: 1, ..BootstrapSpec::relu_15() };
        Some(BootstrapSpec {
            slots_to_coeffs: low.into(),
            coeffs_to_slots: vec![factor(first, 1 << first), quarter, quarter, quarter],
            ..spec
        })
    }
}

pub fn options(batch: usize, log_n: u32) -> CompileOptions {
    CompileOptions { batch, log_n: Some(log_n), allow_insecure: true, ..CompileOptions::default() }
}

pub struct Net {
    pub g: TensorGraph,
    pub rng: Rng,
}

/// A residual network for `size`×`size` images with ReLU after every convolution and every sum:
/// stages of two-convolution blocks, the first of each but the first stage with stride 2 and a
/// convolution on its shortcut.
pub fn relu_resnet(size: usize, blocks: &[usize], widths: &[usize]) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new("resnet"), rng: Rng(1) };
    let relu = |n: &mut Net, x: ValueId, name: String| {
        let ty = n.g.ty(x).clone();
        n.g.push(TensorOp::Activation { kind: ActivationKind::Relu, alpha: None }, vec![x], ty, &name)
    };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, size, size]), "x");
    let c = n.conv(x, widths[0], 3, 1, "conv");
    let mut h = relu(&mut n, c, "relu".into());
    for (stage, (&count, &width)) in blocks.iter().zip(widths).enumerate() {
        for block in 0..count {
            let name = format!("s{stage}b{block}");
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let a = n.conv(h, width, 3, stride, &format!("{name}.conv1"));
            let a = relu(&mut n, a, format!("{name}.relu1"));
            let b = n.conv(a, width, 3, 1, &format!("{name}.conv2"));
            let short = if stride == 2 { n.conv(h, width, 1, 2, &format!("{name}.short")) } else { h };
            let ty = n.g.ty(b).clone();
            let s = n.g.push(TensorOp::Add {}, vec![b, short], ty, &format!("{name}.add"));
            h = relu(&mut n, s, format!("{name}.relu2"));
        }
    }
    let last = n.g.ty(h).chw();
    let pool = TensorOp::AvgPool { kernel: [last[1], last[2]], stride: [1, 1], pad: [0; 4], count_pad: false };
    let y = n.g.push(pool, vec![h], TensorType::new([last[0], 1, 1]), "pool");
    n.g.outputs.push(y);
    n.g
}

/// A network whose quadratic activations have become Chebyshev series, those of `refresh` behind a
/// sine, each channel with its own.
pub fn with_series(mut g: TensorGraph, seed: u64, degree: usize, refresh: impl Fn(&str) -> bool) -> TensorGraph {
    let mut rng = Rng(seed ^ 0x5e21e5);
    for v in 0..g.nodes.len() {
        if let TensorOp::Poly { .. } = g.nodes[v].op {
            let rows = g.nodes[v].ty.chw()[0];
            let c = rng.array(&[rows, degree + 1], 0.4);
            let coeffs = g.consts.add("series", c);
            g.nodes[v].op = TensorOp::Chebyshev { coeffs, sine: refresh(&g.nodes[v].source), ranges: None, certificate: None };
        }
    }
    g
}

impl Net {
    pub fn conv(&mut self, x: ValueId, out: usize, k: usize, stride: usize, name: &str) -> ValueId {
        let [c, h, w] = self.g.ty(x).chw();
        let weight = self.rng.array(&[out, c, k, k], 1.5 / ((c * k * k) as f32).sqrt());
        let weight = self.g.consts.add("w", weight);
        let bias = self.rng.array(&[out], 0.3);
        let bias = Some(self.g.consts.add("b", bias));
        let p = k / 2;
        let ty = TensorType::new([out, h.div_ceil(stride), w.div_ceil(stride)]);
        self.g.push(TensorOp::Conv2d { weight, bias, stride: [stride; 2], pad: [p; 4], dilation: [1; 2] }, vec![x], ty, name)
    }
    pub fn poly(&mut self, x: ValueId, name: &str) -> ValueId {
        let c = self.g.ty(x).chw()[0];
        let data =
            (0..c).flat_map(|i| [self.rng.next(), self.rng.next(), if i % 5 == 4 { 1e-7 } else { 0.3 + 0.2 * self.rng.next() }]).collect();
        let coeffs = self.g.consts.add("p", Array::new(vec![c, 3], data));
        let ty = self.g.ty(x).clone();
        self.g.push(TensorOp::Poly { coeffs }, vec![x], ty, name)
    }
}

/// Conv, global average pooling, and two fully connected layers with a polynomial between them: a
/// gate without its product, on three channels of `h`×`w` positions.
pub fn gate_net(h: usize, w: usize) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new("gate"), rng: Rng(5) };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, h, w]), "x");
    let c = n.conv(x, 6, 3, 1, "conv");
    let y = n.poly(c, "act");
    let pool = TensorOp::AvgPool { kernel: [h, w], stride: [1, 1], pad: [0; 4], count_pad: false };
    let pooled = n.g.push(pool, vec![y], TensorType::new([6, 1, 1]), "pool");
    let squeezed = n.conv(pooled, 2, 1, 1, "squeeze");
    let gate = n.poly(squeezed, "gate");
    let wide = n.conv(gate, 6, 1, 1, "excite");
    n.g.outputs.push(wide);
    n.g
}

/// Conv, an identity block, a stride-2 block with a slice-and-pad shortcut, average pool and fully
/// connected layer on 8×8 images.
pub fn residual_net(seed: u64) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new("net"), rng: Rng(seed) };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([2, 8, 8]), "x");
    let c = n.conv(x, 5, 3, 1, "conv0");
    let h = n.poly(c, "act0");
    let a = n.conv(h, 5, 3, 1, "conv1");
    let a = n.poly(a, "act1");
    let b = n.conv(a, 5, 3, 1, "conv2");
    let ty = n.g.ty(b).clone();
    let s = n.g.push(TensorOp::Add {}, vec![b, h], ty, "add1");
    let h = n.poly(s, "act2");
    let a = n.conv(h, 6, 3, 2, "conv3");
    let a = n.poly(a, "act3");
    let b = n.conv(a, 6, 3, 1, "conv4");
    let sl = n.g.push(TensorOp::Slice { start: [0; 3], count: [5, 4, 4], step: [1, 2, 2] }, vec![h], TensorType::new([5, 4, 4]), "slice");
    let pd = n.g.push(TensorOp::Pad { before: [0; 3], after: [1, 0, 0] }, vec![sl], TensorType::new([6, 4, 4]), "pad");
    let s = n.g.push(TensorOp::Add {}, vec![b, pd], TensorType::new([6, 4, 4]), "add2");
    let h = n.poly(s, "act4");
    let p = n.g.push(
        TensorOp::AvgPool { kernel: [4, 4], stride: [1, 1], pad: [0; 4], count_pad: false },
        vec![h],
        TensorType::new([6, 1, 1]),
        "pool",
    );
    let f = n.g.push(TensorOp::Flatten {}, vec![p], TensorType::new([6]), "flat");
    let weight = n.rng.array(&[3, 6], 1.0);
    let weight = n.g.consts.add("fc", weight);
    let bias = n.rng.array(&[3], 1.0);
    let bias = Some(n.g.consts.add("fcb", bias));
    let y = n.g.push(TensorOp::Linear { weight, bias }, vec![f], TensorType::new([3]), "fc");
    n.g.outputs.push(y);
    n.g
}

impl Net {
    /// A map by index relations: every tap with a matrix of its own, `[rows, columns]` of lists.
    pub fn listed(&mut self, x: ValueId, out: usize, lists: [Lists; 2], name: &str) -> ValueId {
        let c = self.g.ty(x).chw()[0];
        let taps = [lists[0].len(), lists[1].len()];
        let weight = self.rng.array(&[out, c, taps[0], taps[1]], 1.0 / (c as f32).sqrt());
        let kernel = self.g.consts.add("r", weight);
        let ty = TensorType::new([out, lists[0][0].len(), lists[1][0].len()]);
        let reads = Reads::new(vec![Some(lists)]);
        let op =
            TensorOp::LinearMap { kernels: vec![kernel], strides: vec![[1, 1]], origins: vec![[0, 0]], bias: None, reads, groups: None };
        self.g.push(op, vec![x], ty, name)
    }
    /// An elementwise sum or product.
    pub fn both(&mut self, op: TensorOp, a: ValueId, b: ValueId, name: &str) -> ValueId {
        let ty = self.g.ty(a).clone();
        self.g.push(op, vec![a, b], ty, name)
    }
}

/// A network of maps by index relations on 8×8 images: a gate that is copied to all positions, a
/// skip connection around a smaller image, rows in another order, values of `times` the input's
/// rows and columns, and an average whose divisor differs at the border.
pub fn related_net(seed: u64, times: usize) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new("related"), rng: Rng(seed) };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([2, 8, 8]), "x");
    let list = |count: usize, f: &dyn Fn(usize) -> i64| (0..count).map(f).collect::<Vec<i64>>();
    let c = n.conv(x, 3, 3, 1, "conv0");
    let h = n.poly(c, "act0");
    // Squeeze and excite.
    let pool = TensorOp::AvgPool { kernel: [8, 8], stride: [1, 1], pad: [0; 4], count_pad: false };
    let p = n.g.push(pool, vec![h], TensorType::new([3, 1, 1]), "squeeze");
    let p = n.conv(p, 3, 1, 1, "excite");
    let gate = n.listed(p, 3, [1, 2].map(|_| vec![vec![0; 8]]), "copy");
    let h = n.both(TensorOp::Mul {}, h, gate, "gate");
    // Down, and up again by a transposed convolution.
    let down = n.conv(h, 4, 3, 2, "down");
    let down = n.poly(down, "act1");
    let back = |k: usize| list(8, &|o| if (o + k).is_multiple_of(2) && (o + k) / 2 < 4 { ((o + k) / 2) as i64 } else { -1 });
    let up = n.listed(down, 3, [1, 2].map(|_| vec![back(0), back(1)]), "up");
    let h = n.both(TensorOp::Add {}, up, h, "skip");
    let turned = n.listed(h, 3, [vec![list(8, &|o| 7 - o as i64)], vec![list(8, &|o| o as i64)]], "turned");
    // Larger than the input.
    let size = 8 * times;
    let large = n.listed(turned, 2, [1, 2].map(|_| vec![list(size, &|o| (o / times) as i64)]), "large");
    let h = n.g.push(TensorOp::Square {}, vec![large], TensorType::new([2, size, size]), "act2");
    let pool = TensorOp::AvgPool { kernel: [3, 3], stride: [2, 2], pad: [1, 1, 1, 1], count_pad: false };
    let h = n.g.push(pool, vec![h], TensorType::new([2, size / 2, size / 2]), "pool");
    let end = n.conv(h, 2, 3, 2, "end");
    n.g.outputs.push(end);
    n.g
}

/// A random chain on 4×4 images: convolutions, affine maps, sums and products of earlier values of
/// the same shape, squares, polynomials, pooling, slices, pads and concatenations. At most three
/// products, so that values keep a moderate size.
pub fn chain(seed: u64) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new("chain"), rng: Rng(seed) };
    let mut v = n.g.push(TensorOp::Input {}, vec![], TensorType::new([2, 4, 4]), "x");
    let mut products = 0;
    for i in 0..10 {
        let below = |n: &mut Net, k: usize| ((n.rng.next() + 1.0) / 2.0 * k as f32) as usize;
        let ty = n.g.ty(v).clone();
        let [c, h, w] = ty.chw();
        let name = format!("n{i}");
        let like: Vec<ValueId> = n.g.iter().filter(|(_, m)| m.ty == ty).map(|(u, _)| u).collect();
        let pick = below(&mut n, like.len()).min(like.len() - 1);
        let other = like[pick];
        let kind = below(&mut n, 11);
        products += usize::from((7..=9).contains(&kind));
        v = match kind {
            0 => n.conv(v, 1 + i % 3, 3, 1, &name),
            1 => n.conv(v, 2, 1, 1, &name),
            2 => {
                let scale = n.rng.array(&[c], 1.5);
                let scale = n.g.consts.add("s", scale);
                let shift = n.rng.array(&[1], 1.0);
                let shift = n.g.consts.add("t", shift);
                n.g.push(TensorOp::Affine { scale, shift }, vec![v], ty, &name)
            }
            3 => n.g.push(TensorOp::Add {}, vec![v, other], ty, &name),
            4 => n.g.push(TensorOp::Sub {}, vec![v, other], ty, &name),
            5 if c < 6 => n.g.push(TensorOp::Concat {}, vec![v, other], TensorType::new([2 * c, h, w]), &name),
            6 if h >= 2 && w >= 2 => {
                let op = TensorOp::AvgPool { kernel: [2, 2], stride: [1, 2], pad: [0; 4], count_pad: false };
                n.g.push(op, vec![v], TensorType::new([c, h - 1, (w - 2) / 2 + 1]), &name)
            }
            7 if products <= 3 => n.g.push(TensorOp::Square {}, vec![v], ty, &name),
            8 if products <= 3 => n.g.push(TensorOp::Mul {}, vec![v, other], ty, &name),
            9 if products <= 3 => n.poly(v, &name),
            10 if w >= 2 => {
                let op = TensorOp::Slice { start: [c - 1, 0, 1], count: [1, h, w - 1], step: [1, 1, 1] };
                let s = n.g.push(op, vec![v], TensorType::new([1, h, w - 1]), &name);
                let op = TensorOp::Pad { before: [1, 0, 0], after: [0, 0, 1] };
                n.g.push(op, vec![s], TensorType::new([2, h, w]), &name)
            }
            _ => {
                let value = n.rng.array(&[c, h, w], 1.0);
                let value = n.g.consts.add("a", value);
                n.g.push(TensorOp::AddConst { value }, vec![v], ty, &name)
            }
        };
    }
    n.g.outputs.push(v);
    n.g
}

/// Fully connected layers with squares behind an image of `side`×`side`.
pub fn dense_net(seed: u64, side: usize, widths: &[usize]) -> TensorGraph {
    let mut rng = Rng(seed);
    let mut g = TensorGraph::new("dense");
    let mut x = g.push(TensorOp::Input {}, vec![], TensorType::new([1, side, side]), "input");
    x = g.push(TensorOp::Flatten {}, vec![x], TensorType::new([side * side]), "flatten");
    let mut before = side * side;
    for (i, &width) in widths.iter().enumerate() {
        let (weight, bias) = (rng.array(&[width, before], 1.5 / (before as f32).sqrt()), rng.array(&[width], 0.2));
        let (weight, bias) = (g.consts.add(&format!("w{i}"), weight), Some(g.consts.add(&format!("b{i}"), bias)));
        x = g.push(TensorOp::Linear { weight, bias }, vec![x], TensorType::new([width]), &format!("fc{i}"));
        if i + 1 < widths.len() {
            x = g.push(TensorOp::Square {}, vec![x], TensorType::new([width]), &format!("square{i}"));
        }
        before = width;
    }
    g.outputs.push(x);
    g
}
