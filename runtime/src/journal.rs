//! The journal of a run on ciphertexts: [`chiffre_ir::journal`] with pairs of polynomials as
//! values. Nothing in it is secret from the server.

use crate::words::{poly_bytes, polys_from_bytes};
use chiffre_ckks::ciphertext::check_poly;
use chiffre_ckks::ring::{Ring, RnsPoly};
use chiffre_ir::container::{ContainerError, Dtype, Reader};
use chiffre_ir::journal::{self, Codec};

pub use journal::{Key, directory, is_held};

/// Values are blocks of ciphertexts: each a tensor `[2, limbs, N]` of residues below their moduli.
#[derive(Debug)]
pub enum Ciphertexts {}

impl Codec for Ciphertexts {
    type Value = Vec<[RnsPoly; 2]>;
    type Context = Ring;
    /// Number of ciphertexts, and of limbs.
    type Shape = [usize; 2];

    fn tensors(value: &Vec<[RnsPoly; 2]>) -> Vec<Vec<usize>> {
        value.iter().map(|c| vec![2, c[0].rows(), c[0].n()]).collect()
    }
    fn bytes(value: &Vec<[RnsPoly; 2]>, tensor: usize) -> Vec<u8> {
        poly_bytes(&value[tensor])
    }
    fn read(
        r: &mut Reader,
        ring: &Ring,
        [count, limbs]: [usize; 2],
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<[RnsPoly; 2]>, ContainerError> {
        if r.tensors().len() != count {
            return Err(r.error(format!("{} ciphertexts, expected {count}", r.tensors().len())));
        }
        let mut cts = vec![];
        for i in 0..count {
            let bytes = r.read(&name(i), Dtype::U64, &[2, limbs, ring.n()])?;
            let polys = polys_from_bytes(&bytes, ring.n(), limbs, 2);
            for p in &polys {
                check_poly(ring, p, limbs, 0).map_err(|e| r.error(format!("ciphertext {i}: {e}")))?;
            }
            cts.push(<[RnsPoly; 2]>::try_from(polys).map_err(|_| r.error("not two polynomials"))?);
        }
        Ok(cts)
    }
}

/// The folder of a run in progress.
pub type Journal = journal::Journal<Ciphertexts>;
/// What opening a journal found.
pub type Opened = journal::Opened<Ciphertexts>;
/// Where an interrupted run goes on.
pub type Resume = journal::Resume<Ciphertexts>;
/// Number of ciphertexts and limbs of each live value.
pub type Shapes = journal::Shapes<Ciphertexts>;

#[cfg(test)]
mod tests {
    use super::*;
    use chiffre_ckks::ring::primes::ntt_primes_below;
    use std::collections::BTreeMap;

    fn ring() -> Ring {
        Ring::new(6, &ntt_primes_below(49, 6, 3, &[]).expect("primes"), &[]).expect("ring")
    }

    fn live(step: usize) -> Option<Shapes> {
        (step < 2).then(|| (0..step).map(|v| ((v, 0), [2, 3])).collect())
    }

    fn value(first: u64) -> Vec<[RnsPoly; 2]> {
        let poly = |k: u64| {
            let mut p = RnsPoly::new_zero(64, 3);
            (0..3).for_each(|row| p.row_mut(row).iter_mut().zip(first + k..).for_each(|(w, x)| *w = x));
            p
        };
        vec![[poly(0), poly(1000)], [poly(2000), poly(3000)]]
    }

    #[test]
    fn ciphertexts_come_back_and_residues_out_of_range_are_damage() {
        let tmp = tempfile::tempdir().expect("folder");
        let dir = tmp.path().join("run");
        let open = || Journal::open(&dir, &ring(), BTreeMap::new(), live).expect("opens");
        let good = value(5);
        open().journal.commit(1, [((0, 0), &good)]).expect("commits");
        let resumed = open().resume.expect("a run to go on with");
        assert!(resumed.step == 1 && resumed.values[&(0, 0)] == good);
        let mut bad = value(5);
        bad[0][1].row_mut(0)[5] = ring().moduli()[0].q();
        std::fs::remove_dir_all(&dir).expect("removed");
        open().journal.commit(1, [((0, 0), &bad)]).expect("commits");
        let Opened { resume, warning, .. } = open();
        assert!(resume.is_none() && warning.expect("a warning").contains("not below its modulus"));
    }

    #[test]
    fn blocks_of_another_size_are_damage() {
        for shape in [[3, 3], [2, 2]] {
            let tmp = tempfile::tempdir().expect("folder");
            let dir = tmp.path().join("run");
            let good = value(5);
            Journal::open(&dir, &ring(), BTreeMap::new(), live).expect("opens").journal.commit(1, [((0, 0), &good)]).expect("commits");
            let other = move |step| live(step).map(|m| m.into_keys().map(|k| (k, shape)).collect());
            let o = Journal::open(&dir, &ring(), BTreeMap::new(), other).expect("opens");
            assert!(o.resume.is_none() && o.warning.is_some_and(|w| w.contains("expected")));
        }
    }
}
