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

use chiffre_ckks::Isa;

/// The instruction set of tests that need one only: the best that there is, or the one that
/// `CHIFFRE_ISA` names.
fn isa() -> Isa {
    match std::env::var("CHIFFRE_ISA") {
        Ok(name) => name.parse().unwrap_or_else(|e| panic!("CHIFFRE_ISA: {e}")),
        Err(_) => Isa::detect(),
    }
}
