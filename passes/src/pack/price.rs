//! The price of a packing: predicted time and peak memory of a run, from the tables that its
//! layouts lead to.

use super::chain::{Chain, Keys, Link, cheapest};
use super::copies::{self, Copies, RADICES};
use super::fold::{Fold, Window};
use super::layouts::{Way, is_last};
use super::packing::Packing;
use super::pooling::{Pooling, pointwise};
use super::precision::Sensitivity;
use super::shape::{Support, shape};
use super::split::{self, Shapes};
use super::summing::{self, Summing};
use crate::error::PassError;
use crate::he::select_params::{Rotations, key_ranges};
use crate::options::{CompileOptions, PrimeSizes};
use crate::tensor::linear_form::Spec;
use crate::tensor::products_rescale;
use chiffre_backend::cost::{CostModel, Counts, LinearShape, ProductShape, SeriesShape, Work};
use chiffre_backend::memory::{MemoryPlan, Outline, Value};
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::{Node, ValueId};
use chiffre_ir::layout::Layout;
use chiffre_ir::program::Flow;
use chiffre_ir::tensor::{Tensor, TensorGraph, TensorOp};
use chiffre_params::KeyTarget;
use chiffre_params::bootstrap::BootstrapSpec;
use chiffre_params::polynomial::coefficients_depth;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// What a packing costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Predicted time of a run on the whole batch, seconds.
    pub seconds: f64,
    /// Predicted memory of that run: what the program itself predicts, but for the constants, which
    /// are estimated.
    pub memory: MemoryPlan,
    /// Images that pass an instruction together.
    pub tile: usize,
    /// How each linear map is computed.
    pub ways: Vec<Way>,
    /// Sizes of primes and scales.
    pub sizes: PrimeSizes,
    /// Predicted bits of precision of the answers, where primes are short.
    pub precision: Option<f64>,
}

impl Price {
    /// Predicted peak memory, bytes.
    pub fn bytes(&self) -> usize {
        self.memory.peak()
    }
}

/// What a ring and its chain offer to a network.
#[derive(Clone, Debug)]
pub struct Ring<'a> {
    /// Limbs of every value.
    pub limbs: &'a [usize],
    /// Special primes that fit.
    pub most: usize,
    /// The bootstrap of all refreshes.
    pub bootstrap: Option<BootstrapSpec>,
    /// Sizes of its primes.
    pub sizes: PrimeSizes,
    /// True if they are shorter than usual, so that precision decides.
    pub short: bool,
}

/// Counts of a table that do not depend on the level, its inputs under their rotations, and what it
/// may be cut into.
struct TableShape {
    shape: LinearShape,
    taps: Vec<i64>,
    /// By the modulus of the cut.
    splits: Vec<(i64, Shapes)>,
}

/// Counts of a map whose result repeats: for one position, and of the stages that copy it, by their
/// radix.
struct CopyShapes {
    /// Positions of the result that are alike.
    positions: usize,
    first: Rc<TableShape>,
    stages: Vec<(usize, Vec<Rc<TableShape>>)>,
}

/// Prices packings of one network; tables of equal support are counted once.
pub struct Pricer<'a> {
    g: &'a TensorGraph,
    opts: &'a CompileOptions,
    cost: &'a CostModel,
    supports: Vec<Supports>,
    sensitivity: Option<Option<Rc<Sensitivity>>>,
    tables: Tables,
}

/// Counts of tables, by a hash of the supports, the window of a fold, and the layouts.
type Tables = HashMap<(u64, Option<Window>, Vec<Layout>), Counted>;

/// What is known of a table.
#[derive(Clone)]
enum Counted {
    /// Its counts.
    All(Rc<TableShape>),
    /// That it has more rows than these.
    MoreRowsThan(usize),
}

/// What a packing must keep to, to be worth a price.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that its keys alone may need.
    pub bytes: usize,
    /// Seconds that a run may take.
    pub seconds: f64,
}

/// Bounds on the time are compared with sums that leave out most of a run, and are made before it
/// is known what keys there are; so that a candidate is given up if the sum is this much beyond.
const BEYOND: f64 = 1.5;

