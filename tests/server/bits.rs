//! Encrypted answers under fixed keys and fixed randomness: their bits do not change.

use super::case::{Case, SERIES, SQUARES, bits};
use super::{series, squares};
use chiffre_runtime::server::Server;

fn answer(case: &Case) -> String {
    bits(&Server::new(case.session.clone(), case.keys(), 0).unwrap().run(case.batch.clone()).unwrap())
}

#[test]
fn linear_maps_products_and_merges_keep_their_bits() {
    assert_eq!(answer(&squares()), SQUARES);
}

#[test]
fn series_and_bootstraps_keep_their_bits() {
    assert_eq!(answer(&series()), SERIES);
}
