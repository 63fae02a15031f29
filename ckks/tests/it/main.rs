//! Tests of the public interface: what a client and a server can do with it.

mod bootstrap;
mod bundle;
mod evaluator;
mod laws;
mod oracle;
mod pinned;
mod polynomial;
mod programs;
mod reference;