/// Where the weights of a node's kernels are.
struct Supports {
    hash: u64,
    kernels: Vec<Support>,
    /// Of the pointwise kernels, if the node may be a pooling.
    points: Option<Vec<Support>>,
    /// The axes along which the result repeats, and the kernels for one position of it.
    repeats: Option<([bool; 2], Vec<Support>)>,
    /// The kernels of one position of the operands, if all are weighed alike.
    summed: Option<Vec<Support>>,
}

impl Supports {
    /// Of kernels for a result of the given shape.
    fn new(kernels: Vec<Support>, points: Option<Vec<Support>>, output: [usize; 3]) -> Supports {
        let along = copies::axes(kernels.iter().map(Support::reading), output).filter(|_| !kernels.is_empty());
        let repeats = along.map(|along| {
            let first = |s: &Support| s.reading_as(copies::first_position(s.reading().0, along), copies::first_shape(output, along));
            (along, kernels.iter().map(first).collect())
        });
        Supports { hash: hash(&kernels), kernels, points, repeats, summed: None }
    }
}

fn hash(kernels: &[Support]) -> u64 {
    let mut h = DefaultHasher::new();
    kernels.hash(&mut h);
    h.finish()
}

impl<'a> Pricer<'a> {
    /// For a graph of `input`, `linear_map`, `mul` and `square`.
    pub fn new(g: &'a TensorGraph, opts: &'a CompileOptions, cost: &'a CostModel) -> Result<Self, PassError> {
        let mut supports = vec![];
        let rescaled = products_rescale(g);
        for (v, n) in g.iter() {
            let (mut kernels, mut points) = (vec![], vec![]);
            if let TensorOp::LinearMap { kernels: ks, .. } = &n.op {
                for (j, a) in n.args.iter().enumerate() {
                    let w = g.consts.array(ks[j]).map_err(|e| PassError::clear("choose-layout", &n.source, e))?;
                    let input = g.ty(*a).chw();
                    kernels.push(Support::new(w, input, n.ty.chw(), Spec::of(&n.op, j)));
                    if is_last(g, v) && n.op.groups(j) == 1 {
                        points.push(Support::new(&pointwise(w), input, [w.shape[0], input[1], input[2]], Spec::POINT));
                    }
                }
            }
            let mut all = Supports::new(kernels, is_last(g, v).then_some(points), n.ty.chw());
            if let TensorOp::LinearMap { kernels: ks, .. } = &n.op {
                let point = |(j, k): (usize, &ConstId)| {
                    let [c, h, w] = g.ty(n.args[j]).chw();
                    let point = summing::alike(g.consts.array(*k).ok()?, Spec::of(&n.op, j), [h, w], n.ty.chw())?;
                    Some(Support::new(&point, [c, 1, 1], n.ty.chw(), Spec::POINT))
                };
                // Weights behind a product have few bits: their errors, times a sum of all
                // positions, would be many times those of as many weights with their own.
                let product = |a: &ValueId| matches!(g.node(*a).op, TensorOp::Mul {} | TensorOp::Square {});
                if rescaled || !n.args.iter().any(product) {
                    all.summed = ks.iter().enumerate().map(point).collect();
                }
            }
            supports.push(all);
        }
        Ok(Pricer { g, opts, cost, supports, sensitivity: None, tables: HashMap::new() })
    }

    /// How answers depend on values, worked out when it is asked for.
    fn sensitivity(&mut self) -> Option<Rc<Sensitivity>> {
        let (g, opts) = (self.g, self.opts);
        self.sensitivity.get_or_insert_with(|| Sensitivity::of(g, opts).ok().map(Rc::new)).clone()
    }

    /// None if it has more than `most_rows` rows.
    fn table(
        &mut self,
        v: usize,
        layouts: &[Layout],
        pooling: Option<&Pooling>,
        fold: Option<&Fold>,
        most_rows: usize,
    ) -> Option<Rc<TableShape>> {
        let used: Vec<&Layout> = self.g.nodes[v].args.iter().map(|a| &layouts[a.index()]).collect();
        let Supports { hash, kernels, points, .. } = &self.supports[v];
        let (supports, to) = match (pooling, points) {
            (Some(p), Some(points)) => (points, &p.mid),
            _ => (kernels, &layouts[v]),
        };
        counted(&mut self.tables, *hash, supports, &used, to, fold.map(|f| f.window), most_rows)
    }

