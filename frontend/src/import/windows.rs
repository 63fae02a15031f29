//! Windows along any number of axes: convolutions whose kernels have three axes or that run
//! backwards, pooling that `avg_pool` and `max_pool` do not have.

use super::context::{Context, size};
use super::{Bound, Var, elementwise, relation};
use crate::constant::{MAX_CONST, coordinates, flat_index};
use chiffre_ir::consts::Array;
use chiffre_ir::tensor::{Lists, Reads, TensorOp};

type Result<T> = std::result::Result<T, String>;

/// What a position of the result reads along an axis: positions of the operand, and weights.
pub(super) type Weights = Vec<(usize, f64)>;

/// Most windows' elements that are compared pair by pair.
const MAX_PAIRS: usize = 256;

/// One axis of windows.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// Positions of the operand.
    extent: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Padding before and after.
    pad: [usize; 2],
    /// Positions of the result.
    pub out: usize,
    /// The windows run over the result (transposed convolution).
    back: bool,
}

impl Line {
    /// The operand's position that tap `k` of the window at `o` reads.
    fn at(&self, o: usize, k: usize) -> Option<usize> {
        let i = match self.back {
            false => (o * self.stride + k * self.dilation).checked_sub(self.pad[0])?,
            true => {
                let i = (o + self.pad[0]).checked_sub(k * self.dilation)?;
                if !i.is_multiple_of(self.stride) {
                    return None;
                }
                i / self.stride
            }
        };
        (i < self.extent).then_some(i)
    }
    fn list(&self, k: usize) -> Vec<i64> {
        (0..self.out).map(|o| self.at(o, k).map_or(-1, |i| i as i64)).collect()
    }
}

fn sizes(cx: &Context, name: &str, n: usize, default: usize) -> Result<Vec<usize>> {
    let Some(list) = cx.ints(name)? else { return Ok(vec![default; n]) };
    if list.len() != n {
        return Err(format!("attribute {name} has {} entries, expected {n}", list.len()));
    }
    list.into_iter().map(|i| size(i, name)).collect()
}

/// The axes of a window of the given kernel over `extents`; with `back` those of a transposed
/// convolution.
pub(super) fn lines(cx: &Context, extents: &[usize], kernel: &[usize], back: bool) -> Result<Vec<Line>> {
    let n = extents.len();
    let (strides, dilations) = (sizes(cx, "strides", n, 1)?, sizes(cx, "dilations", n, 1)?);
    let pads = sizes(cx, "pads", 2 * n, 0)?;
    let more = if back { sizes(cx, "output_padding", n, 0)? } else { vec![0; n] };
    let shape = if back { cx.ints("output_shape")? } else { None };
    let shape = shape.map(|s| s[s.len().saturating_sub(n)..].to_vec());
    let auto = cx.word("auto_pad", "NOTSET")?;
    if kernel.len() != n || [kernel, &strides, &dilations].iter().any(|l| l.contains(&0)) {
        return Err(format!("a kernel {kernel:?} with strides {strides:?} and dilations {dilations:?} does not fit {n} axes"));
    }
    let ceil = !back && cx.int("ceil_mode", 0)? != 0;
    let one = |d: usize| -> Result<Line> {
        let (extent, stride, kernel) = (extents[d], strides[d], kernel[d]);
        let reach = (kernel - 1) * dilations[d] + 1;
        let mut pad = [pads[d], pads[n + d]];
        let split = |total: usize| if auto == "SAME_UPPER" { [total / 2, total - total / 2] } else { [total - total / 2, total / 2] };
        let same = auto.starts_with("SAME");
        let out = if back {
            let all = stride * (extent - 1) + more[d] + reach;
            let wanted = match &shape {
                Some(s) => Some(size(*s.get(d).ok_or("output_shape has too few entries")?, "output_shape")?),
                None => same.then_some(extent * stride),
            };
            if let Some(w) = wanted {
                pad = split(all.saturating_sub(w));
            }
            wanted.or(all.checked_sub(pad[0] + pad[1])).filter(|o| *o > 0)
        } else {
            if same {
                pad = split(((extent.div_ceil(stride) - 1) * stride + reach).saturating_sub(extent));
            } else if auto == "VALID" {
                pad = [0, 0];
            }
            (extent + pad[0] + pad[1]).checked_sub(reach).map(|room| {
                let up = room.div_ceil(stride);
                // A partial last window counts unless it starts in padding.
                if ceil && up * stride < extent + pad[0] { up + 1 } else { room / stride + 1 }
            })
        };
        let out = out.ok_or_else(|| format!("a window of {reach} does not fit {extent} positions padded by {pad:?}"))?;
        Ok(Line { extent, kernel, stride, dilation: dilations[d], pad, out, back })
    };
    (0..n).map(one).collect()
}

