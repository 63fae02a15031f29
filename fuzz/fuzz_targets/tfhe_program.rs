//! Programs for TFHE, which run in the clear.
#![no_main]

chiffre_fuzz::target!(TfheProgram);
