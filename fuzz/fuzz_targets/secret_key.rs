//! Secret keys, which encrypt and decrypt.
#![no_main]

chiffre_fuzz::target!(SecretKey);
