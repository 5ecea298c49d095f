//! Whether another process already computes on a device: two of them share its memory and its time.

use super::layout::user_cache;
use std::fs::{self, File, OpenOptions, TryLockError};

/// A device that this process computes on, as others see it; the operating system lets go of it when the process ends.
#[derive(Debug)]
pub struct DeviceInUse {
    _file: Option<File>,
    /// Another process of duel computes on it too.
    pub shared: bool,
}

impl DeviceInUse {
    /// Marks device `index` of `backend`. Where nothing can be written nobody knows of anybody.
    pub fn mark(backend: &str, index: usize) -> Self {
        let folder = user_cache().join("duel").join("devices");
        let file = fs::create_dir_all(&folder).and_then(|()| {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(format!("{backend}-{index}")))
        });
        let Ok(file) = file else {
            return Self {
                _file: None,
                shared: false,
            };
        };
        // Everybody holds a shared lock; who could have had it alone was the first.
        let shared = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !shared {
            let _ = file.unlock();
        }
        let _ = file.try_lock_shared();
        Self {
            _file: Some(file),
            shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_on_a_device_is_told_and_the_next_one_after_both_is_not() {
        let device = format!("test-{}", std::process::id());
        let first = DeviceInUse::mark(&device, 0);
        let second = DeviceInUse::mark(&device, 0);
        let beside = DeviceInUse::mark(&device, 1);
        assert_eq!(
            [first.shared, second.shared, beside.shared],
            [false, true, false]
        );
        drop(first);
        assert!(
            DeviceInUse::mark(&device, 0).shared,
            "the second one is still there"
        );
        drop(second);
        assert!(!DeviceInUse::mark(&device, 0).shared);
        for index in 0..2 {
            let file = user_cache()
                .join("duel")
                .join("devices")
                .join(format!("{device}-{index}"));
            fs::remove_file(file).unwrap();
        }
    }
}
