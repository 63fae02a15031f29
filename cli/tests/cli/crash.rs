//! Commands that are killed, or that find no room, at any byte they write: every output is the one
//! that was there before, or the new one, complete.

use crate::common::{chiffre, command, fails, ok, shipped};
use chiffre_ir::output::unfinished;
use chiffre_testing::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What the outputs hold before.
const OLD: &[u8] = b"the old file";
const INSECURE: &str = "--allow-insecure";

/// A folder with all files of a tiny network, and the commands that write them.
struct Case {
    tmp: tempfile::TempDir,
    data: String,
}

impl Case {
    fn new() -> Case {
        let tmp = tempfile::tempdir().unwrap();
        let model = shipped("tiny_cnn.onnx");
        ok(tmp.path(), &["compile", model.to_str().unwrap(), "-o", "p.chf", "--batch", "4", "--log-n", "10", INSECURE]);
        let case = Case { tmp, data: shipped("tiny1_test.npz").to_str().unwrap().into() };
        for name in ["keygen", "encrypt", "prepare", "run", "decrypt"] {
            ok(case.dir(), &case.arguments(name));
        }
        case
    }

    fn dir(&self) -> &Path {
        self.tmp.path()
    }

    /// The files that a command writes. `keygen` writes its files in this order.
    fn outputs(name: &str) -> &'static [&'static str] {
        match name {
            "keygen" => &["eval.key", "secret.key"],
            "encrypt" => &["in.ct"],
            "prepare" => &["server.chf"],
            "run" => &["out.ct"],
            _ => &["logits.npy"],
        }
    }

    fn arguments<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let rest: &[&str] = match name {
            "keygen" => &["--secret", "secret.key", "--eval", "eval.key", "--force"],
            "encrypt" => &["--secret", "secret.key", "--input", &self.data, "--count", "4", "-o", "in.ct"],
            "prepare" => &["--eval", "eval.key", "-o", "server.chf"],
            "run" => &["--eval", "eval.key", "--input", "in.ct", "-o", "out.ct", "--progress", "none", "--checkpoint-every", "0"],
            _ => &["--secret", "secret.key", "--input", "out.ct", "-o", "logits.npy"],
        };
        [&[name, "p.chf"], rest, &[INSECURE]].concat()
    }

    /// Sizes of what a command writes.
    fn sizes(&self, name: &str) -> Vec<usize> {
        Case::outputs(name).iter().map(|f| std::fs::metadata(self.dir().join(f)).unwrap().len() as usize).collect()
    }

    /// Puts old files where a command writes.
    fn age(&self, name: &str) {
        Case::outputs(name).iter().for_each(|f| std::fs::write(self.dir().join(f), OLD).unwrap());
    }

    /// Runs a command with a limit on the size of files, in blocks of 512 bytes. At that size it is
    /// killed, or finds no room.
    fn limited(&self, name: &str, blocks: u64, killed: bool) -> Output {
        let trap = if killed { "" } else { "trap '' XFSZ; " };
        let script = format!("{trap}ulimit -c 0; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_chiffre")])
            .args(self.arguments(name))
            .current_dir(self.dir())
            .env_remove("CHIFFRE_LOG")
            .output()
            .unwrap()
    }

    /// Names of unfinished files in the folder and in the journal's.
    fn unfinished(&self) -> Vec<PathBuf> {
        let list = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).collect::<Vec<_>>();
        let all = [list(self.dir().into()), list(self.dir().join("out.ct.partial-run"))].concat();
        all.into_iter().filter(|p| p.file_name().and_then(|n| unfinished(n.to_str()?)).is_some()).collect()
    }

    fn clean(&self) {
        self.unfinished().into_iter().for_each(|p| std::fs::remove_file(p).unwrap());
    }

    /// The old files, or new ones of these sizes, in the order in which they are written. Returns
    /// how many are new.
    fn check(&self, name: &str, sizes: &[usize], what: &str) -> usize {
        let now: Vec<Vec<u8>> = Case::outputs(name).iter().map(|f| std::fs::read(self.dir().join(f)).unwrap()).collect();
        let new = now.iter().take_while(|file| *file != OLD).count();
        assert!(now[new..].iter().all(|file| file == OLD), "{name}, {what}: a later file is new, and an earlier one old");
        let lengths: Vec<usize> = now[..new].iter().map(Vec::len).collect();
        assert_eq!(lengths, sizes[..new], "{name}, {what}: half a file");
        new
    }
}

