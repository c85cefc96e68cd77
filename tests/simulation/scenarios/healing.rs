//! How soon a healed cluster commits, in the words of the specification (`src/algorithm/mod.rs`,
//! "Why it does not stop"): within 3 current time-outs plus 10 message delays, from views up to
//! 1,000 apart, with four, seven and ten replicas; and with a third of them dead, whose views have
//! to be waited for, within what that argument says of them.

mod oracles;

use hotstuff::algorithm::{VoteTo, Write};
use hotstuff::messages::{Message, ProgressMessage, TimeoutVote};
use hotstuff::types::{
    CommitRule, Epoch, QuorumCertificate, Rank, Statement, TimeoutCertificate, TimeoutStatement,
    ViewNumber,
};

use super::directed::{RULES, VOTES};
use crate::faults::Fault;
use crate::keys::{address, sign};
use crate::network::{Conditions, Cut};
use crate::progress::{leader, wait};
use crate::rng::Rng;
use crate::setup::{Setup, MICROS, MILLIS};
use crate::world::World;

/// How far apart the views are; one seed each.
const GAPS: [u64; 5] = [1_000, 100, 7, 4, 2];

const HOUR: u64 = 3_600_000 * MILLIS;

/// `n` equals, a network of at most a tenth of the base time-out, an app that answers at once; so
/// many of them, by chance, are dead from the beginning.
fn setup(n: usize, dead: usize, seed: u64, commit_rule: CommitRule, vote_to: VoteTo) -> Setup {
    let mut setup = Setup::calm(seed, &vec![1; n], commit_rule, vote_to);
    setup.conditions = Conditions::calm(5 * MILLIS, 20 * MILLIS);
    setup.calm = setup.conditions;
    setup.habits.answer_max = 10 * MICROS;
    setup.request_limit = 256;
    let mut who: Vec<usize> = (0..n).collect();
    Rng::new(seed).shuffle(&mut who);
    let dies = |replica: &usize| (0, Fault::Die { replica: *replica });
    setup.faults = who[..dead].iter().map(dies).collect();
    setup
}

/// What healing took, and what the argument allows; nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Healed {
    timeout: u64,
    /// Until each correct replica has committed something.
    took: u64,
    /// Until each has committed something new to all.
    took_new: u64,
    allowed: u64,
}

/// All meet after two waits and four delays. Then each view of a correct leader takes two delays,
/// and each of a dead one its wait and two delays; so does, before it, that of a correct one whose
/// votes go to it alone. Three (two) views of correct leaders in a row commit: if nobody is dead,
/// after two waits and ten delays.
fn allowed(world: &World) -> u64 {
    let setup = &world.setup;
    let (n, delay) = (setup.powers.len() as u64, setup.calm.delay_max);
    let in_a_row = match setup.commit_rule {
        CommitRule::ThreeChain => 3,
        CommitRule::TwoChain => 2,
    };
    let lives = |view| setup.survives(leader(&setup.powers, view));
    let standing = world.standing();
    let (mut qc_view, commit_view) = (standing.qc_view_min, standing.commit_view_min);
    let mut time = 2 * world.timeout_max() + 4 * delay;
    let (mut view, mut certified) = (standing.view_max + 1, 0);
    while certified < in_a_row {
        time += 2 * delay;
        let is_lost = !lives(view);
        if is_lost || (setup.vote_to == VoteTo::NextLeader && !lives(view + 1)) {
            time += wait(setup, n, qc_view, commit_view, view) + 2 * delay;
        }
        if is_lost {
            certified = 0;
        } else {
            (qc_view, certified) = (view, certified + 1);
        }
        view += 1;
    }
    time
}

/// Heals, and expects the commits.
fn heal(world: &mut World) -> Healed {
    let (start, before) = (world.now, world.commits.len());
    let timeout = world.timeout_max();
    let survivors: Vec<usize> = world.survivors().collect();
    let allowed = allowed(world);
    let views: Vec<u64> = survivors.iter().map(|it| world.view(*it)).collect();
    let heights = survivors.iter().map(|it| world.height(*it));
    let height = heights.max().expect("somebody survives");
    world.heal(world.setup.calm);
    let has_committed = |world: &World, replica: &usize| {
        let since = &world.commits[before..];
        since.iter().any(|commit| commit.replica == *replica)
    };
    let waits = |world: &World| !survivors.iter().all(|it| has_committed(world, it));
    world.run_while(start + allowed, waits);
    let took = world.now - start;
    if world.violation().is_none() && waits(world) {
        let (allowed, timeout) = (allowed / MILLIS, timeout / MILLIS);
        let text = format!(
            "not all have committed {allowed} ms after healing; the time-out was {timeout} ms, \
             views {views:?}"
        );
        world.checker.broken("commits-soon-after-healing", text);
    }
    world.run_while(start + 2 * allowed, |world| world.height_min() <= height);
    let took_new = world.now - start;
    Healed {
        timeout,
        took,
        took_new,
        allowed,
    }
}

