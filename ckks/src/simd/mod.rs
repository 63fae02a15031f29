//! The only module with `unsafe`: memory in huge pages and vector kernels.
//!
//! Every kernel is written once over the `Lanes` vocabulary (eight 64-bit words at a time, 52-bit
//! multiply-accumulate, Montgomery reduction with `R = 2^52`) and compiled for each instruction
//! set: portable, with AVX-512 IFMA instructions, and for AVX2 and NEON, which have no wide
//! multiply, with exact products in double precision (`doubles`, written once over the `Quad`
//! vocabulary of four words). All give equal bits.
//!
//! **Invariants**
//! * Residues are in `[0, q)`, `q < 2^50`, on entry and exit of every public kernel.
//! * Kernels check lengths once on entry; loops inside are unchecked.
#![allow(unsafe_code)]
// Kernels index several arrays of lanes with one counter; iterator adaptors would be closures (see
// `lanes`).
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod block;
mod buffer;
mod columns;
mod convert;
mod doubles;
mod elementwise;
mod field;
mod hoist;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod lanes;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod ntt;
mod panel;
mod quad;
mod rotated;
mod rows;
mod shape;
mod sums;
mod switch;
mod symmetric;
mod tensor;

pub use buffer::Buffer;
pub use columns::{interleave_into, split_columns, transpose_into};
pub use convert::{TargetGroup, convert_group, mod_down_tail, overflow};
pub use elementwise::{
    add_assign, automorphism_into, mul_add_assign, mul_assign, mul_constant_add_assign, mul_constant_assign, mul_into, neg_assign,
    sub_assign,
};
pub use hoist::{HoistedLimb, HoistedLimbs, HoistedTap, Weights, hoisted_windows, rotated_product_add};
pub use memory::MemoryUse;
pub(crate) use memory::{Memory, enter};
pub use ntt::{NttPlan, RealPlan};
pub use panel::{InputLimbs, LimbPanel, PanelRow, TapRows, linear_windows};
pub use rotated::{RotatedProduct, RotatedRow, rotated_product_sum, rotated_row_sum};
pub use rows::LimbWords;
pub use shape::{OutputClass, PanelShape, WINDOW, expand_pattern, largest};
pub use sums::{
    LimbMultiple, LimbProduct, LimbProducts, LimbSum, LimbTerm, LimbTerms, LimbVector, MAX_TERMS, key_sum, product_sum, split_halves,
};
pub use switch::key_inner_product;
pub use symmetric::fold_symmetric;
pub use tensor::{pair_product_tensor, product_tensor};

use lanes::{Kernel, Portable};
use quad::{PortableQuad, QuadKernel};

/// The instruction set that kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Portable code, the reference.
    Scalar,
    /// AVX2 with fused multiply-add of doubles.
    Avx2,
    /// AVX-512 with 52-bit integer multiply-add.
    Avx512Ifma,
    /// NEON, the vectors of 64-bit ARM.
    Neon,
}

impl Isa {
    /// All of them, of each processor slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512Ifma, Self::Neon];

    /// The best instruction set of this machine.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }

    /// The instruction set of the [engine](crate::engine) whose thread this is, or
    /// [`Self::detect`].
    pub fn current() -> Self {
        memory::current_isa().unwrap_or_else(Self::detect)
    }

    /// All instruction sets of this machine, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Its name, which [`str::parse`] takes in any case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Ifma => "avx512",
            Self::Neon => "neon",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2"),
            Self::Avx512Ifma => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512ifma")
            }
            Self::Neon => false,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Avx2 | Self::Avx512Ifma => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_available(self) -> bool {
        self == Self::Scalar
    }

    /// Whether kernels with many accumulators pay: there are registers for them.
    fn is_wide(self) -> bool {
        self == Self::Avx512Ifma && self.is_available()
    }

    /// Whether vectors of doubles with fused multiply-add are the fastest that it has.
    fn has_doubles(self) -> bool {
        matches!(self, Self::Avx2 | Self::Neon) && self.is_available()
    }

    /// Runs a kernel with this instruction set, or with portable code where the machine lacks it.
    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        if self.is_available() {
            match self {
                Self::Scalar => {}
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the features were detected.
                Self::Avx2 => return unsafe { x86::run_avx2(kernel) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the features were detected.
                Self::Avx512Ifma => return unsafe { x86::run_ifma(kernel) },
                #[cfg(target_arch = "aarch64")]
                // SAFETY: the features were detected.
                Self::Neon => return unsafe { arm::run_neon(kernel) },
                _ => {}
            }
        }
        kernel.run(Portable)
    }

    /// As [`Self::run`] for kernels of doubles, with portable code where this is not a set for
    /// them.
    #[inline]
    fn run_quads<K: QuadKernel>(self, kernel: K) {
        if self.has_doubles() {
            match self {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the features were detected.
                Self::Avx2 => return unsafe { x86::run_quads_avx2(kernel) },
                #[cfg(target_arch = "aarch64")]
                // SAFETY: the features were detected.
                Self::Neon => return unsafe { arm::run_quads_neon(kernel) },
                _ => {}
            }
        }
        kernel.run(PortableQuad);
    }
}

/// A text that is the name of no instruction set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no instruction set `{0}`; there are {names}", names = Isa::ALL.map(Isa::name).join(", "))]
pub struct UnknownIsa(pub String);

impl std::str::FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(text: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.into_iter().find(|isa| text.eq_ignore_ascii_case(isa.name())).ok_or_else(|| UnknownIsa(text.into()))
    }
}

/// Functions with the features of x86-64 processors.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::avx2::Avx2;
    use super::doubles::Doubles;
    use super::ifma::Ifma;
    use super::lanes::Kernel;
    use super::quad::QuadKernel;

    #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
    pub fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: this function has the features that the token stands for.
        kernel.run(Doubles(unsafe { Avx2::assume() }))
    }

    #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
    pub fn run_quads_avx2<K: QuadKernel>(kernel: K) {
        // SAFETY: this function has the features that the token stands for.
        kernel.run(unsafe { Avx2::assume() });
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma,bmi1,bmi2")]
    pub fn run_ifma<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: this function has the features that the token stands for.
        kernel.run(unsafe { Ifma::assume() })
    }
}

/// Functions with the features of 64-bit ARM processors.
#[cfg(target_arch = "aarch64")]
mod arm {
    use super::doubles::Doubles;
    use super::lanes::Kernel;
    use super::neon::Neon;
    use super::quad::QuadKernel;

    #[target_feature(enable = "neon")]
    pub fn run_neon<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: this function has the features that the token stands for.
        kernel.run(Doubles(unsafe { Neon::assume() }))
    }

    #[target_feature(enable = "neon")]
    pub fn run_quads_neon<K: QuadKernel>(kernel: K) {
        // SAFETY: this function has the features that the token stands for.
        kernel.run(unsafe { Neon::assume() });
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vocabulary;
