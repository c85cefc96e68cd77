//! The C and C++ programs of `tests/c`: plain, under valgrind, and with the address and
//! undefined-behaviour sanitizers. Each prints its count of checks, and nothing else: the library
//! is silent.
//!
//! Of races, the thread sanitizer tells the truth about what is compiled with it: a C++ host and
//! `hotstuff.hpp`. Inside the library it cannot be asked: Rust's locks and channels are futexes and
//! atomics that neither it nor helgrind sees in a library that is not compiled with it (which needs
//! an unstable compiler), so that both report every message that goes from one thread to another.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotstuff::evidence::{Contradiction, Evidence, Signed};
use hotstuff::messages::{Message, ProgressMessage, Vote};
use hotstuff::types::*;

#[path = "c/nulls.rs"]
mod nulls;

#[test]
fn null_for_every_pointer_and_structs_of_every_size() {
    plain("nulls", "");
}

#[test]
fn nulls_under_valgrind() {
    under_valgrind("nulls", "");
}

#[test]
fn nulls_sanitized() {
    sanitized("nulls", "");
}

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

#[test]
fn evidence() {
    plain("evidence", "");
}

#[test]
fn evidence_under_valgrind() {
    under_valgrind("evidence", "valgrind");
}

#[test]
fn evidence_sanitized() {
    sanitized("evidence", "");
}

#[test]
fn proofs() {
    plain("proofs", "");
}

#[test]
fn proofs_under_valgrind() {
    under_valgrind("proofs", "");
}

#[test]
fn proofs_sanitized() {
    sanitized("proofs", "");
}

#[test]
fn host() {
    plain("host", "");
}

#[test]
fn host_under_valgrind() {
    under_valgrind("host", "");
}

#[test]
fn host_sanitized() {
    sanitized("host", "");
}

#[test]
fn cpp() {
    plain("cpp", "");
}

#[test]
fn cpp_under_valgrind() {
    under_valgrind("cpp", "no-fork");
}

#[test]
fn cpp_sanitized() {
    sanitized("cpp", "no-fork");
}

#[test]
fn cpp_has_no_race_and_one_would_be_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build("cpp", folder.path(), &["-O1", "-fsanitize=thread"]);
    assert_has(&program, "__tsan_init");
    let library_apart = folder.path().join("suppressions");
    std::fs::write(&library_apart, "called_from_lib:libhotstuff.so\n").expect("a file");
    let options = format!("suppressions={}", library_apart.display());
    let mut clean = Command::new(&program);
    clean.arg("no-fork").env("TSAN_OPTIONS", &options);
    assert_silent("cpp, threads", &run(&mut clean, ""));
    let mut racing = Command::new(&program);
    racing.arg("race").env("TSAN_OPTIONS", &options);
    let seen = racing.output().expect("it was built");
    let words = String::from_utf8_lossy(&seen.stderr);
    assert!(
        words.contains("data race"),
        "the sanitizer is blind: {words}"
    );
}

/// What hotstuff.hpp has no better word for.
const C_ONLY: [&str; 4] = [
    "hotstuff_error_status",
    "hotstuff_has_feature",
    "hotstuff_status_name",
    "hotstuff_version_string",
];

#[test]
fn the_cpp_header_has_every_function_and_compiles_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let (header, symbols) = (read("bindings/cpp/hotstuff.hpp"), read("hotstuff.sym"));
    for symbol in symbols.lines().filter(|symbol| !C_ONLY.contains(symbol)) {
        let is_used = header.contains(&format!("{symbol}("))
            || header.contains(&format!("{symbol},"))
            || header.contains(&format!("{symbol})"))
            || header.contains(&format!("{symbol}>"));
        assert!(is_used, "hotstuff.hpp does not use {symbol}");
    }
    for (compiler, package) in [("g++", "g++"), ("clang++", "clang")] {
        for standard in ["-std=c++17", "-std=c++20"] {
            let mut command = Command::new(compiler);
            command.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]);
            command
                .args(CPP)
                .arg(standard)
                .arg(root.join("tests/c/cpp.cc"));
            for include in ["include", "bindings/cpp"] {
                command.arg("-I").arg(root.join(include));
            }
            run(&mut command, package);
        }
    }
}

/// The chain of `tests/c/node.h` with two validators, and two votes of the second one.
fn double_vote() -> (Genesis, [Vote; 2]) {
    let key = |number: u8| {
        let mut seed = [0; 32];
        seed[0] = number;
        KeyPair::from_seed(&seed).expect("32 bytes")
    };
    let member = |number| Validator {
        address: key(number).address(),
        power: 1,
    };
    let genesis = Genesis {
        chain_id: ChainId(42),
        validator_set: ValidatorSet::new([1, 2].map(member)).expect("two validators"),
        app_state: BTreeMap::new(),
        parameters: ChainParameters {
            max_idle_ms: 100,
            ..ChainParameters::default()
        },
    };
    let vote = |block: u8| {
        let statement = VoteStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(3),
            justify_view: ViewNumber(2),
            block_hash: BlockHash([block; 32]),
            phase: Phase::Generic,
        };
        let digest = Statement::Vote(statement).digest(&genesis.hash());
        Vote {
            statement,
            voter: key(2).address(),
            signature: key(2).sign(&digest),
        }
    };
    let votes = [vote(1), vote(2)];
    (genesis, votes)
}

