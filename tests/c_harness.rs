//! The C programs of `tests/c`: plain, under valgrind, and with the address and undefined-behaviour
//! sanitizers. Each prints its count of checks, and nothing else: the library is silent.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn misuse() {
    plain("misuse", "");
}

#[test]
fn misuse_under_valgrind() {
    under_valgrind("misuse", "valgrind");
}

#[test]
fn misuse_sanitized() {
    sanitized("misuse", "");
}

#[test]
fn lifecycle_with_a_thousand_openings() {
    plain("lifecycle", "1000");
}

#[test]
fn lifecycle_under_valgrind() {
    under_valgrind("lifecycle", "12");
}

#[test]
fn lifecycle_sanitized() {
    sanitized("lifecycle", "100");
}

#[test]
fn callbacks() {
    plain("callbacks", "");
}

#[test]
fn callbacks_under_valgrind() {
    under_valgrind("callbacks", "valgrind");
}

#[test]
fn callbacks_sanitized() {
    sanitized("callbacks", "");
}

#[test]
fn epochs() {
    plain("epochs", "");
}

#[test]
fn epochs_under_valgrind() {
    under_valgrind("epochs", "");
}

#[test]
fn epochs_sanitized() {
    sanitized("epochs", "");
}

fn plain(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(name, folder.path(), &["-O2"]);
    let ran = run(Command::new(program).arg(argument), "");
    assert_silent(&ran);
}

fn under_valgrind(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(name, folder.path(), &["-O1"]);
    let mut valgrind = Command::new("valgrind");
    // Definite leaks only: the handle that Rust keeps for the main thread counts as a possible one.
    valgrind.args(["-q", "--leak-check=full", "--show-leak-kinds=definite"]);
    valgrind.args(["--errors-for-leak-kinds=definite", "--error-exitcode=9"]);
    assert_silent(&run(valgrind.arg(program).arg(argument), "valgrind"));
}

fn sanitized(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ];
    let program = build(name, folder.path(), &flags);
    let symbols = run(Command::new("nm").arg("-D").arg(&program), "binutils");
    for runtime in ["__asan_init", "__ubsan_handle_"] {
        let there = String::from_utf8_lossy(&symbols.stdout).contains(runtime);
        assert!(there, "{name} was built without {runtime}");
    }
    assert_silent(&run(Command::new(program).arg(argument), ""));
}

/// Compiles `tests/c/<name>.c` against the header and the library that was built with this test.
fn build(name: &str, folder: &Path, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = env::current_exe().expect("this test is a file");
    let library = test.parent().expect("in a folder").join("libhotstuff.so");
    for link in ["libhotstuff.so", "libhotstuff.so.0"] {
        std::os::unix::fs::symlink(&library, folder.join(link)).expect("a link");
    }
    let program = folder.join(name);
    let mut gcc = Command::new("gcc");
    gcc.args([
        "-std=c11",
        "-D_GNU_SOURCE",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
    ]);
    gcc.args(flags)
        .arg("-I")
        .arg(root.join("include"))
        .arg("-o")
        .arg(&program);
    gcc.arg(root.join("tests/c").join(format!("{name}.c")))
        .arg("-L")
        .arg(folder);
    gcc.args(["-lhotstuff", "-lpthread"])
        .arg(format!("-Wl,-rpath,{}", folder.display()));
    run(&mut gcc, "gcc");
    program
}

fn run(command: &mut Command, package: &str) -> Output {
    command.env("RUST_BACKTRACE", "0");
    let ran = command.output().unwrap_or_else(|error| {
        panic!(
            "{command:?}: {error}; install the package \"{package}\" (apt-get install {package})"
        )
    });
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        ran.status.success(),
        "{command:?}: {}\n{out}\n{err}",
        ran.status
    );
    ran
}

fn assert_silent(ran: &Output) {
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(err.is_empty(), "on stderr: {err}");
    let line = out.trim_end();
    assert!(
        line.ends_with("passed, 0 failed") && !line.contains('\n'),
        "on stdout: {out}"
    );
    println!("{line}");
}
