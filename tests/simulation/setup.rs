//! What a case is made of. A seed determines a whole random setup; directed tests spell theirs out.

use hotstuff::types::{CommitRule, LeaderRule};

use crate::actors::Behaviour;
use crate::app::Habits;
use crate::changes::{Change, Draw, Powers};
use crate::disk::Failure;
use crate::faults::{CrashPoint, Fault, Kind};
use crate::network::{Conditions, Cut};
use crate::rng::Rng;
use hotstuff::algorithm::{Limits, VoteTo};

/// Nanoseconds.
pub const MICROS: u64 = 1_000;
pub const MILLIS: u64 = 1_000_000;
pub const SECONDS: u64 = 1_000_000_000;

/// How fast a replica's clock runs, and how its disk and its driver work.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Parts per million, of true time.
    pub clock_rate: u64,
    pub clock_origin: u64,
    /// A transaction takes at most this long.
    pub disk_max: u64,
    /// Of a thousand inputs that come while a step is open, so many join it (group commit).
    pub group_per_mille: u64,
}

/// Whether some cases leave next to no room for pending blocks.
const SMALL_LIMITS: bool = true;

/// The first seed whose case may change its validators.
const CHANGES_FROM: u64 = 1 << 40;

/// The first seed whose case may have its leaders chosen among those who sign.
pub const LEADERS_FROM: u64 = 1 << 52;

#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// One a validator.
    pub powers: Vec<u64>,
    /// Replicas without a vote, after the validators.
    pub listeners: usize,
    /// Replicas with a key, last: listeners that may become validators.
    pub spares: usize,
    /// Updates of the validator set, in order.
    pub changes: Vec<Change>,
    pub commit_rule: CommitRule,
    pub leader_rule: LeaderRule,
    pub vote_to: VoteTo,
    pub base_ms: u32,
    pub max_ms: u32,
    pub max_idle_ms: u32,
    pub conditions: Conditions,
    /// After healing.
    pub calm: Conditions,
    pub habits: Habits,
    pub machines: Vec<Machine>,
    pub behaviours: Vec<Behaviour>,
    /// A replica's host gets a command about so often, in nanoseconds; 0: never.
    pub load_every: u64,
    /// Blocks asked for in one sync request.
    pub request_limit: u32,
    /// Blocks in one answer of a sync server: stands for its limit on bytes.
    pub served_blocks_max: usize,
    pub limits: Limits,
    /// Messages travel as bytes.
    pub as_bytes: bool,
    /// Of a thousand signatures asked for, so many are refused.
    pub unsigned_per_mille: u64,
    /// When the faults begin (nanoseconds), in order.
    pub faults: Vec<(u64, Fault)>,
    /// When they end.
    pub heal_at: u64,
}

impl Setup {
    /// `powers.len()` validators on good machines and a good network, under load.
    pub fn calm(seed: u64, powers: &[u64], commit_rule: CommitRule, vote_to: VoteTo) -> Setup {
        let base_ms = 200;
        let conditions = Conditions::calm(MILLIS, 20 * MILLIS);
        let machine = Machine {
            clock_rate: 1_000_000,
            clock_origin: 0,
            disk_max: 0,
            group_per_mille: 500,
        };
        Setup {
            seed,
            powers: powers.to_vec(),
            listeners: 0,
            spares: 0,
            changes: vec![],
            commit_rule,
            leader_rule: LeaderRule::RoundRobin,
            vote_to,
            base_ms,
            max_ms: base_ms * 32,
            max_idle_ms: base_ms * 10,
            conditions,
            calm: conditions,
            habits: Habits {
                answer_max: MILLIS,
                slow_per_mille: 0,
                fails_per_mille: 0,
            },
            machines: vec![machine; powers.len()],
            behaviours: vec![Behaviour::Correct; powers.len()],
            load_every: u64::from(base_ms) * MILLIS,
            request_limit: 16,
            served_blocks_max: usize::MAX,
            limits: Limits::default(),
            as_bytes: false,
            unsigned_per_mille: 0,
            faults: vec![],
            heal_at: 0,
        }
    }

