//! The price of a packing: predicted time and peak memory of a run, from the tables that its layouts lead to.

use super::packing::Packing;
use super::shape::{Support, shape};
use crate::cost::{CostModel, Counts, LinearShape, ProductShape, SeriesShape};
use crate::error::PassError;
use crate::he::select_params::{key_ranges, special_primes};
use crate::options::CompileOptions;
use chiffre_ir::he::series_depth;
use chiffre_ir::layout::Layout;
use chiffre_ir::program::{Bootstrap, Flow, KeyUse, PROCESS_BYTES, Step, key_bytes, order, peak};
use chiffre_ir::table::DiagTable;
use chiffre_ir::tensor::{TensorGraph, TensorOp};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a packing costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Predicted time of a run on the whole batch, seconds.
    pub seconds: f64,
    /// Predicted peak memory, bytes.
    pub bytes: usize,
    /// Images that pass an instruction together.
    pub tile: usize,
}

/// What a ring and its chain offer to a network.
#[derive(Clone, Debug)]
pub struct Ring<'a> {
    /// Limbs of every value.
    pub limbs: &'a [usize],
    /// Special primes that fit.
    pub most: usize,
    /// The bootstrap of all refreshes.
    pub bootstrap: Option<Bootstrap>,
}

/// Counts of a table that do not depend on the level, and its rotations.
#[derive(Clone, Debug)]
struct TableShape {
    shape: LinearShape,
    taps: Vec<i64>,
}

/// Shape of a table, with no limbs yet.
pub fn table_shape(t: &DiagTable) -> LinearShape {
    let turned: Vec<_> = t.rows.iter().filter(|r| t.taps[r.tap as usize] != 0).collect();
    let distinct = |rows: &mut dyn Iterator<Item = (u32, u32)>| rows.collect::<BTreeSet<_>>().len();
    let cells = t.entries.chunk_by(|a, b| (a.row, a.output) == (b.row, b.output)).count();
    LinearShape {
        inputs: distinct(&mut t.rows.iter().map(|r| (r.operand, r.ct))),
        rotated: distinct(&mut turned.iter().map(|r| (r.operand, r.ct))),
        rows: turned.len(),
        cells,
        weight_words: if t.masks.is_empty() { 1 } else { 2 * t.period() },
        outputs: t.outputs,
        limbs: 0,
        drop: 0,
        alpha: 0,
    }
}

/// Prices packings of one network; tables of equal support are counted once.
pub struct Pricer<'a> {
    g: &'a TensorGraph,
    opts: &'a CompileOptions,
    cost: &'a CostModel,
    supports: Vec<(u64, Vec<Support>)>,
    tables: HashMap<(u64, Vec<Layout>), TableShape>,
}

impl<'a> Pricer<'a> {
    /// For a graph of `input`, `linear_map`, `mul` and `square`.
    pub fn new(g: &'a TensorGraph, opts: &'a CompileOptions, cost: &'a CostModel) -> Result<Self, PassError> {
        let mut supports = vec![];
        for n in &g.nodes {
            let mut ks = vec![];
            if let TensorOp::LinearMap { kernels, strides, origins, .. } = &n.op {
                for (j, a) in n.args.iter().enumerate() {
                    let w = g.consts.array(kernels[j]).map_err(|e| PassError::at("choose-layout", &n.source, e.to_string()))?;
                    ks.push(Support::new(w, g.ty(*a).chw(), n.ty.chw(), strides[j], origins[j]));
                }
            }
            let mut h = DefaultHasher::new();
            ks.hash(&mut h);
            supports.push((h.finish(), ks));
        }
        Ok(Pricer { g, opts, cost, supports, tables: HashMap::new() })
    }

    fn table(&mut self, v: usize, layouts: &[Layout]) -> TableShape {
        let used: Vec<&Layout> = self.g.nodes[v].args.iter().map(|a| &layouts[a.index()]).collect();
        let (hash, supports) = &self.supports[v];
        let key = (*hash, used.iter().map(|l| (*l).clone()).chain([layouts[v].clone()]).collect());
        let build = || {
            let (shape, taps) = shape(supports, &used, &layouts[v]);
            TableShape { shape, taps }
        };
        self.tables.entry(key).or_insert_with(build).clone()
    }

