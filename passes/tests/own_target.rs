//! A target of one's own, as `docs/write-a-target.md` shows it (the page is compared with this
//! file): fixed-point integers in the clear. It is made of what `backend`, `ir` and `passes` offer
//! to everybody; none of them knows it.

mod common;

use chiffre_backend::cost::{CostModel, Counts, Work};
use chiffre_backend::facts::{NoFacts, ParameterFacts};
use chiffre_backend::memory::{Outline, Value};
use chiffre_backend::property::Property;
use chiffre_backend::target::{Executable, Lowered, ScheduleError, Target};
use chiffre_ir::error::InterpError;
use chiffre_ir::graph::Node;
use chiffre_ir::program::Flow;
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp, interp};
use chiffre_passes::options::CompileOptions;
use chiffre_passes::pass::Context;
use chiffre_passes::pipeline::Pipeline;
use chiffre_passes::state::State;
use common::{Rng, residual_net};
use std::sync::Arc;

/// Numbers are multiples of 2^-20.
const BITS: u32 = 20;

fn fixed(x: f32) -> i64 {
    (f64::from(x) * f64::from(1 << BITS)).round() as i64
}

/// Fixed-point integers.
struct FixedPoint;

impl Target for FixedPoint {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn summary(&self) -> &'static str {
        "integers in the clear, 20 bits behind the point"
    }
    fn facts(&self) -> &dyn ParameterFacts {
        &NoFacts
    }
    fn lower(&self) -> &'static str {
        "tensor(recognise-activation,fold-affine,compose-linear,fold-scales),schedule"
    }
    fn takes(&self) -> &'static [Property] {
        &[Property::Composed, Property::Approximated, Property::Squared]
    }
    fn schedule(&self, network: &Lowered) -> Result<Arc<dyn Executable>, ScheduleError> {
        let g = network.need(network.tensor, Property::Tensor)?;
        let instructions = g.nodes.iter().map(|n| instruction(g, n)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Fixed { instructions, output: g.outputs[0].index() }))
    }
}

/// A term of a sum: value, element, weight.
type Term = (usize, usize, i64);

/// A value as a list of integers, from values before it.
#[derive(Debug)]
enum Instruction {
    Input(usize),
    /// Bias and terms of each element.
    Sum(Vec<(i64, Vec<Term>)>),
    Product(usize, usize),
}

fn instruction(g: &TensorGraph, n: &Node<Tensor>) -> Result<Instruction, ScheduleError> {
    let refuse = |message: String| ScheduleError::Refused { node: n.source.clone(), message };
    let array = |c| g.consts.array(c).map_err(|e| refuse(e.to_string()));
    match &n.op {
        TensorOp::Input {} => Ok(Instruction::Input(n.ty.len())),
        TensorOp::Square {} => Ok(Instruction::Product(n.args[0].index(), n.args[0].index())),
        TensorOp::Mul {} => Ok(Instruction::Product(n.args[0].index(), n.args[1].index())),
        TensorOp::LinearMap { kernels, strides, origins, bias, reads, groups } => {
            if !reads.0.is_empty() || groups.is_some() {
                return Err(refuse("is no convolution".into()));
            }
            let [_, height, width] = n.ty.chw();
            let bias = bias.map(array).transpose()?;
            let mut sums: Vec<(i64, Vec<Term>)> = vec![];
            for i in 0..n.ty.len() {
                sums.push((bias.map_or(0, |b| fixed(b.data[i * b.data.len() / n.ty.len()])), vec![]));
            }
            for (k, arg) in n.args.iter().enumerate() {
                let (w, from) = (array(kernels[k])?, g.ty(*arg).chw());
                for (at, &weight) in w.data.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                    let [c, h, v] = [w.shape[1], w.shape[2], w.shape[3]];
                    let [out, channel, dy, dx] = [at / (v * h * c), at / (v * h) % c, at / v % h, at % v];
                    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                        let from_y = (y * strides[k][0] + dy) as i64 + origins[k][0];
                        let from_x = (x * strides[k][1] + dx) as i64 + origins[k][1];
                        if (0..from[1] as i64).contains(&from_y) && (0..from[2] as i64).contains(&from_x) {
                            let element = (channel * from[1] + from_y as usize) * from[2] + from_x as usize;
                            sums[(out * height + y) * width + x].1.push((arg.index(), element, fixed(weight)));
                        }
                    }
                }
            }
            Ok(Instruction::Sum(sums))
        }
        _ => Err(refuse("has no form in fixed point".into())),
    }
}