/// Conv with kernels of three axes or more, and ConvTranspose.
pub(super) fn conv(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    let back = cx.node.op == "ConvTranspose";
    let (shape, weights) = cx.floats(1)?;
    let fits = x.dims.len() >= 2 && shape.len() == x.dims.len() + 1 && !shape.contains(&0);
    let misfit = || format!("weight of shape {shape:?} does not fit an input of shape N×{:?}", x.dims);
    if !fits {
        return Err(misfit());
    }
    let (c, kernel) = (x.dims[0], &shape[2..]);
    let groups = size(cx.int("group", 1)?, "group")?;
    let (ins, outs) = if back { (shape[0], shape[1].saturating_mul(groups)) } else { (shape[1].saturating_mul(groups), shape[0]) };
    if groups == 0 || ins != c || !outs.is_multiple_of(groups) || !ins.is_multiple_of(groups) {
        return Err(misfit());
    }
    if cx.ints("kernel_shape")?.is_some_and(|k| k.iter().map(|&k| k as usize).ne(kernel.iter().copied())) {
        return Err("kernel_shape contradicts the weight".into());
    }
    let lines = lines(cx, &x.dims[1..], kernel, back)?;
    let id = cx.spatial(&x)?;
    // One axis of positions lies along rows; of more the last two are positions, the others
    // channels.
    let lead = lines.len().saturating_sub(2);
    let [ky, kx] = [lead, lead + 1].map(|d| kernel.get(d).copied().unwrap_or(1));
    let deep = |f: &dyn Fn(&Line) -> usize| lines[..lead].iter().map(f).collect::<Vec<usize>>();
    let (from, to, taps) = (deep(&|l| l.extent), deep(&|l| l.out), deep(&|l| l.kernel));
    let [from_len, to_len, tap_len] = [&from, &to, &taps].map(|d| d.iter().product::<usize>());
    let full = [outs * to_len, ins * from_len, ky, kx];
    let len = full.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).filter(|&n| n <= MAX_CONST);
    let len = len.ok_or_else(|| format!("its kernel over all channels would be larger than {MAX_CONST} elements"))?;
    cx.spend(len * size_of::<f32>())?;
    let mut data = vec![0.0; len];
    // Places of the result before the positions, and of the operand, that each tap joins.
    let mut joins: Vec<(usize, usize, usize)> = vec![];
    for (o, t) in (0..to_len).flat_map(|o| (0..tap_len).map(move |t| (o, t))) {
        let (at, tap) = (coordinates(o, &to), coordinates(t, &taps));
        let read: Option<Vec<usize>> = (0..lead).map(|d| lines[d].at(at[d], tap[d])).collect();
        joins.extend(read.map(|i| (o, flat_index(&i, &from), t)));
    }
    let (each_in, each_out) = (ins / groups, outs / groups);
    for o in 0..outs {
        for i in 0..each_in {
            let channel = o / each_out * each_in + i;
            let stored = if back { channel * each_out + o % each_out } else { o * each_in + i };
            for &(to, from, t) in &joins {
                let target = ((o * to_len + to) * full[1] + channel * from_len + from) * ky * kx;
                let source = (stored * tap_len + t) * ky * kx;
                data[target..target + ky * kx].copy_from_slice(&weights[source..source + ky * kx]);
            }
        }
    }
    let (weight_name, bias_name) = (cx.name(1).to_string(), cx.name(2).to_string());
    let weight = cx.add_const(&weight_name, &full, data);
    let bias = match cx.has(2) {
        true => {
            let each = cx.vector(2, outs)?;
            let all = each.iter().flat_map(|&b| std::iter::repeat_n(b, to_len)).collect();
            Some(cx.add_const(&bias_name, &[full[0]], all))
        }
        false => None,
    };
    let dims: Vec<usize> = std::iter::once(outs).chain(lines.iter().map(|l| l.out)).collect();
    let line = |d: usize| lines.get(d).copied();
    let id = if back {
        let lists = |d: usize, n: usize| -> Lists { line(d).map_or(vec![vec![0]; n], |l| (0..l.kernel).map(|k| l.list(k)).collect()) };
        let op = TensorOp::LinearMap {
            kernels: vec![weight],
            strides: vec![[1, 1]],
            origins: vec![[0, 0]],
            bias,
            reads: Reads::new(vec![Some([lists(lead, 1), lists(lead + 1, 1)])]),
            groups: None,
        };
        let source = cx.node.name.clone();
        cx.g.push(op, vec![id], relation::type_of(&dims), &source)
    } else {
        let of = |f: &dyn Fn(Line) -> usize, none: usize| [line(lead), line(lead + 1)].map(|l| l.map_or(none, f));
        let [[top, left], [bottom, right]] = [of(&|l| l.pad[0], 0), of(&|l| l.pad[1], 0)];
        let (stride, dilation) = (of(&|l| l.stride, 1), of(&|l| l.dilation, 1));
        cx.emit(TensorOp::Conv2d { weight, bias, stride, pad: [top, left, bottom, right], dilation }, vec![id])?
    };
    Ok(Bound::Value(Var::plain(id, dims)))
}

