//! The source under test: the floors of ARCHITECTURE.md, the words that each floor may not use,
//! where `unsafe` may stand, and what no source file of this crate contains.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each module. A module imports only from lower floors.
const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("messages", 1),
    ("evidence", 1),
    ("proof", 1),
    ("app", 2),
    ("network", 2),
    ("pacemaker", 2),
    ("algorithm", 3),
    ("block_tree", 4),
    ("replica", 5),
    ("transport", 5),
    ("ffi", 6),
];

/// Clock, thread, disk, chance, print and random order: not on floors 0 to 3.
const NOT_IN_THE_CORE: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::thread",
    "std::net",
    "std::fs",
    "std::env",
    "HashMap",
    "HashSet",
    "lmdb",
    "crossbeam",
];

/// Nowhere in `src`.
const NOWHERE: &[&str] = &[
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "println!(",
    "eprintln!(",
    "print!(",
    "process::exit",
];

/// Where `unsafe` may stand: the C door, LMDB's open and its snapshots, and the signal mask of the
/// library's threads.
const UNSAFE_ALLOWED: &[&str] = &["src/ffi/", "src/block_tree/", "src/replica/signals.rs"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module that the file belongs to: its name below `src`, or its folder's.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").expect("a file of src");
        below
            .split(['/', '.'])
            .next()
            .expect("a path has a first part")
    }

    fn floor(&self) -> Option<u8> {
        floor_of(self.module())
    }

    /// The lines of code with their numbers: no comments, and nothing from the unit tests on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line.split(" // ").next().unwrap_or(line)))
    }
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path: PathBuf = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is UTF-8");
                let path = path.strip_prefix(root).expect("it is below the root");
                found.push(Source {
                    path: path.to_str().expect("UTF-8").to_owned(),
                    text,
                });
            }
        }
    }
    assert!(
        found.len() > 5,
        "the walk of {folder} found next to nothing"
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with one line for each finding.
fn check(folder: &str, finding: impl Fn(&Source, usize, &str) -> Option<String>) {
    let mut findings = String::new();
    for source in sources(folder) {
        for (number, line) in source.code() {
            if let Some(what) = finding(&source, number, line) {
                writeln!(findings, "{}:{number}: {what}", source.path).expect("to a string");
            }
        }
    }
    assert!(findings.is_empty(), "\n{findings}");
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    check("src", |source, _, line| {
        let own = source.floor()?;
        let imports = line.split("crate::").skip(1).map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        });
        imports
            .filter(|import| *import != source.module())
            .find(|import| floor_of(import).is_some_and(|floor| floor >= own))
            .map(|import| format!("{} may not know {import}", source.module()))
    });
}

#[test]
fn every_module_has_a_floor() {
    for source in sources("src") {
        let is_placed = source.floor().is_some() || source.module() == "lib";
        assert!(is_placed, "{} is on no floor", source.path);
    }
}

#[test]
fn the_core_knows_neither_clock_nor_thread_nor_disk_nor_chance() {
    check("src", |source, _, line| {
        let is_core = source.floor().is_some_and(|floor| floor <= 3);
        let word = NOT_IN_THE_CORE
            .iter()
            .find(|word| is_core && line.contains(**word))?;
        Some(format!("{word} in the core"))
    });
}

#[test]
fn only_crypto_names_its_crates_and_only_the_block_tree_names_lmdb() {
    check("src", |source, _, line| {
        let names = |name: &&&str| {
            let line = line.trim_start();
            line.contains(&format!("use {name}")) || line.starts_with(&format!("{name}::"))
        };
        let named = ["ring", "ed25519_zebra", "rand_core"];
        let named = named.iter().find(names);
        if let Some(name) = named.filter(|_| source.path != "src/types/crypto.rs") {
            return Some(format!("{name} outside types/crypto.rs"));
        }
        let is_tree = source.path.starts_with("src/block_tree/");
        (line.contains("lmdb::") && !is_tree).then(|| "LMDB outside block_tree".into())
    });
}

