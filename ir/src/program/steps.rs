//! The order of execution: which units of which value are computed when, and where their buffers
//! end.
//!
//! Work is demand-driven, depth first: to compute a group of units, whatever it reads is computed
//! first, group by group. So the units of a network's early layers pass all those layers one group
//! after the other until a layer merges them, and only what that layer reads is parked. Larger
//! groups (up to the whole batch: layer by layer) share more work between units and need more
//! memory.

use crate::graph::ValueId;
use crate::layout::Layout;
use std::collections::BTreeSet;
use std::ops::Range;

/// Most steps of a schedule.
pub const MAX_STEPS: usize = 1 << 20;

/// What the order depends on, for one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Values read; all are defined before.
    pub args: Vec<usize>,
    /// Batch bits of the ciphertext index: the value has up to `2^unit_bits` units. No more than
    /// any of `args` has.
    pub unit_bits: usize,
    /// Units that hold images.
    pub units: usize,
    /// Units computed in one step.
    pub together: usize,
}

/// One step: units of a value, and the units of other values that nothing reads afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The value, an instruction's index.
    pub node: usize,
    /// Its units.
    pub units: Range<usize>,
    /// (value, unit) whose buffers end with this step.
    pub free: Vec<(usize, usize)>,
}

impl Flow {
    /// Of a value that reads `args` and has a layout, in a run on `images` images that pass in
    /// tiles.
    pub fn new(args: &[ValueId], layout: &Layout, images: usize, tile: usize) -> Flow {
        Flow {
            args: args.iter().map(|a| a.index()).collect(),
            unit_bits: layout.unit_bits(),
            units: layout.units_for(images),
            together: (tile / layout.unit_batch()).max(1),
        }
    }
    /// Units of an operand that units `of` of this value read.
    pub fn reads(&self, arg: &Flow, of: &Range<usize>) -> Range<usize> {
        let shift = arg.unit_bits.saturating_sub(self.unit_bits);
        (of.start << shift).min(arg.units)..(of.end << shift).min(arg.units)
    }
    fn group(&self, unit: usize) -> Range<usize> {
        let first = unit / self.together * self.together;
        first..(first + self.together).min(self.units)
    }
}

/// The schedule that computes all units of `outputs`.
pub fn order(flow: &[Flow], outputs: &[usize]) -> Vec<Step> {
    let mut done: Vec<Vec<bool>> = flow.iter().map(|f| vec![false; f.units]).collect();
    let mut steps: Vec<Step> = vec![];
    // Work still to do, last first: a value and a group of its units.
    let mut stack: Vec<(usize, Range<usize>)> = vec![];
    for &o in outputs {
        let mut unit = 0;
        while unit < flow[o].units {
            let group = flow[o].group(unit);
            unit = group.end;
            stack.push((o, group));
            while let Some((node, units)) = stack.last().cloned() {
                if units.clone().all(|u| done[node][u]) {
                    stack.pop();
                    continue;
                }
                let missing = flow[node].args.iter().find_map(|&a| {
                    let unit = flow[node].reads(&flow[a], &units).find(|&u| !done[a][u])?;
                    Some((a, flow[a].group(unit)))
                });
                match missing {
                    Some(work) => stack.push(work),
                    None => {
                        units.clone().for_each(|u| done[node][u] = true);
                        steps.push(Step { node, units, free: vec![] });
                        stack.pop();
                    }
                }
            }
        }
    }
    place_frees(flow, outputs, &mut steps);
    steps
}

/// Largest number of bytes live during a step: `unit_bytes(v)` for each unit of a value that is
/// live before it, and `extra(step, freed)` for what the step adds at its worst moment, results
/// included, when `freed` bytes of what it reads end with it.
pub fn peak(steps: &[Step], unit_bytes: impl Fn(usize) -> usize, extra: impl Fn(&Step, usize) -> usize) -> usize {
    let (mut live, mut most) = (0usize, 0usize);
    for s in steps {
        let freed: usize = s.free.iter().map(|(v, _)| unit_bytes(*v)).sum();
        most = most.max(live.saturating_add(extra(s, freed)));
        live = live.saturating_add(unit_bytes(s.node).saturating_mul(s.units.len())).saturating_sub(freed);
        most = most.max(live);
    }
    most
}

