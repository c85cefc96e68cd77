//! `include/hotstuff.h` is what `src/ffi` says, compiles everywhere, and declares exactly what the
//! library exports. `REWRITE=1 cargo test --test header` (`make header`) writes it anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use cbindgen::{Builder, Config, ItemType};

/// The header's chapters, and the files of `src/ffi` that make them. A chapter uses only what
/// stands before it.
const CHAPTERS: &[(&str, &[&str])] = &[
    ("status and errors", &["status", "error"]),
    ("version", &["version"]),
    ("values", &["values", "buffer"]),
    ("keys", &["keypair", "signer"]),
    ("validator sets", &["validator_set"]),
    ("the pacemaker", &["pacemaker"]),
    ("blocks", &["block"]),
    ("the block tree", &["block_tree"]),
    ("what a replica is told", &["config", "config_option"]),
    ("the app", &["updates", "app"]),
    ("the network", &["network"]),
    ("the network: TCP", &["tcp"]),
    ("events", &["event"]),
    ("proofs: verifying without a replica", &["proof"]),
    ("evidence", &["evidence"]),
    ("state and counters", &["info", "metrics"]),
    ("looking into a data directory", &["inspect"]),
    ("replicas", &["replica"]),
    ("the logger", &["logger"]),
];

/// Files of `src/ffi` that export nothing.
const INNER: &[&str] = &["mod", "entry", "handle", "table", "callback"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The header as it is committed; as it will be, with `REWRITE`.
fn header() -> &'static str {
    static HEADER: OnceLock<String> = OnceLock::new();
    HEADER.get_or_init(|| {
        if env::var_os("REWRITE").is_some() {
            let generated = generate();
            fs::create_dir_all(root().join("include")).expect("include can be created");
            fs::write(root().join("include/hotstuff.h"), &generated).expect("it can be written");
            fs::write(root().join("hotstuff.sym"), lines(&declared(&generated)))
                .expect("it can be written");
        }
        read("include/hotstuff.h")
    })
}

#[test]
fn the_header_is_what_the_source_says() {
    let (committed, generated) = (header(), generate());
    let first = committed
        .lines()
        .zip(generated.lines())
        .take_while(|(a, b)| a == b)
        .count();
    assert!(
        committed == generated,
        "include/hotstuff.h is not what src/ffi says, from line {} on: run `make header`",
        first + 1
    );
}

#[test]
fn every_file_of_the_door_has_its_chapter() {
    let named: BTreeSet<String> = CHAPTERS
        .iter()
        .flat_map(|(_, files)| files.iter())
        .chain(INNER)
        .map(|file| format!("{file}.rs"))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("src/ffi"))
        .expect("src/ffi is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(named, there);
}

#[test]
fn the_statuses_are_those_of_the_library() {
    let header = header();
    let defined: BTreeSet<(String, i32)> = header
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("#define ")?.split_whitespace();
            let name = words.next()?;
            let code = words.next()?.trim_matches(['(', ')']).parse().ok()?;
            let is_status = name == "HOTSTUFF_OK" || name.starts_with("HOTSTUFF_E_");
            is_status.then(|| (name.to_owned(), code))
        })
        .collect();
    let library: BTreeSet<(String, i32)> = hotstuff::ffi::statuses()
        .map(|(name, code)| (name.to_owned(), code))
        .collect();
    assert_eq!(defined, library);
    assert!(defined.contains(&("HOTSTUFF_E_TIMEOUT".to_owned(), -4)));
}

