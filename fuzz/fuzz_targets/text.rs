//! Texts of any level: an error with a place, or a graph that prints and reads back and survives
//! its verifier.
#![no_main]

chiffre_fuzz::target!(Text);
