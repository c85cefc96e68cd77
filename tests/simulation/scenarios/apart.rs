//! After healing every correct replica commits within three current time-outs and ten message
//! delays, from views up to 1,000 apart, with four, seven and ten replicas: cut off one after the
//! other, or each with another certificate of time-outs.

use hotstuff::algorithm::{VoteTo, Write};
use hotstuff::types::{
    CommitRule, Epoch, QuorumCertificate, Rank, Statement, TimeoutCertificate, TimeoutStatement,
    ViewNumber,
};

use crate::keys::{address, sign};
use crate::network::{Conditions, Cut};
use crate::rng::Rng;
use crate::setup::{Setup, MICROS, MILLIS};
use crate::world::World;

const TIMEOUTS: u64 = 3;
const DELAYS: u64 = 10;

/// How far apart the views are; one seed each.
const GAPS: [u64; 3] = [1_000, 100, 7];

const HOUR: u64 = 3_600_000 * MILLIS;

/// `n` equals, a network of at most a tenth of the base time-out, an app that answers at once.
fn setup(n: usize, seed: u64, commit_rule: CommitRule, vote_to: VoteTo) -> Setup {
    let mut setup = Setup::calm(seed, &vec![1; n], commit_rule, vote_to);
    setup.conditions = Conditions::calm(5 * MILLIS, 20 * MILLIS);
    setup.calm = setup.conditions;
    setup.habits.answer_max = 10 * MICROS;
    setup.request_limit = 256;
    setup
}

/// The times that were needed, in thousandths of the current time-out: until each correct replica
/// has committed something, and until each has committed something new to all.
#[derive(Clone, Copy, Debug, Default)]
struct Needed {
    any: u64,
    new: u64,
}

/// Heals, and expects the commits.
fn heal(world: &mut World) -> Needed {
    let (start, before) = (world.now, world.commits.len());
    let timeout = world.timeout_max();
    let allowed = TIMEOUTS * timeout + DELAYS * world.setup.calm.delay_max;
    let survivors: Vec<usize> = world.survivors().collect();
    let height = survivors.iter().map(|replica| world.height(*replica)).max();
    let height = height.expect("somebody survives");
    let views: Vec<u64> = survivors
        .iter()
        .map(|replica| world.view(*replica))
        .collect();
    world.heal(world.setup.calm);
    let has_committed = |world: &World, replica: &usize| {
        let since = &world.commits[before..];
        since.iter().any(|commit| commit.replica == *replica)
    };
    let waits = |world: &World| {
        !survivors
            .iter()
            .all(|replica| has_committed(world, replica))
    };
    world.run_while(start + allowed, waits);
    let any = (world.now - start) * 1_000 / timeout;
    if world.violation().is_none() && waits(world) {
        let text = format!(
            "not all have committed {} ms after healing; the time-out was {} ms, views {views:?}",
            allowed / MILLIS,
            timeout / MILLIS
        );
        world.checker.broken("commits-soon-after-healing", text);
    }
    world.run_while(start + 2 * allowed, |world| world.height_min() <= height);
    let new = (world.now - start) * 1_000 / timeout;
    Needed { any, new }
}

/// Tells `story` for each n, rule and `vote_to`, and prints the worst.
fn tell(what: &str, story: impl Fn(Setup, u64, &mut Rng) -> (World, Needed)) {
    let mut worst = Needed::default();
    for n in [4, 7, 10] {
        for rule in [CommitRule::ThreeChain, CommitRule::TwoChain] {
            for vote_to in [VoteTo::All, VoteTo::NextLeader] {
                for (seed, gap) in (0..).zip(GAPS) {
                    let setup = setup(n, seed, rule, vote_to);
                    let (world, needed) = story(setup, gap, &mut Rng::new(seed));
                    let who = format!("{what}: n = {n}, {rule:?}, {vote_to:?}, {gap} views apart");
                    if let Some(violation) = world.violation() {
                        panic!("{who}: {}: {}", violation.rule, violation.text);
                    }
                    worst.any = worst.any.max(needed.any);
                    worst.new = worst.new.max(needed.new);
                }
            }
        }
    }
    println!(
        "{what}: all have committed after at most {:.2} current time-outs, something new after \
         {:.2}",
        worst.any as f64 / 1e3,
        worst.new as f64 / 1e3,
    );
}

