//! Programs: verified, shown, planned, and with keys, an image, a run and its answer where that is
//! short.
#![no_main]

chiffre_fuzz::target!(Program);
