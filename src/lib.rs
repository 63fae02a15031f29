//! Chiffre.
