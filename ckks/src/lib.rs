//! RNS-CKKS homomorphic encryption on tfhe-ntt, with kernels for batched convolutions.

pub mod ring;
pub mod simd;