    /// One position of the result of node `v`, and the stages that copy it, in all ways that need
    /// no mask; none if the result does not repeat.
    fn copies(&mut self, v: usize, layouts: &[Layout], most_rows: usize) -> Option<CopyShapes> {
        let (along, kernels) = self.supports[v].repeats.as_ref()?;
        let used: Vec<&Layout> = self.g.nodes[v].args.iter().map(|a| &layouts[a.index()]).collect();
        let mut stages = vec![];
        let mut seen: Vec<Vec<usize>> = vec![];
        for radix in RADICES {
            let c = Copies::new(*along, &layouts[v], radix);
            let numbers = c.stages.iter().map(|s| s.to.shape.iter().product()).collect();
            if seen.contains(&numbers) {
                continue;
            }
            seen.push(numbers);
            let mut from = &c.first;
            let mut counts = vec![];
            for s in &c.stages {
                let support = [s.support()];
                counts.push(counted(&mut self.tables, hash(&support), &support, &[from], &s.to, None, most_rows));
                from = &s.to;
            }
            if let Some(counts) = counts.into_iter().collect::<Option<Vec<_>>>().filter(|c| c.iter().all(|t| t.shape.weight_words == 1)) {
                stages.push((radix, counts));
            }
        }
        let to = Copies::new(*along, &layouts[v], RADICES[0]).first;
        let positions = (0..2).filter(|d| along[*d]).map(|d| self.g.nodes[v].ty.chw()[d + 1]).product();
        let first = counted(&mut self.tables, hash(kernels), kernels, &used, &to, None, most_rows)?;
        Some(CopyShapes { positions, first, stages })
    }

