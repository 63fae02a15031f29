//! What the conversion of one node sees: its inputs and attributes, and the graph under
//! construction.

use super::relation::{plain, storage};
use super::{Bound, Notes, Var};
use crate::constant::{Const, Dim, axis};
use crate::proto::{Attr, Node};
use chiffre_ir::consts::{Array, ConstId};
use chiffre_ir::graph::ValueId;
use chiffre_ir::tensor::{TensorGraph, TensorOp, TensorType, infer};
use std::collections::HashMap;
use std::sync::Arc;

/// Largest stride, pad, kernel extent or dilation.
const MAX_ATTR: i64 = 1 << 20;
/// Largest vector whose elements are brought into order by a matrix.
const MAX_PERMUTED: usize = 2048;

pub(super) struct Context<'a> {
    pub g: &'a mut TensorGraph,
    pub env: &'a HashMap<String, Bound>,
    pub node: &'a Node,
    /// The file's own batch size, if it is fixed.
    pub batch: Option<usize>,
    /// Values that were flattened already.
    pub flattened: &'a mut HashMap<ValueId, ValueId>,
    /// Bytes that constants may still take which are computed from others.
    pub room: &'a mut usize,
    pub notes: &'a mut Notes,
    /// The node belongs to the end of the network, if its operands do.
    pub is_tail: bool,
}

type Result<T> = std::result::Result<T, String>;

