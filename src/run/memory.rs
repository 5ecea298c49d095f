//! What a process took, and what the machine has left.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The most memory this process ever held, MiB, where the system tells it.
pub fn peak_rss_mib() -> Option<f64> {
    let bytes = match std::fs::read_to_string("/proc/self/status") {
        // The allocator would ask for a number that a process inherits from the one that started it.
        Ok(status) => {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            1024 * line.split_whitespace().nth(1)?.parse::<usize>().ok()?
        }
        Err(_) => asked_of_the_allocator(),
    };
    (bytes > 0).then_some(bytes as f64 / f64::from(1 << 20))
}

/// The same in bytes on macOS and Windows, 0 where nobody knows.
#[allow(unsafe_code)] // a call of the allocator's own interface
fn asked_of_the_allocator() -> usize {
    let none = std::ptr::null_mut;
    let mut peak = 0;
    // SAFETY: what is not asked for is null, as the interface allows, and the one number is written before the call returns.
    unsafe {
        libmimalloc_sys::mi_process_info(
            none(),
            none(),
            none(),
            none(),
            &raw mut peak,
            none(),
            none(),
            none(),
        );
    }
    peak
}

/// Memory of the machine, or of the container in it, that nobody needs right now, MiB, where the system tells it.
pub fn available_mib() -> Option<f64> {
    let only = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(only);
    let all = system.available_memory();
    // What a container has in its cache counts as free, as on a machine.
    let limited = system.cgroup_limits();
    let limited = limited.filter(|limits| limits.total_memory < system.total_memory());
    let free = limited.map_or(all, |limits| {
        all.min(limits.total_memory.saturating_sub(limits.rss))
    });
    (all > 0).then_some(free as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_large_buffer_shows_in_the_peak_by_either_way_of_asking() {
        let before = super::peak_rss_mib().expect("it is told");
        let buffer = vec![1u8; 64 << 20];
        let after = super::peak_rss_mib().expect("it is told");
        let asked = super::asked_of_the_allocator();
        assert!(cfg!(windows) || asked >= 64 << 20, "{asked}");
        assert!(after >= before && after > 0.0, "{before} then {after}");
        // Windows counts what it keeps in the memory, not what was written.
        assert!(cfg!(windows) || after >= 64.0, "{before} then {after}");
        assert_eq!(buffer[buffer.len() - 1], 1);
    }

    #[test]
    fn a_machine_has_something_left_and_not_more_than_it_has() {
        let left = super::available_mib().expect("it is told");
        let all = sysinfo::System::new_all().total_memory() as f64 / f64::from(1 << 20);
        assert!(left > 0.0 && left < all, "{left} of {all} MiB");
    }
}
