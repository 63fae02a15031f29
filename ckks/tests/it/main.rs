//! Tests of the public interface: what a client and a server can do with it, and what a server cannot.

mod laws;
mod oracle;
mod programs;
mod separation;
