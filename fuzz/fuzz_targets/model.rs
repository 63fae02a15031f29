//! ONNX models, imported.
#![no_main]

chiffre_fuzz::target!(Model);
