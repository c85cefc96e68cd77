//! The bytes of the wire and of the disk, for all time: README.md says what stands where.

mod format_1;
mod generator;
mod signatures;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hotstuff::types::crypto::sha256;

use generator::{of_type, TYPES};

/// Values of each type.
const VALUES: usize = 65_536;
/// A second hash is over so many: for languages in which all would take long.
const FIRST: usize = 1_024;
/// Values that are written out.
const SHOWN: usize = 3;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    let text = pairs.map(|pair| std::str::from_utf8(pair).expect("it is ASCII"));
    text.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
        .collect()
}

/// One line of the file: a type's name, first values and hashes.
fn vector(place: usize) -> String {
    let (name, make) = TYPES[place];
    let mut generator = of_type(place);
    let mut shown = Vec::new();
    let mut all = Vec::new();
    let mut first = String::new();
    for index in 0..VALUES {
        let value = make(&mut generator);
        if index < SHOWN {
            shown.push(format!("\n    \"{}\"", hexadecimal(&value)));
        }
        all.extend(value);
        if index + 1 == FIRST {
            first = hexadecimal(&sha256(&[&all]));
        }
    }
    let hash = hexadecimal(&sha256(&[&all]));
    format!(
        " {{\n  \"name\": \"{name}\",\n  \"first\": [{}\n  ],\n  \
         \"sha256_of_1024\": \"{first}\",\n  \"sha256\": \"{hash}\"\n }}",
        shown.join(",")
    )
}

#[test]
fn every_type_keeps_its_bytes() {
    let mut found = String::from("[\n");
    for place in 0..TYPES.len() {
        let comma = if place + 1 < TYPES.len() { "," } else { "" };
        writeln!(found, "{}{comma}", vector(place)).expect("to memory");
    }
    found.push_str("]\n");
    let path = folder().join("vectors.json");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &found).expect("a file of ours");
    }
    let expected = std::fs::read_to_string(&path).expect("it is part of the source");
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

/// What travels is named in the list: whoever adds a type, adds it there.
#[test]
fn every_message_has_its_vectors() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/messages.rs");
    let source = std::fs::read_to_string(source).expect("it is there");
    // Those without an entry of their own are variants inside `Message`, or names.
    let inside = ["ProgressMessage", "SyncMessage", "MessageKind"];
    let mut found = 0;
    for line in source.lines() {
        let name = line
            .strip_prefix("pub struct ")
            .or(line.strip_prefix("pub enum "));
        let Some(name) = name.and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        let is_listed = TYPES.iter().any(|(listed, _)| *listed == name);
        assert!(is_listed || inside.contains(&name), "{name} has no vectors");
        found += 1;
    }
    assert!(found >= 11, "only {found} types in messages.rs");
}
