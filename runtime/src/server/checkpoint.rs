//! Checkpoints of a run: when the live values go to its journal, and how an interrupted run goes
//! on.

use super::pace::{Need, Pace, Policy};
use super::values::Values;
use crate::eval_keys::binding;
use crate::journal::{Journal, Opened, Resume, Shapes};
use crate::{Batch, RuntimeError, Session};
use chiffre_ir::program::{Step, live, live_bytes};
use std::path::Path;
use std::time::{Duration, Instant};

/// A checkpoint that is wanted waits while a moment with fewer live bytes is less than so many
/// steps away, but not for more steps than that.
const PATIENCE: usize = 6;

/// True if one of the next moments has fewer live bytes than the one before step `next`.
fn better_is_near(bytes: &[usize], next: usize) -> bool {
    let now = bytes[next];
    bytes[next + 1..].iter().take(PATIENCE - 1).any(|b| *b < now)
}

/// True if a checkpoint that is wanted should be made before step `next`; counts how long it has
/// `waited`. Along a network limbs are dropped, so a better moment is always near: waiting ends
/// after a few steps.
fn worth_it(bytes: &[usize], next: usize, waited: &mut usize) -> bool {
    let wait = *waited < PATIENCE && better_is_near(bytes, next);
    *waited = if wait { *waited + 1 } else { 0 };
    !wait
}

/// The journal of a run, and what an interrupted run left in it.
#[derive(Debug)]
pub struct Checkpoints {
    journal: Journal,
    resume: Option<Resume>,
    warning: Option<String>,
    /// Bytes that are live before each step.
    bytes: Vec<usize>,
    /// Steps for which a checkpoint has been wanted.
    waited: usize,
    pace: Pace,
}

impl Checkpoints {
    /// Opens or makes the journal in the folder `dir`, for a run of the session's program on a
    /// batch.
    ///
    /// # Errors
    /// I/O errors, or a folder that belongs to another run.
    pub fn open(s: &Session, batch: &Batch, dir: &Path) -> Result<Checkpoints, RuntimeError> {
        let p = s.program();
        let steps = p.steps(batch.images);
        let mut bound = binding(s, &batch.id);
        bound.insert("input".into(), batch.digest.clone());
        // The meaning of a step's number is part of what must agree.
        let order = steps.iter().map(|s| format!("{}.{}..{}", s.node, s.units.start, s.units.end)).collect::<Vec<_>>().join(" ");
        bound.insert("order".into(), chiffre_ir::consts::digest(order.as_bytes()));
        let shapes = |step: usize| -> Option<Shapes> {
            let shape = |v: usize| [p.nodes[v].ty.layout.unit_cts(), p.nodes[v].ty.limbs];
            (step <= steps.len()).then(|| live(&steps, step).into_iter().map(|(v, u)| ((v, u), shape(v))).collect())
        };
        let Opened { journal, resume, warning } = s.engine().install(|| Journal::open(dir, s.context.ring(), bound, shapes))?;
        let unit = |v: usize| (p.nodes[v].ty.layout.unit_cts() * p.nodes[v].ty.limbs) << (p.header.log_n + 4);
        let bytes = live_bytes(&steps, unit);
        Ok(Checkpoints { journal, resume, warning, bytes, waited: 0, pace: Pace::default() })
    }

    /// The same, with another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Checkpoints {
        Checkpoints { pace: Pace::new(policy), ..self }
    }

    /// Why what an earlier run left is not used, for the user.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The number of steps that the interrupted run had done, if there was one.
    pub fn resumed(&self) -> Option<usize> {
        self.resume.as_ref().map(|r| r.step)
    }

    /// The step to go on with, and the values live before it.
    pub(super) fn resume(&mut self) -> Option<(usize, Values)> {
        self.resume.take().map(|r| (r.step, r.values))
    }

    /// Behind a step that took `time`, and before step `next`: commits the live values if that
    /// cannot wait, or if it is time and no better moment is near enough. Says what went wrong, if
    /// something did.
    pub(super) fn after(&mut self, steps: &[Step], next: usize, time: Duration, values: &Values) -> Option<String> {
        self.pace.worked(&steps[next - 1], time);
        let make = match steps.get(next).map(|step| self.pace.need(step)) {
            // Behind the last step there is a result to be written.
            None | Some(Need::None) => false,
            Some(Need::Wanted) => worth_it(&self.bytes, next, &mut self.waited),
            Some(Need::Due) => true,
        };
        if !make {
            return None;
        }
        self.waited = 0;
        self.store(next, values).err().map(|e| format!("no checkpoint: {e}"))
    }

    /// Commits the values that are live before step `next`.
    pub(super) fn store(&mut self, next: usize, values: &Values) -> Result<(), RuntimeError> {
        let start = Instant::now();
        let stored = self.journal.commit(next, values.iter().map(|(k, v)| (*k, v)));
        self.pace.committed(start.elapsed());
        Ok(stored?)
    }

    /// The journal.
    pub(super) fn into_journal(self) -> Journal {
        self.journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_wait_for_a_merge_that_is_near() {
        // Units grow until a merge; the moments after a merge are the good ones, and the end is
        // one.
        let bytes = [0, 4, 8, 12, 16, 4, 8, 12, 8];
        let good = |bytes: &[usize]| (0..bytes.len()).filter(|&i| !better_is_near(bytes, i)).collect::<Vec<_>>();
        assert_eq!(good(&bytes), [0, 1, 5, 6, 8]);
        // A better moment that is PATIENCE steps away is too far.
        assert!(better_is_near(&[5, 5, 5, 5, 5, 4], 0) && !better_is_near(&[5, 5, 5, 5, 5, 5, 4], 0));
        assert_eq!(good(&[7]), [0]);
        // Where every moment is better than the one before, the wait has an end.
        let falling: Vec<usize> = (0..40).rev().collect();
        let mut waited = 0;
        let made: Vec<usize> = (0..falling.len()).filter(|&i| worth_it(&falling, i, &mut waited)).collect();
        assert_eq!(made[..3], [6, 13, 20]);
    }
}
