//! The shape of the repository: dependency direction, unsafe code, secrets, file length, leftovers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut out = vec![];
    let mut todo: Vec<PathBuf> =
        ["src", "tests", "cli", "params", "frontend", "ir", "passes", "ckks", "backend", "runtime", "tfhe", "python", "integrations"]
            .iter()
            .map(|d| root().join(d))
            .collect();
    while let Some(d) = todo.pop() {
        for e in std::fs::read_dir(&d).unwrap().flatten() {
            let p = e.path();
            if p.is_dir() && !p.ends_with("python/target") {
                todo.push(p);
            } else if p.extension().is_some_and(|x| x == "rs") {
                let text = std::fs::read_to_string(&p).unwrap();
                out.push((p.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    out.sort();
    out
}

/// Chiffre crates and the libraries that only one crate may name, in a crate's ordinary
/// dependencies.
fn dependencies(krate: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
    let t: toml::Table = text.parse().unwrap();
    t["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("params", &[][..]),
        ("ir", &["chiffre-params"][..]),
        ("ckks", &["chiffre-params"][..]),
        ("ckks/client", &["chiffre-ckks"][..]),
        ("frontend", &["chiffre-ir"][..]),
        ("passes", &["chiffre-params", "chiffre-ir", "chiffre-backend"][..]),
        ("backend", &["chiffre-params", "chiffre-ir"][..]),
        ("runtime", &["chiffre-params", "chiffre-ir", "chiffre-ckks"][..]),
        ("runtime/client", &["chiffre-ir", "chiffre-ckks", "chiffre-ckks-client", "chiffre-runtime"][..]),
        ("tfhe", &["chiffre-params", "chiffre-ir", "chiffre-backend"][..]),
        ("tfhe/client", &["chiffre-params", "chiffre-ir", "chiffre-tfhe"][..]),
    ]);
    for (krate, allowed) in allowed {
        let deps = dependencies(krate);
        for d in deps.iter().filter(|d| d.starts_with("chiffre-")) {
            assert!(allowed.contains(&d.as_str()), "{krate} depends on {d}");
        }
        assert_eq!(deps.contains(&"tract-onnx".into()), krate == "frontend", "tract belongs to the frontend");
        assert_eq!(deps.contains(&"egg".into()), krate == "passes", "egg belongs to the passes");
        assert_eq!(deps.contains(&"tfhe-ntt".into()), krate == "ckks", "tfhe-ntt belongs to ckks");
        assert_eq!(deps.contains(&"tfhe".into()), krate.starts_with("tfhe"), "tfhe belongs to the two crates of that target");
    }
    // Who embeds the library gets no command line with it.
    for krate in [".", "params", "frontend", "ir", "passes", "ckks", "backend", "runtime", "tfhe"] {
        for d in ["chiffre-cli", "clap", "indicatif", "tracing-subscriber"] {
            assert!(!dependencies(krate).contains(&d.into()), "{krate} depends on {d}");
        }
    }
}

/// The word that a line defines, with its keyword, if it is a definition.
fn defined(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let line =
        line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
    let line = line.strip_prefix("const fn ").map_or(line, |_| &line["const ".len()..]);
    let (keyword, rest) = line.split_once(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    ["struct", "enum", "type", "const", "fn"].contains(&keyword).then_some((keyword, &rest[..end]))
}

/// What `params` says is said nowhere else (`docs/adr/0015-one-crate-of-numbers.md`).
#[test]
fn facts_have_one_home() {
    assert_eq!(defined("    pub const fn series_depth(degree: usize) -> usize {"), Some(("fn", "series_depth")));
    let types = [
        "Scale",
        "ScaleOver",
        "IndexedScale",
        "PrimeIndex",
        "Gadget",
        "Galois",
        "KeyTarget",
        "KeyUse",
        "Bootstrap",
        "BootstrapSpec",
        "BootstrapWish",
        "FactorSpec",
        "FactorPlan",
        "EvalMod",
        "NoiseModel",
        "CkksParams",
        "Counts",
        "MAX_DIGITS",
        "DiagTable",
        "TableLiteral",
        "TableType",
    ];
    let functions = [
        "series_depth",
        "coefficients_depth",
        "reduction_depth",
        "is_prime",
        "ntt_primes_below",
        "log2_tail",
        "security_bits",
        "smallest_range",
        "choose_reduction",
        "spec_of",
        "target_of",
        "keys_of",
    ];
    let mut homes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, text) in sources().iter().filter(|(p, _)| !p.ends_with("tests/structure.rs")) {
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            if let Some((keyword, word)) = defined(line)
                && if keyword == "fn" { functions.contains(&word) } else { types.contains(&word) }
            {
                homes.entry(word.to_string()).or_default().push(path.clone());
            }
            let array_for_gadget = line.to_lowercase().contains("gadget") && line.contains("[usize; 2]");
            assert!(path.starts_with("params") || !array_for_gadget || path.ends_with("ir/src/ops.rs"), "{}: {line}", path.display());
        }
    }
    for (word, homes) in &homes {
        assert!(homes.iter().all(|p| p.starts_with("params/src")), "{word} is defined in {homes:?}");
    }
    for word in ["ScaleOver", "Gadget", "KeyTarget", "BootstrapSpec", "Counts", "DiagTable", "series_depth", "reduction_depth"] {
        assert!(homes.contains_key(word), "{word} has moved: say its new name here");
    }
    // Numbers of the security table, and the gap between rows.
    for number in ["1747.0", "137 * 64"] {
        let named = sources().into_iter().filter(|(p, t)| p.components().any(|c| c.as_os_str() == "src") && t.contains(number));
        assert!(named.map(|(p, _)| p).all(|p| p.starts_with("params")), "{number}");
    }
}

#[test]
fn foreign_libraries_stay_behind_one_place() {
    let count = |needle: &str| {
        sources().iter().filter(|(p, t)| !p.starts_with("tests") && t.contains(needle)).map(|(p, _)| p.clone()).collect::<Vec<_>>()
    };
    assert_eq!(count("use tfhe_ntt"), [PathBuf::from("ckks/src/ring/ntt.rs")]);
    assert_eq!(count("use tfhe_fft"), [PathBuf::from("tfhe/src/rotation.rs")]);
    assert_eq!(count("tfhe::core_crypto"), ["tfhe/client/src/engine.rs", "tfhe/src/engine.rs"].map(PathBuf::from));
    let egg = count("egg::");
    assert!(!egg.is_empty() && egg.iter().all(|p| p.starts_with("passes/src/algebra")), "{egg:?}");
    let tract = count("tract_onnx::");
    assert!(tract.len() <= 3 && tract.iter().all(|p| p.starts_with("frontend")), "{tract:?}");
}

/// Secrets are types of `chiffre-ckks-client` and `chiffre-tfhe-client`. What compiles programs or
/// computes on ciphertexts does not depend on them, nor on the data owner's half, so that the
/// compiler refuses code there that names a secret.
#[test]
fn only_the_client_names_secrets() {
    for krate in ["params", "ir", "ckks", "passes", "backend", "frontend", "runtime", "tfhe"] {
        let deps = dependencies(krate);
        for client in ["chiffre-ckks-client", "chiffre-client", "chiffre-tfhe-client"] {
            assert!(!deps.contains(&client.into()), "{krate} can name secrets: it depends on {client}");
        }
    }
    // The library `tfhe` has both halves, so that the compiler refuses nothing there.
    let halves = sources().into_iter().filter(|(p, _)| p.starts_with("tfhe"));
    let (client, server): (Vec<_>, Vec<_>) = halves.partition(|(p, _)| p.starts_with("tfhe/client"));
    let secrets = ["SecretKey", "SecretRandomGenerator", "EncryptionRandomGenerator", "encrypt_", "decrypt_lwe", "generate_"];
    let names = |text: &str, word: &str| text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(word));
    for word in secrets {
        assert!(server.iter().all(|(_, text)| !names(text, word)), "{word}: the server half of TFHE names it");
    }
    assert!(["SecretKey", "generate_"].iter().all(|word| client.iter().any(|(_, text)| names(text, word))), "words of a client half");
}

/// The library `tfhe` takes minutes to compile and has a licence of its own: nothing links it but
/// the feature that is named after it.
#[test]
fn the_tfhe_library_is_linked_on_demand_only() {
    let read = |path: &str| -> toml::Table { std::fs::read_to_string(root().join(path)).unwrap().parse().unwrap() };
    for krate in ["tfhe", "tfhe/client"] {
        let manifest = read(&format!("{krate}/Cargo.toml"));
        assert_eq!(manifest["dependencies"]["tfhe"]["optional"].as_bool(), Some(true), "{krate}");
        assert!(manifest["features"].get("default").is_none(), "{krate}");
    }
    let cli = read("cli/Cargo.toml");
    assert!(cli["features"].get("default").is_none());
    for krate in ["chiffre-tfhe", "chiffre-tfhe-client"] {
        assert_eq!(cli["dependencies"][krate]["optional"].as_bool(), Some(true), "{krate}");
    }
}

#[test]
fn unsafe_code_is_in_simd_and_justified() {
    for (path, text) in sources()
        .iter()
        .filter(|(p, _)| p.starts_with("ckks/src") || p.starts_with("runtime/src") || p.starts_with("ir/src") || p.starts_with("tfhe"))
    {
        let code = text
            .lines()
            .filter(|l| !l.trim_start().starts_with("//"))
            .filter(|l| l.contains("unsafe {") || l.contains("unsafe fn") || l.contains("unsafe impl"))
            .count();
        assert!(code == 0 || path.starts_with("ckks/src/simd"), "{} has unsafe code", path.display());
    }
}

#[test]
fn files_are_small_and_finished() {
    for (path, text) in sources() {
        assert!(text.lines().count() <= 800, "{} has {} lines", path.display(), text.lines().count());
        if path.ends_with("tests/structure.rs") {
            continue;
        }
        for left in ["todo!(", "unimplemented!(", "dbg!("] {
            assert!(!text.contains(left), "{}: {left}", path.display());
        }
    }
}

/// Tests that return early say so through `chiffre-testing`, so that `.ci/run` lists them.
#[test]
fn tests_are_skipped_in_one_place() {
    for (path, text) in sources() {
        if path.starts_with("tests/support") || path.ends_with("tests/structure.rs") {
            continue;
        }
        for own in ["\"../shared", "\"../../shared", "\"skipped:", "CHIFFRE_SLOW\"", "#[ignore"] {
            assert!(!text.contains(own), "{} has {own}: chiffre_testing::{{shared, slow, skip}} record what is skipped", path.display());
        }
    }
}

/// The Python package is a workspace of its own, which inherits neither profiles nor the lock.
#[test]
fn the_python_package_is_built_like_the_rest() {
    let read = |path: &str| -> toml::Table { std::fs::read_to_string(root().join(path)).unwrap().parse().unwrap() };
    assert_eq!(read("python/Cargo.toml")["profile"], read("Cargo.toml")["profile"]);
    let versions = |path: &str| {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for p in read(path)["package"].as_array().unwrap() {
            all.entry(p["name"].as_str().unwrap().into()).or_default().push(p["version"].as_str().unwrap().into());
        }
        all
    };
    let (ours, theirs) = (versions("Cargo.lock"), versions("python/Cargo.lock"));
    let of_ours = |name: &String| ours.get(name).cloned().unwrap_or_default();
    let others: Vec<_> =
        theirs.iter().filter(|(name, v)| ours.contains_key(*name) && v.iter().any(|v| !of_ours(name).contains(v))).collect();
    assert!(others.is_empty(), "python/Cargo.lock names other versions than Cargo.lock: {others:?}; copy Cargo.lock there and build");
}

/// Sources of the libraries, without the command line and tests.
fn libraries() -> Vec<(PathBuf, String)> {
    let of_library = |p: &Path| {
        !p.starts_with("cli") && !p.starts_with("integrations") && p.components().any(|c| c.as_os_str() == "src") && !p.starts_with("tests")
    };
    sources().into_iter().filter(|(p, _)| of_library(p)).collect()
}

/// What a process is told by its environment and what its threads are is for the command to say: an
/// engine is told in turn.
#[test]
fn libraries_take_nothing_from_the_process() {
    for (path, text) in libraries() {
        for word in ["env::var", "build_global"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
    for (path, text) in sources().iter().filter(|(p, _)| p.starts_with("cli/src")) {
        assert!(!text.contains("rayon"), "{}: what the command computes happens on its engine", path.display());
    }
}

/// Who embeds a library has no command line: texts of errors name its settings, and the command
/// adds its options. (The page of a program says how to measure.)
#[test]
fn libraries_name_no_options() {
    for (path, text) in libraries().iter().filter(|(p, _)| !p.starts_with("src/page")) {
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            let option = |at: usize| line[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
            let named = line.contains('"') && line.match_indices("--").any(|(at, _)| option(at));
            assert!(!named, "{}: {}", path.display(), line.trim());
        }
    }
}

/// Whoever creates a file elsewhere leaves half of it where it is interrupted.
#[test]
fn files_are_created_in_one_place() {
    let homes = [Path::new("ir/src/output.rs"), Path::new("ir/src/journal.rs")];
    for (path, text) in sources().iter().filter(|(p, _)| p.components().any(|c| c.as_os_str() == "src") && !p.starts_with("tests")) {
        // Unit tests are at the end of a file, or files of their own.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if homes.contains(&path.as_path()) || path.ends_with("tests.rs") {
            continue;
        }
        for word in ["File::create", "fs::write", "OpenOptions", "File::options"] {
            assert!(!text.contains(word), "{} has {word}: files are written through ir::output", path.display());
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = std::fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 125, "README.md has {lines} lines: what only some readers need goes into docs/");
}

/// What code decides by is in the type of an error, not in its text.
#[test]
fn no_code_reads_the_text_of_an_error() {
    for (path, text) in sources() {
        if path.components().any(|c| c.as_os_str() == "tests") || path.ends_with("tests.rs") {
            continue;
        }
        for line in text.lines().filter(|l| !l.contains("assert")) {
            for read in ["contains(", "starts_with(", "ends_with(", "strip_prefix("] {
                let reads = line.contains(&format!("to_string().{read}")) || line.contains(&format!("message.{read}"));
                assert!(!reads, "{}: {}", path.display(), line.trim());
            }
        }
    }
}

/// Every shipped network and data file is listed, and every listed file ships; `models/evaluate.py`
/// compares the hashes.
#[test]
fn the_manifest_lists_exactly_the_shipped_files() {
    let text = std::fs::read_to_string(root().join("models/manifest.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let mut listed: Vec<String> =
        ["model", "data"].iter().flat_map(|k| manifest[*k].as_array().unwrap()).map(|e| e["file"].as_str().unwrap().to_string()).collect();
    let files = std::fs::read_dir(root().join("models")).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    let mut shipped: Vec<String> = files.filter(|f| f.ends_with(".onnx") || f.ends_with(".npz")).collect();
    listed.sort();
    shipped.sort();
    assert_eq!(listed, shipped);
}
/// Comments wrap at 100 columns. Tables, addresses and code on lines of their own may be longer.
#[test]
fn comments_wrap() {
    let mut wide = vec![];
    for (path, text) in sources() {
        let mut fence = false;
        for (i, line) in text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let comment = comment.trim_start_matches(['/', '!']);
            fence ^= comment.trim_start().starts_with("```");
            let literal = fence || comment.starts_with("     ") || comment.trim_start().starts_with('|') || comment.contains("://");
            if line.chars().count() > 100 && !literal {
                wide.push(format!("{}:{}: {} columns", path.display(), i + 1, line.chars().count()));
            }
        }
    }
    assert!(wide.is_empty(), "{} lines of comments are beyond 100 columns:\n{}", wide.len(), wide.join("\n"));
}
