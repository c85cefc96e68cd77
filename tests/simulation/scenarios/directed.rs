//! Directed cases: each is one promise of the protocol.

mod oracles;

use std::collections::BTreeSet;

use hotstuff::algorithm::VoteTo;
use hotstuff::types::{CommitRule, LeaderRule};

use crate::actors::Behaviour;
use crate::case::{expect_good, guarded, heal_and_progress, outcome, Outcome};
use crate::disk::Failure;
use crate::faults::{CrashPoint, Fault, Kind, Moment};
use crate::network::{Conditions, Cut};
use crate::progress::{bound, leader};
use crate::rng::Rng;
use crate::setup::{Setup, MILLIS};
use crate::world::World;

pub const RULES: [CommitRule; 2] = [CommitRule::ThreeChain, CommitRule::TwoChain];
pub const VOTES: [VoteTo; 2] = [VoteTo::All, VoteTo::NextLeader];

/// Runs `story` twice for each of `seeds` seeds, both commit rules and both `vote_to`.
pub fn for_all(
    seeds: u64,
    setup: impl Fn(u64, CommitRule, VoteTo) -> Setup,
    story: impl Fn(&mut World),
) {
    for (rule, vote_to) in RULES
        .iter()
        .flat_map(|rule| VOTES.map(|vote_to| (*rule, vote_to)))
    {
        for seed in 0..seeds {
            let tell = || {
                guarded(seed, || {
                    let mut world = World::new(setup(seed, rule, vote_to));
                    // A directed case has no seed of its own to replay: this is how it is seen.
                    world.verbose = std::env::var_os("VERBOSE").is_some();
                    story(&mut world);
                    outcome(&world)
                })
            };
            let (first, second) = (tell(), tell());
            let who = format!("seed {seed}, {rule:?}, votes to {vote_to:?}");
            let same = first.digest == second.digest;
            let Outcome { violation, .. } = first;
            assert!(
                violation.is_none(),
                "{who}: {}",
                violation.unwrap_or_default()
            );
            assert!(same, "{who}: two runs differ");
        }
    }
}

pub fn four(seed: u64, rule: CommitRule, vote_to: VoteTo) -> Setup {
    let mut setup = Setup::calm(seed, &[1; 4], rule, vote_to);
    let mut rng = Rng::new(seed);
    let base = u64::from(setup.base_ms) * MILLIS;
    setup.conditions = Conditions::calm(base / 200, base / rng.within(10, 40));
    setup.calm = setup.conditions;
    setup
}

/// Every whole rotation of leaders from `first_view` on has a certificate that makes something
/// final, at every survivor.
fn expect_a_commit_in_each_rotation(world: &mut World, first_view: u64) {
    let survivors: Vec<usize> = world.survivors().collect();
    expect_a_commit_in_each_rotation_of(world, first_view, &survivors);
}

fn expect_a_commit_in_each_rotation_of(world: &mut World, first_view: u64, who: &[usize]) {
    let n = world.setup.powers.len() as u64;
    let last_view = who
        .iter()
        .map(|replica| world.view(*replica))
        .min()
        .unwrap_or(0);
    for replica in who.iter().copied() {
        let mut start = first_view.next_multiple_of(n);
        while start + n < last_view {
            let within = |view: u64| (start..start + n).contains(&view);
            if !world
                .commits
                .iter()
                .any(|c| c.replica == replica && within(c.view))
            {
                let text = format!(
                    "{replica} commits nothing in views {start} to {}",
                    start + n - 1
                );
                return world.checker.broken("a-commit-in-each-rotation", text);
            }
            start += n;
        }
    }
}

/// Runs until every survivor is in `view`, which it must reach in a virtual hour.
pub fn run_to_view(world: &mut World, view: u64) {
    let behind = |world: &World| world.survivors().any(|replica| world.view(replica) < view);
    let late = world.run_while(world.now + 3_600_000 * MILLIS, behind);
    if late {
        world
            .checker
            .broken("views-pass", format!("not in view {view} after an hour"));
    }
}

