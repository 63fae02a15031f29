//! Damaged and hostile containers: an error, never a panic.

mod common;

use chiffre_ir::const_file;
use chiffre_ir::consts::{Array, Consts};
use chiffre_ir::container::{Dtype, Reader, Writer};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A small file of constants, as bytes.
fn sample() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.consts");
    let mut c = Consts::default();
    c.add("w", Array::new(vec![2, 3], vec![1.0, -2.0, 0.5, 0.0, 3.0, 4.0]));
    c.add("b", Array::new(vec![2], vec![0.25, -0.25]));
    c.add_data("d", Array::new(vec![2], vec![0.1f64, -1e300]));
    c.add_data("i", Array::new(vec![1, 2], vec![i64::MIN, 7]));
    c.add_table("t", common::Rng(7).table());
    const_file::save(&path, &c).unwrap();
    std::fs::read(&path).unwrap()
}

fn opens(bytes: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let program = chiffre_ir::program::file::load(file.path());
    assert!(program.is_err(), "this is no program");
    const_file::load(file.path(), &BTreeSet::new()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_are_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), how in 0usize..3) {
        let good = sample();
        prop_assert!(opens(&good));
        let mut bytes = good.clone();
        match how {
            0 => { let i = at.index(bytes.len()); bytes[i] = byte; }
            1 => bytes.truncate(cut.index(bytes.len())),
            _ => bytes.insert(at.index(bytes.len()), byte),
        }
        prop_assert!(bytes == good || !opens(&bytes));
    }

    #[test]
    fn any_header_is_survived(header in "[\\[\\]{}\",:0-9a-zA-Z_.]{0,200}", tail in proptest::collection::vec(any::<u8>(), 0..64), len in any::<u64>()) {
        for n in [header.len() as u64, len] {
            let bytes = [&n.to_le_bytes()[..], header.as_bytes(), &tail].concat();
            prop_assert!(!opens(&bytes));
        }
    }

    /// Well-formed files whose program text is anything.
    #[test]
    fn any_program_text_is_survived(text in ".{0,300}") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.chf");
        let meta = BTreeMap::from([("program".to_string(), format!("program @p {text}"))]);
        let mut w = Writer::create(&path, "program", meta, &[("x".to_string(), Dtype::U8, vec![1])]).unwrap();
        w.tensor("x", &[0]).unwrap();
        w.finish().unwrap();
        prop_assert!(Reader::open(&path, "program").is_ok());
        let e = chiffre_ir::program::file::load(&path).unwrap_err();
        prop_assert!(e.is_content());
    }
}

/// Changes the tensors of a table's part: element type, extents and bytes.
type Change<'a> = dyn Fn(&str, &mut Dtype, &mut Vec<usize>, &mut Vec<u8>) + 'a;

/// Constants of every kind in a container, whose tensors are then changed: the container's own
/// digest is right.
fn changed(consts: &Consts, change: &Change) -> Result<const_file::Store, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.consts");
    const_file::save(&path, consts).unwrap();
    let mut r = Reader::open(&path, const_file::KIND).unwrap();
    let tensors: Vec<_> = r.tensors().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
    let mut parts = vec![];
    for (name, t) in tensors {
        let (mut dtype, mut shape) = (t.dtype, t.shape.iter().map(|&d| d as usize).collect::<Vec<_>>());
        let mut bytes = r.read(&name, dtype, &shape).unwrap();
        change(name.split_once('.').map_or("", |(_, part)| part), &mut dtype, &mut shape, &mut bytes);
        parts.push((name, dtype, shape, bytes));
    }
    sealed(&path, &parts);
    let wanted = consts.iter().map(|(_, c)| c.hash).collect();
    const_file::load(&path, &wanted).map_err(|e| e.to_string())
}

/// A file of these tensors with a digest that fits them.
fn sealed(path: &Path, parts: &[(String, Dtype, Vec<usize>, Vec<u8>)]) {
    let list: Vec<_> = parts.iter().map(|(n, d, s, _)| (n.clone(), *d, s.clone())).collect();
    let mut w = Writer::create(path, const_file::KIND, BTreeMap::new(), &list).unwrap();
    parts.iter().for_each(|(n, _, _, b)| w.tensor(n, b).unwrap());
    w.finish().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn constants_of_every_kind_come_back(seed in any::<u64>()) {
        let mut r = common::Rng(seed);
        let mut c = Consts::default();
        for i in 0..4 {
            c.add_data(&format!("c{i}"), r.data());
        }
        let store = changed(&c, &|_, _, _, _| ()).unwrap();
        prop_assert_eq!(store, c.store());
    }

    /// Behind the container's digest: tensors that make no table, or another one than the name
    /// says.
    #[test]
    fn changed_tables_are_refused(seed in any::<u64>(), part in 0usize..6, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut c = Consts::default();
        c.add_table("t", common::Rng(seed).table());
        let name = ["entries", "masks", "rows", "sizes", "taps", "weights"][part];
        let hit = std::cell::Cell::new(false);
        let result = changed(&c, &|n, _, _, bytes| {
            if n == name && !bytes.is_empty() {
                let i = at.index(bytes.len());
                bytes[i] ^= 1 << bit;
                hit.set(true);
            }
        });
        prop_assert_eq!(result.is_err(), hit.get());
    }
}

#[test]
fn hostile_tables_are_refused() {
    let mut c = Consts::default();
    c.add_table("t", common::Rng(7).table());
    let err = |f: &Change| changed(&c, f).unwrap_err();
    let sizes = |at: usize, value: u32| {
        err(&|n, _, _, b| {
            if n == "sizes" {
                b[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
            }
        })
    };
    for (message, want) in [
        (sizes(0, 0), "a table of 0 outputs"),
        (sizes(0, u32::MAX), "a table of 4294967295 outputs"),
        (sizes(1, 3), "masks of 3 slots"),
        (sizes(1, 1 << 31), "masks must be words of zeros and ones"),
        (
            err(&|n, d, _, _| {
                if n == "entries" {
                    *d = Dtype::F32
                }
            }),
            "`entries` is F32",
        ),
        (
            err(&|n, _, s, _| {
                if n == "rows" {
                    s.reverse()
                }
            }),
            "`rows` is U32 [3, ",
        ),
        (
            err(&|n, d, s, b| {
                if n == "weights" {
                    (*d, *s) = (Dtype::U8, vec![b.len()])
                }
            }),
            "`weights` is U8",
        ),
    ] {
        assert!(message.contains(want), "{message}");
    }
}
