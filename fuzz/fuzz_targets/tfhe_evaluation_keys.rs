//! Evaluation keys of TFHE.
#![no_main]

chiffre_fuzz::target!(TfheEvaluationKeys);
