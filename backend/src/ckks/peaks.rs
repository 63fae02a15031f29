//! Predicted peaks of memory of all commands on a program: what `memory` is for a run.
//!
//! Each is the sum of what is held to the end and what the worst moment adds, in the order of
//! execution of the client and of the server.

use super::work::outline;
use crate::memory::MemoryPlan;
use chiffre_ir::graph::Node;
use chiffre_ir::program::{Prog, Program, ProgramOp, with_gaps};

/// What is done with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Keys are made.
    Keygen,
    /// So many images run in the clear, part of the program long, before they are encrypted.
    Screen {
        /// Images.
        images: usize,
        /// Bytes of slots that are live at the worst moment.
        slots: usize,
    },
    /// So many images are encrypted.
    Encrypt(usize),
    /// Keys are expanded, and stored with what else a server prepares.
    Prepare,
    /// The program runs on so many encrypted images.
    Run(usize),
    /// The answers for so many images are decrypted.
    Decrypt(usize),
}

/// Predicted peak of a process that does this on so many threads, bytes.
pub fn peak(p: &Program, task: Task, threads: usize) -> usize {
    let plan = |images: usize| outline(p, images).memory();
    match task {
        Task::Keygen => held(p) + keygen(p, threads),
        Task::Screen { images, slots } => held(p) + pictures(p, images) + slots,
        Task::Encrypt(images) => held(p) + encrypt(p, images),
        Task::Decrypt(images) => held(p) + decrypt(p, images),
        Task::Prepare => MemoryPlan { working: 0, input: 0, ..plan(1) }.peak(),
        Task::Run(images) => plan(images).peak(),
    }
}

/// Bytes of a process that has a ring and no kernels at work: code, threads, buffers of files.
const CLIENT_BYTES: usize = 24 << 20;
/// Words of the tables of a prime, in units of the ring degree.
const TABLE_WORDS: usize = 3;

/// The process, the tables of its ring, and the program as it is loaded, without its prepared form.
fn held(p: &Program) -> usize {
    let h = &p.header;
    CLIENT_BYTES + TABLE_WORDS * (h.q.len() + h.p.len()) * (8 << h.log_n) + outline(p, 1).constants / 2
}

fn rows(p: &Program, count: usize) -> usize {
    with_gaps(count << (p.header.log_n + 3), p.header.log_n)
}

/// All keys in seeded form, and the uniform half of one on each thread.
fn keygen(p: &Program, threads: usize) -> usize {
    let keys = p.keys();
    let largest = keys.iter().map(|(_, gadget)| gadget.rows()).max().unwrap_or(0);
    with_gaps(p.key_bytes() / 2, p.header.log_n) + rows(p, largest * threads.min(keys.len()))
}

/// Images as they are read.
fn pictures(p: &Program, images: usize) -> usize {
    let inputs = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {}));
    inputs.map(|n| n.ty.layout.shape.iter().product::<usize>() * size_of::<f32>() * images).sum()
}

/// All ciphertexts in seeded form, the images, the slots of one unit, and a plaintext in work.
fn encrypt(p: &Program, images: usize) -> usize {
    let inputs = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {}));
    let one = |n: &Node<Prog>| {
        let l = &n.ty.layout;
        let slots = l.unit_cts() << (p.header.log_n + 3);
        rows(p, l.unit_cts() * l.units_for(images) * n.ty.limbs + 3 * n.ty.limbs) + slots
    };
    pictures(p, images) + inputs.map(one).sum::<usize>()
}

/// All ciphertexts, and of one unit the bytes of the file or the slots.
fn decrypt(p: &Program, images: usize) -> usize {
    let one = |n: &Node<Prog>| {
        let l = &n.ty.layout;
        let unit = 2 * l.unit_cts() * n.ty.limbs;
        let slots = l.unit_cts() << (p.header.log_n + 3);
        rows(p, unit * l.units_for(images)) + slots.max(unit << (p.header.log_n + 3))
    };
    p.outputs.iter().map(|o| one(&p.nodes[o.index()])).sum()
}
