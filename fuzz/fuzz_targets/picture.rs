//! PNG and JPEG pictures.
#![no_main]

chiffre_fuzz::target!(Picture);
