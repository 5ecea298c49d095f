//! The binary: parse, run, exit code.

use std::process::ExitCode;

// Training frees and asks for the same large buffers at every step: an allocator that keeps them saves the page
// faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    duel::cli::main()
}
