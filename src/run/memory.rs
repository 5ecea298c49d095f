//! What a process took.

/// The most memory this process ever held, MiB, where the system tells it.
pub fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Memory of the machine that nobody needs right now, MiB, where the system tells it.
pub fn available_mib() -> Option<f64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = facts
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_large_buffer_shows_in_the_peak() {
        let before = super::peak_rss_mib().expect("Linux tells it");
        let buffer = vec![1u8; 64 << 20];
        let after = super::peak_rss_mib().expect("Linux tells it");
        assert!(after >= 64.0 && after >= before, "{before} then {after}");
        assert_eq!(buffer[buffer.len() - 1], 1);
    }
}
