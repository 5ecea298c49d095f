//! The binary: parse, run, exit code.

use std::process::ExitCode;

// Training frees and asks for the same large buffers at every step: an allocator that keeps them saves the page
// faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Freed memory goes back to the system after 10 milliseconds unless told otherwise: half a training step would be
/// page faults. -1 keeps it; a user's own MIMALLOC_PURGE_DELAY wins.
#[allow(unsafe_code)]
fn keep_freed_memory() {
    /// `mi_option_purge_delay`, the same number in mimalloc 2 and 3.
    const PURGE_DELAY: i32 = 15;
    // SAFETY: called once, before any other thread exists.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1) };
}

fn main() -> ExitCode {
    keep_freed_memory();
    duel::cli::main()
}
