//! Scripts: hard cases of the rules as stories of four replicas, which a person can read.
//!
//! ```text
//!   # Why it is told.
//!   > start three-chain
//!   0 1 2 3  enters 1
//!   > deliver propose
//! ```
//!
//! A line that begins with `> ` is done; what the replicas do about it stands below, in the order
//! in which the first of them did it. `REWRITE=1 cargo test --test simulation scripts` writes what
//! they do now: the diff is the review.
//!
//! | line                              | what it does                                            |
//! |-----------------------------------|---------------------------------------------------------|
//! | `start RULE [next-leader] [listener]` | four validators, `three-chain` or `two-chain`; and  |
//! |                                   | replica 4, which is none                                |
//! | `work R TEXT`                     | the host of R has a command                             |
//! | `update R S=POWER..`              | the host of R has validator-set updates                 |
//! | `deliver [KIND..] [from R..] [to R..]` | what is on its way, until nothing of it is         |
//! | `drop ...`                        | the same, but it is lost                                |
//! | `wait R..`                        | the next deadline of each comes                         |
//! | `expire R..`                      | waits, each until it times a view out                   |
//! | `crash R..`, `restart R..`        |                                                         |
//! | `state R..`                       | shows where they are                                    |
//! | `twin V to R..`                   | V's leader sends these another block                    |
//! | `strip to R..`                    | proposals on their way to these lose their TC           |
//! | `fork V on U [tc Q]`              | V's leader proposes on the QC of view U; with a TC that |
//! |                                   | names the QC of view Q                                  |
//! | `vote R B`                        | R votes for the block B, whatever the rules say         |
//! | `timeout R V qc Q`                | R times out view V with the QC of view Q; or `claims Q`,|
//! |                                   | with a QC that nobody but R has signed                  |

mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use stage::Stage;

/// What a script's lines lead to, below each of them.
fn play(script: &str) -> String {
    let mut stage = Stage::default();
    let mut played = String::new();
    for line in script.lines() {
        let is_kept = line.is_empty() || line.starts_with('#') || line.starts_with("> ");
        if !is_kept {
            continue; // what it led to before
        }
        played.push_str(line);
        played.push('\n');
        if let Some(command) = line.strip_prefix("> ") {
            stage.act(command);
            for line in stage.take_lines() {
                played.push_str(&line);
                played.push('\n');
            }
        }
    }
    played
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/scripts");
    let entries = fs::read_dir(folder).expect("the folder of the scripts");
    let mut scripts: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn every_script_goes_as_it_says() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut differing = String::new();
    assert!(scripts().len() >= 12, "scripts are missing");
    for path in scripts() {
        let expected = fs::read_to_string(&path).expect("a script is UTF-8");
        let played = play(&expected);
        if rewrite {
            fs::write(&path, &played).expect("the script can be written");
        } else if played != expected {
            differing.push_str(&format!(
                "{}:\n{}",
                path.display(),
                diff(&expected, &played)
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "\n{differing}\nREWRITE=1 accepts it\n"
    );
}

/// The first line that differs, with the command above it.
fn diff(expected: &str, played: &str) -> String {
    let mut command = "";
    for (left, right) in expected.lines().zip(played.lines()) {
        if left != right {
            return format!("{command}\n  - {left}\n  + {right}\n");
        }
        if left.starts_with("> ") {
            command = left;
        }
    }
    format!("{command}\n  one of the two ends here\n")
}

#[test]
fn a_script_that_goes_otherwise_is_seen() {
    let script = "> start three-chain\n0 1 2 3  enters 7\n";
    assert_ne!(play(script), script);
    assert_eq!(play(&play(script)), play(script));
    assert!(diff(script, &play(script)).contains("enters 7"));
}
