//! Predicted peaks of memory of all commands on a program: what `memory` is for a run.
//!
//! Each is the sum of what is held to the end and what the worst moment adds, in the order of
//! execution of the client and of the server.

use super::work::outline;
use crate::memory::{MemoryPlan, constant_bytes};
use chiffre_ir::graph::Node;
use chiffre_ir::program::{Prog, Program, ProgramOp, with_gaps};
use std::collections::BTreeSet;

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
    /// So many images are encrypted with canaries, which run in the clear before.
    Canary(usize),
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
        Task::Canary(images) => held(p) + clear(p, images).max(encrypt(p, (images + canaries(p, images)).min(p.header.batch))),
        Task::Decrypt(images) => held(p) + decrypt(p, images),
        Task::Prepare => MemoryPlan { working: 0, weights: 0, input: 0, ..plan(1) }.peak(),
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

/// Canaries beside so many images: one in each unit of the fewest images that share ciphertexts.
fn canaries(p: &Program, images: usize) -> usize {
    images.div_ceil(p.fewest_together().map_or(1, |unit| unit - 1))
}

/// Complex slots of all values that are live while canaries, and what fits beside them, go through
/// the program in the clear; a copy of what is in work, and of the table that is rounded.
fn clear(p: &Program, images: usize) -> usize {
    let count = canaries(p, images);
    let inputs = p.nodes.iter().filter(|n| matches!(n.op, ProgramOp::Input {}));
    let most = inputs.map(|n| n.ty.layout.units_for(count.min(p.header.batch)) * n.ty.layout.unit_batch()).max();
    let run = most.unwrap_or(1).max(count + 3).min(p.header.batch);
    let bytes = |v: usize| {
        let l = &p.nodes[v].ty.layout;
        (l.unit_cts() * l.units_for(run)) << (p.header.log_n + 3)
    };
    let mut last = vec![0; p.nodes.len()];
    p.nodes.iter().enumerate().for_each(|(v, n)| n.args.iter().for_each(|a| last[a.index()] = v));
    p.outputs.iter().for_each(|o| last[o.index()] = usize::MAX);
    let (mut live, mut most) = (0, 0);
    for (v, n) in p.nodes.iter().enumerate() {
        let ending: BTreeSet<usize> = n.args.iter().map(|a| a.index()).filter(|&a| last[a] == v).collect();
        let freed: usize = ending.into_iter().map(bytes).sum();
        // A series copies its operand; others end theirs before the result is copied to be
        // rescaled.
        most = most.max(match &n.op {
            ProgramOp::Chebyshev { .. } | ProgramOp::Refresh { .. } => live + 2 * bytes(v),
            _ => (live + bytes(v)).max(live - freed + 2 * bytes(v)),
        });
        live = live + bytes(v) - freed;
    }
    let table = p.consts.iter().map(|(_, c)| constant_bytes(&c.ty)).max().unwrap_or(0);
    most + table
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
