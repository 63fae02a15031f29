//! How a failure is shown: the options that change what the library's settings are, and the exit
//! code: 0 for success, else the class of the failure (`docs/errors.md`).

use chiffre::{Class, Error, Setting};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The exit code of a failure: 1 when the computation failed, 2 when something that was given
/// cannot be used, 3 when a run was stopped, 70 for a bug of Chiffre (`EX_SOFTWARE` of BSD's
/// sysexits).
pub fn code(class: Class) -> u8 {
    match class {
        Class::Input | Class::Security | Class::Mismatch | Class::Damaged | Class::Budget | Class::Io => 2,
        Class::Cancelled => 3,
        Class::Bug => 70,
        // `Failed`, and classes that this command does not know yet.
        _ => 1,
    }
}

/// The options by which a setting of the library is changed; `None` for settings that this command
/// does not know yet.
pub fn option(setting: Setting) -> Option<&'static str> {
    Some(match setting {
        Setting::Memory => "--memory, --batch",
        Setting::Calibration => "--calibrate DATA",
        Setting::AllowInsecure => "--allow-insecure",
        Setting::Normalisation => "--mean, --std",
        Setting::Count => "--count",
        Setting::InputShape => "--input-shape C,H,W",
        Setting::Constants => "--consts FILE",
        Setting::LeaveOut => "--skip-absurd",
        _ => return None,
    })
}

/// Where the last panic was and what it said: the hook sees the place, and who catches the panic
/// only the words.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

fn last_panic() -> MutexGuard<'static, Option<String>> {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command. A panic, on whatever thread of an engine, is an error that asks for a report.
///
/// # Errors
/// Those of the command.
pub fn guarded(command: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let before = std::panic::take_hook();
    // With a backtrace, everything is printed as usual.
    let verbose = std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0");
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or("a panic without a message");
        let at = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        *last_panic() = Some(format!("{text}{at}"));
        if verbose {
            before(info);
        }
    }));
    // Nothing that the command has touched is used after a panic.
    let ended = catch_unwind(AssertUnwindSafe(command));
    let _ = std::panic::take_hook();
    ended.unwrap_or_else(|_| {
        let text = last_panic().take().unwrap_or_else(|| "a panic without a message".into());
        Err(Error::failed(format!(
            "the command broke off: {text}. This is a bug of Chiffre: please report it with this line and the command. Files that were \
             there are as before"
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_runtime::Engine;

    type Command<'a> = Box<dyn FnOnce() -> Result<(), Error> + 'a>;

    #[test]
    fn a_panic_anywhere_is_an_error_that_asks_for_a_report() {
        let engine = Engine::new().unwrap();
        let places: [(&str, Command<'_>); 2] = [
            ("the command", Box::new(|| panic!("index {} is out of range", 3))),
            ("a worker", Box::new(|| engine.install(|| panic!("index {} is out of range", 3)))),
        ];
        for (name, place) in places {
            let e = guarded(place).unwrap_err();
            assert_eq!((e.class(), code(e.class())), (Class::Failed, 1), "{name}");
            let text = e.to_string();
            assert!(text.contains("index 3 is out of range at cli/src/exit.rs:") && text.contains("please report it"), "{name}: {text}");
        }
        assert!(guarded(|| Ok(())).is_ok());
    }
}
