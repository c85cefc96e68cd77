//! A second process: this test binary again, running one test as a child.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const DIRECTORY: &str = "STORAGE_TEST_DIRECTORY";

/// The directory that a parent has handed over; `None` in the parent itself.
pub fn directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// The command that runs `test` as a child with `directory`.
pub fn command(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdin(Stdio::null());
    command
}

/// Runs `test` as a child to its end. Its lines that begin with `> ` are the answer.
pub fn run(test: &str, directory: &Path) -> Vec<String> {
    answer(&command(test, directory).output().unwrap())
}

pub fn answer(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    // The harness prints the test's name without a line break before the first answer.
    let lines = text.lines().filter_map(|line| line.split_once("> "));
    lines.map(|(_, answer)| answer.to_owned()).collect()
}

/// Says a line to the parent.
pub fn say(line: impl std::fmt::Display) {
    println!("> {line}");
}