impl Context<'_> {
    /// Name of input `i`; empty if absent.
    pub fn name(&self, i: usize) -> &str {
        self.node.inputs.get(i).map_or("", String::as_str)
    }
    pub fn has(&self, i: usize) -> bool {
        !self.name(i).is_empty()
    }
    pub fn bound(&self, i: usize) -> Result<&Bound> {
        let name = self.name(i);
        if name.is_empty() {
            return Err(format!("input {i} is missing"));
        }
        match self.env.get(name) {
            Some(Bound::Broken(reason)) => Err(format!("tensor \"{name}\": {reason}")),
            Some(b) => Ok(b),
            None => Err(format!(
                "input \"{name}\" is not defined: no earlier node yields it, or it is a secondary output that import does not compute"
            )),
        }
    }
    /// Input `i` if it is a constant.
    pub fn maybe_constant(&self, i: usize) -> Result<Option<Arc<Const>>> {
        Ok(match self.bound(i)? {
            Bound::Const(c) => Some(c.clone()),
            _ => None,
        })
    }
    /// Input `i`, which must be a constant.
    pub fn constant(&self, i: usize) -> Result<Arc<Const>> {
        self.maybe_constant(i)?.ok_or_else(|| format!("input \"{}\" must be a constant", self.name(i)))
    }
    /// Shape and values of the constant input `i`, all finite.
    pub fn floats(&self, i: usize) -> Result<(Vec<usize>, Arc<Vec<f32>>)> {
        let c = self.constant(i)?;
        let at = |e: String| format!("tensor \"{}\": {e}", self.name(i));
        let values = c.floats().map_err(at)?;
        if let Some(k) = values.iter().position(|x| !x.is_finite()) {
            return Err(at(format!("element {k} is {}; weights must be finite", values[k])));
        }
        Ok((c.shape().map_err(at)?, values))
    }
    /// The constant input `i` as a vector of `len` finite values; `[1, len, 1, 1]` and such count.
    pub fn vector(&self, i: usize, len: usize) -> Result<Arc<Vec<f32>>> {
        let (shape, v) = self.floats(i)?;
        if v.len() != len || !shape.contains(&len) {
            return Err(format!("tensor \"{}\" has shape {shape:?}, expected [{len}]", self.name(i)));
        }
        Ok(v)
    }
    /// Input `i`, which must be computed from the image.
    pub fn value(&self, i: usize) -> Result<Var> {
        match self.bound(i)? {
            Bound::Value(v) => Ok(v.clone()),
            Bound::Quantised(_) => Err(format!(
                "input \"{}\" is a quantised value, which only DequantizeLinear takes; export the floating-point model",
                self.name(i)
            )),
            Bound::Unbatched(_) => Err(format!("input \"{}\" has no axis for the batch yet", self.name(i))),
            Bound::Tail(_) => {
                Err(format!("input \"{}\" is what a Softmax or such yields, behind which nothing else is computed", self.name(i)))
            }
            _ => Err(format!("input \"{}\" is a constant where a computed value is needed", self.name(i))),
        }
    }

    fn attr(&self, name: &str) -> Option<&Attr> {
        self.node.attrs.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }
    fn wrong(name: &str, what: &str) -> String {
        format!("attribute {name} must be {what}")
    }
    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Int(i)) => Ok(*i),
            Some(_) => Err(Self::wrong(name, "an integer")),
        }
    }
    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Float(x)) if x.is_finite() => Ok(*x),
            Some(_) => Err(Self::wrong(name, "a finite number")),
        }
    }
    pub fn word(&self, name: &str, default: &str) -> Result<String> {
        match self.attr(name) {
            None => Ok(default.into()),
            Some(Attr::Str(s)) => Ok(s.clone()),
            Some(_) => Err(Self::wrong(name, "a string")),
        }
    }
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        match self.attr(name) {
            None => Ok(None),
            Some(Attr::Ints(v)) => Ok(Some(v.clone())),
            Some(_) => Err(Self::wrong(name, "a list of integers")),
        }
    }
    pub fn floats_attr(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.attr(name) {
            None => Ok(None),
            Some(Attr::Floats(v)) => Ok(Some(v.clone())),
            Some(_) => Err(Self::wrong(name, "a list of numbers")),
        }
    }
    pub fn attr_tensor(&self, name: &str) -> Result<Option<Const>> {
        match self.attr(name) {
            None => Ok(None),
            Some(Attr::Tensor(t)) => t.clone().map(Some).map_err(|e| format!("attribute {name}: {e}")),
            Some(Attr::Float(x)) => Ok(Some(Const::float(&[], vec![*x]))),
            Some(Attr::Int(i)) => Ok(Some(Const::int(&[], vec![Dim::Known(*i)]))),
            Some(Attr::Floats(v)) => Ok(Some(Const::float(&[v.len()], v.clone()))),
            Some(Attr::Ints(v)) => Ok(Some(Const::int(&[v.len()], v.iter().map(|&i| Dim::Known(i)).collect()))),
            Some(_) => Err(Self::wrong(name, "a tensor")),
        }
    }
    /// `N` non-negative attribute values of a sane size.
    pub fn sizes<const N: usize>(&self, name: &str, default: [usize; N]) -> Result<[usize; N]> {
        let Some(v) = self.ints(name)? else { return Ok(default) };
        let v: Vec<usize> = v.iter().map(|&i| size(i, name)).collect::<Result<_>>()?;
        let n = v.len();
        v.try_into().map_err(|_| format!("attribute {name} has {n} entries, expected {N}"))
    }
    /// Opset that the node is read by.
    pub fn opset(&self) -> i64 {
        self.node.opset
    }
    /// Takes room for a constant that is computed from others.
    pub fn spend(&mut self, bytes: usize) -> Result<()> {
        match self.room.checked_sub(bytes).filter(|_| !self.notes.exhausted) {
            Some(left) => {
                *self.room = left;
                Ok(())
            }
            None => {
                self.notes.exhausted = true;
                Err("constants that are computed from others take too much memory; simplify the model before export".into())
            }
        }
    }
    /// A list that is an attribute in old opsets and input `i` in newer ones.
    pub fn ints_or_input(&self, name: &str, i: usize) -> Result<Option<Vec<i64>>> {
        match self.ints(name)? {
            Some(v) => Ok(Some(v)),
            None if self.has(i) => self.constant(i)?.known_ints().map(Some).map_err(|e| format!("input \"{}\": {e}", self.name(i))),
            None => Ok(None),
        }
    }
    /// Axes counted with the batch as axis 0, from an attribute or input `i`; sorted.
    pub fn axes(&self, i: usize, rank: usize) -> Result<Option<Vec<usize>>> {
        let Some(list) = self.ints_or_input("axes", i)? else { return Ok(None) };
        let mut axes = list.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(Some(axes))
    }

    /// Appends an op whose type follows from its operands, named after the node.
    pub fn emit(&mut self, op: TensorOp, args: Vec<ValueId>) -> Result<ValueId> {
        let types: Vec<&TensorType> = args.iter().map(|&a| self.g.ty(a)).collect();
        let ty = infer(&op, &types, &self.g.consts)?.ok_or("this op declares its own type")?;
        Ok(self.g.push(op, args, ty, &self.node.name))
    }
    /// As [`Context::emit`], seen by the file under the shape of the result.
    pub fn emit_var(&mut self, op: TensorOp, args: Vec<ValueId>) -> Result<Bound> {
        let id = self.emit(op, args)?;
        Ok(Bound::Value(Var::plain(id, self.g.ty(id).shape.clone())))
    }
    pub fn add_const(&mut self, name: &str, shape: &[usize], data: Vec<f32>) -> ConstId {
        self.g.consts.add(name, Array::new(shape.to_vec(), data))
    }
    /// A per-channel `scale·x + shift` on a value; each of length 1 or C.
    pub fn affine(&mut self, x: ValueId, scale: Vec<f32>, shift: Vec<f32>) -> Result<ValueId> {
        if let Some(bad) = scale.iter().chain(&shift).find(|x| !x.is_finite()) {
            return Err(format!("a coefficient becomes {bad}"));
        }
        let name = self.node.name.clone();
        let scale = self.add_const(&format!("{name}.scale"), &[scale.len()], scale);
        let shift = self.add_const(&format!("{name}.shift"), &[shift.len()], shift);
        self.emit(TensorOp::Affine { scale, shift }, vec![x])
    }

    /// The value as `[K]`, in the order of the file.
    pub fn flat(&mut self, v: &Var) -> Result<ValueId> {
        if !v.order.is_plain() {
            return match (self.channels_moved(v), v.dims.iter().product::<usize>()) {
                (Some(_), _) => {
                    let id = self.spatial(v)?;
                    self.flat(&Var::plain(id, v.dims.clone()))
                }
                (None, n) if n <= MAX_PERMUTED => {
                    let id = self.flat(&Var::plain(v.id, v.dims.clone()))?;
                    self.permuted(id, &(0..n).map(|i| v.order.at(i)).collect::<Vec<_>>())
                }
                (None, n) => Ok(self.linear(v, &[n], &|o, list| list.push((o, 1.0)))?.id),
            };
        }
        if self.g.ty(v.id).shape.len() == 1 {
            return Ok(v.id);
        }
        if let Some(&f) = self.flattened.get(&v.id) {
            return Ok(f);
        }
        let f = self.emit(TensorOp::Flatten {}, vec![v.id])?;
        self.flattened.insert(v.id, f);
        Ok(f)
    }
    /// Where each of the file's channels lies, if only whole channels are in another order.
    fn channels_moved(&self, v: &Var) -> Option<Vec<usize>> {
        let [c, h, w] = self.g.ty(v.id).chw();
        let fits = v.dims.first() == Some(&c) && v.dims.len() > 1 && v.dims[1..].iter().product::<usize>() == h * w;
        v.order.channels(c, h * w).filter(|_| fits)
    }
    /// A value whose channel `c` is the channel `from[c]` of another.
    fn permuted(&mut self, id: ValueId, from: &[usize]) -> Result<ValueId> {
        let n = from.len();
        self.spend(n.saturating_mul(n).saturating_mul(size_of::<f32>()))?;
        let mut weight = vec![0.0; n * n];
        from.iter().enumerate().for_each(|(o, &i)| weight[o * n + i] = 1.0);
        let name = format!("{}.order", self.node.name);
        let vector = self.g.ty(id).shape.len() == 1;
        let shape: &[usize] = if vector { &[n, n] } else { &[n, n, 1, 1] };
        let weight = self.add_const(&name, shape, weight);
        let op = match vector {
            true => TensorOp::Linear { weight, bias: None },
            false => TensorOp::Conv2d { weight, bias: None, stride: [1, 1], pad: [0; 4], dilation: [1, 1] },
        };
        self.emit(op, vec![id])
    }
    /// The value with the channels and positions that the file sees: of more than three axes the
    /// last two are positions.
    pub fn spatial(&mut self, v: &Var) -> Result<ValueId> {
        let want = storage(&v.dims);
        let have = self.g.ty(v.id).chw();
        if want[1..] == [1, 1] && (have != want || !v.order.is_plain()) {
            return self.flat(v);
        }
        if have == want && v.order.is_plain() {
            return Ok(v.id);
        }
        match self.channels_moved(v).filter(|_| have == want) {
            Some(from) => self.permuted(v.id, &from),
            None => {
                let source = self.node.name.clone();
                let (id, bytes) = plain(self.g, &source, v)?;
                self.spend(bytes)?;
                Ok(id)
            }
        }
    }
    /// The value as elementwise ops see it: `[K]` for vectors, channels and positions otherwise.
    pub fn elements(&mut self, v: &Var) -> Result<ValueId> {
        if v.dims.len() <= 1 && v.order.is_plain() { self.flat(v) } else { Ok(v.id) }
    }
    /// A value that an elementwise op has made of `v`, whose elements it has in the same order.
    pub fn like(&self, id: ValueId, v: &Var) -> Bound {
        Bound::Value(Var { id, dims: v.dims.clone(), order: v.order.clone() })
    }
}

/// A non-negative integer of a sane size.
pub(super) fn size(i: i64, what: &str) -> Result<usize> {
    usize::try_from(i).ok().filter(|_| i <= MAX_ATTR).ok_or_else(|| format!("{what} holds {i}, expected 0 to {MAX_ATTR}"))
}