/// Plain chained HotStuff never commits here: after the crashed leader's predecessor nobody
/// collects the votes.
#[test]
fn one_of_four_crashed() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        let mut rng = Rng::new(seed);
        let at = if seed % 2 == 0 {
            0
        } else {
            rng.below(2_000 * MILLIS)
        };
        setup.faults = vec![(
            at,
            Fault::Die {
                replica: rng.index(4),
            },
        )];
        setup
    };
    for_all(100, setup, |world| {
        world.run_until(world.setup.faults[0].0);
        let crashed_in = world
            .survivors()
            .map(|replica| world.view(replica))
            .max()
            .unwrap_or(0);
        run_to_view(world, crashed_in + 44);
        expect_a_commit_in_each_rotation(world, crashed_in + 4);
        assert!(world.counts.of(Kind::Dead) == 1);
    });
}

/// By [`LeaderRule::Active`] the dead one soon leads no more: after three terms of eight views the
/// certificate of every view makes a block final, but in the term in which it returns and the two
/// views after. There is always work, so that no leader waits for it.
#[test]
fn a_dead_one_leads_no_more() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.leader_rule = LeaderRule::Active;
        setup.load_every = MILLIS;
        let replica = Rng::new(seed).index(4);
        setup.faults = vec![(0, Fault::Die { replica })];
        setup
    };
    for_all(25, setup, |world| {
        run_to_view(world, 20 * 8 + 8);
        expect_commits_in(world, (3 * 8 + 2..16 * 8).chain(17 * 8 + 2..20 * 8));
    });
}

/// The certificate of each of these views has made something final at a survivor.
fn expect_commits_in(world: &mut World, mut views: impl Iterator<Item = u64>) {
    let replica = world.survivors().next().expect("not all are dead");
    let committed = world.commits.iter().filter(|c| c.replica == replica);
    let committed: BTreeSet<u64> = committed.map(|c| c.view).collect();
    if let Some(lost) = views.find(|view| !committed.contains(view)) {
        let text = format!("the certificate of view {lost} makes nothing final");
        world
            .checker
            .broken("who-does-not-sign-leads-no-more", text);
    }
}

/// The block is certified all the same, and the victim has to fetch it. It is asked of the liar now
/// and then, who does not answer: the victim is late by a few rotations, nobody else is.
#[test]
fn withheld_block() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        let (liar, victim) = (
            (seed % 4) as usize,
            ((seed + 1 + seed / 4 % 3) % 4) as usize,
        );
        setup.behaviours[liar] = Behaviour::Withholder { victim };
        setup
    };
    for_all(24, setup, |world| {
        let victim = ((world.setup.seed + 1 + world.setup.seed / 4 % 3) % 4) as usize;
        run_to_view(world, 44);
        let others: Vec<usize> = world
            .survivors()
            .filter(|replica| *replica != victim)
            .collect();
        expect_a_commit_in_each_rotation_of(world, 8, &others);
        expect_no_straggler(world, victim, others[0]);
        heal_and_progress(world);
        assert!(world.counts.of(Kind::Withheld) > 0);
    });
}

/// The victim is at most three rotations behind.
fn expect_no_straggler(world: &mut World, victim: usize, other: usize) {
    let (late, ahead) = (world.height(victim), world.height(other));
    if late + 3 * 4 < ahead {
        let text = format!("{victim}: {late} of {ahead}");
        world.checker.broken("the-victim-keeps-up", text);
    }
}

/// One time-out with an inflated `qc_view` would make a TC that no QC satisfies, for ever, if TCs
/// did not carry their QC.
#[test]
fn inflated_qc_view() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.behaviours[(seed % 4) as usize] = Behaviour::Liar;
        setup
    };
    for_all(24, setup, |world| {
        run_to_view(world, 44);
        expect_a_commit_in_each_rotation(world, 8);
        heal_and_progress(world);
        assert!(world.counts.of(Kind::Inflated) > 0);
    });
}

/// A base time-out that is too short for the network, with no fault at all. A back-off that falls
/// back at every certificate never sees consecutive ones.
#[test]
fn constant_delay_of_five_base_timeouts() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.max_ms = setup.base_ms * 64;
        let delay = 5 * u64::from(setup.base_ms) * MILLIS;
        setup.conditions = Conditions::calm(delay, delay);
        setup.calm = setup.conditions;
        setup
    };
    for_all(5, setup, heal_and_progress);
}

/// The powers at which a smooth interleaving of leaders puts the dead one into every third view.
#[test]
fn powers_33_34_33_with_one_dead() {
    for powers in [[33, 34, 33], [333, 334, 333]] {
        let setup = |seed: u64, rule, vote_to| {
            let mut setup = Setup::calm(seed, &powers, rule, vote_to);
            setup.faults = vec![(
                0,
                Fault::Die {
                    replica: if seed % 2 == 0 { 0 } else { 2 },
                },
            )];
            setup
        };
        for_all(8, setup, |world| {
            world.run_until(1);
            heal_and_progress(world);
        });
    }
}