/// The (value, unit) pairs that are live before step `at`, or behind the last one.
///
/// # Panics
/// If `at` is more than the number of steps.
pub fn live(steps: &[Step], at: usize) -> BTreeSet<(usize, usize)> {
    let mut now = BTreeSet::new();
    for s in &steps[..at] {
        now.extend(s.units.clone().map(|u| (s.node, u)));
        s.free.iter().for_each(|v| _ = now.remove(v));
    }
    now
}

/// Bytes that are live before each step, and behind the last one; `unit_bytes(v)` for each unit of
/// value v.
pub fn live_bytes(steps: &[Step], unit_bytes: impl Fn(usize) -> usize) -> Vec<usize> {
    let behind = steps.iter().scan(0usize, |live, s| {
        let freed: usize = s.free.iter().map(|(v, _)| unit_bytes(*v)).sum();
        *live = (*live + unit_bytes(s.node) * s.units.len()).saturating_sub(freed);
        Some(*live)
    });
    std::iter::once(0).chain(behind).collect()
}

/// Lets each buffer end with the last step that reads it.
fn place_frees(flow: &[Flow], outputs: &[usize], steps: &mut [Step]) {
    let mut last: Vec<Vec<Option<usize>>> = flow.iter().map(|f| vec![None; f.units]).collect();
    for (i, s) in steps.iter().enumerate() {
        for &a in &flow[s.node].args {
            for u in flow[s.node].reads(&flow[a], &s.units) {
                last[a][u] = Some(i);
            }
        }
    }
    for (value, units) in last.into_iter().enumerate().filter(|(v, _)| !outputs.contains(v)) {
        for (unit, step) in units.into_iter().enumerate() {
            if let Some(step) = step {
                steps[step].free.push((value, unit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(args: &[usize], unit_bits: usize, units: usize, together: usize) -> Flow {
        Flow { args: args.to_vec(), unit_bits, units, together }
    }

    fn show(steps: &[Step]) -> Vec<String> {
        let units = |s: &Step| if s.units.len() == 1 { s.units.start.to_string() } else { format!("{}..{}", s.units.start, s.units.end) };
        let free = |s: &Step| s.free.iter().map(|(v, u)| format!(" -{v}.{u}")).collect::<String>();
        steps.iter().map(|s| format!("{}.{}{}", s.node, units(s), free(s))).collect()
    }

    #[test]
    fn units_go_depth_first_and_are_merged() {
        // input → a → (a, input) b | c merges pairs of b → d merges pairs of c; seven of eight
        // units hold images.
        let net = |t: usize| {
            vec![flow(&[], 3, 7, t), flow(&[0], 3, 7, t), flow(&[1, 0], 3, 7, t), flow(&[2], 2, 4, t.div_ceil(2)), flow(&[3], 1, 2, 1)]
        };
        let one = order(&net(1), &[4]);
        assert_eq!(show(&one)[..7], ["0.0", "1.0", "2.0 -0.0 -1.0", "0.1", "1.1", "2.1 -0.1 -1.1", "3.0 -2.0 -2.1"]);
        assert_eq!(show(&one)[13..15], ["3.1 -2.2 -2.3", "4.0 -3.0 -3.1"]);
        assert_eq!(show(&one).last().map(String::as_str), Some("4.1 -3.2 -3.3"));
        assert_eq!(one.len(), 3 * 7 + 4 + 2);
        let four = order(&net(4), &[4]);
        assert_eq!(
            show(&four)[..5],
            ["0.0..4", "1.0..4", "2.0..4 -0.0 -0.1 -0.2 -0.3 -1.0 -1.1 -1.2 -1.3", "3.0..2 -2.0 -2.1 -2.2 -2.3", "4.0 -3.0 -3.1"]
        );
    }

    #[test]
    fn live_values_and_the_peak_follow_from_the_frees() {
        // input → a → b, which merges pairs of a and of the input; the output's two units stay to
        // the end.
        let net = [flow(&[], 2, 3, 1), flow(&[0], 2, 3, 1), flow(&[1, 0], 1, 2, 1)];
        let steps = order(&net, &[2]);
        assert_eq!(show(&steps), ["0.0", "1.0", "0.1", "1.1", "2.0 -0.0 -0.1 -1.0 -1.1", "0.2", "1.2", "2.1 -0.2 -1.2"]);
        let states: Vec<_> = (0..=steps.len()).map(|at| live(&steps, at)).collect();
        let counted: Vec<usize> = states.iter().map(|s| s.iter().map(|(v, _)| v + 1).sum()).collect();
        assert_eq!(live_bytes(&steps, |v| v + 1), counted);
        assert_eq!(states.len(), steps.len() + 1);
        assert!(states[0].is_empty());
        assert_eq!(states[4], BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
        assert_eq!(states[5], BTreeSet::from([(2, 0)]));
        assert_eq!(states[8], BTreeSet::from([(2, 0), (2, 1)]));
        // Results beside all operands: step 2.0 has two units of each of its operands and its own
        // result.
        let bytes = |v: usize| [100, 10, 1][v];
        let beside = |s: &Step, _| bytes(s.node) * s.units.len();
        assert_eq!(peak(&steps, bytes, beside), 2 * 100 + 2 * 10 + 1);
        // What a step adds counts in that step only: here beside two units of the input and one of
        // a.
        assert_eq!(peak(&steps, bytes, |s, _| if s.node == 1 { 1000 } else { 0 }), 2 * 100 + 10 + 1000);
        assert_eq!(peak(&steps, bytes, |s, _| if s.units.start == 2 { 1000 } else { 0 }), 1 + 100 + 1000);
        // It knows what ends with it.
        assert_eq!(peak(&steps, bytes, |s, freed| if s.node == 2 { 1000 - freed } else { 0 }), 1000 + 1);
        assert_eq!(peak(&[], bytes, |_, _| 1), 0);
        for tile in [1, 2, 4] {
            let steps = order(&net.clone().map(|f| Flow { together: tile, ..f }), &[2]);
            let states: Vec<_> = (0..=steps.len()).map(|at| live(&steps, at)).collect();
            let most = states
                .iter()
                .zip(&steps)
                .map(|(before, s)| before.iter().map(|(v, _)| bytes(*v)).sum::<usize>() + bytes(s.node) * s.units.len());
            assert_eq!(peak(&steps, bytes, beside), most.max().unwrap(), "tile {tile}");
        }
    }

    #[test]
    fn every_unit_is_computed_once_before_it_is_read_and_freed_after() {
        for (units, together) in [(1, 1), (5, 2), (8, 3), (8, 8)] {
            let net =
                [flow(&[], 3, units, together), flow(&[0], 3, units, 1), flow(&[0, 1], 1, units.div_ceil(4), 1), flow(&[2, 2], 0, 1, 1)];
            let mut state = vec![vec![0; 8]; 4];
            for s in order(&net, &[3]) {
                for &a in &net[s.node].args {
                    assert!(net[s.node].reads(&net[a], &s.units).all(|u| state[a][u] == 1));
                }
                s.units.clone().for_each(|u| {
                    assert_eq!(state[s.node][u], 0);
                    state[s.node][u] = 1;
                });
                s.free.iter().for_each(|&(v, u)| state[v][u] = 2);
            }
            assert!(state[..3].iter().all(|v| v.iter().filter(|&&s| s == 2).count() == v.iter().filter(|&&s| s > 0).count()));
        }
    }
}
