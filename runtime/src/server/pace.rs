//! How often a run makes checkpoints: how much work an interruption may lose, and how much time
//! checkpoints may take.
//!
//! No clock is read here: a [`Pace`] is told how long steps and commits took.

use chiffre_ir::program::Step;
use std::collections::BTreeMap;
use std::time::Duration;

/// When a checkpoint is worth its time.
///
/// An interruption loses at most `least` of work or a `share`-th of all work so far, whichever is
/// more, but for two cases: a step that takes longer than any before is not foreseen, and a run
/// stops between steps only; and where a commit takes long, the next one comes no sooner than
/// `cost_factor` of its durations later, so that commits take no more than a `cost_factor + 1`-th
/// of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Work that may be lost in any case. With zero a checkpoint is made at every good moment.
    pub least: Duration,
    /// The share of the work so far that may be lost, as a divisor.
    pub share: u32,
    /// Least time between two commits, in durations of the last commit.
    pub cost_factor: u32,
}

impl Default for Policy {
    /// A tenth of the work or 5 s, and a fifth of the time at most.
    fn default() -> Policy {
        Policy { least: Duration::from_secs(5), share: 10, cost_factor: 4 }
    }
}

impl Policy {
    /// A checkpoint at every good moment, whatever it costs.
    pub const EVERY_MOMENT: Policy = Policy { least: Duration::ZERO, share: u32::MAX, cost_factor: 0 };

    /// Work that may be lost by an interruption when `work` is done.
    fn bound(&self, work: Duration) -> Duration {
        self.least.max(work / self.share.max(1))
    }
}

/// What is to be done between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A checkpoint would be too early.
    None,
    /// A checkpoint, if the moment is good.
    Wanted,
    /// A checkpoint, since the next step may exceed what may be lost.
    Due,
}

/// The work of a run, and what of it is in no checkpoint.
#[derive(Debug, Default)]
pub(super) struct Pace {
    policy: Policy,
    /// Work of this process.
    work: Duration,
    /// Work since the last commit.
    since: Duration,
    /// Time that the last commit took.
    cost: Duration,
    /// The longest step of each instruction.
    longest: BTreeMap<usize, Duration>,
}

impl Pace {
    pub fn new(policy: Policy) -> Pace {
        Pace { policy, ..Pace::default() }
    }

    /// A step was executed.
    pub fn worked(&mut self, step: &Step, time: Duration) {
        self.work += time;
        self.since += time;
        let longest = self.longest.entry(step.node).or_default();
        *longest = time.max(*longest);
    }

    /// A commit was made, or tried.
    pub fn committed(&mut self, cost: Duration) {
        self.since = Duration::ZERO;
        self.cost = cost;
    }

    /// What `next` is likely to take: as much as its instruction did before, else as much as any.
    fn foreseen(&self, next: &Step) -> Duration {
        let any = || self.longest.values().max().copied();
        self.longest.get(&next.node).copied().or_else(any).unwrap_or_default()
    }

    /// What is to be done before the step `next`.
    pub fn need(&self, next: &Step) -> Need {
        if self.since < self.cost.saturating_mul(self.policy.cost_factor) || self.since.is_zero() {
            return Need::None;
        }
        let ahead = self.foreseen(next);
        let bound = self.policy.bound(self.work + ahead);
        // With nothing that may be lost, every good moment counts, and no other one.
        if self.policy.least.is_zero() || self.since >= bound * 3 / 4 && self.since + ahead <= bound {
            Need::Wanted
        } else if self.since + ahead > bound {
            Need::Due
        } else {
            Need::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(node: usize) -> Step {
        Step { node, units: 0..1, free: vec![] }
    }

    /// A run of steps of these durations, in milliseconds, by instruction, and commits that take
    /// `cost`; checkpoints that are wanted are made at every `good`-th moment. Returns the largest
    /// loss beyond the bound at any time, the time of all commits, and of all work.
    fn simulate(policy: Policy, steps: &[(usize, u64)], cost: u64, good: usize) -> [Duration; 3] {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(policy);
        let (mut excess, mut spent, mut work, mut stored) = (ms(0), ms(0), ms(0), ms(0));
        for (i, &(node, time)) in steps.iter().enumerate() {
            let need = pace.need(&step(node));
            if need == Need::Due || need == Need::Wanted && i % good == 0 {
                pace.committed(ms(cost));
                (stored, spent) = (work, spent + ms(cost));
            }
            // An interruption at the end of the step loses most.
            work += ms(time);
            pace.worked(&step(node), ms(time));
            excess = excess.max((work - stored).saturating_sub(policy.bound(work)));
        }
        [excess, spent, work]
    }

    #[test]
    fn a_tenth_or_five_seconds_is_lost_at_most() {
        let policy = Policy::default();
        for (name, each, count) in [("short steps", 10, 60_000), ("steps of a second", 1000, 1000), ("steps of 3 s", 3000, 300)] {
            let steps: Vec<(usize, u64)> = (0..count).map(|i| (i / 50, each)).collect();
            for good in [1, 3, 6, usize::MAX] {
                let [excess, spent, work] = simulate(policy, &steps, 200, good);
                assert!(excess.is_zero(), "{name}, every {good}th moment is good: {excess:?} beyond the bound");
                // Bounds grow with the work: commits become rare.
                assert!(spent < work / 25, "{name}: {spent:?} of {work:?}");
            }
        }
        // A run of 31 s that is killed at 60 % has stored something.
        let [excess, spent, _] = simulate(policy, &vec![(0, 100); 186], 200, 1);
        assert!(excess.is_zero() && spent >= Duration::from_millis(600), "{spent:?}");
    }

    #[test]
    fn a_step_that_is_longer_than_any_before_is_all_that_comes_on_top() {
        // 20 short steps, and one of 20 s, of another instruction, again and again.
        let steps: Vec<(usize, u64)> = (0..400).map(|i| if i % 21 == 20 { (1, 20_000) } else { (0, 300) }).collect();
        let [excess, ..] = simulate(Policy::default(), &steps, 100, 1);
        assert!(excess <= Duration::from_secs(20), "{excess:?}");
        // From the second one on it is foreseen: a checkpoint comes right before it.
        let mut pace = Pace::new(Policy::default());
        pace.worked(&step(1), Duration::from_secs(20));
        pace.committed(Duration::ZERO);
        pace.worked(&step(0), Duration::from_millis(300));
        assert_eq!((pace.need(&step(0)), pace.need(&step(1))), (Need::None, Need::Due));
    }

    #[test]
    fn commits_take_a_fifth_of_the_time_at_most() {
        let steps = vec![(0, 500); 2000];
        // Commits of 10 s, each of which is worth 40 s of work.
        let [excess, spent, work] = simulate(Policy::default(), &steps, 10_000, 1);
        assert!(spent <= (work + spent) / 5, "{spent:?} of {work:?}");
        assert!(excess <= Duration::from_secs(40), "{excess:?}");
        // What a commit costs is forgotten where it is to be: at every moment.
        let [_, spent, _] = simulate(Policy::EVERY_MOMENT, &steps, 10_000, 1);
        assert_eq!(spent, Duration::from_secs(10 * 1999));
        let [_, none, _] = simulate(Policy { least: Duration::from_secs(1 << 40), ..Policy::default() }, &steps, 1, 1);
        assert!(none.is_zero());
    }
}