/// Commits what is pending, then says next to nothing: in each `max_idle` one empty block passes.
#[test]
fn idle_chain_is_quiet() {
    for (n, dead) in [(1, None), (4, None), (7, None), (4, Some(2))] {
        let setup = |seed: u64, rule, vote_to| {
            let mut setup = Setup::calm(seed, &vec![1; n], rule, vote_to);
            let die = dead.map(|replica| (0, Fault::Die { replica }));
            setup.faults = die.into_iter().collect();
            setup
        };
        for_all(10, setup, |world| {
            world.run_until(20 * u64::from(world.setup.base_ms) * MILLIS);
            world.set_load(0);
            drain(world);
            expect_quiet(world);
            wakes_up(world);
        });
    }
}

/// With no more work, all that the hosts have handed in is committed.
fn drain(world: &mut World) {
    let start = world.now;
    let bound = bound(&world.setup, world.standing(), 10);
    let late = world.run_while(start + bound, |world| world.waiting_commands() > 0);
    if late {
        let text = format!(
            "{} commands after {} ms",
            world.waiting_commands(),
            bound / MILLIS
        );
        world
            .checker
            .broken("an-idle-chain-commits-everything", text);
    }
}

/// In each `max_idle` a view passes: a proposal, its votes, a certificate that says so; where a
/// leader is dead, the time-outs of its view; and a poll or two of the sync clients.
fn expect_quiet(world: &mut World) {
    let n = world.setup.powers.len() as u64;
    let idle = u64::from(world.setup.max_idle_ms) * MILLIS;
    // The views that were still awake run out.
    world.run_until(world.now + (n + 2) * (idle + u64::from(world.setup.max_ms) * MILLIS));
    let (sent, idles) = (world.network.sent, 50);
    world.run_until(world.now + idles * idle);
    let sent = world.network.sent - sent;
    let a_view = 2 * n * n + 4 * n;
    if sent > idles * a_view {
        let text = format!("{sent} messages in {idles} idle times, more than {a_view} in each");
        world.checker.broken("idle-chains-are-quiet", text);
    }
}

/// And one command at one host is committed at once: no idle wait is waited out.
fn wakes_up(world: &mut World) {
    for replica in world.survivors().collect::<Vec<usize>>() {
        let start = world.now;
        world.command(replica);
        // At most every dead leader's view is waited out, each with a doubled wait.
        let waits = 4 * u64::from(world.setup.base_ms) * MILLIS;
        let delays = 100 * world.setup.conditions.delay_max;
        let late = world.run_while(start + waits + delays, |world| world.waiting_commands() > 0);
        if late {
            let text = format!("{replica}'s command, {} ms", (waits + delays) / MILLIS);
            return world.checker.broken("an-idle-chain-wakes-up", text);
        }
        world.run_until(world.now + u64::from(world.setup.max_idle_ms) * MILLIS);
    }
}

/// All replicas die at once, in the middle of whatever they do; nothing committed is lost, nothing
/// said before is contradicted.
#[test]
fn whole_cluster_crash() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        let mut rng = Rng::new(seed);
        let mut at = 0;
        for _ in 0..5 {
            at += rng.within(10, 1_500) * MILLIS;
            setup.faults.push((
                at,
                Fault::CrashAll {
                    down: rng.below(500) * MILLIS,
                },
            ));
        }
        setup.heal_at = at + 1_000 * MILLIS;
        setup
    };
    for_all(50, setup, |world| {
        world.run_until(world.setup.heal_at);
        heal_and_progress(world);
        assert_eq!(world.counts.of(Kind::WholeCluster), 5);
    });
}

/// Between write and sign, between sign and send, with a disk that fails: each replica once each.
#[test]
fn every_crash_point() {
    let points = [
        CrashPoint::Now,
        CrashPoint::BeforeWrite,
        CrashPoint::AfterWrite,
        CrashPoint::WhileSending,
        CrashPoint::Disk(Failure::Before),
        CrashPoint::Disk(Failure::After),
    ];
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        let mut rng = Rng::new(seed);
        for at in 1..24 {
            let (replica, point) = (rng.index(4), *rng.pick(&points));
            let down = rng.below(100) * MILLIS;
            setup.faults.push((
                at * 200 * MILLIS,
                Fault::Crash {
                    replica,
                    point,
                    down,
                },
            ));
        }
        setup.heal_at = 25 * 200 * MILLIS;
        setup
    };
    for_all(25, setup, |world| {
        world.run_until(world.setup.heal_at);
        heal_and_progress(world);
    });
}