/// Tells `story` for each n, rule and `vote_to`, with so many dead, and prints the worst.
fn tell(
    what: &str,
    dead: impl Fn(usize) -> usize,
    seeds: u64,
    story: impl Fn(Setup, u64, &mut Rng) -> (World, Healed),
) {
    for n in [4, 7, 10] {
        let (mut took, mut beyond, mut new, mut share) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        for (rule, vote_to) in RULES.iter().flat_map(|rule| VOTES.map(|to| (*rule, to))) {
            for (seed, gap) in (0..seeds).zip(GAPS.into_iter().cycle()) {
                let setup = setup(n, dead(n), seed, rule, vote_to);
                let delays = 10.0 * setup.calm.delay_max as f64;
                let (world, healed) = story(setup, gap, &mut Rng::new(seed));
                if let Some(violation) = world.violation() {
                    let who = format!("n = {n}, {rule:?}, {vote_to:?}, {gap} views, seed {seed}");
                    panic!("{what}: {who}: {}: {}", violation.rule, violation.text);
                }
                let timeout = healed.timeout as f64;
                took = took.max(healed.took as f64 / timeout);
                beyond = beyond.max((healed.took as f64 - delays) / timeout);
                new = new.max(healed.took_new as f64 / timeout);
                share = share.max(healed.took as f64 / healed.allowed as f64);
            }
        }
        println!(
            "{what}, n = {n}: all have committed after at most {took:.2} current time-outs \
             ({beyond:.2} and 10 delays), something new after {new:.2}; {:.0} % of what is allowed",
            100.0 * share
        );
    }
}

fn world(setup: Setup) -> World {
    let mut world = World::new(setup);
    world.verbose = std::env::var_os("VERBOSE").is_some();
    world
}

/// As many as may be faulty.
const fn third(n: usize) -> usize {
    (n - 1) / 3
}

/// A third is cut off, one after the other, while the others go on and commit.
#[test]
fn from_views_that_committed_apart() {
    tell(
        "cut off",
        |_| 0,
        3,
        |setup, gap, rng| {
            let n = setup.powers.len();
            let mut world = world(setup);
            let front = n - 1;
            let mut view = 5;
            for replica in 0..third(n) {
                world.run_while(HOUR, |world| world.view(front) < view);
                for peer in (0..n).filter(|peer| *peer != replica) {
                    world.network.cut(replica, peer, Cut::Lost);
                    world.network.cut(peer, replica, Cut::Lost);
                }
                view += rng.below(gap / 2 + 1);
            }
            let last = world.view(0) + gap + 1;
            world.run_while(HOUR, |world| world.view(front) < last);
            assert!(world.view(front) >= world.view(0) + gap);
            let healed = heal(&mut world);
            (world, healed)
        },
    );
}

/// Nobody hears anybody for a while.
fn silent(setup: Setup, rng: &mut Rng) -> World {
    let n = setup.powers.len();
    let mut world = world(setup);
    world.run_until(rng.below(4_000) * MILLIS);
    cut_all(&mut world, n);
    world.run_until(world.now + rng.below(20_000) * MILLIS);
    world
}

fn cut_all(world: &mut World, n: usize) {
    for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))) {
        world.network.cut(from, to, Cut::Lost);
    }
}

#[test]
fn from_silence() {
    for (what, dead) in [("silence", 0), ("silence, a third dead", 1)] {
        tell(
            what,
            |n| dead * third(n),
            10,
            |setup, _, rng| {
                let mut world = silent(setup, rng);
                let healed = heal(&mut world);
                (world, healed)
            },
        );
    }
}

/// The time-out of `view` by `replica`, with nothing certified before.
fn timeout(world: &World, replica: usize, view: u64) -> TimeoutVote {
    let statement = TimeoutStatement {
        epoch: Epoch(0),
        view_num: ViewNumber(view),
        qc_view: ViewNumber(0),
    };
    let validator = address(replica);
    TimeoutVote {
        epoch: statement.epoch,
        view_num: statement.view_num,
        highest_qc: QuorumCertificate::genesis(world.genesis()),
        last_vote: None,
        validator,
        signature: sign(
            &validator,
            &Statement::Timeout(statement).digest(&world.genesis()),
        ),
    }
}

/// The certificate of the time-outs of all survivors, who say now what they have long signed.
fn timeout_certificate(world: &mut World, view: u64) -> TimeoutCertificate {
    let mut signatures = vec![None; world.setup.powers.len()];
    for replica in world.survivors().collect::<Vec<usize>>() {
        let timeout = timeout(world, replica, view);
        signatures[replica] = Some((ViewNumber(0), timeout.signature));
        let message = Message::Progress(ProgressMessage::TimeoutVote(timeout));
        world.checker.said(replica, &message);
    }
    TimeoutCertificate {
        epoch: Epoch(0),
        view_num: ViewNumber(view),
        highest_qc: QuorumCertificate::genesis(world.genesis()),
        signatures,
    }
}

/// All have signed the time-outs of `gap` views, and each holds the certificate of another one: the
/// network has lost all other certificates, and no proposal came through. At least one is in the
/// last view, and one in the first.
fn scattered(setup: Setup, gap: u64, rng: &mut Rng) -> World {
    let n = setup.powers.len();
    let mut world = world(setup);
    let survivors: Vec<usize> = world.survivors().collect();
    for replica in &survivors {
        let (epoch, view) = (Epoch(0), ViewNumber(gap - 1));
        world.remember(*replica, &[Write::TimeOut(Rank { epoch, view })]);
    }
    for (index, replica) in survivors.into_iter().enumerate() {
        let view = match index {
            0 => 1,
            1 => gap,
            _ => rng.within(1, gap),
        };
        if view > 1 {
            let certificate = timeout_certificate(&mut world, view - 1);
            world.remember(replica, &[Write::SetHighestTc(certificate)]);
        }
    }
    cut_all(&mut world, n);
    // Timers are anywhere between their beginning and their end.
    let longest = u64::from(world.setup.max_ms) * MILLIS;
    world.run_until(rng.within(10 * MILLIS, 2 * longest));
    world
}

#[test]
fn from_views_that_timed_out_apart() {
    for (what, dead) in [("scattered", 0), ("scattered, a third dead", 1)] {
        tell(
            what,
            |n| dead * third(n),
            10,
            |setup, gap, rng| {
                let mut world = scattered(setup, gap, rng);
                let healed = heal(&mut world);
                (world, healed)
            },
        );
    }
}