    /// The ways to compute the linear map of node `v` at a number of limbs, of which it drops
    /// `drop`, without those of which a single unit takes far more than `seconds`.
    fn chains(&mut self, v: usize, layouts: &[Layout], [limbs, drop]: [usize; 2], keys: &Keys, seconds: f64) -> Vec<Chain> {
        let log_n = keys.log_n;
        // Every row has a cell, and that a multiplication on all limbs of both components.
        let most_rows = (BEYOND * seconds / self.cost.time(Counts::macs(2 * limbs), log_n)) as usize;
        let pooling = self.pooling(v, layouts);
        let from: Vec<&Layout> = self.g.nodes[v].args.iter().map(|a| &layouts[a.index()]).collect();
        let fold = if pooling.is_none() { Fold::find(&from, &layouts[v]) } else { None };
        let copies = if pooling.is_none() { self.copies(v, layouts, most_rows) } else { None };
        // Errors of sums in front of a map are no part of the noise model for short primes.
        let points = self.supports[v].summed.clone().filter(|_| pooling.is_none() && self.opts.precision.is_none());
        let summing = points.and_then(|points| {
            let all: Option<Vec<Summing>> = from.iter().map(|l| Summing::find(l, &layouts[v])).collect();
            all.map(|all| (all, points))
        });
        // The flat map, and the folded one, with the rotations of the sums behind.
        let mut tables = vec![];
        let positions = |l: &Layout| l.shape[1] * l.shape[2];
        if summing.is_some() && from.iter().any(|l| positions(l) >= summing::MANY_POSITIONS) {
            // It is not priced as one: it has as many times the rotations and entries of one
            // position, and counting them takes as long.
        } else if !copies.as_ref().is_some_and(|c| c.positions >= MANY_COPIES && !c.stages.is_empty()) {
            let sums = pooling.as_ref().map(Pooling::sums).unwrap_or_default();
            tables.extend(self.table(v, layouts, pooling.as_ref(), None, most_rows).map(|t| (t, sums, false)));
            if let Some(fold) = &fold {
                tables.extend(self.table(v, layouts, None, Some(fold), most_rows).map(|t| (t, fold.sums(), true)));
            }
        }
        let mut summed = None;
        if let Some((summing, points)) = summing {
            let mids: Vec<&Layout> = summing.iter().map(|s| &s.mid).collect();
            let table = counted(&mut self.tables, hash(&points), &points, &mids, &layouts[v], None, most_rows);
            summed = table.map(|t| (summing, t));
        }
        let at = |s: LinearShape, limbs: usize, drop: usize| keys.shape(LinearShape { limbs, drop, ..s });
        // All ways to make a table's map, with what follows it.
        let ways = |table: &TableShape, way: Way, [before, behind]: [&[Link]; 2]| {
            let chain = |modulus: Option<i64>, map: Link| {
                let links: Vec<Link> = before.iter().cloned().chain([map]).chain(behind.iter().cloned()).collect();
                let counts: Counts = links.iter().map(|l| l.shape.counts(1, 1)).sum();
                Chain { links, way: Way { modulus, ..way }, seconds: self.cost.time(counts, log_n) }
            };
            let flat = Link { operand: None, shape: at(table.shape, limbs, drop), turns: vec![(limbs, table.taps.clone())] };
            let cut = |(m, s): &(i64, Shapes)| {
                let turns = vec![(limbs, s.babies.clone()), (limbs - drop, s.giants.clone())];
                chain(Some(*m), Link { operand: None, shape: at(s.shape, limbs, drop), turns })
            };
            std::iter::once(chain(None, flat)).chain(table.splits.iter().map(cut)).collect::<Vec<Chain>>()
        };
        let sum = |outputs: usize, taps: Vec<i64>, table: &TableShape| {
            let s = LinearShape {
                inputs: outputs,
                rotated: outputs,
                taps: taps.len() - 1,
                rows: outputs * (taps.len() - 1),
                cells: outputs * taps.len(),
                entries: outputs * taps.len(),
                weight_words: 1,
                ..table.shape
            };
            Link { operand: None, shape: at(s, limbs - drop, 0), turns: vec![(limbs - drop, taps)] }
        };
        let mut out = vec![];
        for (table, added, folded) in &tables {
            let sums: Vec<Link> = added.iter().map(|taps| sum(table.shape.outputs, taps.clone(), table)).collect();
            out.extend(ways(table, Way { folded: *folded, ..Way::default() }, [&[], &sums]));
        }
        for (first, (radix, stages)) in copies.iter().flat_map(|c| c.stages.iter().map(|s| (&c.first, s))) {
            let link = |t: &Rc<TableShape>| Link {
                operand: None,
                shape: at(t.shape, limbs - drop, 0),
                turns: vec![(limbs - drop, t.taps.clone())],
            };
            let stages = stages.iter().map(link).collect::<Vec<_>>();
            out.extend(ways(first, Way { radix: Some(*radix), ..Way::default() }, [&[], &stages]));
        }
        if let Some((summing, table)) = &summed {
            let links = summing.iter().enumerate().flat_map(|(j, s)| s.links(j, limbs));
            let links: Vec<Link> = links.map(|l| l.with_keys(keys)).collect();
            out.extend(ways(table, Way { summed: true, ..Way::default() }, [&links, &[]]));
        }
        out
    }

    /// The chain of each linear map, and all keys; none if the keys alone, or one unit of each map
    /// alone, are far beyond the bounds.
    fn maps(
        &mut self,
        layouts: &[Layout],
        limbs: &[usize],
        level: &[usize],
        keys: &mut Keys,
        bounds: Bounds,
    ) -> Option<BTreeMap<usize, Chain>> {
        for (v, node) in self.g.iter() {
            let v = v.index();
            if switches(node) {
                keys.add(limbs[v], KeyTarget::Relinearization);
                if layouts[v].complex.is_some() {
                    keys.add(limbs[v], KeyTarget::conjugation(keys.log_n));
                }
            }
        }
        let mut all: BTreeMap<usize, (Vec<Chain>, usize)> = BTreeMap::new();
        let mut least = 0.0;
        for (v, node) in self.g.iter().filter(|(_, n)| matches!(n.op, TensorOp::LinearMap { .. })) {
            let v = v.index();
            let ways = self.chains(v, layouts, [limbs[v], limbs[v] - level[v].min(limbs[v])], keys, bounds.seconds);
            least += ways.iter().map(|c| c.seconds).fold(f64::INFINITY, f64::min);
            if least > BEYOND * bounds.seconds {
                tracing::debug!(node = node.source, ways = ways.len(), seconds = least, "slower than another packing");
                return None;
            }
            let way = cheapest(&ways, keys);
            keys.add_chain(&ways[way]);
            all.insert(v, (ways, way));
            if keys.bytes() / 2 > bounds.bytes {
                tracing::debug!(node = node.source, "keys beyond the budget");
                return None;
            }
        }
        // Maps choose again, now that they know what keys the others use.
        for _ in 0..ROUNDS {
            for (ways, way) in all.values_mut().filter(|(ways, _)| ways.len() > 1) {
                keys.remove_chain(&ways[*way]);
                *way = cheapest(ways, keys);
                keys.add_chain(&ways[*way]);
            }
        }
        Some(all.into_iter().map(|(v, (mut ways, way))| (v, ways.swap_remove(way))).collect())
    }

