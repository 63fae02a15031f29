//! Evaluation keys, with which a batch runs.
#![no_main]

chiffre_fuzz::target!(EvaluationKeys);
