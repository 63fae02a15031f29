//! The server half as a library: bits, steps, stops, prepared state.

mod bits;
mod case;
mod runs;
mod stored;