/// The element of the operand at a tap of the window at coordinates of the result; none in padding.
pub(super) fn element(lines: &[Line], at: &[usize], tap: &[usize]) -> Option<Vec<usize>> {
    lines.iter().zip(at).zip(tap).map(|((l, &o), &k)| l.at(o, k)).collect()
}

/// AveragePool, LpPool and MaxPool in all their forms.
pub(super) fn pool(cx: &mut Context) -> Result<Bound> {
    let x = cx.value(0)?;
    if x.dims.len() < 2 {
        return Err(format!("the input has shape N×{:?}: it has no positions", x.dims));
    }
    let kernel = cx.ints("kernel_shape")?.ok_or("attribute kernel_shape is missing")?;
    let kernel = kernel.into_iter().map(|k| size(k, "kernel_shape")).collect::<Result<Vec<_>>>()?;
    let lines = lines(cx, &x.dims[1..], &kernel, false)?;
    let dims: Vec<usize> = std::iter::once(x.dims[0]).chain(lines.iter().map(|l| l.out)).collect();
    match cx.node.op.as_str() {
        "MaxPool" => maxima(cx, &x, &lines, &dims).map(Bound::Value),
        "LpPool" => {
            let p = cx.int("p", 2)? as f32;
            let powers = elementwise::power_of_size(cx, &x, p)?;
            let sums = averages(cx, &powers, &lines, &dims, |_, _| 1.0)?;
            elementwise::root(cx, &sums, p).map(Bound::Value)
        }
        _ => {
            let count_pad = cx.int("count_include_pad", 0)? != 0;
            let share = move |inside: usize, padded: usize| 1.0 / if count_pad { padded } else { inside } as f64;
            averages(cx, &x, &lines, &dims, share).map(Bound::Value)
        }
    }
}

/// What positions of the channels read: themselves.
fn same(n: usize) -> Vec<Option<Weights>> {
    (0..n).map(|c| Some(vec![(c, 1.0)])).collect()
}

/// Sums over windows, along each axis times what `share` makes of the numbers of elements in a
/// window that lie inside the operand, and inside it or its padding.
fn averages(cx: &mut Context, x: &Var, lines: &[Line], dims: &[usize], share: impl Fn(usize, usize) -> f64) -> Result<Var> {
    let line = |l: &Line| -> Vec<Option<Weights>> {
        let one = |o: usize| {
            let inside: Vec<usize> = (0..l.kernel).filter_map(|k| l.at(o, k)).collect();
            // What a partial last window reads behind the padding does not count.
            let padded = (0..l.kernel).filter(|k| o * l.stride + k * l.dilation < l.extent + l.pad[0] + l.pad[1]).count();
            let w = share(inside.len(), padded);
            Some(inside.into_iter().map(|i| (i, w)).collect())
        };
        (0..l.out).map(one).collect()
    };
    let axes: Vec<Vec<Option<Weights>>> = std::iter::once(same(x.dims[0])).chain(lines.iter().map(line)).collect();
    cx.along(x, dims, &axes)
}

/// Largest elements of windows: of a tap's elements with those of the next, and so on. In place of
/// padding a tap reads another element of its window.
fn maxima(cx: &mut Context, x: &Var, lines: &[Line], dims: &[usize]) -> Result<Var> {
    let kernel: Vec<usize> = lines.iter().map(|l| l.kernel).collect();
    let mut parts = vec![];
    for t in 0..check_pairs(&kernel)? {
        let line = |(l, k): (&Line, usize)| -> Vec<Option<Weights>> {
            let read = |o: usize| l.at(o, k).or_else(|| (0..l.kernel).find_map(|k| l.at(o, k)));
            (0..l.out).map(|o| read(o).map(|i| vec![(i, 1.0)])).collect()
        };
        let axes = lines.iter().zip(coordinates(t, &kernel)).map(line);
        let axes: Vec<Vec<Option<Weights>>> = std::iter::once(same(x.dims[0])).chain(axes).collect();
        parts.push(cx.along(x, dims, &axes)?);
    }
    tree(cx, parts, &mut |cx, a, b| elementwise::extreme(cx, true, a, b))
}

