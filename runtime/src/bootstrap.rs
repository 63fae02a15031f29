//! The bootstrap of a program in the library's terms.

use chiffre_ckks::bootstrap::{BootstrapSpec, FactorSpec};
use chiffre_ckks::keys::KeyTarget;
use chiffre_ckks::ring::{Gadget, Galois};
use chiffre_ir::program::{Bootstrap, KeyUse};

/// The library's parameters for a program's bootstrap, complex slots.
pub fn spec_of(b: &Bootstrap, log_n: usize) -> BootstrapSpec {
    let factors = |list: &[[usize; 2]]| list.iter().map(|&[k, babies]| FactorSpec { log_radix: k as u32, babies }).collect();
    BootstrapSpec {
        log_n: log_n as u32,
        limbs: b.gadget[0],
        alpha: b.gadget[1],
        low_alpha: b.low_gadget[1],
        slots_to_coeffs: factors(&b.s2c),
        coeffs_to_slots: factors(&b.c2s),
        range: b.bound,
        degree: b.degree,
        doublings: b.doublings,
        weight: b.weight,
        real_only: false,
    }
}

/// What a key of a program is for, in the library's terms.
pub fn target_of(u: KeyUse, log_n: u32) -> KeyTarget {
    let rotation = |r: usize| Galois::rotation(r as isize, log_n);
    match u {
        KeyUse::Relin => KeyTarget::Relinearization,
        KeyUse::Conjugate => Galois::conjugation(log_n).into(),
        KeyUse::Rotate(r) => rotation(r).into(),
        KeyUse::ToSparse => KeyTarget::DenseToSparse,
        KeyUse::FromSparse(r) => KeyTarget::SparseToDense(rotation(r)),
    }
}

/// The keys of a bootstrap whose key shapes are chosen, in a program's terms.
pub fn keys_of(b: &Bootstrap, log_n: usize) -> Vec<(KeyUse, [usize; 2])> {
    let spec = spec_of(b, log_n);
    let (log_n, slots) = (spec.log_n, 1usize << (log_n - 1));
    let conjugation: KeyTarget = Galois::conjugation(log_n).into();
    // Rotations by number; the library names them by their exponents.
    let offsets: std::collections::HashMap<Galois, usize> = (0..slots).map(|r| (Galois::rotation(r as isize, log_n), r)).collect();
    let offset = |g: &Galois| offsets.get(g).copied().unwrap_or(0);
    let of = |(target, gadget): (KeyTarget, Gadget)| {
        let u = match target {
            KeyTarget::Relinearization => KeyUse::Relin,
            KeyTarget::DenseToSparse => KeyUse::ToSparse,
            KeyTarget::SparseToDense(g) => KeyUse::FromSparse(offset(&g)),
            t if t == conjugation => KeyUse::Conjugate,
            KeyTarget::Galois(g) => KeyUse::Rotate(offset(&g)),
        };
        (u, [gadget.limbs, gadget.alpha])
    };
    spec.keys().into_iter().map(of).collect()
}
