//! The server half as a library: bits, steps, stops.

mod bits;
mod case;
mod runs;