/// # Errors
/// More values than are joined pair by pair.
pub(super) fn check_pairs(extents: &[usize]) -> Result<usize> {
    let count = extents.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).unwrap_or(usize::MAX);
    match count {
        0..=MAX_PAIRS => Ok(count),
        _ => Err(format!("{count} values would be compared or multiplied one with another; {MAX_PAIRS} are the most")),
    }
}

/// Values joined two by two.
pub(super) fn tree(cx: &mut Context, mut parts: Vec<Var>, join: &mut dyn FnMut(&mut Context, &Var, &Var) -> Result<Var>) -> Result<Var> {
    while parts.len() > 1 {
        let mut next = vec![];
        for pair in parts.chunks(2) {
            next.push(match pair {
                [a, b] => join(cx, a, b)?,
                rest => rest[0].clone(),
            });
        }
        parts = next;
    }
    parts.pop().ok_or_else(|| "it has no elements".into())
}

impl Context<'_> {
    /// The map whose weights are the products of those of maps along each axis: for each position
    /// of the result, what it reads; nothing where that is `None`.
    pub fn along(&mut self, x: &Var, dims: &[usize], axes: &[Vec<Option<Weights>>]) -> Result<Var> {
        if let Some(y) = self.along_positions(x, dims, axes)? {
            return Ok(y);
        }
        let from = x.dims.clone();
        self.linear(x, dims, &|o, list| {
            let parts: Option<Vec<&Weights>> = coordinates(o, dims).iter().zip(axes).map(|(&c, axis)| axis[c].as_ref()).collect();
            let mut all: Vec<(Vec<usize>, f64)> = vec![(vec![], 1.0)];
            let Some(parts) = parts else { return };
            for part in parts {
                all = all.iter().flat_map(|(at, w)| part.iter().map(move |&(i, v)| ([&at[..], &[i]].concat(), w * v))).collect();
            }
            list.extend(all.into_iter().map(|(at, w)| (flat_index(&at, &from), w as f32)));
        })
    }
    /// As [`Self::along`], where only the last two axes (of a value of two: the last one) of a
    /// value that lies as the file sees it change; `None` for other values and maps.
    fn along_positions(&mut self, x: &Var, dims: &[usize], axes: &[Vec<Option<Weights>>]) -> Result<Option<Var>> {
        let plain = x.order.is_plain() && self.g.ty(x.id).chw() == relation::storage(&x.dims);
        let lead = if dims.len() == 2 { 1 } else { dims.len().saturating_sub(2) };
        let same = |axis: &Vec<Option<Weights>>, n: usize| {
            axis.len() == n && axis.iter().enumerate().all(|(o, r)| r.as_deref() == Some(&[(o, 1.0)]))
        };
        if dims.len() < 2 || !plain || !(0..lead).all(|d| same(&axes[d], x.dims[d])) {
            return Ok(None);
        }
        let entries = |d: usize| -> Vec<(usize, usize, f64)> {
            let Some(axis) = axes.get(d) else { return vec![(0, 0, 1.0)] };
            axis.iter().enumerate().flat_map(|(o, r)| r.iter().flatten().map(move |&(i, w)| (o, i, w))).collect()
        };
        let [c, h, w] = relation::storage(dims);
        let listed = chiffre_ir::tensor::Listed::separable(c, [h, w], [&entries(lead), &entries(lead + 1)]);
        self.spend(listed.weights.len() * size_of::<f32>())?;
        let name = format!("{}.map", self.node.name);
        let kernel = self.g.consts.add(&name, Array::new(listed.shape.to_vec(), listed.weights));
        let (strides, origins) = (vec![[1, 1]], vec![[0, 0]]);
        let reads = Reads::new(vec![Some(listed.lists)]);
        let op = TensorOp::LinearMap { kernels: vec![kernel], strides, origins, bias: None, reads, groups: Some(vec![c]) };
        let source = self.node.name.clone();
        let id = self.g.push(op, vec![x.id], relation::type_of(dims), &source);
        Ok(Some(Var::plain(id, dims.to_vec())))
    }
    /// The value plus a number for each element of the file's view; nothing where all are zero.
    pub fn plus(&mut self, x: &Var, numbers: Vec<f32>) -> Result<Var> {
        if numbers.iter().all(|n| *n == 0.0) {
            return Ok(x.clone());
        }
        if let Some(bad) = numbers.iter().find(|n| !n.is_finite()) {
            return Err(format!("a constant becomes {bad}"));
        }
        let id = self.elements(x)?;
        let stored = x.order.stored(&numbers);
        let shape = self.g.ty(id).shape.clone();
        let name = format!("{}.value", self.node.name);
        let value = self.add_const(&name, &shape, stored);
        let id = self.emit(TensorOp::AddConst { value }, vec![id])?;
        Ok(Var { id, ..x.clone() })
    }
}
