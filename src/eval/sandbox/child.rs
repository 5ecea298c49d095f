//! The process that a program runs in.

use crate::error::{Error, Result};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take, as in the harness.
pub const WALL: Duration = Duration::from_secs(3);

/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// At its last line.
    Passed,
    /// With an error, or before its last line.
    Failed,
    /// Not within the time.
    TimedOut,
}

/// Seconds of processor time, KiB of memory, blocks of 512 bytes a file, open files, no core dump. Some systems do not limit
/// memory: there the other limits hold.
const LIMITS: &str = "ulimit -t 10 && { ulimit -v 2097152 2>/dev/null || :; } && ulimit -f 2048 && ulimit -n 64 && ulimit -c 0";

/// Namespaces of its own for users, network and processes; everything in them dies with the first.
const APART: [&str; 5] = [
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
];

/// Whether the system lets a user make such namespaces.
fn apart() -> bool {
    static APART_HERE: OnceLock<bool> = OnceLock::new();
    *APART_HERE.get_or_init(|| {
        let mut command = Command::new("unshare");
        command
            .args(APART)
            .arg("true")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Looks for the interpreter, and says where programs are not cut off from the network.
pub fn check() -> Result<()> {
    let mut python = Command::new("python3");
    python
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !python.status().is_ok_and(|status| status.success()) {
        return Err(Error::user("there is no `python3`, which runs the answers")
            .hint("install Python 3, or start duel with a PATH that has it"));
    }
    if !apart() {
        tracing::warn!(
            "the answers run without namespaces, which this system does not let duel make: they can reach the network"
        );
    }
    Ok(())
}

/// Runs a program until it ends or `wall` is over.
pub fn run(program: &str, wall: Duration) -> Ended {
    // A program without a folder or a process is one that did not pass.
    let Ok(folder) = tempfile::tempdir() else {
        return Ended::Failed;
    };
    attempt(program, folder.path(), wall).unwrap_or(Ended::Failed)
}

fn attempt(program: &str, folder: &Path, wall: Duration) -> std::io::Result<Ended> {
    // A program that came to its end writes this word: `exit(0)` is no pass. One that is set on cheating can find it out.
    let word = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    fs::write(
        folder.join("program.py"),
        format!("{program}\nprint({word:?})\n"),
    )?;
    let said = folder.join("said");
    let mut command = shell();
    command
        .current_dir(folder)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&said)?)
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command.spawn()?;
    let Some(status) = wait(&mut child, wall)? else {
        return Ok(Ended::TimedOut);
    };
    let last = fs::read(&said)?;
    let last = String::from_utf8_lossy(&last);
    let whole = last.lines().last() == Some(word.as_str());
    Ok(match status.success() && whole {
        true => Ended::Passed,
        false => Ended::Failed,
    })
}

/// A shell that limits itself and becomes the interpreter.
fn shell() -> Command {
    let script = format!("{LIMITS} && exec python3 -I -B program.py");
    let mut command = match apart() {
        true => {
            let mut command = Command::new("unshare");
            command.args(APART).arg("sh");
            command
        }
        false => Command::new("sh"),
    };
    command.args(["-c", &script]);
    command
}

/// Waits, and kills the process with all of its group at the end of the time or, of a program that left some behind, at its own.
fn wait(child: &mut Child, wall: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + wall;
    let mut status = child.try_wait()?;
    while status.is_none() && Instant::now() < until {
        thread::sleep(GLANCE);
        status = child.try_wait()?;
    }
    let group = format!("-{}", child.id());
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &group])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Where the group is empty there is nobody to kill.
    let _ = kill.status();
    if status.is_none() {
        let _ = child.kill();
        child.wait()?;
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a slow machine needs to start an interpreter.
    const PATIENT: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_passes_at_its_last_line_only() {
        assert_eq!(run("assert 1 + 1 == 2", PATIENT), Ended::Passed);
        assert_eq!(run("assert 1 + 1 == 3", PATIENT), Ended::Failed);
        assert_eq!(run("import sys; sys.exit(0)", PATIENT), Ended::Failed);
        assert_eq!(run("def", PATIENT), Ended::Failed);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_what_it_started() {
        let began = Instant::now();
        let program = "import subprocess\nsubprocess.Popen(['sleep', '1000'])\nwhile True: pass";
        assert_eq!(run(program, Duration::from_secs(1)), Ended::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_has_an_environment_of_its_own_no_large_files_and_where_it_can_be_no_network() {
        // The test's own process has this one; an interpreter's wrapper may add others.
        let clean = "import os\nassert 'CARGO_MANIFEST_DIR' not in os.environ and os.environ['HOME'] == os.getcwd()";
        assert_eq!(run(clean, PATIENT), Ended::Passed);
        let large = "open('large', 'wb').write(b'0' * (1 << 22))";
        assert_eq!(run(large, PATIENT), Ended::Failed);
        let memory = "x = bytearray(1 << 33)";
        if cfg!(target_os = "linux") {
            assert_eq!(run(memory, PATIENT), Ended::Failed);
        }
        if apart() {
            let network =
                "import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']";
            assert_eq!(run(network, PATIENT), Ended::Passed);
        }
    }
}
