//! A parameter set: dimensions, decompositions and noise of the keys.

/// A gadget decomposition: `levels` digits of `base_log` bits, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decomposition {
    /// Bits of a digit.
    pub base_log: u32,
    /// Number of digits.
    pub levels: u32,
}

/// A parameter set. Secrets are binary, noise is uniform on `[−2^b, 2^b]` with half the weight at
/// the ends (TUniform), words have 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TfheParams {
    /// Dimension n of the ciphertexts that a blind rotation takes.
    pub n: usize,
    /// Polynomials k of a secret key of the blind rotation's result.
    pub k: usize,
    /// log2 of their degree N.
    pub log_n: u32,
    /// Decomposition of the blind rotation.
    pub rotation: Decomposition,
    /// Decomposition of the keyswitch from dimension k·N to n.
    pub keyswitch: Decomposition,
    /// Noise bound `b` of ciphertexts of dimension n.
    pub lwe_bound: u32,
    /// Noise bound `b` of ciphertexts of dimension k·N.
    pub glwe_bound: u32,
    /// Keys of their own for look-ups that remove a bit; without, all look-ups use the same.
    pub removal: Option<Removal>,
}

/// Dimensions, decompositions and noise of the keys for look-ups that remove a bit. Their results
/// are under the first k·N bits of the secret key of all other ciphertexts, so that a result is one
/// of these with zeros for the rest of its mask (Bergerat et al., "New Secret Keys for Enhanced
/// Performance in (T)FHE", IACR ePrint 2023/979). Its keyswitch is from the whole secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Dimension n of the ciphertexts that the blind rotation takes.
    pub n: usize,
    /// Polynomials k of a secret key of the blind rotation's result.
    pub k: usize,
    /// log2 of their degree N.
    pub log_n: u32,
    /// Decomposition of the blind rotation.
    pub rotation: Decomposition,
    /// Decomposition of the keyswitch.
    pub keyswitch: Decomposition,
    /// Noise bound `b` of ciphertexts of dimension n.
    pub lwe_bound: u32,
    /// Noise bound `b` of the blind rotation's key.
    pub glwe_bound: u32,
}

/// Least noise bound of any ciphertext, whatever its dimension.
const LEAST_BOUND: u32 = 3;
/// The largest dimension, degree and number of digits that a set may have.
const MOST: [usize; 2] = [1 << 13, 1 << 17];

/// The noise bound that dimension `dimension` needs for 132-bit security: the fit that tfhe-rs
/// publishes for TUniform noise, binary secrets and 64-bit words (`secure_noise.rs`).
fn least_bound(dimension: usize) -> i32 {
    (-0.025_167_785 * dimension as f64 + 64.0 + 4.100_671).ceil() as i32
}

impl TfheParams {
    /// Bits of security that the noise bounds are chosen for.
    pub const SECURITY_BITS: u32 = 132;

