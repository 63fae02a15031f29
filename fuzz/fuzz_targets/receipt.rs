//! Receipts, by which answers are decrypted.
#![no_main]

chiffre_fuzz::target!(Receipt);
