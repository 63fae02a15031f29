//! The table of operators in the README, made from the page of the conformance tests.

use std::collections::BTreeMap;

const BEGIN: &str = "<!-- made from docs/onnx-support.md by tests/docs.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Cases of one operator alone that pass and that are refused.
fn operators(page: &str) -> BTreeMap<&str, [usize; 2]> {
    let mut out = BTreeMap::new();
    for line in page.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
        let [name, pass, refused, reason] = cells[..] else { continue };
        // Training, and operators of other domains.
        let foreign = reason.contains("names no opset");
        let count = |s: &str| if s.is_empty() { Ok(0) } else { s.parse() };
        if let (Ok(pass), Ok(refused), false, true) = (count(pass), count(refused), foreign, name.chars().all(char::is_alphanumeric)) {
            out.insert(name, [pass, refused]);
        }
    }
    out
}

/// A text with its table as the page says.
pub fn filled(text: &str, page: &str) -> String {
    let all = operators(page);
    let list = |f: &dyn Fn([usize; 2]) -> bool| {
        let names: Vec<&str> = all.iter().filter(|(_, n)| f(**n)).map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let table = [
        "| ONNX backend tests | operators |".to_string(),
        "|---|---|".into(),
        format!("| all cases | {} |", list(&|[pass, refused]| pass > 0 && refused == 0)),
        format!("| some, others mix the images of a batch or such | {} |", list(&|[pass, refused]| pass > 0 && refused > 0)),
        format!("| refused | {} |", list(&|[pass, _]| pass == 0)),
    ];
    let (head, rest) = text.split_once(BEGIN).expect("there is a place for the table");
    let (_, tail) = rest.split_once(END).expect("the table ends");
    format!("{head}{BEGIN}\n{}\n\n{END}{tail}", table.join("\n"))
}

/// A page with one of each kind.
#[test]
fn every_kind_has_its_row() {
    let page = "| operators of the case | pass | refused | most common reason |\n|---|---|---|---|\n| Abs | 1 |  |  |\n| Abs+Add | 1 |  |  |\n\
                | Adam |  | 2 | the file names no opset |\n| GRU |  | 6 | this operator is not supported |\n| Slice | 2 | 6 | slicing the batch |\n";
    let text = filled(&format!("a\n{BEGIN}old\n{END}b\n"), page);
    assert!(text.contains("| all cases | Abs |") && text.contains("| Slice |") && text.contains("| refused | GRU |"), "{text}");
    assert!(text.starts_with("a\n") && text.ends_with("b\n") && !text.contains("old") && !text.contains("Adam"));
}