    /// The set of these dimensions and decompositions with the least noise that is secure.
    pub fn secure(n: usize, k: usize, log_n: u32, rotation: Decomposition, keyswitch: Decomposition) -> TfheParams {
        let bound = |dimension| least_bound(dimension).max(LEAST_BOUND as i32) as u32;
        TfheParams { n, k, log_n, rotation, keyswitch, lwe_bound: bound(n), glwe_bound: bound(k << log_n), removal: None }
    }
    /// The numbers of the keys that remove bits, as those of a set without such keys; [`Self::big`]
    /// is the dimension of their results, not that of what their keyswitch takes.
    pub fn removing(&self) -> Option<TfheParams> {
        let Removal { n, k, log_n, rotation, keyswitch, lwe_bound, glwe_bound } = self.removal?;
        Some(TfheParams { n, k, log_n, rotation, keyswitch, lwe_bound, glwe_bound, removal: None })
    }
    /// The set with keys for removing bits of the numbers of another one.
    pub fn with_removal(self, keys: TfheParams) -> TfheParams {
        let TfheParams { n, k, log_n, rotation, keyswitch, lwe_bound, glwe_bound, .. } = keys;
        TfheParams { removal: Some(Removal { n, k, log_n, rotation, keyswitch, lwe_bound, glwe_bound }), ..self }
    }
    /// A set whose keys anybody can find, for tests that have to be quick.
    pub fn toy() -> TfheParams {
        let rotation = Decomposition { base_log: 15, levels: 2 };
        let keyswitch = Decomposition { base_log: 8, levels: 4 };
        TfheParams { n: 32, k: 1, log_n: 8, rotation, keyswitch, lwe_bound: 20, glwe_bound: 3, removal: None }
    }
    /// As [`Self::toy`], with keys of their own for removing bits, whose results have half the
    /// dimension.
    pub fn toy_with_removal() -> TfheParams {
        let toy = TfheParams::toy();
        TfheParams { k: 2, ..toy }.with_removal(TfheParams { n: 24, ..toy })
    }
    /// True if the noise is at least what [`TfheParams::SECURITY_BITS`] bits of security ask for.
    pub fn is_secure(&self) -> bool {
        let enough = |bound: u32, dimension| bound >= LEAST_BOUND && i64::from(bound) >= i64::from(least_bound(dimension));
        enough(self.lwe_bound, self.n)
            && enough(self.glwe_bound, self.k << self.log_n)
            && self.removing().is_none_or(|removal| removal.is_secure())
    }
    /// Polynomial degree N.
    pub fn degree(&self) -> usize {
        1 << self.log_n
    }
    /// Dimension k·N of ciphertexts between look-ups.
    pub fn big(&self) -> usize {
        self.k << self.log_n
    }
    /// Bytes of an expanded ciphertext of dimension k·N.
    pub fn ciphertext_bytes(&self) -> usize {
        8 * (self.big() + 1)
    }
    /// Bytes of the evaluation keys with public randomness as seeds.
    pub fn seeded_key_bytes(&self) -> usize {
        let of =
            |p: &TfheParams| 8 * (p.n * p.rotation.levels as usize * (p.k + 1) * p.degree() + self.big() * p.keyswitch.levels as usize);
        of(self) + self.removing().map_or(0, |p| of(&p))
    }
    /// Bytes of the evaluation keys as they are computed with.
    pub fn key_bytes(&self) -> usize {
        let rotation = |p: &TfheParams| p.n * p.rotation.levels as usize * (p.k + 1) * (p.k + 1) * p.degree();
        let of = |p: &TfheParams| 8 * (rotation(p) + self.big() * p.keyswitch.levels as usize * (p.n + 1));
        of(self) + self.removing().map_or(0, |p| of(&p))
    }
    /// Predicted time of a look-up in a table, with its keyswitch, on one thread, seconds: fitted
    /// to tfhe 1.8 on a Zen 4 core, built for any x86-64.
    pub fn lookup_seconds(&self) -> f64 {
        self.rotation_seconds() + self.keyswitch_seconds(self.big())
    }
    /// As [`Self::lookup_seconds`], of a look-up that removes a bit.
    pub fn removal_seconds(&self) -> f64 {
        self.removing().map_or(self.lookup_seconds(), |p| p.rotation_seconds() + p.keyswitch_seconds(self.big()))
    }
    /// Of the blind rotation: its transforms, `(k + 1)·(levels + 1)` of size N/2 for each of the n
    /// words, and the products of `(k + 1)·levels` transforms with the `(k + 1)` columns of a key
    /// that is read from memory.
    pub(super) fn rotation_seconds(&self) -> f64 {
        let (columns, levels, half) = (self.k + 1, self.rotation.levels as usize, self.degree() / 2);
        let transforms = (self.n * columns * (levels + 1) * half) as f64 * f64::from(self.log_n - 1);
        let products = (self.n * columns * columns * levels * half) as f64;
        BUTTERFLY * transforms + PRODUCT * products
    }
    /// Of a keyswitch from dimension `from`.
    pub(super) fn keyswitch_seconds(&self, from: usize) -> f64 {
        KEY_WORD * (from * self.keyswitch.levels as usize * (self.n + 1)) as f64
    }
    /// Predicted time of a multiplication of a ciphertext by an integer that is added to another
    /// one, seconds.
    pub fn multiply_add_seconds(&self) -> f64 {
        MULTIPLY_ADD * (self.big() + 1) as f64
    }
    /// What is wrong with the numbers, if something is: they are then of no set at all.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        let digits = |name: &str, d: Decomposition| match d {
            Decomposition { base_log: 1..=63, levels: 1..=63 } if d.base_log * d.levels <= 63 => Ok(()),
            d => Err(format!("{name}: {} digits of {} bits", d.levels, d.base_log)),
        };
        digits("the rotation's decomposition", self.rotation)?;
        digits("the keyswitch's decomposition", self.keyswitch)?;
        if !(1..=MOST[0]).contains(&self.n) || !(8..=17).contains(&self.log_n) {
            return Err(format!("n = {} and N = 2^{} are beyond what is supported", self.n, self.log_n));
        }
        if self.k == 0 || self.k > MOST[1] >> self.log_n {
            return Err(format!("k = {} polynomials of degree 2^{}", self.k, self.log_n));
        }
        if self.lwe_bound > 62 || self.glwe_bound > 62 {
            return Err(format!("noise bounds of {} and {} bits", self.lwe_bound, self.glwe_bound));
        }
        match self.removing() {
            None => Ok(()),
            Some(p) if p.k == 0 || p.log_n > self.log_n + self.k.ilog2() || p.k > self.big() >> p.log_n => Err(format!(
                "keys for removing bits of k = {} polynomials of degree 2^{}, more than the secret key of dimension {} has",
                p.k,
                p.log_n,
                self.big()
            )),
            Some(p) => p.check().map_err(|e| format!("keys for removing bits: {e}")),
        }
    }
}

