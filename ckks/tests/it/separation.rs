//! The server half cannot name a secret: outside `client`, no source file mentions one.

use std::path::{Path, PathBuf};

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn only_the_client_module_names_secrets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20);
    for file in files {
        let is_test = file.ends_with("tests.rs") || file.components().any(|c| c.as_os_str() == "tests");
        if file.starts_with(root.join("client")) || is_test {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("readable file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for name in ["SecretKey", "KeyGenerator", "Decryptor", "crate::client", "super::client"] {
            assert!(!code.contains(name), "{} names {name}", file.display());
        }
    }
}

/// What a server needs can be named without importing anything from `client`.
#[allow(dead_code)]
fn server(
    context: &chiffre_ckks::context::Context,
    keys: &[chiffre_ckks::keys::SeededSwitchingKey],
    input: &chiffre_ckks::ciphertext::SeededCiphertext,
) -> Result<chiffre_ckks::ciphertext::Ciphertext, chiffre_ckks::evaluator::EvalError> {
    let ring = context.ring();
    let keys = keys.iter().map(|k| k.expand(ring)).collect();
    let evaluator = chiffre_ckks::evaluator::Evaluator::new(context, &keys);
    evaluator.rotate(&input.expand(ring, input.limbs()), 1)
}
