//! Prepared state, with which a batch runs.
#![no_main]

chiffre_fuzz::target!(Prepared);
