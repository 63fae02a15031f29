//! What all fuzz targets of files have in common: an allocator with a limit, changes that follow
//! the grammar of a kind of file and make its digest right, and the reader with its oracle.
#![forbid(unsafe_code)]

pub use cap::Cap;
pub use chiffre_hostile::Kind;
pub use libfuzzer_sys;

use chiffre_hostile::{allowance, faulty, forge, read, reseal};
use chiffre_testing::{Part, Rng, Sealed};
use libfuzzer_sys::fuzzer_mutate;
use std::alloc::System;

/// One change in so many is libFuzzer's own, which knows what the reader has compared.
const OWN: usize = 3;

/// The target of a kind of files: its allocator, its mutator and its oracle.
#[macro_export]
macro_rules! target {
    ($kind:ident) => {
        #[global_allocator]
        static MEMORY: $crate::Cap<std::alloc::System> = $crate::Cap::new(std::alloc::System, usize::MAX);

        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate($crate::Kind::$kind, data, size, max_size, seed)
        });

        $crate::libfuzzer_sys::fuzz_target!(|file: &[u8]| $crate::run($crate::Kind::$kind, file, &MEMORY));
    };
}

/// Reads a file, as it is and with the digest that fits it. Ends the process at a panic, at an
/// error that no file may lead to, and at an allocation beyond what the reader may take.
pub fn run(kind: Kind, file: &[u8], memory: &Cap<System>) {
    let one = |file: &[u8]| {
        let most = memory.allocated() + allowance(kind, file.len());
        memory.set_limit(most).expect("more than is taken");
        let read = read(kind, file);
        memory.set_limit(usize::MAX).expect("no limit");
        if let Err(e) = read {
            assert!(!faulty(&e), "{e}");
        }
    };
    match reseal(file) {
        Some(sealed) if kind.is_container() => one(&sealed),
        _ => one(file),
    }
}

/// Changes a file within its buffer, and returns its new size.
pub fn mutate(kind: Kind, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = Rng::new(u64::from(seed));
    let changed = match rng.below(OWN) {
        0 if kind.is_container() => part(&data[..size], &mut rng),
        0 => None,
        _ => Some(forge(kind, &data[..size], &mut rng)),
    };
    match changed {
        Some(file) if !file.is_empty() && file.len() <= max_size => {
            data[..file.len()].copy_from_slice(&file);
            file.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// A container of which libFuzzer has changed a part.
fn part(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut sealed = Sealed::parse(file)?;
    match sealed.part(rng)? {
        Part::Text(text) => *text = String::from_utf8_lossy(&by_fuzzer(text.as_bytes(), text.len() + 64)).into_owned(),
        Part::Bytes(bytes) => {
            let length = bytes.len();
            *bytes = by_fuzzer(bytes, length);
            bytes.resize(length, 0);
        }
    }
    sealed.to_bytes().ok()
}

fn by_fuzzer(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(most.max(1), 0);
    let size = fuzzer_mutate(&mut buffer, bytes.len(), most.max(1));
    buffer.truncate(size);
    buffer
}
