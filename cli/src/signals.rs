//! Ctrl-C and a request to end (SIGINT, SIGTERM).
//!
//! A run that has begun is asked to stop: it ends behind its current step, with a checkpoint. At a
//! second signal, and in any other command at the first, the process ends as it would by default,
//! but for its unfinished files, which are removed.

use chiffre::Error;
use chiffre_ir::output;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

/// What a signal meets.
static STATE: AtomicU8 = AtomicU8::new(AT_ONCE);
/// The process ends.
const AT_ONCE: u8 = 0;
/// The run is asked to stop.
const ASKED: u8 = 1;

/// The signal that has asked for a stop; 0 if none has.
static ASKED_BY: AtomicI32 = AtomicI32::new(0);

/// Begins to watch for signals.
///
/// # Errors
/// A system that gives no more signal handlers or threads.
pub fn watch() -> Result<(), Error> {
    let fail = |e| Error::io("cannot watch for signals", e);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(fail)?;
    let watcher = std::thread::Builder::new().name("signals".into());
    let watched = watcher.spawn(move || {
        for signal in &mut signals {
            if STATE.swap(AT_ONCE, Ordering::SeqCst) == ASKED {
                ASKED_BY.store(signal, Ordering::SeqCst);
                eprintln!("stopping behind this step; once more to stop at once");
                continue;
            }
            output::abandon();
            // Where that does not end the process, its code tells the same.
            let _ = emulate_default_handler(signal);
            std::process::exit(code(signal).into());
        }
    });
    watched.map(drop).map_err(fail)
}

/// From now on the first signal only asks for a stop.
pub fn ask_first() {
    STATE.store(ASKED, Ordering::SeqCst);
}

/// From now on the first signal ends the process.
pub fn end_at_once() {
    STATE.store(AT_ONCE, Ordering::SeqCst);
}

/// The exit code of a process that was asked to stop by a signal, if it was: as shells report
/// processes that end by one.
pub fn asked() -> Option<u8> {
    match ASKED_BY.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(code(signal)),
    }
}

fn code(signal: i32) -> u8 {
    128u8.saturating_add(u8::try_from(signal).unwrap_or(127))
}