fn array(name: &str, bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("0x{byte:02x},")).collect())
        .collect();
    format!(
        "\nstatic const uint8_t {name}[] = {{\n    {}}};\n",
        lines.join("\n    ")
    )
}

/// Evidence and votes keep their bytes; C has them from a file. With `REWRITE=1` it is written.
#[test]
fn the_c_programs_know_the_bytes_of_evidence() {
    let (genesis, votes) = double_vote();
    let [first, second] = votes.map(|vote| Signed {
        statement: vote.statement,
        signature: vote.signature,
    });
    let evidence = Evidence {
        validator: votes[0].voter,
        contradiction: Contradiction::DoubleVote { first, second },
    };
    let verified = evidence.verify(&genesis.hash(), &genesis.validator_set);
    assert_eq!(verified, Ok(()));
    let message = |vote| codec::encode(&Message::Progress(ProgressMessage::Vote(vote)));
    let text = [
        "/* Written by `REWRITE=1 cargo test --test c_harness`: two votes in one view. */\n".into(),
        "#include <stdint.h>\n".into(),
        array("FIRST_VOTE", &message(votes[0])),
        array("SECOND_VOTE", &message(votes[1])),
        array("EVIDENCE", &evidence.encode()),
    ]
    .concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/evidence.h");
    if env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let found = std::fs::read_to_string(&path).expect("it is there");
    assert_eq!(
        found, text,
        "run it with REWRITE=1, and say so in CHANGELOG.md"
    );
}

fn plain(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(name, folder.path(), &["-O2"]);
    let ran = run(Command::new(program).arg(argument), "");
    assert_silent(name, &ran);
}

fn under_valgrind(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(name, folder.path(), &["-O1"]);
    let mut valgrind = Command::new("valgrind");
    // Definite leaks only: the handle that Rust keeps for the main thread counts as a possible one.
    valgrind.args(["-q", "--leak-check=full", "--show-leak-kinds=definite"]);
    valgrind.args(["--errors-for-leak-kinds=definite", "--error-exitcode=9"]);
    let ran = run(valgrind.arg(program).arg(argument), "valgrind");
    assert_silent(&format!("{name}, valgrind"), &ran);
}

fn sanitized(name: &str, argument: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ];
    let program = build(name, folder.path(), &flags);
    assert_has(&program, "__asan_init");
    assert_has(&program, "__ubsan_handle_");
    let ran = run(Command::new(program).arg(argument), "");
    assert_silent(&format!("{name}, sanitizers"), &ran);
}

/// The sanitizer is really in the program.
fn assert_has(program: &Path, runtime: &str) {
    let symbols = run(Command::new("nm").arg("-D").arg(program), "binutils");
    let is_there = String::from_utf8_lossy(&symbols.stdout).contains(runtime);
    assert!(
        is_there,
        "{} was built without {runtime}",
        program.display()
    );
}

const C: [&str; 3] = ["-std=c11", "-D_GNU_SOURCE", "-pedantic"];
const CPP: [&str; 4] = ["-std=c++17", "-pedantic", "-Wconversion", "-Wshadow"];

/// Compiles `tests/c/<name>.c`, or `.cc`, against the header and the library that was built with
/// this test.
fn build(name: &str, folder: &Path, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = env::current_exe().expect("this test is a file");
    let library = test.parent().expect("in a folder").join("libhotstuff.so");
    for link in ["libhotstuff.so", "libhotstuff.so.0"] {
        std::os::unix::fs::symlink(&library, folder.join(link)).expect("a link");
    }
    let header = std::fs::read_to_string(root.join("include/hotstuff.h")).expect("the header");
    let written = nulls::generate(&header);
    std::fs::write(folder.join("nulls_written.h"), written).expect("a file");
    let program = folder.join(name);
    let source = root.join("tests/c").join(format!("{name}.c"));
    let mut compiler = if source.exists() {
        let mut gcc = Command::new("gcc");
        gcc.args(C).arg(source);
        gcc
    } else {
        let mut gpp = Command::new("g++");
        gpp.args(CPP).arg(source.with_extension("cc"));
        gpp
    };
    compiler
        .args(["-g", "-Wall", "-Wextra", "-Werror"])
        .args(flags);
    for include in [&root.join("include"), &root.join("bindings/cpp"), folder] {
        compiler.arg("-I").arg(include);
    }
    compiler.arg("-o").arg(&program).arg("-L").arg(folder);
    compiler.args(["-lhotstuff", "-lpthread"]);
    compiler.arg(format!("-Wl,-rpath,{}", folder.display()));
    run(&mut compiler, "gcc g++");
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

/// It has printed its count, which is told, and nothing else.
fn assert_silent(group: &str, ran: &Output) {
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
    println!(
        "{group}: {}",
        line.split_once(": ").map_or(line, |(_, counts)| counts)
    );
}
