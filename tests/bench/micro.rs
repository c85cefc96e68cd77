//! `cargo bench --bench micro`: what the small things cost, in instructions, and whether one has
//! become dearer. Instructions are counted by callgrind: a loaded machine counts the same.
//!
//! ```text
//!   micro --callgrind--> micro --child NUMBER: one work, counted inside of `measured`
//!     |   (once for each)
//!     +-- compares the counts with micro.json
//! ```
//!
//! Counts depend on the compiler and on what the CPU can do. With the compiler of the baseline a
//! work may cost 5 % more, with another one 25 %; on a CPU of another kind nothing is judged, since
//! the crypto crates take other ways there. `REWRITE=1` writes the baseline anew; `--times` prints
//! how long each takes on this machine instead, the best of many times.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use hotstuff::algorithm::verify::{ed25519, Verifier};
use hotstuff::messages::{Certificate, Message, ProgressMessage, Propose, Vote};
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::*;

/// Of fewer instructions, addresses and the seeds of hash maps are some percent: the least of three
/// counts is taken.
const SMALL: u64 = 10_000;

/// How much dearer a work may become, by the baseline's compiler and by another.
const SAME_COMPILER_MAX: f64 = 1.05;
const OTHER_COMPILER_MAX: f64 = 1.25;

/// Works that are timed together, and how often.
const TIMED: u32 = 10;
const ROUNDS: u32 = 50;

