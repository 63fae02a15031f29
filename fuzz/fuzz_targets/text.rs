//! Texts of any level: an error with a place, or a graph that prints and reads back and survives
//! its verifier.
#![no_main]

use chiffre_ir::level::AnyGraph;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match AnyGraph::parse(text) {
        Err(e) => assert!(e.line > 0 && e.column > 0),
        Ok((g, map)) => {
            let printed = g.print(0);
            assert_eq!(AnyGraph::parse(&printed).map(|(g, _)| g.print(0)), Ok(printed));
            if let Err(e) = g.verify() {
                map.locate(&e);
            }
        }
    }
});
