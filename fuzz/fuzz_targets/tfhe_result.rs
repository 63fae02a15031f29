//! Answers encrypted under TFHE.
#![no_main]

chiffre_fuzz::target!(TfheResult);
