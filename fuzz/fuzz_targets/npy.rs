//! Arrays of NumPy, as images and as logits.
#![no_main]

chiffre_fuzz::target!(Npy);
