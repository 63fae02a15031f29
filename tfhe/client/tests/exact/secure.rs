//! Runs under parameters that are searched and secure.

use crate::{encrypted, network};
use chiffre_backend::tfhe::{demand, read_deviations};
use chiffre_ir::quant::{QuantGraph, run_integers};
use chiffre_params::tfhe::{Decomposition, TfheParams, find};
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

/// Results of look-ups have the noise that parameters are chosen by: neither more, nor so little
/// that a formula is for something else. An approximate program may be decrypted to its noise.
#[test]
fn look_ups_have_the_predicted_noise() {
    let d = |levels, base_log| Decomposition { base_log, levels };
    for params in [
        TfheParams::secure(800, 1, 11, d(1, 22), d(7, 2)),
        TfheParams::secure(800, 1, 11, d(2, 12), d(7, 2)),
        TfheParams::secure(800, 4, 9, d(1, 23), d(3, 4)),
        TfheParams::secure(760, 2, 10, d(1, 21), d(4, 3)),
    ] {
        let text = "quant @t {
            const @t : i64[1x4] = [0, 1, 2, 3]
            %0 = input : int<bits=4 range=0..15 scale=1.0> 64
            %1 = round %0 {slack=1} : int<bits=2 range=0..3 scale=4.0> 64
            %2 = lookup %1 {table=@t, flip=3} : int<bits=16 range=0..3 scale=4.0> 64
            return %2
        }";
        let mut graph: QuantGraph = chiffre_ir::text::parse(text).unwrap_or_else(|e| panic!("{e}"));
        graph.header.params = Some(params);
        let predicted = read_deviations(&graph, &params).unwrap()[2];
        let file = chiffre_ir::quant::file::QuantFile::in_memory(graph, [].into()).unwrap();
        let s = Arc::new(Session::new(file, false).unwrap());
        // The middle of entry 1.
        let found = encrypted(&s, &[4.0; 256], 4);
        let squares: f64 = found[0].iter().map(|x| ((x - 1) as f64).powi(2)).sum();
        let measured = (squares / 256.0).sqrt();
        assert!(predicted > 1.0 && (0.7..1.2).contains(&(measured / predicted)), "{params:?}: {measured}, predicted {predicted}");
    }
}
