//! ONNX import for Chiffre: from a model file to the tensor IR.
#![forbid(unsafe_code)]
