//! The labels that were shared under a secret key: counted in a file beside it, up to a budget.
//!
//! A label is a question about a decryption, answered. The count is kept because answers add up
//! (`docs/security.md`). It counts before anything is shared, and it counts what is shared twice
//! twice. It is a file of the data owner's: who takes it away begins anew.

use chiffre_ir::container::{ContainerError, Contents, Reader};
use chiffre_runtime::{KeyId, RuntimeError, hex};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Kind of files with counts.
pub const KIND: &str = "shared-labels";

/// Where the count of the key in a file is.
pub fn count_file(secret: &Path) -> PathBuf {
    let mut name = secret.file_name().map(|n| n.to_os_string()).unwrap_or_default();
    name.push(".shared");
    secret.with_file_name(name)
}

/// Counts so many `labels` as shared under the key with this name, whose secret is in the file
/// `secret`, and returns how many there are now.
///
/// # Errors
/// [`RuntimeError::Input`] if there would be more than `budget`: nothing is counted then. I/O
/// errors; a count that is damaged.
pub fn spend(secret: &Path, id: KeyId, labels: u64, budget: u64) -> Result<u64, RuntimeError> {
    let io = |path: &Path, source| RuntimeError::from(ContainerError::Io { path: path.into(), source });
    // Held until the count is on the disk: no two processes read the same one.
    let lock = File::open(secret).map_err(|e| io(secret, e))?;
    if let Err(e) = lock.lock()
        && e.kind() != ErrorKind::Unsupported
    {
        return Err(io(secret, e));
    }
    let path = count_file(secret);
    let before = if path.try_exists().map_err(|e| io(&path, e))? { read(&path, id)? } else { 0 };
    let after = before.saturating_add(labels);
    if after > budget {
        return Err(RuntimeError::Input(format!(
            "{labels} labels: {before} were shared under this key, and the budget is {budget} ({}). Share fewer, or encrypt under a new key",
            path.display()
        )));
    }
    let meta = BTreeMap::from([("key-id".to_string(), hex(&id)), ("labels".to_string(), after.to_string())]);
    Contents::new(KIND, meta, &[]).save(&path, |_| Ok::<_, ContainerError>(()))?;
    Ok(after)
}

/// The count in a file; none if it is another key's, which had this name before.
fn read(path: &Path, id: KeyId) -> Result<u64, RuntimeError> {
    let r = Reader::open(path, KIND)?;
    let labels = r.meta("labels")?.parse().map_err(|_| r.error("bad number of labels"))?;
    Ok(if r.meta("key-id")? == hex(&id) { labels } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_budget() {
        let tmp = tempfile::tempdir().unwrap();
        let secret = tmp.path().join("secret.key");
        assert!(spend(&secret, [1; 16], 1, 10).is_err(), "there is no such key");
        std::fs::write(&secret, "").unwrap();
        assert_eq!(spend(&secret, [1; 16], 4, 10).unwrap(), 4);
        assert_eq!(spend(&secret, [1; 16], 6, 10).unwrap(), 10);
        let e = spend(&secret, [1; 16], 1, 10).unwrap_err();
        assert!(e.is_user_error() && e.to_string().contains("10 were shared") && e.to_string().contains("secret.key.shared"), "{e}");
        assert_eq!(spend(&secret, [1; 16], 1, 11).unwrap(), 11, "what was refused was not counted");
        assert_eq!(spend(&secret, [2; 16], 3, 10).unwrap(), 3, "another key of the same name");
        std::fs::write(count_file(&secret), "gone").unwrap();
        assert!(spend(&secret, [2; 16], 1, 10).unwrap_err().to_string().contains("secret.key.shared"));
        // Processes take turns.
        std::fs::remove_file(count_file(&secret)).unwrap();
        std::thread::scope(|s| (0..8).for_each(|_| drop(s.spawn(|| spend(&secret, [2; 16], 1, 8).unwrap()))));
        assert!(spend(&secret, [2; 16], 1, 8).is_err());
    }
}
