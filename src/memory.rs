//! Memory: what this process has taken, what it may take, and bytes as text.

use crate::Error;
pub use chiffre_backend::ckks::Task;
use chiffre_backend::ckks::peak;
use chiffre_ir::program::Program;
use std::path::Path;

/// `1.5 GiB`, `17 B`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit]),
    }
}

/// Bytes from `16GiB`, `4096 MiB` or a number of bytes.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kib" => 10,
        "mib" => 20,
        "gib" => 30,
        "tib" => 40,
        _ => return Err("give a whole number of bytes, or one with KiB, MiB, GiB or TiB, like 16GiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "give a whole number, like 16GiB".to_string())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("must be positive".into()),
        Some(bytes) => Ok(bytes),
        None => Err("is more than any machine has".into()),
    }
}

/// Peak resident memory of this process in bytes, from `/proc/self/status`; `None` where there is
/// no such file.
pub fn peak_rss_bytes() -> Option<u64> {
    vm_hwm(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM:   1234 kB`, in bytes.
fn vm_hwm(status: &str) -> Option<u64> {
    kilobytes(status, "VmHWM:")
}

/// A line `NAME   1234 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Memory that this process may take, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes.
    pub bytes: u64,
    /// Who allows them: "the machine has", "its control group allows".
    pub by: String,
}

/// The least of what the machine has and of the limits of this process and of its control groups.
/// `None` where the system does not say.
pub fn allowance() -> Option<Allowance> {
    allowance_under(Path::new("/"))
}

/// As [`allowance`], of a system whose root is at `root`.
fn allowance_under(root: &Path) -> Option<Allowance> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let all = [
        (mem_total(&read("proc/meminfo")), "the machine has"),
        (soft_limit(&read("proc/self/limits"), "Max address space"), "the limit on its address space (ulimit -v) is"),
        (soft_limit(&read("proc/self/limits"), "Max data size"), "the limit on its data (ulimit -d) is"),
        (of_groups(root, &read("proc/self/cgroup")), "its control group allows"),
    ];
    let known = all.into_iter().filter_map(|(bytes, by)| Some(Allowance { bytes: bytes?, by: by.into() }));
    known.min_by_key(|a| a.bytes)
}

/// `MemTotal:   1234 kB`, in bytes.
fn mem_total(meminfo: &str) -> Option<u64> {
    kilobytes(meminfo, "MemTotal:")
}

/// The soft limit in a line of `/proc/self/limits`, in bytes; `None` if there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The least limit of the control groups that a process is in, and of those that they are in.
fn of_groups(root: &Path, cgroup: &str) -> Option<u64> {
    let limits = cgroup.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next(), fields.next().unwrap_or_default(), fields.next().unwrap_or("/"));
        // The second version has one hierarchy, which names no controllers.
        let (mounts, file): (&[&str], _) = match controllers {
            "" => (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.max"),
            c if c.split(',').any(|c| c == "memory") => (&["sys/fs/cgroup/memory"], "memory.limit_in_bytes"),
            _ => (&[], ""),
        };
        // In a container the folders above its own group may be missing, and it is the root.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        let files: Vec<_> = groups.flat_map(|group| mounts.iter().map(move |mount| root.join(mount).join(group).join(file))).collect();
        files.into_iter().filter_map(|f| std::fs::read_to_string(f).ok()?.trim().parse::<u64>().ok())
    });
    limits.min()
}

/// Refuses what is predicted to need `need` bytes if there are not so many: `budget`, or what the
/// system allows.
///
/// # Errors
/// [`Error::Budget`], with both figures.
pub fn admit(what: &str, need: u64, budget: Option<u64>) -> Result<(), Error> {
    let asked = budget.map(|bytes| Allowance { bytes, by: "the budget is".into() });
    match asked.into_iter().chain(allowance()).min_by_key(|a| a.bytes) {
        Some(a) if need > a.bytes => Err(Error::budget(
            format!("{what} is predicted to need {} of memory, and {} {}", human_bytes(need), a.by, human_bytes(a.bytes)),
            "give more, or compile for less memory or for a smaller batch",
        )),
        _ => Ok(()),
    }
}

/// Refuses what is predicted to need too much memory with a program, by the plan that follows from
/// its instructions.
///
/// # Errors
/// As [`admit`].
pub fn admit_task(p: &Program, task: Task, threads: usize, budget: Option<u64>) -> Result<(), Error> {
    let what = match task {
        Task::Keygen => "key generation".to_string(),
        Task::Screen { images, .. } => format!("screening of {images} images"),
        Task::Encrypt(images) | Task::Canary(images) => format!("encryption of {images} images"),
        Task::Prepare => "preparation".into(),
        Task::Run(images) => format!("a run on {images} images"),
        Task::Decrypt(images) => format!("decryption of {images} answers"),
    };
    admit(&what, peak(p, task, threads) as u64, budget)
}

