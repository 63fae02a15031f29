//! The commands that pages show: those of the README work one after the other, and those of all
//! pages are understood.

use crate::common::{ok, root};
use chiffre_cli::args::Cli;
use clap::Parser;

/// The commands in the indented blocks of a page, as a shell splits them.
fn commands(page: &str) -> Vec<Vec<String>> {
    let page = page.replace("\\\n", " ");
    let shown = page.lines().filter_map(|l| l.strip_prefix("    ")).filter(|l| l.starts_with("chiffre "));
    shown.map(|l| words(l.split(" # ").next().unwrap_or(l))).collect()
}

/// Words of a line with single quotes.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let mut out = vec![String::new()];
    for (i, part) in quoted {
        if i % 2 == 1 {
            out.last_mut().expect("never empty").push_str(part);
            continue;
        }
        for (k, word) in part.split(' ').enumerate() {
            if k > 0 {
                out.push(String::new());
            }
            out.last_mut().expect("never empty").push_str(word);
        }
    }
    out.retain(|w| !w.is_empty());
    out
}

#[test]
fn commands_of_all_pages_are_understood() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(std::fs::read_dir(root().join("docs")).unwrap().flatten().map(|e| e.path()));
    let mut known = 0;
    for page in pages.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        for command in commands(&std::fs::read_to_string(page).unwrap()) {
            let parsed = Cli::try_parse_from(&command);
            assert!(parsed.is_ok(), "{}: {command:?}: {}", page.display(), parsed.err().unwrap());
            known += 1;
        }
    }
    assert!(known > 20, "{known}");
}

#[test]
fn commands_of_the_readme_work() {
    let tmp = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let all = commands(&page);
    assert!(all.len() >= 5, "{all:?}");
    for command in all {
        // Files that ship are named from the root of the repository.
        let place = |a: &String| if a.starts_with("models/") { root().join(a).to_str().unwrap().to_string() } else { a.clone() };
        let arguments: Vec<String> = command[1..].iter().map(place).collect();
        ok(tmp.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert!(tmp.path().join("logits.npy").exists());
}

#[test]
fn lines_are_split_as_a_shell_does() {
    assert_eq!(
        commands("    chiffre opt a --passes='x(y, z)' -o b    # all\n    cargo run\n"),
        [["chiffre", "opt", "a", "--passes=x(y, z)", "-o", "b"]]
    );
}
