//! Progress of long work, on stderr.

use chiffre::pipeline::Work;
use chiffre_ir::program::{Program, Step};
use chiffre_runtime::server::Event;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, plain lines otherwise
    #[default]
    Auto,
    /// Plain lines
    Plain,
    /// Nothing
    None,
}

/// Plain lines come at most this often, and at the end.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Progress of one piece of work, from 0 to `total` steps.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: u64,
    /// Done before the start.
    skipped: u64,
    start: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Plain { last: Instant },
    Hidden,
}

impl Progress {
    /// Begins `what` (a few words: "running") of `total` steps.
    pub fn new(mode: ProgressMode, what: &str, total: u64) -> Self {
        let start = Instant::now();
        let display = match mode {
            ProgressMode::None => Display::Hidden,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Display::Bar(bar(what, total)),
            ProgressMode::Auto | ProgressMode::Plain => Display::Plain { last: start },
        };
        Progress { what: what.to_owned(), total, skipped: 0, start, display }
    }

    /// `done` of the steps are finished.
    pub fn set(&mut self, done: u64) {
        let line = line(&self.what, [self.skipped, done, self.total], self.start.elapsed());
        match &mut self.display {
            Display::Bar(bar) => bar.set_position(done),
            Display::Plain { last } if last.elapsed() >= PLAIN_EVERY => {
                *last = Instant::now();
                eprintln!("{line}");
            }
            Display::Plain { .. } | Display::Hidden => {}
        }
    }

    /// Ends the display; plain mode prints the time taken.
    pub fn finish(self) {
        match &self.display {
            Display::Bar(bar) => bar.finish_and_clear(),
            Display::Plain { .. } => eprintln!("{}: done in {:.1} s", self.what, self.start.elapsed().as_secs_f64()),
            Display::Hidden => {}
        }
    }
}

/// Progress of runs of a program, in predicted time, so that the estimate of what is left holds.
pub struct RunProgress {
    inner: Progress,
    work: Work,
}

impl RunProgress {
    /// Begins runs on so many images each.
    pub fn new(mode: ProgressMode, p: &Program, images: &[usize]) -> Self {
        let work = Work::new(p, images);
        let [total, _] = work.us();
        RunProgress { inner: Progress::new(mode, "running", total.max(1.0) as u64), work }
    }

    /// A step is done.
    pub fn step(&mut self, event: &Event) {
        if let Some(w) = &event.warning {
            tracing::warn!("{w}");
        }
        self.work.step(event.instruction, event.units.len());
        self.inner.set(self.work.us()[1] as u64);
    }

    /// Steps that an interrupted run has done: they do not count as work of this one.
    pub fn skip(&mut self, steps: &[Step]) {
        self.work.skip(steps);
        self.inner.skipped = self.work.us()[1] as u64;
    }

    /// Ends the display.
    pub fn finish(self) {
        self.inner.finish();
    }
}

fn bar(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} [{bar:40}] {percent} % {elapsed} left {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.with_prefix(what.to_owned())
}

fn line(what: &str, [skipped, done, total]: [u64; 3], elapsed: Duration) -> String {
    let left = elapsed.as_secs_f64() * (total.saturating_sub(done)) as f64 / done.saturating_sub(skipped).max(1) as f64;
    let percent = 100.0 * done as f64 / total.max(1) as f64;
    format!("{what}: {percent:.0} % after {:.1} s, about {left:.1} s left", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_tell_what_is_left() {
        assert_eq!(line("running", [0, 5, 20], Duration::from_secs(2)), "running: 25 % after 2.0 s, about 6.0 s left");
        assert_eq!(line("running", [0, 20, 20], Duration::from_secs(2)), "running: 100 % after 2.0 s, about 0.0 s left");
    }
}
