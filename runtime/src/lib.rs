//! Executes Chiffre programs: the client half and the server half.
#![forbid(unsafe_code)]