    /// The case that `seed` stands for. Below [`CHANGES_FROM`] the set never changes, and below
    /// [`LEADERS_FROM`] all lead: seeds from before there was a choice keep their cases.
    pub fn random(seed: u64) -> Setup {
        let mut setup = Setup::unchanging(seed);
        if seed >= LEADERS_FROM && seed % 4 < 2 {
            setup.leader_rule = LeaderRule::Active;
        }
        if seed < CHANGES_FROM || seed % 2 == 1 {
            return setup;
        }
        setup.with_changes()
    }

    /// The same with a schedule of changes, drawn from a stream of its own.
    pub fn with_changes(mut self) -> Setup {
        let mut rng = Rng::new(self.seed ^ 0x00E9_0C45);
        let rng = &mut rng;
        let n = self.powers.len();
        self.spares = rng.within(1, n as u64 + 1) as usize;
        for replica in self.replicas() - self.spares..self.replicas() {
            let machine = *rng.pick(&self.machines);
            self.machines.push(machine);
            self.behaviours.push(match rng.chance(100) {
                true => Behaviour::random(replica % n, n.max(2), rng),
                false => Behaviour::Correct,
            });
        }
        for behaviour in &mut self.behaviours {
            if *behaviour != Behaviour::Correct && rng.chance(300) {
                *behaviour = Behaviour::WrongEpoch;
            }
        }
        self.changes = self.random_changes(rng);
        self.crash_around_changes(rng);
        self
    }

    fn random_changes(&self, rng: &mut Rng) -> Vec<Change> {
        let candidates: Vec<usize> = (0..self.replicas()).filter(|i| self.has_key(*i)).collect();
        let is_faulty = |replica| !self.survives(replica);
        let mut at: Vec<u64> = (0..rng.within(1, 5))
            .map(|_| rng.below(self.heal_at))
            .collect();
        at.sort_unstable();
        let mut powers = self.first_powers();
        let mut changes = Vec::new();
        for at in at {
            let draw = Draw {
                powers: &powers,
                candidates: &candidates,
                is_faulty: &is_faulty,
            };
            if let Some(updates) = draw.updates(rng) {
                let change = Change { at, updates };
                powers = change.apply(&powers);
                changes.push(change);
            }
        }
        changes
    }

