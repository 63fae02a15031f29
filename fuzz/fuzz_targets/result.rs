//! Encrypted answers, decrypted.
#![no_main]

chiffre_fuzz::target!(Result);