#[test]
fn unsafe_stands_only_where_it_must() {
    check("src", |source, _, line| {
        let is_allowed = UNSAFE_ALLOWED
            .iter()
            .any(|place| source.path.starts_with(place));
        let is_unsafe = line.contains("unsafe ") && !line.contains("unsafe_");
        (is_unsafe && !is_allowed).then(|| "unsafe here".into())
    });
}

#[test]
fn each_unsafe_block_says_why_it_is_safe() {
    for source in sources("src") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let is_block = line.contains("unsafe {") || line.contains("unsafe impl");
            let above = &lines[number.saturating_sub(7)..number];
            let is_explained = above.iter().any(|line| line.contains("SAFETY"));
            assert!(
                !is_block || is_explained,
                "{}:{number}: unsafe without SAFETY",
                source.path
            );
        }
    }
}

#[test]
fn the_source_has_no_stubs_and_prints_nothing() {
    check("src", |_, _, line| {
        NOWHERE
            .iter()
            .find(|word| line.contains(**word))
            .map(|word| format!("{word} in src"))
    });
}

#[test]
fn each_file_says_what_it_is() {
    for source in sources("src") {
        assert!(
            source.text.starts_with("//!"),
            "{} has no module header",
            source.path
        );
    }
}

#[test]
fn lines_are_at_most_100_columns() {
    for folder in ["src", "tests"] {
        for source in sources(folder) {
            for (index, line) in source.text.lines().enumerate() {
                let columns = line.chars().count();
                assert!(
                    columns <= 100,
                    "{}:{}: {columns} columns",
                    source.path,
                    index + 1
                );
            }
        }
    }
}

#[test]
fn no_test_is_ignored() {
    for source in sources("tests") {
        let is_this = source.path == "tests/tidy.rs";
        assert!(
            is_this || !source.text.contains("#[ignore"),
            "{} ignores a test",
            source.path
        );
    }
}

/// A line of `tests/rules.txt` that names no test, and each test that it names in vain.
fn untested(rules: &str, exists: impl Fn(&str, Option<&str>) -> bool) -> Vec<String> {
    let (mut wrong, mut rule) = (Vec::new(), None);
    let lines = rules
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines.chain([""]) {
        let mut words = line.split_whitespace();
        let is_test = line.starts_with("    ");
        let path = words.next().filter(|_| is_test);
        match path {
            None => wrong.extend(rule.replace(line.to_owned())),
            Some(path) => {
                rule = None;
                if !exists(path, words.next()) {
                    wrong.push(line.trim().to_owned());
                }
            }
        }
    }
    wrong
}

/// Whether `path` is a file, and `name`, if one is given, a test in it.
fn is_test(path: &str, name: Option<&str>) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(path).unwrap_or_default();
    let Some(name) = name else {
        return !text.is_empty();
    };
    let mut above: &str = "";
    text.lines().any(|line| {
        let is_it = line.trim() == format!("fn {name}() {{");
        let is_test = is_it && above == "#[test]";
        above = line.trim();
        is_test
    })
}

#[test]
fn each_rule_and_each_fault_of_others_has_its_test() {
    let rules = include_str!("rules.txt");
    let wrong = untested(rules, is_test);
    assert!(wrong.is_empty(), "rules.txt: {wrong:#?}");
}

#[test]
fn the_checks_can_fire() {
    let source = Source {
        path: "src/messages.rs".into(),
        text: "use crate::algorithm::Step;\n// use crate::ffi;\n#[cfg(test)]\nmod tests {}".into(),
    };
    let code: Vec<_> = source.code().collect();
    assert_eq!(code, [(1, "use crate::algorithm::Step;")]);
    assert_eq!((source.floor(), floor_of("algorithm")), (Some(1), Some(3)));
    let rules = "# why\na rule\n    file name\nanother\n    file gone\none without\nlast\n";
    let wrong = untested(rules, |_, name| name == Some("name"));
    assert_eq!(wrong, ["file gone", "one without", "last"]);
    assert!(is_test("tests/tidy.rs", Some("the_checks_can_fire")));
    assert!(!is_test("tests/tidy.rs", Some("untested")));
}
