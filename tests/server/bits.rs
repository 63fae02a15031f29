//! Encrypted answers under fixed keys and fixed randomness: their bits do not change.

use super::case::{Case, SERIES, SQUARES, bits};
use chiffre_ckks::engine::Engine;
use chiffre_runtime::server::Server;

fn answer(case: &Case) -> String {
    bits(&Server::new(case.session.clone(), case.keys(), 0).unwrap().run(case.batch.clone()).unwrap())
}

#[test]
fn linear_maps_products_and_merges_keep_their_bits() {
    assert_eq!(answer(&Case::squares()), SQUARES);
}

#[test]
fn series_and_bootstraps_keep_their_bits() {
    assert_eq!(answer(&Case::series_on(Engine::new().unwrap())), SERIES);
}