/// The same, in each kind of step: of four replicas one is dead, and the others die once each, at
/// this point of their next step of this kind.
#[test]
fn every_crash_point_of_every_kind_of_step() {
    let moments = [
        Moment::Votes,
        Moment::TimesOut,
        Moment::Proposes,
        Moment::RaisesQc,
        Moment::KeepsTc,
        Moment::Inserts,
        Moment::Commits,
    ];
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.faults = vec![(500 * MILLIS, Fault::Die { replica: 3 })];
        setup
    };
    for moment in moments {
        for point in POINTS_IN_A_STEP {
            for_all(1, setup, |world| {
                world.run_until(1_000 * MILLIS);
                crash_all_in(world, 3, point, moment);
                heal_and_progress(world);
            });
        }
    }
}

pub const POINTS_IN_A_STEP: [CrashPoint; 5] = [
    CrashPoint::BeforeWrite,
    CrashPoint::AfterWrite,
    CrashPoint::WhileSending,
    CrashPoint::Disk(Failure::Before),
    CrashPoint::Disk(Failure::After),
];

/// Each of the first `replicas` dies once at `point` of a step of this kind: the run goes on until
/// all have.
fn crash_all_in(world: &mut World, replicas: usize, point: CrashPoint, moment: Moment) {
    for replica in 0..replicas {
        world.crash_in(replica, point, moment, 50 * MILLIS);
    }
    if world.run_while(world.now + 600_000 * MILLIS, World::crashes_wait) {
        let text = format!("at {point:?} of a step that {moment:?}");
        world.checker.broken("the-crash-comes", text);
        return;
    }
    assert!(world.counts.of(point.kind()) >= replicas as u64);
}

/// A replica that was cut off for hundreds of blocks catches up, and a listener that never votes.
#[test]
fn catching_up_over_hundreds_of_blocks() {
    let setup = |seed, rule, vote_to| {
        let mut setup = four(seed, rule, vote_to);
        setup.listeners = 1;
        setup.machines.push(setup.machines[0]);
        setup.behaviours.push(Behaviour::Correct);
        setup.load_every = 20 * MILLIS;
        let away = [3, 4].into_iter();
        let links = away.flat_map(|away| (0..5).flat_map(move |to| [(away, to), (to, away)]));
        let links = links.filter(|(from, to)| from != to).collect();
        let nanos = 20_000 * MILLIS;
        setup.faults = vec![(
            MILLIS,
            Fault::Partition {
                links,
                how: Cut::Lost,
                nanos,
            },
        )];
        setup
    };
    for_all(5, setup, |world| {
        world.run_until(19_000 * MILLIS);
        assert!(world.height(0) > 100 && world.height(3) == 0 && world.height(4) == 0);
        world.run_until(20_001 * MILLIS);
        heal_and_progress(world);
    });
}

/// The leaders calculated here are the library's.
#[test]
fn leaders_agree() {
    use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
    use hotstuff::types::{Validator, ValidatorSet, ViewNumber};
    for powers in [
        vec![1; 4],
        vec![3, 9, 1],
        vec![u64::MAX / 2, u64::MAX / 4],
        vec![33, 34, 33],
    ] {
        let members = powers.iter().enumerate();
        let members = members.map(|(i, power)| {
            let address = crate::keys::address(i);
            Validator {
                address,
                power: *power,
            }
        });
        let set = ValidatorSet::new(members).expect("it is one");
        for view in (0..1_000).chain([u64::MAX - 1, u64::MAX]) {
            let theirs = DefaultPacemaker::default().view_leader(&set, ViewNumber(view));
            assert_eq!(
                crate::keys::address(leader(&powers, view)),
                theirs,
                "{powers:?} {view}"
            );
        }
    }
}

/// A case whose rule is broken is reported with the command that replays it.
#[test]
#[should_panic(expected = "make sim SEED=7")]
fn a_failure_names_its_seed() {
    let mut world = World::new(four(7, CommitRule::TwoChain, VoteTo::All));
    world.checker.broken("agreement", "forged".into());
    expect_good(&outcome(&world));
}
