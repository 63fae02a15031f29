//! Time of compilation: ResNet-20, ResNet-34 and a synthetic ResNet-110, all with squares for
//! activations, on one thread.
//!
//! Depths beyond the security table are compiled for a ring that is marked insecure: what is
//! measured is the compiler. The growth from ResNet-20 to ResNet-110 should be that of the layers,
//! 5.7.

use chiffre::pipeline::{Request, compile_graph};
use chiffre_ir::consts::Array;
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType, infer};
use chiffre_passes::options::CompileOptions;
use std::time::Instant;

struct Net {
    g: TensorGraph,
    state: u64,
}

impl Net {
    fn noise(&mut self, shape: &[usize], size: f32) -> Array {
        let mut next = || {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            size * ((self.state >> 40) as f32 / 8_388_608.0 - 1.0)
        };
        Array::new(shape.to_vec(), (0..shape.iter().product::<usize>()).map(|_| next()).collect())
    }
    fn push(&mut self, op: TensorOp, args: Vec<ValueId>, name: &str) -> ValueId {
        let types: Vec<&TensorType> = args.iter().map(|a| self.g.ty(*a)).collect();
        let ty = infer(&op, &types, &self.g.consts).ok().flatten().expect("a well-formed network");
        self.g.push(op, args, ty, name)
    }
    fn conv(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize, name: &str) -> ValueId {
        let channels = self.g.ty(x).chw()[0];
        let weights = self.noise(&[out, channels, kernel, kernel], 1.0 / (channels * kernel * kernel) as f32);
        let weight = self.g.consts.add(&format!("{name}.weight"), weights);
        let pad = [kernel / 2; 4];
        self.push(TensorOp::Conv2d { weight, bias: None, stride: [stride; 2], pad, dilation: [1, 1] }, vec![x], name)
    }
}

/// Stages of two-convolution blocks on images of 3×32×32; each stage but the first halves the
/// extents.
fn resnet(name: &str, blocks: &[usize], widths: &[usize], classes: usize) -> TensorGraph {
    let mut n = Net { g: TensorGraph::new(name), state: 1 };
    let x = n.g.push(TensorOp::Input {}, vec![], TensorType::new([3, 32, 32]), "input");
    let c = n.conv(x, widths[0], 3, 1, "conv");
    let mut h = n.push(TensorOp::Square {}, vec![c], "act");
    for (stage, (&count, &width)) in blocks.iter().zip(widths).enumerate() {
        for block in 0..count {
            let name = format!("s{stage}b{block}");
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let a = n.conv(h, width, 3, stride, &format!("{name}/conv1"));
            let a = n.push(TensorOp::Square {}, vec![a], &format!("{name}/act1"));
            let a = n.conv(a, width, 3, 1, &format!("{name}/conv2"));
            let shortcut = if stride == 2 { n.conv(h, width, 1, 2, &format!("{name}/shortcut")) } else { h };
            let sum = n.push(TensorOp::Add {}, vec![a, shortcut], &format!("{name}/add"));
            h = n.push(TensorOp::Square {}, vec![sum], &format!("{name}/act2"));
        }
    }
    let [c, y, x] = n.g.ty(h).chw();
    let pooled = n.push(TensorOp::AvgPool { kernel: [y, x], stride: [1, 1], pad: [0; 4], count_pad: true }, vec![h], "pool");
    let flat = n.push(TensorOp::Flatten {}, vec![pooled], "flatten");
    let weights = n.noise(&[classes, c], 1.0 / c as f32);
    let weight = n.g.consts.add("fc.weight", weights);
    let out = n.push(TensorOp::Linear { weight, bias: None }, vec![flat], "fc");
    n.g.outputs.push(out);
    n.g
}

fn main() {
    let _ = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    let nets = [
        (resnet("resnet20", &[3, 3, 3], &[16, 32, 64], 10), 512, None),
        (resnet("resnet34", &[3, 4, 6, 3], &[64, 128, 256, 512], 100), 256, Some(16)),
        (resnet("resnet110", &[18, 18, 18], &[16, 32, 64], 10), 512, Some(16)),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for (g, batch, log_n) in nets {
        if !wanted.is_empty() && !wanted.contains(&g.name) {
            continue;
        }
        let options = CompileOptions { batch, log_n, allow_insecure: log_n.is_some(), ..CompileOptions::default() };
        let start = Instant::now();
        match compile_graph(&g, "synthetic", &Request { options, ..Request::default() }) {
            Err(e) => println!("{:<10} {:8.2} s  refused: {e}", g.name, start.elapsed().as_secs_f64()),
            Ok(c) => {
                let peak = chiffre::memory::peak_rss_bytes().map_or("?".into(), chiffre::memory::human_bytes);
                let (time, nodes) = (start.elapsed().as_secs_f64(), c.program.nodes.len());
                println!("{:<10} {time:8.2} s  {nodes} instructions, {} levels, peak memory {peak}", g.name, c.program.header.q.len() - 1);
                for (pass, t) in &c.times {
                    println!("    {pass:<22} {:8.2} s", t.as_secs_f64());
                }
            }
        }
    }
}
