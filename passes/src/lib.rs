//! Passes of the Chiffre compiler: everything that changes a graph.
#![forbid(unsafe_code)]
