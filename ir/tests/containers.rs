//! Damaged and hostile containers: an error, never a panic.

use chiffre_ir::const_file;
use chiffre_ir::consts::{Array, Consts};
use chiffre_ir::container::{Dtype, Reader, Writer};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A small file of constants, as bytes.
fn sample() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.consts");
    let mut c = Consts::default();
    c.add("w", Array::new(vec![2, 3], vec![1.0, -2.0, 0.5, 0.0, 3.0, 4.0]));
    c.add("b", Array::new(vec![2], vec![0.25, -0.25]));
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