/// One butterfly of a blind rotation, seconds.
const BUTTERFLY: f64 = 0.22e-9;
/// One product of a blind rotation of two complex numbers, seconds.
const PRODUCT: f64 = 0.6e-9;
/// One word of a keyswitching key, seconds.
const KEY_WORD: f64 = 0.1e-9;
/// One word of a multiplication by an integer, seconds.
const MULTIPLY_ADD: f64 = 0.31e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_published_sets() {
        for (dimension, bound) in [(879, 46), (918, 45), (1077, 41), (1117, 40), (2048, 17)] {
            assert_eq!(least_bound(dimension), bound, "{dimension}");
        }
        let d = |base_log, levels| Decomposition { base_log, levels };
        let set = TfheParams::secure(1077, 1, 13, d(15, 2), d(4, 5));
        assert_eq!((set.lwe_bound, set.glwe_bound), (41, 3));
        assert!(set.is_secure() && set.check().is_ok());
        assert!(!TfheParams { lwe_bound: 40, ..set }.is_secure() && !TfheParams::toy().is_secure());
        assert!(TfheParams::toy().check().is_ok());
    }

    #[test]
    fn sets_that_are_none_are_refused() {
        let toy = TfheParams::toy();
        let digits = Decomposition { base_log: 32, levels: 2 };
        for bad in [
            TfheParams { n: 0, ..toy },
            TfheParams { k: 0, ..toy },
            TfheParams { k: 1 << 12, ..toy },
            TfheParams { log_n: 40, ..toy },
            TfheParams { rotation: digits, ..toy },
            TfheParams { keyswitch: digits, ..toy },
            TfheParams { glwe_bound: 63, ..toy },
            toy.with_removal(TfheParams { k: 2, ..toy }),
            toy.with_removal(TfheParams { log_n: 9, ..toy }),
            toy.with_removal(TfheParams { n: 0, ..toy }),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_of_the_study() {
        let d = |base_log, levels| Decomposition { base_log, levels };
        let set = TfheParams::secure(918, 1, 11, d(23, 1), d(4, 4));
        let mib = |bytes: usize| (bytes as f64 / f64::from(1 << 20)).round() as usize;
        assert_eq!((mib(set.seeded_key_bytes()), mib(set.key_bytes())), (29, 115));
        let both = set.with_removal(set);
        assert_eq!((both.seeded_key_bytes(), both.key_bytes()), (2 * set.seeded_key_bytes(), 2 * set.key_bytes()));
        assert!(both.is_secure() && !both.with_removal(TfheParams { lwe_bound: 44, ..set }).is_secure());
    }
}
