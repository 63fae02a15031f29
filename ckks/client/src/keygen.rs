//! Key generation.

use rayon::prelude::*;
use zeroize::Zeroize;

use chiffre_ckks::context::Context;
use chiffre_ckks::keys::{KeyTarget, PublicKey, SeededSwitchingKey};
use chiffre_ckks::params::ParamsError;
use chiffre_ckks::ring::{Gadget, Galois, GaloisTable, RnsPoly, limb};
use chiffre_ckks::seed::{Seed, uniform_poly};

use crate::sample::Csprng;
use crate::secret::{SecretKey, small_poly};

/// Hamming weight of ephemeral sparse secrets (Bossuat, Troncoso-Pastoriza and Hubaux 2022, §5).
pub const DEFAULT_SPARSE_WEIGHT: usize = 32;

/// Makes the public and evaluation keys of one secret.
pub struct KeyGenerator<'a> {
    context: &'a Context,
    secret: &'a SecretKey,
    rng: Csprng,
    sparse_weight: usize,
}

impl<'a> KeyGenerator<'a> {
    /// A generator that draws seeds and noise from `rng`.
    pub fn new(context: &'a Context, secret: &'a SecretKey, rng: Csprng) -> Self {
        Self { context, secret, rng, sparse_weight: DEFAULT_SPARSE_WEIGHT }
    }

    /// The same generator with another Hamming weight of ephemeral sparse secrets.
    ///
    /// # Panics
    /// If the weight is 0 or more than N/2.
    #[must_use]
    pub fn with_sparse_weight(mut self, weight: usize) -> Self {
        assert!((1..=self.context.slots()).contains(&weight));
        self.sparse_weight = weight;
        self
    }

    /// A public encryption key.
    pub fn public_key(&mut self) -> PublicKey {
        let ring = self.context.ring();
        let seed = self.rng.seed();
        let mut noise = self.rng.fork();
        let mut a = uniform_poly(ring, &seed, 0, ring.q_count(), 0);
        let mut b = gaussian_poly(self.context, &mut noise, ring.q_count(), 0);
        b.par_iter_mut().zip(a.par_iter_mut()).enumerate().for_each(|(i, (b, a))| {
            limb::mul_assign(&ring.moduli()[i], a, self.secret.ntt().row(i));
            limb::sub_assign(&ring.moduli()[i], b, a);
        });
        PublicKey::from_parts(ring, seed, b).expect("made for this ring")
    }

    /// The key for the automorphism `galois`, for ciphertexts of at most `gadget.limbs` limbs.
    ///
    /// # Errors
    /// [`ParamsError::Gadget`] if the gadget does not fit the chain.
    pub fn galois_key(&mut self, galois: Galois, gadget: Gadget) -> Result<SeededSwitchingKey, ParamsError> {
        self.switching_key(galois.into(), gadget)
    }

    /// The relinearisation key for ciphertexts of at most `gadget.limbs` limbs.
    ///
    /// # Errors
    /// [`ParamsError::Gadget`] if the gadget does not fit the chain.
    pub fn relinearization_key(&mut self, gadget: Gadget) -> Result<SeededSwitchingKey, ParamsError> {
        self.switching_key(KeyTarget::Relinearization, gadget)
    }

    /// The key for `target`.
    ///
    /// # Errors
    /// As [`switching_keys`](Self::switching_keys).
    pub fn switching_key(&mut self, target: KeyTarget, gadget: Gadget) -> Result<SeededSwitchingKey, ParamsError> {
        Ok(self.switching_keys(&[(target, gadget)])?.swap_remove(0))
    }

    /// Several keys in parallel; the result is in the order of `targets`, and the same as one by
    /// one.
    ///
    /// Keys to and from a sparse secret belong together: they share a fresh secret that nothing
    /// keeps.
    ///
    /// # Errors
    /// [`ParamsError::Gadget`] if a gadget does not fit the chain; what
    /// [`CkksParams::check_sparse_keys`](chiffre_ckks::params::CkksParams::check_sparse_keys)
    /// refuses.
    pub fn switching_keys(&mut self, targets: &[(KeyTarget, Gadget)]) -> Result<Vec<SeededSwitchingKey>, ParamsError> {
        Ok(self.switching_keys_while(targets, &|| true)?.expect("nothing ends it"))
    }

