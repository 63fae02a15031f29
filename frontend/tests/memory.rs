//! A few bytes of a file cannot ask for memory without bound: all constants that the importer makes
//! share one budget.

mod common;

use cap::Cap;
use common::{Onnx, error, int_tensor, ints, tensor_attr};
use std::alloc::System;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1 << 20;

/// The error of a small file, which must come before it has taken much memory.
fn refused(what: &str, file: &Onnx) -> String {
    let bytes = file.bytes();
    assert!(bytes.len() < 16 << 10, "{what}: the file has {} bytes", bytes.len());
    let before = MEMORY.allocated();
    MEMORY.set_limit(before + 320 * MIB).expect("the limit is above what is taken");
    let message = error(&bytes);
    MEMORY.set_limit(usize::MAX).expect("no limit");
    println!("{what}: {message}");
    message
}

/// One test, so that nothing else of the process counts.
#[test]
fn small_files_take_little_memory() {
    let base = || Onnx::new(17, &[0, 3, 6, 6]);
    let add = |o: Onnx| o.node("Add", "x c", "y", &[]);
    let one = |n: i64| tensor_attr("value", &int_tensor("one", &[1], &[n]));
    // One constant of 2^30 integers, of 2^26, and many of 2^22.
    for (extents, most) in [([1 << 15, 1 << 15], "67108864"), ([1 << 13, 1 << 13], "4194304")] {
        let o = base().int64("s", &extents).node("ConstantOfShape", "s", "c", &[one(1)]);
        let message = refused("an array of integers", &add(o));
        assert!(message.contains(most) && message.contains("(ConstantOfShape)"), "{message}");
    }
    let mut many = base().int64("s", &[1 << 11, 1 << 11]);
    for k in 0..40 {
        many = many.node("ConstantOfShape", "s", &format!("c{k}"), &[one(k)]);
    }
    let message = refused("many arrays of integers", &many.node("Add", "x c0", "y", &[]));
    assert!(message.contains("take too much memory") && message.contains("(ConstantOfShape)"), "{message}");
    // A constant that stays one number until it is computed with, and one that is expanded.
    let o = base().int64("s", &[1 << 13, 1 << 13]).floats("two", &[1, 2], &[1.0, 2.0]);
    let o = o.node("ConstantOfShape", "s", "u", &[]).node("Expand", "two wide", "e", &[]).int64("wide", &[1 << 24, 2]);
    let message = refused("an expansion", &add(o.node("Add", "u e", "c", &[])));
    assert!(message.contains("(Expand)") && message.contains("4194304"), "{message}");
    let o = base().int64("s", &[1 << 13, 1 << 13]).node("ConstantOfShape", "s", "u", &[]);
    let o = o.node("Transpose", "u", "t", &[ints("perm", &[1, 0])]).floats("two", &[1 << 13], &vec![0.5; 1 << 11][..]);
    let message = refused("a transposition of one number", &add(o.node("Concat", "t t", "c", &[common::int("axis", 0)])));
    assert!(message.contains("4194304"), "{message}");
}