    fn pooling(&self, v: usize, layouts: &[Layout]) -> Option<Pooling> {
        let node = &self.g.nodes[v];
        self.supports[v].points.as_ref()?;
        let TensorOp::LinearMap { kernels, origins, reads, groups, .. } = &node.op else { return None };
        if !reads.0.is_empty() || groups.is_some() {
            return None;
        }
        let arrays: Vec<&Array> = kernels.iter().map(|k| self.g.consts.array(*k).ok()).collect::<Option<_>>()?;
        Pooling::find(&arrays, origins, &node.args.iter().map(|a| &layouts[a.index()]).collect::<Vec<_>>(), &layouts[v])
    }

    /// Prices of a packing for tiles of several sizes, smallest tile first; none if it cannot keep
    /// to the bounds.
    pub fn prices(&mut self, packing: &Packing, layouts: &[Layout], ring: &Ring, bounds: Bounds) -> Vec<Price> {
        let (most, level) = (ring.most.max(1), ring.limbs);
        let limbs_of = |v: usize| self.g.nodes[v].args.iter().map(|a| level[a.index()]).min().unwrap_or(level[v]);
        let limbs: Vec<usize> = (0..self.g.nodes.len()).map(limbs_of).collect();
        // Where keys have one digit depends on how many there are, and that on what the keys cost.
        let mut used: Rotations = limbs.iter().zip(level).flat_map(|(a, b)| [*a, *b]).map(|l| (l, BTreeSet::new())).collect();
        let mut chosen = None;
        for _ in 0..2 {
            let mut keys = Keys::new(packing.log_n, key_ranges(&used, most));
            if chosen.as_ref().is_some_and(|(_, k): &(_, Keys)| k.gadgets == keys.gadgets) {
                break;
            }
            let Some(chains) = self.maps(layouts, &limbs, level, &mut keys, bounds) else { return vec![] };
            for (limbs, taps) in chains.values().flat_map(|c| &c.links).flat_map(|l| &l.turns) {
                used.entry(*limbs).or_default().extend(taps.iter().filter(|t| **t != 0));
            }
            chosen = Some((chains, keys));
        }
        let Some((chains, _)) = chosen else { return vec![] };
        let (chains, keys) = self.settled(chains, layouts, &limbs, packing.log_n, ring);
        let (mut sizes, mut precision) = (ring.sizes, None);
        if ring.short {
            let Some(s) = self.sensitivity() else { return vec![] };
            let Some((scale, bits)) = s.best_scale(self.g, &chains, layouts, &limbs, packing.log_n, &ring.sizes) else { return vec![] };
            tracing::debug!(?packing, prime = sizes.prime, scale, bits, "precision");
            if self.opts.precision.is_none_or(|least| bits < least) {
                return vec![];
            }
            (sizes.log_scale, precision) = (scale, Some(bits));
        }
        let (mut outline, wires) = self.outline(&chains, layouts, &limbs, &keys, ring);
        let ways: Vec<Way> = (0..limbs.len()).map(|v| chains.get(&v).map(|c| c.way).unwrap_or_default()).collect();
        let mut price = |tile: usize| {
            let flow = |p: &Wire| Flow { args: p.args.clone(), ..Flow::new(&[], p.layout, self.opts.batch, tile) };
            outline.flow = wires.iter().map(flow).collect();
            Price { seconds: outline.seconds(self.cost), memory: outline.memory(), tile, ways: ways.clone(), sizes, precision }
        };
        let unit = layouts.first().map_or(1, Layout::unit_batch);
        let tiles = std::iter::successors(Some(unit), |t| Some(2 * t)).take_while(|t| *t == unit || *t < 2 * self.opts.batch);
        self.opts.packing.tile.map_or(tiles.take(MOST_TILES).collect(), |t| vec![t]).into_iter().map(&mut price).collect()
    }