    /// The phases of a change are few, and a crash at chance seldom meets them.
    fn crash_around_changes(&mut self, rng: &mut Rng) {
        let base = u64::from(self.base_ms) * MILLIS;
        for at in self
            .changes
            .iter()
            .map(|change| change.at)
            .collect::<Vec<_>>()
        {
            let replica = rng.index(self.replicas());
            if rng.chance(500) && self.has_key(replica) && !waits_to_crash(&self.faults, replica) {
                let point = random_crash_point(rng);
                let down = rng.below(4 * base);
                let fault = Fault::Crash {
                    replica,
                    point,
                    down,
                };
                let at = (at + rng.below(2 * base)).min(self.heal_at);
                self.faults.push((at, fault));
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// The powers in epoch 0.
    pub fn first_powers(&self) -> Powers {
        let mut powers = self.powers.clone();
        powers.resize(self.replicas(), 0);
        powers
    }

    /// The powers in each epoch, once all changes are made.
    pub fn powers_by_epoch(&self) -> Vec<Powers> {
        let mut epochs = vec![self.first_powers()];
        for change in &self.changes {
            epochs.push(change.apply(&epochs[epochs.len() - 1]));
        }
        epochs
    }

    /// Whether the replica can sign.
    pub fn has_key(&self, replica: usize) -> bool {
        let validators = self.powers.len();
        !(validators..validators + self.listeners).contains(&replica)
    }

    fn unchanging(seed: u64) -> Setup {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let n = *rng.pick(&[1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 7, 7, 7, 10]);
        let powers = random_powers(n, rng);
        let commit_rule = *rng.pick(&[CommitRule::ThreeChain, CommitRule::TwoChain]);
        let vote_to = *rng.pick(&[VoteTo::All, VoteTo::NextLeader]);
        let mut setup = Setup::calm(seed, &powers, commit_rule, vote_to);
        setup.base_ms = rng.within(50, 1_000) as u32;
        setup.max_ms = setup.base_ms * *rng.pick(&[16, 32, 64]);
        setup.max_idle_ms = setup.base_ms * rng.within(2, 12) as u32;
        let base = u64::from(setup.base_ms) * MILLIS;
        setup.listeners = usize::from(rng.chance(150));
        setup.calm = Conditions::calm(base / 200, base / rng.within(10, 40));
        setup.conditions = random_conditions(base, rng);
        setup.habits = Habits {
            answer_max: base / rng.within(20, 200),
            slow_per_mille: if rng.chance(200) {
                rng.within(5, 100)
            } else {
                0
            },
            fails_per_mille: if rng.chance(100) {
                rng.within(5, 100)
            } else {
                0
            },
        };
        let replicas = powers.len() + setup.listeners;
        setup.machines = random_machines(replicas, base, rng);
        setup.load_every = base * rng.within(1, 30) / 4;
        setup.served_blocks_max = *rng.pick(&[3, 10, usize::MAX]);
        if rng.chance(150) && SMALL_LIMITS {
            setup.limits.pending_blocks_max = rng.within(4, 20) as usize;
            setup.limits.pending_bytes_max = rng.within(256, 1_024);
        }
        setup.as_bytes = rng.chance(250);
        setup.unsigned_per_mille = if rng.chance(50) { rng.within(5, 50) } else { 0 };
        setup.heal_at = base * rng.within(8, 40);
        let faulty = random_faulty(&powers, rng);
        setup.behaviours = vec![Behaviour::Correct; replicas];
        let mut dead = Vec::new();
        for replica in faulty {
            if rng.chance(500) {
                dead.push(replica);
            } else {
                setup.behaviours[replica] = Behaviour::random(replica, n, rng);
            }
        }
        setup.faults = random_faults(&setup, &dead, rng);
        setup
    }

    /// Kinds of faults that must come to pass, else the run proves nothing.
    pub fn planned(&self) -> Vec<Kind> {
        // Whoever is removed speaks no more, and cannot die at it.
        let waits = |fault: &Fault| match fault {
            Fault::Crash { point, .. } => *point != CrashPoint::Now,
            _ => false,
        };
        let faults = self.faults.iter().map(|(_, fault)| fault);
        let faults = faults.filter(|fault| self.changes.is_empty() || !waits(fault));
        faults.map(Fault::kind).collect()
    }

    /// Whether the replica keeps the rules and is alive in the end.
    pub fn survives(&self, replica: usize) -> bool {
        let dies = |fault: &Fault| matches!(fault, Fault::Die { replica: who } if *who == replica);
        self.is_correct(replica) && !self.faults.iter().any(|(_, fault)| dies(fault))
    }

    pub fn is_correct(&self, replica: usize) -> bool {
        self.behaviours[replica] == Behaviour::Correct
    }

    pub fn replicas(&self) -> usize {
        self.powers.len() + self.listeners + self.spares
    }
}

/// Equal, skewed, or one just below a third.
fn random_powers(n: usize, rng: &mut Rng) -> Vec<u64> {
    match rng.below(4) {
        0 | 1 => vec![*rng.pick(&[1, 10, u64::MAX / 16]); n],
        2 => (0..n).map(|_| rng.within(1, 100)).collect(),
        _ => {
            // One has p of a total p + rest, with 3p just below it.
            let mut powers: Vec<u64> = (0..n).map(|_| rng.within(20, 60)).collect();
            let strong = rng.index(n);
            let rest = powers.iter().sum::<u64>() - powers[strong];
            powers[strong] = (rest.saturating_sub(1) / 2).max(1);
            powers
        }
    }
}

fn random_conditions(base: u64, rng: &mut Rng) -> Conditions {
    let mut conditions = Conditions::calm(base / 500, base / rng.within(2, 40));
    if rng.chance(600) {
        conditions.loss_per_mille = rng.within(1, 300);
    }
    if rng.chance(400) {
        conditions.tail_per_mille = rng.within(1, 200);
        conditions.tail_factor = rng.within(2, 50);
    }
    if rng.chance(400) {
        conditions.duplicate_per_mille = rng.within(1, 300);
    }
    if rng.chance(400) {
        conditions.replay_per_mille = rng.within(1, 100);
    }
    conditions
}

fn random_machines(replicas: usize, base: u64, rng: &mut Rng) -> Vec<Machine> {
    let skewed = rng.chance(300);
    let slow_disks = rng.chance(300);
    let machine = |_| Machine {
        clock_rate: if skewed {
            rng.within(900_000, 1_100_000)
        } else {
            1_000_000
        },
        clock_origin: if skewed {
            rng.within(0, 1_000 * SECONDS)
        } else {
            0
        },
        disk_max: if slow_disks {
            base / rng.within(50, 500)
        } else {
            0
        },
        group_per_mille: *rng.pick(&[0, 500, 1_000]),
    };
    (0..replicas).map(machine).collect()
}

/// Validators of together less than a third: dead or worse.
fn random_faulty(powers: &[u64], rng: &mut Rng) -> Vec<usize> {
    if rng.chance(300) {
        return vec![];
    }
    let total: u128 = powers.iter().map(|power| u128::from(*power)).sum();
    let mut order: Vec<usize> = (0..powers.len()).collect();
    rng.shuffle(&mut order);
    let mut sum = 0;
    order.retain(|replica| {
        let more = sum + u128::from(powers[*replica]);
        let fits = 3 * more < total;
        sum = if fits { more } else { sum };
        fits
    });
    order
}

/// Faults between the start and the healing.
fn random_faults(setup: &Setup, dead: &[usize], rng: &mut Rng) -> Vec<(u64, Fault)> {
    let base = u64::from(setup.base_ms) * MILLIS;
    let mut faults: Vec<(u64, Fault)> = Vec::new();
    for replica in dead {
        faults.push((rng.below(setup.heal_at), Fault::Die { replica: *replica }));
    }
    let alive: Vec<usize> = (0..setup.replicas())
        .filter(|replica| !dead.contains(replica))
        .collect();
    for _ in 0..rng.below(6) {
        let at = rng.below(setup.heal_at);
        let replica = *rng.pick(&alive);
        let nanos = rng.within(base / 10, base * 8);
        faults.push((
            at,
            match rng.below(10) {
                // A listener does not speak: it has no moment to die at.
                // Of two crashes that wait for their moment the second may wait too long.
                0..=4 if replica < setup.powers.len() && !waits_to_crash(&faults, replica) => {
                    let point = random_crash_point(rng);
                    Fault::Crash {
                        replica,
                        point,
                        down: nanos,
                    }
                }
                5 => Fault::CrashAll { down: nanos },
                0..=4 | 6 => Fault::Pause { replica, nanos },
                _ => Fault::Partition {
                    links: random_links(setup.replicas(), rng),
                    how: *rng.pick(&[Cut::Lost, Cut::Held]),
                    nanos: nanos * 2,
                },
            },
        ));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn random_crash_point(rng: &mut Rng) -> CrashPoint {
    *rng.pick(&[
        CrashPoint::Now,
        CrashPoint::BeforeWrite,
        CrashPoint::AfterWrite,
        CrashPoint::WhileSending,
        CrashPoint::Disk(Failure::Before),
        CrashPoint::Disk(Failure::After),
    ])
}

fn waits_to_crash(faults: &[(u64, Fault)], who: usize) -> bool {
    let waits = |fault: &Fault| match fault {
        Fault::Crash { replica, point, .. } => *replica == who && *point != CrashPoint::Now,
        _ => false,
    };
    faults.iter().any(|(_, fault)| waits(fault))
}

/// Two sides of a random cut, in both directions or in one; or single links.
fn random_links(replicas: usize, rng: &mut Rng) -> Vec<(usize, usize)> {
    let all = (0..replicas).flat_map(|from| (0..replicas).map(move |to| (from, to)));
    let all: Vec<(usize, usize)> = all.filter(|(from, to)| from != to).collect();
    let side: Vec<bool> = (0..replicas).map(|_| rng.chance(500)).collect();
    match rng.below(3) {
        0 => all
            .into_iter()
            .filter(|(from, to)| side[*from] != side[*to])
            .collect(),
        1 => all
            .into_iter()
            .filter(|(from, to)| side[*from] && !side[*to])
            .collect(),
        _ => all.into_iter().filter(|_| rng.chance(300)).collect(),
    }
}
