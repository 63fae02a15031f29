//! RNS-CKKS homomorphic encryption on tfhe-ntt, with kernels for batched convolutions.