    /// The chosen ways with the key shapes that `select-params` gives to exactly the rotations that
    /// they make, and all keys.
    fn settled(
        &self,
        chains: BTreeMap<usize, Chain>,
        layouts: &[Layout],
        limbs: &[usize],
        log_n: u32,
        ring: &Ring,
    ) -> (BTreeMap<usize, Chain>, Keys) {
        let products = self.g.iter().filter(|(_, n)| switches(n)).map(|(v, _)| limbs[v.index()]);
        let mut used: Rotations = products.map(|l| (l, BTreeSet::new())).collect();
        for (limbs, taps) in chains.values().flat_map(|c| &c.links).flat_map(|l| &l.turns) {
            if taps.iter().any(|t| *t != 0) {
                used.entry(*limbs).or_default().extend(taps.iter().filter(|t| **t != 0));
            }
        }
        let mut keys = Keys::new(log_n, key_ranges(&used, ring.most.max(1)));
        let chains: BTreeMap<usize, Chain> = chains.iter().map(|(v, c)| (*v, c.with_keys(&keys))).collect();
        chains.values().for_each(|c| keys.add_chain(c));
        for (v, node) in self.g.iter() {
            let v = v.index();
            if switches(node) {
                keys.add(limbs[v], KeyTarget::Relinearization);
                if layouts[v].complex.is_some() {
                    keys.add(limbs[v], KeyTarget::conjugation(keys.log_n));
                }
            }
            if let (TensorOp::Chebyshev { sine: true, .. }, Some(b)) = (&node.op, &ring.bootstrap) {
                keys.add_bootstrap(b);
            }
        }
        (chains, keys)
    }

    /// The run of the program that these choices lead to, without its flow, and where each of its
    /// instructions stands.
    fn outline<'l>(
        &self,
        chains: &BTreeMap<usize, Chain>,
        layouts: &'l [Layout],
        limbs: &[usize],
        keys: &Keys,
        ring: &Ring,
    ) -> (Outline, Vec<Wire<'l>>) {
        let unit_bytes = |cts: usize, limbs: usize| (16 << keys.log_n) * cts * limbs;
        let mut run = Outline { ring: Some(keys.log_n), keys: keys.bytes(), ..Outline::default() };
        let mut wires = vec![];
        let products = products_rescale(self.g);
        // The last instruction of each node.
        let mut last: Vec<usize> = vec![];
        for (v, node) in self.g.iter() {
            let v = v.index();
            let (complex, cts, layout) = (layouts[v].complex.is_some(), layouts[v].unit_cts(), &layouts[v]);
            let mut args: Vec<usize> = node.args.iter().map(|a| last[a.index()]).collect();
            let work = match &node.op {
                TensorOp::LinearMap { .. } => {
                    for Link { shape: s, operand, .. } in &chains[&v].links {
                        run.constants += constants(s);
                        run.values.push(Value { unit_bytes: unit_bytes(s.results(), s.limbs - s.drop), work: Some(Work::Linear(*s)) });
                        // What one instruction makes, the next one reads.
                        let made = wires.len();
                        let read = match operand {
                            Some(j) => vec![std::mem::replace(&mut args[*j], made)],
                            None => std::mem::replace(&mut args, vec![made]),
                        };
                        wires.push(Wire { args: read, layout });
                    }
                    last.push(wires.len() - 1);
                    continue;
                }
                TensorOp::Chebyshev { coeffs, sine, .. } => {
                    let shape = self.g.consts.get(*coeffs).shape();
                    let coefficients = shape.get(1).copied().unwrap_or(1);
                    let slotwise = layout.has_slotwise(shape.first().copied().unwrap_or(1));
                    let bootstrap = ring.bootstrap.clone().filter(|_| *sine).map(Box::new);
                    let (limbs, alpha) = match &bootstrap {
                        Some(b) => (ring.limbs[v] + coefficients_depth(coefficients), b.alpha),
                        None => (limbs[v], keys.gadget(limbs[v]).alpha),
                    };
                    Some(Work::Series(SeriesShape { cts, limbs, coefficients, alpha, complex, slotwise, bootstrap }))
                }
                TensorOp::Mul {} | TensorOp::Square {} => {
                    Some(Work::Product(ProductShape { cts, limbs: limbs[v], alpha: keys.gadget(limbs[v]).alpha, complex }))
                }
                _ => None,
            };
            let rescaled = products && matches!(node.op, TensorOp::Mul {} | TensorOp::Square {});
            let own = if rescaled { limbs[v] } else { ring.limbs[v] };
            run.values.push(Value { unit_bytes: unit_bytes(cts, own), work });
            last.push(wires.len());
            wires.push(Wire { args, layout });
            if rescaled {
                let s = rescaling(cts, limbs[v]);
                run.constants += constants(&s);
                run.values.push(Value { unit_bytes: unit_bytes(cts, s.limbs - s.drop), work: Some(Work::Linear(s)) });
                wires.push(Wire { args: vec![wires.len() - 1], layout });
                last[v] = wires.len() - 1;
            }
        }
        run.outputs = self.g.outputs.iter().map(|o| last[o.index()]).collect();
        (run, wires)
    }
}

