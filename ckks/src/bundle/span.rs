//! Spans: pieces of a limb that are one task each.

use crate::ring::GaloisTable;

/// Words of a limb in one task: small enough that the source windows of neighbouring rotations stay
/// in cache.
const SPAN: usize = 1024;

/// Words of a limb of degree `n` in one task; all of one half of the limb.
pub(crate) fn span_of(n: usize) -> usize {
    SPAN.min(n / 2)
}

/// The order in which spans of a limb are computed: along the orbits of one automorphism, so that
/// the source words of rotations by small multiples of it are still in cache.
pub(crate) fn span_order(n: usize, table: Option<&GaloisTable>) -> Vec<usize> {
    let span = span_of(n);
    let Some(table) = table else { return (0..n / span).collect() };
    let mut seen = vec![false; n / span];
    let mut order = Vec::with_capacity(n / span);
    for first in 0..n / span {
        let mut s = first;
        while !std::mem::replace(&mut seen[s], true) {
            order.push(s);
            s = table.source_start(s * span / 8) / span;
        }
    }
    order
}
