//! Memory: what this process has taken, and bytes as text.

/// `1.5 GiB`, `17 B`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4) as usize;
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit]),
    }
}

/// Peak resident memory of this process in bytes, from `/proc/self/status`; `None` where there is
/// no such file.
pub fn peak_rss_bytes() -> Option<u64> {
    vm_hwm(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM:   1234 kB`, in bytes.
fn vm_hwm(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_printed_in_binary_units() {
        assert_eq!((human_bytes(0), human_bytes(1536), human_bytes(u64::MAX)), ("0 B".into(), "1.5 KiB".into(), "16777216.0 TiB".into()));
    }

    #[test]
    fn memory_is_measured() {
        assert!(peak_rss_bytes().is_none_or(|bytes| bytes > 1 << 20));
        assert_eq!(vm_hwm("VmPeak: 5 kB\nVmHWM:\t  12 kB\n"), Some(12288));
        assert_eq!(vm_hwm("VmHWM: many"), None);
    }
}