#[test]
fn the_versions_are_one() {
    let header = header();
    let defined = |name: &str| {
        let prefix = format!("#define {name} ");
        let line = header
            .lines()
            .find_map(|line| line.strip_prefix(prefix.as_str()));
        line.unwrap_or_else(|| panic!("{name} is not defined"))
            .trim_matches('"')
            .to_owned()
    };
    let part = |name: &str| defined(name).parse::<u32>().expect("a number");
    let (major, minor, patch) = (
        part("HOTSTUFF_VERSION_MAJOR"),
        part("HOTSTUFF_VERSION_MINOR"),
        part("HOTSTUFF_VERSION_PATCH"),
    );
    assert_eq!(
        format!("{major}.{minor}.{patch}"),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        defined("HOTSTUFF_VERSION_STRING"),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        part("HOTSTUFF_VERSION_NUMBER"),
        major * 1_000_000 + minor * 1_000 + patch
    );
    assert_eq!(
        part("HOTSTUFF_VERSION_NUMBER"),
        hotstuff::ffi::hotstuff_version_number()
    );
    assert_eq!(
        part("HOTSTUFF_ABI_VERSION"),
        hotstuff::ffi::hotstuff_abi_version()
    );
    let soname = format!("libhotstuff.so.{}", part("HOTSTUFF_ABI_VERSION"));
    assert!(
        read("build.rs").contains(&format!("-soname,{soname}\"")),
        "build.rs: {soname}"
    );
    assert_eq!(soname_of(&library()), soname);
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let header = declared(header());
    let listed: BTreeSet<String> = read("hotstuff.sym").lines().map(str::to_owned).collect();
    assert_eq!(
        listed, header,
        "hotstuff.sym and the header: run `make header`"
    );
    let library = library();
    let symbols = output(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&library),
    );
    let exported: BTreeSet<String> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, header, "{}", library.display());
}

#[test]
fn each_function_says_from_which_thread_and_what_it_returns() {
    let header = header();
    let mut comment = String::new();
    for line in header.lines() {
        match line {
            "/**" => comment.clear(),
            _ if line.starts_with(" *") => {
                comment += &format!("{}\n", line.trim_start_matches(" *"))
            }
            _ if line.starts_with("HOTSTUFF_API") => {
                let tagged = ["[any]", "[serial]"]
                    .iter()
                    .any(|tag| comment.contains(tag));
                assert!(tagged, "no thread tag: {line}");
                if line.contains("hotstuff_status hotstuff_") && line.contains("NODISCARD") {
                    assert!(comment.contains("@retval"), "no errors: {line}");
                }
                let has_argument = !line.contains("(void)") && !line.contains("hotstuff_status_");
                assert!(
                    !has_argument || comment.contains("@param"),
                    "no parameters: {line}"
                );
            }
            _ => {}
        }
    }
}

#[test]
fn the_header_compiles_as_c_and_cpp_under_gcc_and_clang() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: String = declared(header())
        .iter()
        .map(|name| format!("    F({name}),\n"))
        .collect();
    // Included twice, and by itself; every function has its type and its name.
    let source = format!(
        "#include \"hotstuff.h\"\n#include \"hotstuff.h\"\n\
         typedef void (*any_function)(void);\n#define F(f) (any_function)f\n\
         extern const any_function functions[];\n\
         const any_function functions[] = {{\n{names}}};\n\
         #if HOTSTUFF_VERSION_NUMBER != HOTSTUFF_VERSION_MAJOR * 1000000 \\\n\
         \x20   + HOTSTUFF_VERSION_MINOR * 1000 + HOTSTUFF_VERSION_PATCH\n\
         #error version\n#endif\n\
         int main(void) {{ return HOTSTUFF_OK; }}\n"
    );
    let (c, cpp) = (
        folder.path().join("includes.c"),
        folder.path().join("includes.cc"),
    );
    fs::write(&c, &source).expect("a source");
    fs::write(&cpp, &source).expect("a source");
    let warnings = [
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-Wundef",
        "-Wconversion",
    ];
    for (compiler, package) in [("gcc", "gcc"), ("clang", "clang")] {
        for standard in ["c99", "c11", "c17"] {
            let flags = ["-Wstrict-prototypes", "-Wshadow", "-Wc++-compat"];
            compile(
                compiler,
                package,
                standard,
                &[&warnings[..], &flags].concat(),
                &c,
            );
        }
    }
    for (compiler, package) in [("g++", "g++"), ("clang++", "clang")] {
        for standard in ["c++11", "c++17", "c++20"] {
            compile(compiler, package, standard, &warnings, &cpp);
        }
    }
}