const CHILD: &str = "--child";
const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn main() -> ExitCode {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != CHILD)
        .skip(1);
    if let Some(number) = arguments.next() {
        let number: usize = number.parse().expect("which work");
        measured(works().swap_remove(number).1());
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == "--times") {
        for (name, prepare) in works() {
            println!(
                "{name:<40} {:>12.2} us",
                best_of(prepare()).as_secs_f64() * 1e6
            );
        }
        return ExitCode::SUCCESS;
    }
    let found = json!({
        "compiler": output(Command::new("rustc").arg("--version")),
        "cpu": cpu(),
        "instructions": count(),
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/micro.json");
    if std::env::var_os("REWRITE").is_some() {
        let text = serde_json::to_string_pretty(&found).expect("a few numbers");
        fs::write(&path, text + "\n").expect("a file of ours");
    }
    let baseline = fs::read(&path).expect("it is part of the source");
    judge(&found, &serde_json::from_slice(&baseline).expect("JSON"))
}

type Work = Box<dyn FnMut()>;

/// Makes everything ready for a work, and gives it.
type Prepare = Box<dyn FnOnce() -> Work>;

/// Does the work, whatever comes of it.
fn done<T>(mut work: impl FnMut() -> T + 'static) -> Work {
    Box::new(move || {
        black_box(work());
    })
}

/// Callgrind counts in here only, the second time: what happens once only is not counted.
fn measured(mut work: Work) {
    work();
    measured_once(&mut work);
}

#[inline(never)]
fn measured_once(work: &mut Work) {
    black_box(work)();
}

fn best_of(mut work: Work) -> Duration {
    let time = |_| {
        let began = Instant::now();
        (0..TIMED).for_each(|_| work());
        began.elapsed() / TIMED
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

fn works() -> Vec<(String, Prepare)> {
    let mut works: Vec<(String, Prepare)> = vec![
        ("sign".into(), Box::new(sign)),
        ("verify one signature".into(), Box::new(verify_one)),
        ("verify 10 votes together".into(), Box::new(verify_votes)),
        ("the leader of a view, n = 100".into(), Box::new(leader)),
    ];
    for validators in [4, 16, 32, 100] {
        let quorum = validators * 2 / 3 + 1;
        let new = move || verify_new_qc(validators);
        works.push((format!("verify a new QC, q = {quorum}"), Box::new(new)));
        let known = move || verify_known_qc(validators);
        works.push((format!("verify a known QC, q = {quorum}"), Box::new(known)));
    }
    for (what, validators, bytes) in [
        ("an empty proposal, n = 4", 4, 0),
        ("an empty proposal, n = 100", 100, 0),
        ("a proposal of 64 KiB, n = 4", 4, 64 << 10),
    ] {
        let of = move |work: fn(Propose) -> Work| move || work(proposal(validators, bytes));
        works.push((format!("encode {what}"), Box::new(of(encode))));
        works.push((format!("decode {what}"), Box::new(of(decode))));
        if bytes == 0 {
            works.push((format!("hash {what}"), Box::new(of(hash))));
        }
    }
    works
}

fn sign() -> Work {
    let (key, digest) = (key(1), StatementDigest([7; 32]));
    done(move || key.sign(&digest))
}

fn verify_one() -> Work {
    let (key, digest) = (key(1), StatementDigest([7; 32]));
    let (signature, signer) = (key.sign(&digest), key.address());
    Box::new(move || assert!(signature.verifies(&signer, &digest)))
}

fn verify_votes() -> Work {
    let chain = Chain::new(16);
    let votes: Vec<Vote> = (0..10).map(|index| chain.vote(index, BLOCK)).collect();
    Box::new(move || chain.verifier().check_together(&votes))
}

fn verify_new_qc(validators: usize) -> Work {
    let chain = Chain::new(validators);
    let message = advance(chain.qc());
    done(move || {
        let judged = chain.verifier().progress(message.clone());
        judged.expect("it verifies")
    })
}

fn verify_known_qc(validators: usize) -> Work {
    let chain = Chain::new(validators);
    let (mut verifier, message) = (chain.verifier(), advance(chain.qc()));
    done(move || verifier.progress(message.clone()).expect("it verifies"))
}

fn leader() -> Work {
    let set = Chain::new(100).set;
    let view = ViewNumber(12_345);
    done(move || DefaultPacemaker::default().view_leader(&set, view))
}

fn encode(propose: Propose) -> Work {
    let message = Message::Progress(ProgressMessage::Propose(propose));
    let mut buffer = Vec::new();
    Box::new(move || codec::encode_into(black_box(&message), &mut buffer))
}

fn decode(propose: Propose) -> Work {
    let bytes = codec::encode(&Message::Progress(ProgressMessage::Propose(propose)));
    done(move || codec::decode::<Message>(&bytes, MESSAGE_BYTES_MAX).expect("whole"))
}

fn hash(propose: Propose) -> Work {
    let header = propose.block.header;
    done(move || header.hash(&GENESIS))
}

fn advance(qc: QuorumCertificate) -> ProgressMessage {
    ProgressMessage::AdvanceView(Certificate::Quorum(qc))
}

const GENESIS: GenesisHash = GenesisHash([5; 32]);
const BLOCK: BlockHash = BlockHash([9; 32]);

fn key(number: usize) -> KeyPair {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    KeyPair::from_seed(&seed).expect("32 bytes")
}

/// Validators, and what they say.
struct Chain {
    keys: Vec<KeyPair>,
    set: ValidatorSet,
}

impl Chain {
    fn new(validators: usize) -> Chain {
        let mut keys: Vec<KeyPair> = (0..validators).map(key).collect();
        keys.sort_by_key(KeyPair::address);
        let member = |key: &KeyPair| Validator {
            address: key.address(),
            power: 1,
        };
        let set = ValidatorSet::new(keys.iter().map(member)).expect("a few equal ones");
        Chain { keys, set }
    }

    fn verifier(&self) -> Verifier {
        let mut verifier = Verifier::new(GENESIS, ed25519);
        verifier.learn(Epoch(0), self.set.clone());
        verifier
    }

    fn vote(&self, index: usize, block_hash: BlockHash) -> Vote {
        let statement = VoteStatement {
            epoch: Epoch(0),
            view_num: ViewNumber(1_000),
            justify_view: ViewNumber(999),
            block_hash,
            phase: Phase::Generic,
        };
        let digest = Statement::Vote(statement).digest(&GENESIS);
        Vote {
            statement,
            voter: self.keys[index].address(),
            signature: self.keys[index].sign(&digest),
        }
    }

    fn qc(&self) -> QuorumCertificate {
        let quorum = self.set.quorum_power() as usize;
        let signature = |index| (index < quorum).then(|| self.vote(index, BLOCK).signature);
        let signatures = (0..self.keys.len()).map(signature).collect();
        QuorumCertificate::new(self.vote(0, BLOCK).statement, signatures)
    }
}

fn proposal(validators: usize, bytes: usize) -> Propose {
    let chain = Chain::new(validators);
    let data = Data::new(vec![3; bytes]);
    let header = BlockHeader {
        height: BlockHeight(900),
        epoch: Epoch(0),
        view: ViewNumber(1_001),
        justify: chain.qc(),
        data_hash: data.hash(),
        validator_set_updates: None,
    };
    let vote = chain.vote(0, header.hash(&GENESIS));
    Propose {
        block: Block { header, data },
        vote,
        timeout_certificate: None,
    }
}

/// The instructions of each work, by name.
fn count() -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().expect("a directory of our own");
    // Names and the environment lie on the stack, and move it: what a copy costs there depends on
    // where the program lies. So it lies at one place, and is given no environment.
    let program = std::env::current_exe().expect("this program");
    fs::copy(program, folder.path().join("micro")).expect("room for a copy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let count_one = |number: usize| {
        let profile = folder.path().join(number.to_string());
        let mut valgrind = Command::new("valgrind");
        valgrind
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &path)
            .args([
                "--tool=callgrind",
                "--quiet",
                "--toggle-collect=*measured_once*",
            ])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg("./micro")
            .args([CHILD, &number.to_string()]);
        output(&mut valgrind);
        total(&profile)
    };
    let count_least = |(number, (name, _)): (usize, (String, Prepare))| {
        let mut least = count_one(number);
        if least < SMALL {
            least = least.min(count_one(number)).min(count_one(number));
        }
        (name, least)
    };
    works().into_iter().enumerate().map(count_least).collect()
}

/// What a profile has counted.
fn total(profile: &Path) -> u64 {
    let text = fs::read_to_string(profile).expect("callgrind has written it");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.expect("it says what it counted").trim();
    total.parse().expect("a number")
}

/// What the crypto crates look at. Valgrind hides the rest.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let has_avx2 = false;
    format!("{}, AVX2: {has_avx2}", std::env::consts::ARCH)
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("tests/setup.sh installs it");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn judge(found: &Value, baseline: &Value) -> ExitCode {
    let is_same = |what| found[what] == baseline[what];
    let limit = match (is_same("cpu"), is_same("compiler")) {
        (false, _) => f64::INFINITY,
        (_, false) => OTHER_COMPILER_MAX,
        _ => SAME_COMPILER_MAX,
    };
    println!(
        "{:<40} {:>12} {:>12} {:>6}",
        "instructions", "baseline", "now", "ratio"
    );
    let numbers = |value: &Value| -> BTreeMap<String, f64> {
        serde_json::from_value(value["instructions"].clone()).expect("numbers by name")
    };
    let (now, before) = (numbers(found), numbers(baseline));
    let mut failed = !now.keys().eq(before.keys());
    for (name, now) in &now {
        let before = before.get(name).copied().unwrap_or(*now);
        let ratio = now / before;
        let mark = if ratio > limit { "  too dear" } else { "" };
        failed |= ratio > limit;
        println!("{name:<40} {before:>12} {now:>12} {ratio:>6.3}{mark}");
    }
    for what in ["cpu", "compiler"] {
        if !is_same(what) {
            println!(
                "the {what} is {}, the baseline's {}",
                found[what], baseline[what]
            );
        }
    }
    println!("a work may cost {limit} times its baseline (REWRITE=1 writes a new one)");
    ExitCode::from(u8::from(failed))
}