/// Refuses to do everything with a program in one process, on so many images at a time, if any of
/// it is predicted to need too much memory.
///
/// # Errors
/// As [`admit`].
pub fn admit_all(p: &Program, threads: usize, images: usize, budget: Option<u64>) -> Result<(), Error> {
    let tasks = [Task::Keygen, Task::Encrypt(images), Task::Prepare, Task::Run(images), Task::Decrypt(images)];
    let largest = tasks.into_iter().max_by_key(|&task| peak(p, task, threads));
    largest.map_or(Ok(()), |task| admit_task(p, task, threads, budget))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_in_binary_units() {
        assert_eq!((human_bytes(0), human_bytes(1536), human_bytes(u64::MAX)), ("0 B".into(), "1.5 KiB".into(), "16777216.0 TiB".into()));
    }

    #[test]
    fn bytes_are_read_with_units() {
        let cases = [("16GiB", 16 << 30), ("4096MiB", 4 << 30), (" 1 kib ", 1024), ("1TiB", 1 << 40), ("12345", 12345), ("7B", 7)];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "GiB", "16GB", "1.5GiB", "-1", "0", "0MiB", "99999999999GiB", "99999999999999999999", "16G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_measured() {
        assert!(peak_rss_bytes().is_none_or(|bytes| bytes > 1 << 20));
        assert_eq!(vm_hwm("VmPeak: 5 kB\nVmHWM:\t  12 kB\n"), Some(12288));
        assert_eq!(vm_hwm("VmHWM: many"), None);
    }

    /// A system of files, and the least of its limits.
    fn allowed(files: &[(&str, &str)]) -> Option<Allowance> {
        let tmp = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tmp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        allowance_under(tmp.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:   12 kB\n");

    #[test]
    fn the_least_limit_counts() {
        assert_eq!(allowed(&[]), None);
        let of = |files: &[(&str, &str)]| allowed(files).map(|a| (a.bytes, a.by));
        assert_eq!(of(&[MACHINE]), Some((16 << 30, "the machine has".into())));
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax data size   unlimited   unlimited   bytes\nMax address space   1048576   unlimited   bytes\n";
        assert_eq!(
            of(&[MACHINE, ("proc/self/limits", limits)]).unwrap(),
            (1 << 20, "the limit on its address space (ulimit -v) is".into())
        );
        let data = limits.replace("1048576", "unlimited").replacen("unlimited", "4096", 1);
        assert_eq!(of(&[MACHINE, ("proc/self/limits", &data)]).unwrap().0, 4096);
        assert!(allowance().is_none_or(|a| a.bytes > 1 << 20));
    }

    #[test]
    fn limits_of_control_groups_are_those_of_all_groups_above() {
        let group = |bytes: u64| (bytes, "its control group allows".to_string());
        let of = |files: &[(&str, &str)]| allowed(&[&[MACHINE], files].concat()).map(|a| (a.bytes, a.by)).unwrap();
        // Version 2: the group itself has no limit, one above has, and the root has no file.
        let v2 = ("proc/self/cgroup", "0::/a/b/c\n");
        assert_eq!(of(&[v2, ("sys/fs/cgroup/a/b/c/memory.max", "max\n"), ("sys/fs/cgroup/a/memory.max", "2147483648\n")]), group(2 << 30));
        // A container sees its own group as the root, under a path that it does not see.
        assert_eq!(of(&[v2, ("sys/fs/cgroup/memory.max", "1073741824\n")]), group(1 << 30));
        // Version 1, without a limit and with one.
        let v1 = ("proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
        let unlimited = ("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of(&[v1, unlimited]).0, 16 << 30);
        assert_eq!(of(&[v1, unlimited, ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "4096\n")]), group(4096));
    }

    #[test]
    fn what_needs_too_much_is_refused_with_both_figures() {
        assert!(admit("a run", 1 << 20, Some(1 << 20)).is_ok() && admit("a run", 1 << 20, None).is_ok());
        let e = admit("a run", 3 << 30, Some(1 << 30)).unwrap_err();
        assert_eq!((e.class(), e.setting()), (crate::Class::Budget, Some(crate::Setting::Memory)));
        assert!(e.to_string().starts_with("a run is predicted to need 3.0 GiB of memory, and the budget is 1.0 GiB: give more"), "{e}");
        // A budget does not make the machine larger.
        assert!(allowance().is_none() || admit("a run", 1 << 60, Some(1 << 61)).is_err());
    }
}