/// Counts of the map from values of the layouts `used` to one of `to`, with a window only of the
/// rotations in it; none if it has more than `most_rows` rows.
fn counted(
    tables: &mut Tables,
    hash: u64,
    supports: &[Support],
    used: &[&Layout],
    to: &Layout,
    window: Option<Window>,
    most_rows: usize,
) -> Option<Rc<TableShape>> {
    let key = (hash, window, used.iter().map(|l| (*l).clone()).chain([to.clone()]).collect());
    match tables.get(&key) {
        Some(Counted::All(t)) => return Some(t.clone()),
        Some(Counted::MoreRowsThan(n)) if *n >= most_rows => return None,
        _ => {}
    }
    let Some((shape, turns)) = shape(supports, used, to, window, most_rows) else {
        tables.insert(key, Counted::MoreRowsThan(most_rows));
        return None;
    };
    let taps: BTreeSet<i64> = turns.iter().map(|t| t.2).collect();
    let copies: Vec<usize> = used.iter().map(|l| l.copy_slots()).collect();
    let moduli = if taps.len() >= MANY_ROTATIONS { split::moduli(&turns) } else { vec![] };
    let splits = moduli.into_iter().map(|m| (m, split::shapes(&shape, &turns, &copies, m))).collect();
    let all = Rc::new(TableShape { shape, taps: taps.into_iter().collect(), splits });
    tables.insert(key, Counted::All(all.clone()));
    Some(all)
}

/// An instruction of a planned run: what it reads, and the layout that tells its units.
struct Wire<'l> {
    args: Vec<usize>,
    layout: &'l Layout,
}

/// True for ops that relinearise with a key for their limbs.
fn switches(n: &Node<Tensor>) -> bool {
    matches!(n.op, TensorOp::Mul {} | TensorOp::Square {} | TensorOp::Chebyshev { sine: false, .. })
}

/// The map with weights of one that rescales a product at `limbs`.
fn rescaling(cts: usize, limbs: usize) -> LinearShape {
    LinearShape {
        inputs: cts,
        rotated: 0,
        taps: 0,
        rows: 0,
        cells: cts,
        entries: cts,
        weight_words: 1,
        outputs: cts,
        limbs,
        drop: 1,
        alpha: 0,
        giants: None,
    }
}

/// Bytes of rows, entries, masks and bias in the program, estimated: how many masks there are is
/// known when the table is built.
fn constants(s: &LinearShape) -> usize {
    4 * (4 * s.cells + 3 * (s.rows + s.inputs) + 3 * s.weight_words * (s.outputs + s.rows / s.inputs.max(1) + 1))
}

/// Rotations from which it is tried to cut them into baby steps and giant steps.
const MANY_ROTATIONS: usize = 16;
/// Positions from which on a map whose result repeats is not priced as one, if it can be copied: it
/// has as many times the rotations and entries of one position, and counting them takes as long.
const MANY_COPIES: usize = 16;
/// Times that maps choose again after the first time.
const ROUNDS: usize = 2;
/// Tile sizes that are tried: the smallest unit and its multiples by powers of two.
const MOST_TILES: usize = 4;
