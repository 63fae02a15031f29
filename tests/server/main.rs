//! The server half as a library: bits, steps, stops, prepared state.

mod bits;
mod case;
mod runs;
mod stored;

use case::Case;
use chiffre_runtime::Engine;

/// Squares in the ring whose bits are pinned.
fn squares() -> Case {
    Case::squares_on(Engine::new().unwrap(), 10)
}

/// Series and bootstraps.
fn series() -> Case {
    Case::series_on(Engine::new().unwrap())
}
