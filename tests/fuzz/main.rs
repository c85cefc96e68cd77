//! Hostile bytes for everything that reads foreign bytes: generated, mutilated, bounded in number.
//! `make fuzz SECONDS=60` runs the same functions under libFuzzer.
//!
//! `CASES` and `SEED` change how many inputs each target gets, and which; `FUZZ_CORPUS` is a folder
//! into which the real inputs are written instead.

mod targets;

#[path = "../conformance/generator.rs"]
#[allow(dead_code)]
mod generator;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::{env, fs};

use hotstuff::types::codec;

use generator::{of_type, TYPES};
use targets::{c_functions, decode, filter, play, records, world, Target, TARGETS};

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Changes a real input a little, or a lot.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], chance: &mut Chance) {
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(input.len());
        let length = chance.below(16).min(input.len() - at);
        match chance.below(9) {
            _ if input.is_empty() => input.push(chance.next() as u8),
            0 => input[at] ^= 1 << chance.below(8),
            1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
            2 => input.truncate(at),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let copy = input[at..at + length].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                // The longest numbers that there are, and longer ones.
                let number = vec![0xff; 9 + chance.below(3)];
                input.splice(at..at + length, number);
            }
            6 => {
                let other = &others[chance.below(others.len())];
                let from = chance.below(other.len());
                let piece = &other[from..other.len().min(from + 64)];
                input.splice(at..at + length, piece.iter().copied());
            }
            7 => {
                let random = chance.bytes(length);
                input.splice(at..at + length, random);
            }
            _ => input.push(chance.next() as u8),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// A name of an input as text: what a report says, and a regression test takes.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `seeds`, and `cases` inputs made of them and of chance.
fn fuzz(name: &str, seeds: &[Vec<u8>], cases: u64) {
    let (_, target): &Target = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    if let Some(corpus) = env::var_os("FUZZ_CORPUS") {
        return write_corpus(&Path::new(&corpus).join(name), seeds);
    }
    let cases = number("CASES").unwrap_or(cases);
    let seed = number("SEED").unwrap_or(1);
    println!(
        "fuzz: {name}: {} seeds, CASES={cases} SEED={seed}",
        seeds.len()
    );
    let run = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            println!("fuzz: {name} fails with the input {}", hexadecimal(input));
            std::panic::resume_unwind(panic);
        }
    };
    seeds.iter().for_each(|seed| run(seed));
    let mut chance = Chance(seed);
    for _ in 0..cases {
        let mut input = if chance.below(8) == 0 || seeds.is_empty() {
            let length = chance.below(512);
            chance.bytes(length)
        } else {
            seeds[chance.below(seeds.len())].clone()
        };
        if chance.below(16) > 0 {
            mutate(&mut input, seeds, &mut chance);
        }
        run(&input);
    }
}

/// Where libFuzzer begins.
fn write_corpus(folder: &Path, seeds: &[Vec<u8>]) {
    fs::create_dir_all(folder).expect("a folder of ours");
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("a file of ours");
    }
}

/// Values of every type that travels, and what replicas have really said.
fn values() -> Vec<Vec<u8>> {
    let generated = (0..TYPES.len()).flat_map(|place| {
        let mut generator = of_type(place);
        (0..16).map(move |_| (TYPES[place].1)(&mut generator))
    });
    generated.chain(said()).collect()
}

/// What replicas have really said.
fn said() -> impl Iterator<Item = Vec<u8>> {
    world::recorded()
        .iter()
        .map(|(_, message)| codec::encode(message))
}

/// Random moves: longer than other inputs, as each byte is one.
fn moves(count: u64) -> Vec<Vec<u8>> {
    let mut chance = Chance(number("SEED").unwrap_or(1) ^ 0x6d6f_7665);
    let one = |_| {
        let length = 50 + chance.below(400);
        chance.bytes(length)
    };
    (0..count).map(one).collect()
}

#[test]
fn decoders() {
    fuzz("decode", &values(), 100_000);
}

#[test]
fn the_verifier() {
    fuzz("verify", &said().collect::<Vec<_>>(), 20_000);
}

/// What the moves reach is more than the beginning.
#[test]
fn the_moves_lead_to_commits() {
    for play in [play::any, play::answers] {
        let heights: Vec<u64> = moves(40).iter().map(|input| play(input).0).collect();
        let far = heights.iter().filter(|height| **height > 3).count();
        assert!(far > 3, "{heights:?}");
    }
}

