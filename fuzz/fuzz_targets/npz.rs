//! Archives of NumPy's arrays.
#![no_main]

chiffre_fuzz::target!(Npz);
