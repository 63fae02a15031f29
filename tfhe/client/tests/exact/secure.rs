//! Runs under parameters that are searched and secure.

use crate::{encrypted, network};
use chiffre_backend::tfhe::demand;
use chiffre_ir::quant::run_integers;
use chiffre_params::tfhe::find;
use chiffre_tfhe::Session;
use std::sync::Arc;

/// A network with sums of nine bits, of which five are removed under keys of their own, and sixteen
/// entries in its table.
#[test]
fn a_network_under_secure_parameters() {
    let mut graph = network();
    let found = find(&demand(&graph, 40.0).unwrap()).unwrap();
    assert!(found.params.removal.is_some(), "{found:?}");
    graph.header.params = Some(found.params);
    let file = chiffre_ir::quant::file::QuantFile::in_memory(graph, [].into()).unwrap();
    let s = Arc::new(Session::new(file, false).unwrap());
    assert!(s.params().is_secure());
    let images: Vec<f32> = (0..4 * 2).map(|i| (i * 7 % 16) as f32).collect();
    let clear = run_integers(s.program(), &images, 2).unwrap();
    assert_eq!(encrypted(&s, &images, 2), clear);
}
