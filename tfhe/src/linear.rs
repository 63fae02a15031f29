//! Linear maps: exact sums of ciphertexts with integer weights, on raw words.

use chiffre_ir::graph::ValueId;
use chiffre_ir::quant::{QuantGraph, Terms};
use pulp::{Arch, NullaryFnOnce};

/// Adds `weight` times `ciphertext` to `sum`, with the instructions that the processor has.
fn multiply_add(sum: &mut [u64], weight: u64, ciphertext: &[u64]) {
    Arch::new().dispatch(MultiplyAdd { sum, weight, ciphertext });
}

struct MultiplyAdd<'a> {
    sum: &'a mut [u64],
    weight: u64,
    ciphertext: &'a [u64],
}

impl NullaryFnOnce for MultiplyAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.sum.iter_mut().zip(self.ciphertext).for_each(|(s, c)| *s = s.wrapping_add(self.weight.wrapping_mul(*c)));
    }
}

/// Computes the ciphertext of element `i` of the value `v`, of which `terms` are the sums, from the
/// ciphertexts of its operands, each `[elements, words]`.
pub(crate) fn element(g: &QuantGraph, v: ValueId, terms: &Terms<'_>, operands: &[&[u64]], i: usize, sum: &mut [u64]) {
    let bits = g.ty(v).bits;
    sum.fill(0);
    terms.each(i, |t| {
        // An operand of more bits is at a smaller scale: the shift makes up for it, and drops what
        // is beyond the modulus of the result.
        let lost = g.ty(g.node(v).args[t.operand]).bits - bits;
        let at = t.element * sum.len();
        let ciphertext = &operands[t.operand][at..at + sum.len()];
        multiply_add(sum, (t.weight as u64) << lost, ciphertext);
    });
    if let Some(body) = sum.last_mut() {
        *body = body.wrapping_add((terms.bias(i) as u64) << (63 - bits));
    }
}
