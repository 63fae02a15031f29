//! Images encrypted for TFHE.
#![no_main]

chiffre_fuzz::target!(TfheBatch);
