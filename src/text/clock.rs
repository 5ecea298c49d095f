//! The time that chat templates read. A template that prints the date would render other text tomorrow, and a resumed run
//! would not continue the one it resumes: so the clock stands still, at the run's start or at the first look.

use jiff::civil::DateTime;
use std::sync::{Mutex, PoisonError};

static NOW: Mutex<Option<DateTime>> = Mutex::new(None);

/// Sets the clock: a run does, to the moment at which it first began.
pub fn stop_at(moment: DateTime) {
    *NOW.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
}

/// The time at which it stands; the first look stops it where nobody has.
pub(super) fn now() -> DateTime {
    let mut now = NOW.lock().unwrap_or_else(PoisonError::into_inner);
    *now.get_or_insert_with(|| jiff::Zoned::now().datetime())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_where_it_was_first_looked_at_until_it_is_set() {
        let first = now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(now(), first);
        let began: DateTime = "2024-07-26T12:00:00".parse().expect("a time");
        stop_at(began);
        assert_eq!(now(), began);
    }
}
