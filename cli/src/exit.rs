//! How a failure is shown: the options that change what the library's settings are, and the exit
//! code: 0 for success, else the class of the failure (`docs/errors.md`).

use chiffre::{Class, Error, Setting};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
        _ => return None,
    })
}

/// Runs a command; a panic is a bug.
///
/// # Errors
/// Those of the command.
pub fn guarded(command: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    // Nothing that the command has touched is used after a panic.
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::bug(text.unwrap_or("a panic without a message")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug() {
        let e = guarded(|| panic!("index {} is out of range", 3)).unwrap_err();
        assert_eq!((e.class(), code(e.class())), (Class::Bug, 70));
        assert!(e.to_string().starts_with("index 3 is out of range (a bug"), "{e}");
        assert!(guarded(|| Ok(())).is_ok());
    }
}
