//! Intermediate representations of Chiffre: types, text form, verifiers, clear interpreters, program container.
#![forbid(unsafe_code)]
