//! Every kernel on every instruction set, bit by bit against slow 128-bit arithmetic.