fn compile(compiler: &str, package: &str, standard: &str, flags: &[&str], source: &Path) {
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(flags);
    command
        .arg("-I")
        .arg(root().join("include"))
        .args(["-c", "-o", "/dev/null"])
        .arg(source);
    let ran = command.output().unwrap_or_else(|error| {
        panic!("{compiler}: {error}; install the package \"{package}\" (apt-get install {package})")
    });
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{compiler} -std={standard}:\n{words}");
}

/// The whole header.
fn generate() -> String {
    let toml = root().join("cbindgen.toml");
    let config = Config::from_file(&toml).expect("cbindgen.toml");
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut header = part(&config.header).trim_start().to_owned();
    let guard = part(&config.include_guard);
    header += &format!(
        "\n#ifndef {guard}\n#define {guard}\n\n{}\n",
        part(&config.autogen_warning)
    );
    for include in &config.sys_includes {
        header += &format!("\n#include <{include}>");
    }
    header += "\n";
    header += &part(&config.after_includes);
    header += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
    let all: Vec<&str> = CHAPTERS
        .iter()
        .flat_map(|(_, files)| files.iter().copied())
        .collect();
    header += &title("objects");
    header += &chapter(&config, &all, &[ItemType::OpaqueItems]);
    let rest = [
        ItemType::Constants,
        ItemType::Structs,
        ItemType::Typedefs,
        ItemType::Functions,
    ];
    for (name, files) in CHAPTERS {
        header += &title(name);
        header += &chapter(&config, files, &rest);
    }
    header += &part(&config.trailer);
    header += &format!("\n\n#endif /* {guard} */\n");
    header
}

fn title(name: &str) -> String {
    format!("\n/* {name:=>94} */\n\n", name = format!(" {name}"))
}

/// What cbindgen makes of some files, and nothing around it.
fn chapter(config: &Config, files: &[&str], items: &[ItemType]) -> String {
    let mut config = config.clone();
    config.header = None;
    config.include_guard = None;
    config.autogen_warning = None;
    config.sys_includes.clear();
    config.after_includes = None;
    config.trailer = None;
    config.export.item_types = items.to_vec();
    let builder = files
        .iter()
        .fold(Builder::new().with_config(config), |builder, file| {
            builder.with_src(root().join(format!("src/ffi/{file}.rs")))
        });
    let mut text = Vec::new();
    builder
        .generate()
        .expect("src/ffi is Rust")
        .write(&mut text);
    // A type is named in one way, whether its chapter is this one or another.
    let text = String::from_utf8(text).expect("UTF-8");
    let text = text.trim().replace("struct hotstuff_", "hotstuff_");
    format!(
        "{}\n",
        text.replace("typedef hotstuff_", "typedef struct hotstuff_")
    )
}

/// The functions that a header declares.
fn declared(header: &str) -> BTreeSet<String> {
    let code: String = header
        .lines()
        .filter(|line| !line.starts_with(" *"))
        .collect();
    code.split("HOTSTUFF_API")
        .filter_map(|declaration| declaration.split_once('(').map(|(before, _)| before))
        .filter_map(|before| before.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("hotstuff_"))
        .map(str::to_owned)
        .collect()
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

/// The shared library that was built with this test.
fn library() -> PathBuf {
    let test = env::current_exe().expect("this test is a file");
    let library = test.parent().expect("in a folder").join("libhotstuff.so");
    assert!(
        library.is_file(),
        "{} was not built with this test",
        library.display()
    );
    library
}

fn soname_of(library: &Path) -> String {
    let dynamic = output(Command::new("readelf").arg("-dW").arg(library));
    let line = dynamic
        .lines()
        .find(|line| line.contains("(SONAME)"))
        .expect("a soname");
    let name = line.split(['[', ']']).nth(1).expect("in brackets");
    name.to_owned()
}

fn output(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; install the package \"binutils\" (apt-get install binutils)")
    });
    assert!(
        ran.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).expect("ASCII")
}
