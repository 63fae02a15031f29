//! Files of an interrupted run, which goes on.
#![no_main]

chiffre_fuzz::target!(Journal);