    /// Prices of a packing for tiles of several sizes, smallest tile first; none if its keys alone need more than `limit` bytes.
    pub fn prices(&mut self, packing: &Packing, layouts: &[Layout], ring: &Ring, limit: usize) -> Vec<Price> {
        let (n, most, level) = (1usize << packing.log_n, ring.most.max(1), ring.limbs);
        let mut ops: Vec<Op> = vec![];
        let mut boot_keys = None;
        let mut keys: HashMap<usize, BTreeSet<Option<i64>>> = HashMap::new();
        let alpha = |limbs: usize| special_primes(limbs, most);
        for (v, node) in self.g.iter() {
            let v = v.index();
            let limbs = node.args.iter().map(|a| level[a.index()]).min().unwrap_or(level[v]);
            ops.push(match &node.op {
                TensorOp::LinearMap { .. } => {
                    let t = self.table(v, layouts);
                    let turned = t.taps.iter().filter(|&&t| t != 0).map(|&t| Some(t));
                    let alpha = if t.shape.rotated > 0 { alpha(limbs) } else { 0 };
                    keys.entry(limbs).or_default().extend(turned);
                    if all_key_bytes(&keys, most, packing.log_n) > limit {
                        return vec![];
                    }
                    Op::Linear(LinearShape { limbs, drop: limbs - level[v].min(limbs), alpha, ..t.shape })
                }
                TensorOp::Chebyshev { coeffs, sine, .. } => {
                    let coefficients = self.g.consts.get(*coeffs).shape.get(1).copied().unwrap_or(1);
                    let (cts, complex) = (layouts[v].unit_cts(), layouts[v].complex.is_some());
                    let bootstrap = if *sine { ring.bootstrap.clone().map(Box::new) } else { None };
                    let (limbs, alpha) = match &bootstrap {
                        Some(b) => {
                            boot_keys.get_or_insert_with(|| b.keys.clone());
                            (level[v] + series_depth(coefficients), b.gadget[1])
                        }
                        None => {
                            let keys = keys.entry(limbs).or_default();
                            keys.insert(None);
                            keys.extend(complex.then_some(Some(0)));
                            (limbs, alpha(limbs))
                        }
                    };
                    Op::Series(SeriesShape { cts, limbs, coefficients, alpha, complex, bootstrap })
                }
                TensorOp::Mul {} | TensorOp::Square {} => {
                    let complex = layouts[v].complex.is_some();
                    let keys = keys.entry(limbs).or_default();
                    keys.insert(None);
                    if complex {
                        keys.insert(Some(0));
                    }
                    Op::Product(ProductShape { cts: layouts[v].unit_cts(), limbs, alpha: alpha(limbs), complex })
                }
                _ => Op::Input,
            });
        }
        let of_bootstrap: usize = boot_keys.iter().flatten().map(|(of, gadget)| key_bytes(*of, *gadget, packing.log_n)).sum();
        let key_bytes = all_key_bytes(&keys, most, packing.log_n) + of_bootstrap;
        let constants: usize = ops.iter().map(Op::constants).sum();
        let unit_bytes = |v: usize| 16 * n * layouts[v].unit_cts() * level[v];
        let outputs: Vec<usize> = self.g.outputs.iter().map(|o| o.index()).collect();
        let price = |tile: usize| {
            let flow: Vec<Flow> =
                self.g.nodes.iter().zip(layouts).map(|(node, l)| Flow::new(&node.args, l, self.opts.batch, tile)).collect();
            let counts: Counts = ops.iter().zip(&flow).map(|(op, f)| op.counts(n, f)).sum();
            let extra = |s: &Step, freed| ops[s.node].extra(n, s.units.len(), freed, unit_bytes(s.node));
            let working = peak(&order(&flow, &outputs), unit_bytes, extra);
            let input: usize = (0..ops.len()).filter(|&v| matches!(ops[v], Op::Input)).map(|v| unit_bytes(v) / 2 * flow[v].units).sum();
            let bytes = working + key_bytes + constants + input + PROCESS_BYTES;
            Price { seconds: self.cost.time(counts, packing.log_n), bytes, tile }
        };
        let unit = layouts.first().map_or(1, Layout::unit_batch);
        let tiles = std::iter::successors(Some(unit), |t| Some(2 * t)).take_while(|t| *t == unit || *t < 2 * self.opts.batch);
        self.opts.packing.tile.map_or(tiles.take(MOST_TILES).collect(), |t| vec![t]).into_iter().map(price).collect()
    }
}

/// Bytes of the keys for the given automorphisms (`None`: relinearisation, `Some(0)`: conjugation) at numbers of limbs.
fn all_key_bytes(keys: &HashMap<usize, BTreeSet<Option<i64>>>, most: usize, log_n: usize) -> usize {
    let used: Vec<usize> = keys.iter().filter(|(_, k)| !k.is_empty()).map(|(l, _)| *l).collect();
    let ranges = key_ranges(&used, most);
    let mut distinct: BTreeSet<([usize; 2], Option<i64>)> = BTreeSet::new();
    for (limbs, set) in keys {
        distinct.extend(ranges.get(limbs).iter().flat_map(|g| set.iter().map(|k| (**g, *k))));
    }
    distinct.iter().map(|(gadget, _)| key_bytes(KeyUse::Relin, *gadget, log_n)).sum()
}

/// Tile sizes that are tried: the smallest unit and its multiples by powers of two.
const MOST_TILES: usize = 4;

enum Op {
    Input,
    Linear(LinearShape),
    Product(ProductShape),
    Series(SeriesShape),
}

impl Op {
    fn counts(&self, n: usize, f: &Flow) -> Counts {
        match self {
            Op::Input => Counts::default(),
            Op::Linear(s) => s.counts(n as f64, f.units, f.together),
            Op::Product(s) => s.counts(n as f64) * f.units as f64,
            Op::Series(s) => s.counts(n as f64) * f.units as f64,
        }
    }
    /// Bytes of rows, entries, masks and bias in the program, at most.
    fn constants(&self) -> usize {
        match self {
            Op::Linear(s) => 4 * (4 * s.cells + 3 * (s.rows + s.inputs) + s.weight_words * (s.outputs + s.rows / s.inputs.max(1) + 1)),
            _ => 0,
        }
    }
    fn extra(&self, n: usize, units: usize, freed: usize, unit_bytes: usize) -> usize {
        match self {
            Op::Input => units * unit_bytes,
            Op::Linear(s) => s.extra(n, units, freed),
            Op::Product(s) => s.extra(n, units, freed),
            Op::Series(s) => s.extra(n, units, freed, s.limbs - series_depth(s.coefficients)),
        }
    }
}