/// A program of this target.
#[derive(Debug)]
struct Fixed {
    instructions: Vec<Instruction>,
    output: usize,
}

impl Executable for Fixed {
    fn outline(&self, images: usize) -> Outline {
        let one = |i: &Instruction| {
            let (elements, work, args) = match i {
                Instruction::Input(n) => (*n, None, vec![]),
                Instruction::Sum(sums) => {
                    let terms: Vec<usize> = sums.iter().flat_map(|s| s.1.iter().map(|t| t.0)).collect();
                    let work = Counts { mac: terms.len() as f64, ..Counts::default() };
                    (sums.len(), Some(work), terms.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect())
                }
                Instruction::Product(a, b) => (self.len(*a), Some(Counts { mac: self.len(*a) as f64, ..Counts::default() }), vec![*a, *b]),
            };
            let bytes = 8 * elements;
            let flow = Flow { args, unit_bits: 0, units: images, together: 1 };
            (flow, Value { unit_bytes: bytes, work: work.map(|counts| Work::Counted { counts, bytes }) })
        };
        let (flow, values) = self.instructions.iter().map(one).unzip();
        Outline { flow, values, outputs: vec![self.output], ..Outline::default() }
    }
    fn text(&self) -> String {
        format!("{:#?}", self.instructions)
    }
    fn interp(&self, images: &[f32], n: usize) -> Result<Vec<Vec<f32>>, InterpError> {
        let mut out = vec![];
        for image in images.chunks(images.len() / n) {
            let mut values: Vec<Vec<i64>> = vec![];
            for i in &self.instructions {
                let value = match i {
                    Instruction::Input(_) => image.iter().map(|x| fixed(*x)).collect(),
                    Instruction::Product(a, b) => values[*a].iter().zip(&values[*b]).map(|(a, b)| (a * b) >> BITS).collect(),
                    Instruction::Sum(sums) => {
                        let sum = |terms: &[Term]| terms.iter().map(|(v, e, w)| values[*v][*e] * w).sum::<i64>() >> BITS;
                        sums.iter().map(|(bias, terms)| bias + sum(terms)).collect()
                    }
                };
                values.push(value);
            }
            out.extend(values[self.output].iter().map(|x| (*x as f64 / f64::from(1 << BITS)) as f32));
        }
        Ok(vec![out])
    }
}

impl Fixed {
    /// Elements of a value.
    fn len(&self, value: usize) -> usize {
        match &self.instructions[value] {
            Instruction::Input(n) => *n,
            Instruction::Sum(sums) => sums.len(),
            Instruction::Product(a, _) => self.len(*a),
        }
    }
}

fn compile(g: TensorGraph, spec: &str) -> Result<Arc<dyn Executable>, String> {
    let cx = Context { options: &CompileOptions::default(), target: &FixedPoint, machine: &CostModel::default() };
    let end = Pipeline::parse(spec).unwrap().run(State::from(g), &cx, |_, _, _| {}).map_err(|e| e.to_string())?;
    Ok(end.program().unwrap().clone())
}

#[test]
fn a_target_of_ones_own_runs_a_network() {
    let (g, n, mut rng) = (residual_net(3), 5, Rng(11));
    let images: Vec<f32> = (0..n * 128).map(|_| rng.next()).collect();
    let program = compile(g.clone(), FixedPoint.lower()).unwrap();
    let (want, got) = (interp(&g, &images, n).unwrap().swap_remove(0), program.interp(&images, n).unwrap().swap_remove(0));
    assert_eq!(want.len(), got.len());
    let worst = want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-2 && worst > 0.0, "{worst}");
    assert!(program.downcast::<Fixed>().is_some_and(|f| f.instructions.len() > 5) && program.graph().is_none());
    // Cost and memory come from the models that all targets share.
    let [one, ten] = [1, 10].map(|n| FixedPoint.cost(&*program, &CostModel::default(), n));
    assert!(one > 0.0 && (ten / one - 10.0).abs() < 1e-6);
    let memory = FixedPoint.memory(&*program, 1);
    assert!(memory.working >= 8 * (128 + 5 * 64) && memory.keys == 0, "{memory:?}");
}

#[test]
fn what_a_target_takes_is_checked_before_it_is_asked() {
    let missing = compile(residual_net(3), "tensor(recognise-activation,fold-affine,compose-linear),schedule").unwrap_err();
    assert_eq!(missing, "node \"act0\": needs no polynomials but squares and Chebyshev series: run fold-scales first [pass schedule]");
}