#[test]
fn steps() {
    fuzz("step", &moves(200), 1_000);
}

#[test]
fn sync_responses() {
    fuzz("sync", &moves(200), 1_000);
}

#[test]
fn the_filter() {
    let mut generator = of_type(0);
    let generated = (0..200).map(|_| codec::encode(&generator.message()));
    let messages: Vec<Vec<u8>> = generated.chain(said()).collect();
    let framed = messages.iter().enumerate().map(|(place, message)| {
        let length = u16::try_from(message.len()).expect("shorter than that");
        [&[place as u8], &length.to_le_bytes()[..], message].concat()
    });
    fuzz("filter", &framed.collect::<Vec<_>>(), 20_000);
    // What was queued is looked at, too, before the last word.
    let replica = filter::replica();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for (_, what, count) in replica.metrics().rejected_by {
        *reasons.entry(what).or_default() += count;
    }
    println!("fuzz: filter: {reasons:?}");
    let is_corpus = env::var_os("FUZZ_CORPUS").is_some();
    assert!(
        is_corpus || reasons.len() > 10,
        "it refuses for {} reasons",
        reasons.len()
    );
    let stopped = replica.stop(std::time::Duration::from_secs(60));
    assert!(stopped.is_ok(), "{stopped:?}");
    let end = replica.wait(std::time::Duration::ZERO);
    assert!(end.is_ok(), "{end:?}");
}

#[test]
fn records_of_the_database() {
    fuzz("records", &records::seeds(), 6_000);
}

#[test]
fn functions_for_c() {
    let seeds = values().into_iter().enumerate();
    let seeds = seeds.map(|(place, value)| [&[place as u8 % 6], value.as_slice()].concat());
    fuzz("c_functions", &seeds.collect::<Vec<_>>(), 20_000);
}

// ---- nothing is missing

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The public types of a source file that derive `Deserialize`.
fn decodable(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut derives = false;
    for line in source.lines() {
        if line.starts_with("#[derive(") {
            derives = line.contains("Deserialize");
        }
        let name = line
            .strip_prefix("pub struct ")
            .or(line.strip_prefix("pub enum "));
        if let Some(name) = name {
            if derives {
                found.extend(name.split([' ', '(', '<']).next());
            }
            derives = false;
        }
    }
    found
}

#[test]
fn every_public_decoder_is_a_target() {
    let mut known = BTreeSet::new();
    for folder in ["src/types", "src/algorithm", "src"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(path).expect("the source is there") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).expect("source is UTF-8");
                known.extend(decodable(&text).into_iter().map(str::to_owned));
            }
        }
    }
    let listed: BTreeSet<String> = decode::DECODERS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(listed, known);
}

#[test]
fn every_c_function_that_takes_bytes_is_a_target() {
    let header = source("include/hotstuff.h");
    let mut taking = BTreeSet::new();
    for declaration in header.split("HOTSTUFF_API").skip(1) {
        let declaration = declaration.split(';').next().unwrap_or_default();
        let Some((before, arguments)) = declaration.split_once('(') else {
            continue;
        };
        let takes = ["const uint8_t *", "const char *"]
            .iter()
            .any(|t| arguments.contains(t));
        if takes && !arguments.trim_start().starts_with('*') {
            taking.extend(
                before
                    .split([' ', '\n', '*'])
                    .next_back()
                    .map(str::to_owned),
            );
        }
    }
    let listed = c_functions::CALLED.iter().chain(c_functions::ELSEWHERE);
    let listed: BTreeSet<String> = listed.map(|name| (*name).to_owned()).collect();
    assert_eq!(listed, taking);
}

#[test]
fn every_target_has_its_program() {
    let manifest = source("fuzz/Cargo.toml");
    let mut programs: BTreeSet<String> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets"))
            .expect("the programs are there")
            .map(|entry| entry.expect("a readable folder").path())
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
    for (name, _) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} in fuzz/Cargo.toml"
        );
        assert!(programs.remove(*name), "fuzz/fuzz_targets/{name}.rs");
        let program = source(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(program.contains(&format!("{name}(bytes)")), "{program}");
        let makefile = source("Makefile");
        let listed = makefile
            .lines()
            .find(|line| line.starts_with("FUZZ_TARGETS"));
        let listed = listed.is_some_and(|line| line.split(' ').any(|word| word == *name));
        assert!(listed, "{name} in the Makefile");
    }
    assert!(programs.is_empty(), "no target for {programs:?}");
}