/// A third is cut off, one after the other, while the others go on and commit.
#[test]
fn soon_after_healing_with_certificates_of_a_quorum() {
    tell("cut off", |setup, gap, rng| {
        let n = setup.powers.len();
        let mut world = World::new(setup);
        world.verbose = std::env::var_os("VERBOSE").is_some();
        let away = (n - 1) / 3;
        let front = n - 1;
        let mut view = 5;
        for replica in 0..away {
            world.run_while(HOUR, |world| world.view(front) < view);
            for peer in (0..n).filter(|peer| *peer != replica) {
                world.network.cut(replica, peer, Cut::Lost);
                world.network.cut(peer, replica, Cut::Lost);
            }
            view += rng.below(gap / 2 + 1);
        }
        let last = world.view(0) + gap + 1;
        world.run_while(HOUR, |world| world.view(front) < last);
        let views: Vec<u64> = (0..n).map(|replica| world.view(replica)).collect();
        assert!(
            views[front] >= views[0] + gap,
            "{views:?} at {} ms, {:?}",
            world.now / MILLIS,
            world.violation()
        );
        let needed = heal(&mut world);
        (world, needed)
    });
}

/// The certificate of time-outs of `view`, with nothing certified before: all have signed it.
fn timeout_certificate(world: &World, view: u64) -> TimeoutCertificate {
    let (epoch, view_num, qc_view) = (Epoch(0), ViewNumber(view), ViewNumber(0));
    let statement = Statement::Timeout(TimeoutStatement {
        epoch,
        view_num,
        qc_view,
    });
    let digest = statement.digest(&world.genesis());
    let slot = |index| Some((qc_view, sign(&address(index), &digest)));
    TimeoutCertificate {
        epoch,
        view_num,
        highest_qc: QuorumCertificate::genesis(world.genesis()),
        signatures: (0..world.setup.powers.len()).map(slot).collect(),
    }
}

/// All have signed the time-outs of `gap` views, and each holds the certificate of another one: the
/// network has lost all other certificates, and no proposal came through. At least one is in the
/// last view, and one in the first.
fn scattered(setup: Setup, gap: u64, rng: &mut Rng) -> World {
    let n = setup.powers.len();
    let mut world = World::new(setup);
    world.verbose = std::env::var_os("VERBOSE").is_some();
    for replica in 0..n {
        let view = match replica {
            0 => 1,
            1 => gap,
            _ => rng.within(1, gap),
        };
        let rank = |view| Rank {
            epoch: Epoch(0),
            view: ViewNumber(view),
        };
        let mut writes = vec![Write::TimeOut(rank(gap - 1))];
        if view > 1 {
            writes.push(Write::SetHighestTc(timeout_certificate(&world, view - 1)));
        }
        world.remember(replica, &writes);
    }
    for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))) {
        world.network.cut(from, to, Cut::Lost);
    }
    // Timers are anywhere between their beginning and their end.
    let longest = u64::from(world.setup.max_ms) * MILLIS;
    world.run_until(rng.within(10 * MILLIS, 2 * longest));
    world
}

#[test]
fn soon_after_healing_with_certificates_of_timeouts() {
    tell("scattered", |setup, gap, rng| {
        let mut world = scattered(setup, gap, rng);
        let needed = heal(&mut world);
        (world, needed)
    });
}

#[cfg(test)]
mod oracles {
    use super::*;
    use crate::faults::Fault;

    /// Half of them are dead.
    #[test]
    fn a_cluster_that_does_not_commit_soon() {
        let mut setup = setup(4, 1, CommitRule::TwoChain, VoteTo::All);
        setup.faults = [2, 3].map(|replica| (0, Fault::Die { replica })).to_vec();
        let mut world = World::new(setup);
        world.run_until(1_000 * MILLIS);
        heal(&mut world);
        let violation = world.violation().expect("nobody can commit");
        assert_eq!(violation.rule, "commits-soon-after-healing");
    }
}
