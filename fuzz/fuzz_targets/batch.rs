//! Encrypted batches, which run.
#![no_main]

chiffre_fuzz::target!(Batch);