/// Sizes at which writing ends: nothing, some places within each file, and all but a block.
fn places(sizes: &[usize]) -> Vec<u64> {
    let blocks = |size: usize, part: u64| size as u64 / 512 * part / 4;
    let mut all: Vec<u64> =
        sizes.iter().flat_map(|&s| [blocks(s, 1), blocks(s, 3), (s as u64 / 512).saturating_sub(1)]).chain([0]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_keeps_the_old_files() {
    let case = Case::new();
    for name in ["keygen", "encrypt", "prepare", "run", "decrypt"] {
        let sizes = case.sizes(name);
        for blocks in places(&sizes) {
            case.age(name);
            let out = case.limited(name, blocks, false);
            let error = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{name}, {blocks} blocks: {error}");
            let new = case.check(name, &sizes, &format!("{blocks} blocks"));
            assert!(Case::outputs(name)[new..].iter().any(|f| error.contains(f)) && error.contains("too large"), "{name}: {error}");
            assert_eq!(case.unfinished(), Vec::<PathBuf>::new(), "{name}, {blocks} blocks");
        }
        ok(case.dir(), &case.arguments(name));
    }
}

#[cfg(unix)]
#[test]
fn a_kill_at_any_byte_leaves_the_old_or_the_new_files() {
    use std::os::unix::process::ExitStatusExt;
    let case = Case::new();
    for name in ["keygen", "encrypt", "prepare", "run", "decrypt"] {
        let sizes = case.sizes(name);
        for blocks in places(&sizes) {
            case.age(name);
            let out = case.limited(name, blocks, true);
            // SIGXFSZ
            assert_eq!(out.status.signal(), Some(25), "{name}, {blocks} blocks: {}", String::from_utf8_lossy(&out.stderr));
            case.check(name, &sizes, &format!("{blocks} blocks"));
        }
        // What was interrupted can be done again, whatever is left.
        ok(case.dir(), &case.arguments(name));
        case.clean();
    }
}

#[cfg(unix)]
#[test]
fn a_kill_at_any_time_leaves_the_old_or_the_new_files() {
    let case = Case::new();
    let mut random = Rng::new(7);
    for name in ["keygen", "encrypt", "run", "decrypt"] {
        let (arguments, sizes) = (case.arguments(name), case.sizes(name));
        let start = std::time::Instant::now();
        ok(case.dir(), &arguments);
        let takes = start.elapsed().as_micros() as usize;
        let mut made = 0;
        for kill in ["-KILL", "-TERM"].repeat(6) {
            case.age(name);
            let mut child =
                command(case.dir(), &arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(takes) as u64));
            let _ = Command::new("kill").args([kill, child.id().to_string().as_str()]).stderr(Stdio::null()).status();
            child.wait().unwrap();
            made += case.check(name, &sizes, kill);
            if kill == "-TERM" {
                // What can clean up does so.
                assert_eq!(case.unfinished(), Vec::<PathBuf>::new(), "{name}");
            }
            case.clean();
        }
        println!("{name}: {made} files were complete");
        ok(case.dir(), &arguments);
    }
}

#[test]
fn two_processes_on_one_output_leave_one_of_them() {
    let case = Case::new();
    let both = |arguments: &[&str]| -> [Output; 2] {
        let start = || command(case.dir(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        [start(), start()].map(|c| c.wait_with_output().unwrap())
    };
    for _ in 0..3 {
        // Key pairs replace each other, as encryptions with their receipts do.
        for out in both(&case.arguments("keygen")) {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        for out in both(&case.arguments("encrypt")) {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        ok(case.dir(), &case.arguments("run"));
        // Runs share a journal: one of them is refused if the other has not ended.
        let codes = both(&case.arguments("run")).map(|out| {
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(out.status.success() || out.status.code() == Some(2) && said.contains("in use by another run"), "{said}");
            out.status.code()
        });
        assert!(codes.contains(&Some(0)), "{codes:?}");
        ok(case.dir(), &case.arguments("decrypt"));
        // Keys are not replaced: one process makes both files, and the other one none.
        for name in ["eval.key", "secret.key"] {
            std::fs::remove_file(case.dir().join(name)).unwrap();
        }
        let keygen: Vec<&str> = case.arguments("keygen").into_iter().filter(|a| *a != "--force").collect();
        let codes = both(&keygen).map(|out| out.status.code());
        assert_eq!(BTreeMap::from(codes.map(|c| (c, ()))).len(), 2, "{codes:?}");
        for name in ["encrypt", "run", "decrypt"] {
            ok(case.dir(), &case.arguments(name));
        }
    }
    // A key that is there stays.
    let keygen: Vec<&str> = case.arguments("keygen").into_iter().filter(|a| *a != "--force").collect();
    fails(case.dir(), 2, &keygen);
    std::fs::remove_file(case.dir().join("eval.key")).unwrap();
    assert!(fails(case.dir(), 2, &keygen).contains("secret.key is there already"));
    assert!(!case.dir().join("eval.key").exists() && case.dir().join("secret.key").exists());
    assert!(chiffre(case.dir(), &case.arguments("keygen")).status.success());
}