    /// As [`switching_keys`](Self::switching_keys), while `go_on` says so: it is asked before every
    /// key, on any thread. `None` where it has ended the work.
    ///
    /// # Errors
    /// As [`switching_keys`](Self::switching_keys).
    pub fn switching_keys_while(
        &mut self,
        targets: &[(KeyTarget, Gadget)],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<SeededSwitchingKey>>, ParamsError> {
        for (_, gadget) in targets {
            self.context.params().check_gadget(*gadget)?;
        }
        self.context.params().check_sparse_keys(targets, self.sparse_weight)?;
        let jobs: Vec<_> = targets.iter().map(|&(target, gadget)| (target, gadget, self.rng.seed(), self.rng.fork())).collect();
        let sparse = targets
            .iter()
            .any(|(target, _)| *target == KeyTarget::DenseToSparse)
            .then(|| SecretKey::generate_sparse(self.context, &mut self.rng.fork(), self.sparse_weight));
        let this = &*self;
        let build = |(target, gadget, seed, noise)| go_on().then(|| this.build(target, gadget, sparse.as_ref(), seed, noise));
        Ok(jobs.into_par_iter().map(build).collect())
    }

    /// `b_d = e_d − a_d·s + P·g_d·s'` for every digit d; s is the sparse secret for the key to it.
    fn build(&self, target: KeyTarget, gadget: Gadget, sparse: Option<&SecretKey>, seed: Seed, mut noise: Csprng) -> SeededSwitchingKey {
        let ring = self.context.ring();
        let dense = self.secret.ntt();
        let sparse = sparse.map_or(dense, SecretKey::ntt);
        let secret = if target == KeyTarget::DenseToSparse { sparse } else { dense };
        let table = target.galois().map(|g| GaloisTable::new(g, ring.log_n()));
        let back = matches!(target, KeyTarget::SparseToDense(_));
        let special = &ring.moduli()[ring.q_count()..][..if back { 1 } else { gadget.alpha }];
        let b = (0..target.digits(gadget))
            .map(|d| {
                let digit = if back { 0..gadget.rows() } else { gadget.digit(d, gadget.limbs) };
                let mut a = uniform_poly(ring, &seed, d as u32, gadget.limbs, gadget.alpha);
                let mut b = gaussian_poly(self.context, &mut noise, gadget.limbs, gadget.alpha);
                b.par_iter_mut().zip(a.par_iter_mut()).enumerate().for_each(|(row, (b, a))| {
                    let index = ring.modulus_index(row, gadget.limbs);
                    let m = &ring.moduli()[index];
                    let s = secret.row(index);
                    limb::mul_assign(m, a, s);
                    limb::sub_assign(m, b, a);
                    if digit.contains(&row) {
                        // The row of `a` is free now: it takes s'.
                        match (target, &table) {
                            (KeyTarget::DenseToSparse, _) => a.copy_from_slice(dense.row(index)),
                            (KeyTarget::SparseToDense(_), Some(table)) => limb::automorphism_into(table, sparse.row(index), a),
                            (_, Some(table)) => limb::automorphism_into(table, s, a),
                            (_, None) => limb::mul_into(m, s, s, a),
                        }
                        let p = special.iter().fold(1, |p, special| m.mul(p, m.reduce(special.q())));
                        limb::mul_scalar_add_assign(m, b, a, p);
                    }
                });
                a.zeroize();
                b
            })
            .collect();
        SeededSwitchingKey::from_parts(ring, gadget, target, seed, b).expect("made for this ring")
    }
}

/// A noise polynomial in NTT order: `limbs` Q rows, then `specials` P rows.
pub(crate) fn gaussian_poly(context: &Context, rng: &mut Csprng, limbs: usize, specials: usize) -> RnsPoly {
    let mut e = zeroize::Zeroizing::new(vec![0i8; context.ring().n()]);
    rng.fill_gaussian(&mut e);
    small_poly(context.ring(), &e, limbs, specials)
}
