//! The layers of the crate and the files of each folder: what lies above may use what lies below,
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Top modules from the bottom up.
const LAYERS: [&str; 14] = [
    // numbers, kernels on limbs, polynomials, and what they run on
    "arithmetic",
    "simd",
    "ring",
    "engine",
    // what is stored and sent
    "seed",
    "plaintext",
    "encode",
    "context",
    "ciphertext",
    "keys",
    // what is computed
    "bundle",
    "polynomial",
    "bootstrap",
    "evaluator",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files: path below `src` and code without comments.
fn files() -> BTreeMap<PathBuf, String> {
    let (mut out, mut todo) = (BTreeMap::new(), vec![source()]);
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()) {
            if entry.is_dir() {
                todo.push(entry);
            } else if entry.extension().is_some_and(|x| x == "rs") {
                let text = std::fs::read_to_string(&entry).expect("a file");
                let code = text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
                out.insert(entry.strip_prefix(source()).expect("below src").to_path_buf(), code);
            }
        }
    }
    out
}

/// The names behind every `path` in `code`: `a` for `path::a::b`, `a` and `b` for
/// `path::{a, b::c}`.
fn names_behind(code: &str, path: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(path) {
        let longer = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &code[at + path.len()..];
        if longer {
            continue;
        }
        let word = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(list) = rest.strip_prefix('{') {
            let (mut depth, mut item) = (0, String::new());
            for c in list.chars() {
                match c {
                    '}' if depth == 0 => break,
                    ',' if depth == 0 => names.extend([word(&std::mem::take(&mut item))]),
                    _ => {
                        depth += i32::from(c == '{') - i32::from(c == '}');
                        item.push(c);
                    }
                }
            }
            names.insert(word(&item));
        } else {
            names.insert(word(rest));
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

fn top_module(file: &Path) -> String {
    file.components().next().expect("a name").as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
}

#[test]
fn layers_use_what_lies_below_them() {
    let height = |module: &str| LAYERS.iter().position(|l| *l == module);
    for (file, code) in files() {
        let module = top_module(&file);
        if module == "lib" {
            continue;
        }
        let own = height(&module).unwrap_or_else(|| panic!("{module} has no layer"));
        for used in names_behind(&code, "crate::") {
            // What is no layer is a module of numbers from another crate.
            if let Some(other) = height(&used) {
                assert!(other <= own, "{}: {module} lies below {used}", file.display());
            } else {
                assert!(["scale", "noise", "params", "security"].contains(&used.as_str()), "{}: {used} has no layer", file.display());
            }
        }
    }
}

/// In each folder the files that a file uses, itself or through what the folder's `mod.rs` shows of
/// them.
fn uses(folder: &Path, files: &BTreeMap<PathBuf, String>) -> BTreeMap<String, BTreeSet<String>> {
    let inside: BTreeMap<String, &String> = files
        .iter()
        .filter(|(path, _)| path.parent() == Some(folder))
        .map(|(path, code)| (path.file_stem().expect("a name").to_string_lossy().to_string(), code))
        .filter(|(name, _)| name != "tests")
        .collect();
    let mut home: BTreeMap<String, String> = inside.keys().map(|name| (name.clone(), name.clone())).collect();
    for name in inside.keys().filter(|n| *n != "mod") {
        for shown in inside["mod"].split(';').filter(|s| s.contains("use ")) {
            home.extend(names_behind(shown, &format!("{name}::")).into_iter().map(|item| (item, name.clone())));
        }
    }
    let edges = |(name, code): (&String, &&String)| {
        // A `tests` module at the end looks through one `super` more, at the file itself.
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let mut used: BTreeSet<String> =
            names_behind(code, "super::").iter().map(|n| home.get(n).cloned().unwrap_or("mod".into())).collect();
        used.remove(name);
        (name.clone(), used)
    };
    inside.iter().filter(|(name, _)| *name != "mod").map(edges).collect()
}

#[test]
fn files_of_a_folder_use_each_other_one_way() {
    let files = files();
    let folders: BTreeSet<&Path> = files.keys().filter_map(|f| f.parent()).filter(|f| !f.as_os_str().is_empty()).collect();
    let mut edges = 0;
    for folder in folders {
        let mut left = uses(folder, &files);
        edges += left.values().map(BTreeSet::len).sum::<usize>();
        // Files that use no file that is left go, until none is left.
        loop {
            let names: BTreeSet<String> = left.keys().cloned().collect();
            let before = left.len();
            left.retain(|_, used| used.iter().any(|u| names.contains(u)));
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        assert!(left.is_empty(), "a circle among {left:?} in {}", folder.display());
    }
    assert!(edges > 50, "{edges} uses were found: the sources are read in another way than they are written");
}
