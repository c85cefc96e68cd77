//! The story: clients send commands, processes die at random instants, disks lose what was not
//! synced, and all come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hotstuff::app::BlockTreeSnapshot;
use hotstuff::block_tree::BlockTree;
use hotstuff::types::BlockHeight;

use crate::app::{commands_in, digest, DIGEST};
use crate::chance::Chance;
use crate::checker::{Checker, Promise, Violation};
use crate::child::{self, REPLICAS};
use crate::cluster::{Cluster, Heard};
use crate::disk::Failure;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kills: u64,
    pub is_synced: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub kills: u64,
    /// Times that all were killed together.
    pub blackouts: u64,
    /// Kills of a process that was just starting.
    pub kills_at_start: u64,
    /// Kills that took writes that were not synced.
    pub losses: u64,
    /// Of these, with some sectors that had reached the disk.
    pub torn: u64,
    pub blocks: u64,
    /// Changes of the validator set.
    pub epochs: u64,
    pub commands: u64,
    pub messages: u64,
    pub votes: u64,
    pub violations: Vec<Violation>,
}

/// Commands that wait for their commit.
const OUTSTANDING: usize = 16;
/// A client that was not answered for so long asks again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a sync takes; a view has about three.
const SYNC: Duration = Duration::from_millis(2);
/// The longest from everybody's progress to the next kill.
const ALIVE_MAX: Duration = Duration::from_millis(150);
/// The longest from a kill to the start.
const DEAD_MAX: Duration = Duration::from_millis(250);
/// The longest between two kills of one round.
const APART_MAX: Duration = Duration::from_millis(30);
/// The longest that a starting process lives that is killed again.
const START_MAX: Duration = Duration::from_millis(100);
/// All have committed more by then: many times the longest time-out that a few dead views bring.
const PROGRESS_MAX: Duration = Duration::from_secs(60);
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Kills until the plan is fulfilled or a promise is broken.
pub fn run(plan: Plan) -> Outcome {
    let mut run = Run::begin(plan);
    while run.outcome.kills < plan.kills && run.checker.violations().is_empty() {
        run.round();
    }
    if run.checker.violations().is_empty() {
        run.end();
    }
    run.report();
    run.outcome.violations = run.checker.violations().to_vec();
    run.outcome
}

/// One blackout, in which each disk loses all that was not synced; which promises it has broken.
pub fn blackout(is_synced: bool) -> BTreeSet<Promise> {
    let mut run = Run::begin(Plan {
        seed: 1,
        kills: REPLICAS as u64,
        is_synced,
    });
    assert!(run.await_progress() && run.await_progress());
    let views = run.checker.votes();
    (0..REPLICAS).for_each(|index| run.cluster.kill(index));
    run.bury(&ALL, Some(Failure::All));
    ALL.iter().for_each(|index| run.start(*index));
    // A key that has forgotten its votes meets the same views again.
    let until = Instant::now() + PROGRESS_MAX;
    let mark = run.checker.messages() + 2 * views as u64;
    while run.checker.messages() < mark && Instant::now() < until {
        run.go_on_for(Duration::from_millis(20));
    }
    let violations = run.checker.violations().iter();
    violations.map(|violation| violation.promise).collect()
}

const ALL: [usize; REPLICAS] = [0, 1, 2, 3];

struct Run {
    plan: Plan,
    chance: Chance,
    cluster: Cluster,
    checker: Checker,
    /// Dead, and all that it has said was heard.
    ended: [bool; REPLICAS],
    next_command: u64,
    /// When all outstanding commands were last sent.
    asked: Instant,
    reported: Instant,
    outcome: Outcome,
}

impl Run {
    fn begin(plan: Plan) -> Run {
        let mut run = Run {
            plan,
            chance: Chance(plan.seed),
            cluster: Cluster::new(plan.is_synced, SYNC),
            checker: Checker::new(),
            ended: [false; REPLICAS],
            next_command: 0,
            asked: Instant::now(),
            reported: Instant::now(),
            outcome: Outcome::default(),
        };
        ALL.iter().for_each(|index| run.start(*index));
        run
    }

    /// All commit; some die, their disks lose what they may; they come back.
    fn round(&mut self) {
        if !self.await_progress() {
            return;
        }
        let alive = self.chance.duration(ALIVE_MAX);
        self.go_on_for(alive);
        let victims = self.victims();
        let are_apart = self.chance.one_in(3);
        for index in &victims {
            if are_apart {
                let apart = self.chance.duration(APART_MAX);
                self.go_on_for(apart);
            }
            self.cluster.kill(*index);
        }
        self.outcome.blackouts += u64::from(victims.len() == REPLICAS);
        self.bury(&victims, None);
        let dead = self.chance.duration(DEAD_MAX);
        self.go_on_for(dead);
        victims.iter().for_each(|index| self.start(*index));
        if self.chance.one_in(4) {
            let living = self.chance.duration(START_MAX);
            self.go_on_for(living);
            let again = [victims[self.chance.below(victims.len())]];
            self.cluster.kill(again[0]);
            self.outcome.kills_at_start += 1;
            self.bury(&again, None);
            self.start(again[0]);
        }
    }

    /// One, two, or all.
    fn victims(&mut self) -> Vec<usize> {
        let count = [1, 1, 1, 2, 2, 3, 4, 4][self.chance.below(8)];
        let mut victims: Vec<usize> = (0..REPLICAS).collect();
        while victims.len() > count {
            victims.remove(self.chance.below(victims.len()));
        }
        victims
    }

    /// Hears what the dead have said, and lets their disks fail.
    fn bury(&mut self, dead: &[usize], failure: Option<Failure>) {
        while dead.iter().any(|index| !self.ended[*index]) {
            self.hear(Instant::now() + PROGRESS_MAX);
        }
        for index in dead {
            let any = [Failure::All, Failure::Torn][self.chance.below(2)];
            let failure = failure.unwrap_or(any);
            let lost = self.cluster.fail_disk(*index, failure, &mut self.chance);
            self.outcome.kills += 1;
            self.outcome.losses += u64::from(lost.sectors > 0);
            self.outcome.torn += u64::from(lost.sectors > 0 && lost.kept > 0);
        }
    }

    fn start(&mut self, index: usize) {
        self.ended[index] = false;
        self.cluster.start(index, self.checker.chain().len() as u64);
        let outstanding = self.checker.outstanding();
        self.cluster.send(&outstanding);
    }

    /// Waits until every replica has committed a block that none has yet.
    fn await_progress(&mut self) -> bool {
        let mark = self.checker.chain().len() as u64;
        let deadline = Instant::now() + PROGRESS_MAX;
        while let Some(slow) = self.slowest(mark) {
            if !self.checker.violations().is_empty() {
                return false;
            }
            if Instant::now() > deadline {
                let what = format!("not above height {mark} within {PROGRESS_MAX:?}");
                self.checker.blame(Promise::GoesOn, slow, what);
                return false;
            }
            self.go_on_for(Duration::from_millis(20));
        }
        true
    }

    fn slowest(&self, mark: u64) -> Option<usize> {
        (0..REPLICAS).find(|index| self.checker.height(*index) <= mark)
    }

    /// Clients and replicas go on.
    fn go_on_for(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        self.ask();
        while self.hear(until) {
            self.ask();
        }
        if self.reported.elapsed() > REPORT_EVERY {
            self.report();
        }
    }

    /// Judges what is said next; false if nothing was until `deadline`.
    fn hear(&mut self, deadline: Instant) -> bool {
        match self.cluster.hear(deadline) {
            None => return false,
            Some((index, Heard::End)) => self.ended[index] = true,
            Some((index, Heard::Said(said))) => self.checker.on(index, said),
        }
        true
    }

    /// The clients: always some commands are outstanding.
    fn ask(&mut self) {
        let outstanding = self.next_command - self.checker.committed().len() as u64;
        let missing = OUTSTANDING.saturating_sub(outstanding as usize);
        if missing > OUTSTANDING / 2 {
            let from = self.next_command;
            self.next_command += missing as u64;
            let new: Vec<u64> = (from..self.next_command).collect();
            new.iter()
                .for_each(|command| self.checker.note_sent(*command));
            self.cluster.send(&new);
        }
        if self.asked.elapsed() > ASK_AGAIN {
            self.asked = Instant::now();
            let outstanding = self.checker.outstanding();
            self.cluster.send(&outstanding);
        }
    }

    /// Everyone catches up once more; then the last blackout, and a look at all four disks.
    fn end(&mut self) {
        if !self.await_progress() {
            return;
        }
        ALL.iter().for_each(|index| self.cluster.kill(*index));
        self.bury(&ALL, None);
        ALL.iter().for_each(|index| self.audit(*index));
    }

    /// Reads a whole disk: the chain, each command, and the state that they make.
    fn audit(&mut self, index: usize) {
        let settings = self.cluster.settings(index);
        let options = child::options(&settings.directory, true);
        let tree = match BlockTree::open(&options, &child::genesis()) {
            Ok((tree, _)) => tree,
            Err(error) => {
                return self
                    .checker
                    .blame(Promise::ComesBack, index, error.to_string());
            }
        };
        let snapshot = tree.reader().snapshot().expect("it was just opened");
        let height = snapshot.committed_height().expect("it is readable").0;
        if height < self.checker.height(index) {
            let what = format!("{height} of {} told", self.checker.height(index));
            self.checker.blame(Promise::CommittedStays, index, what);
        }
        let mut last = Vec::new();
        for height in 1..=height {
            let hash = snapshot
                .hash_at(BlockHeight(height))
                .expect("it is readable");
            let hash = hash.expect("it is committed");
            let block = snapshot
                .block(&hash)
                .expect("it is readable")
                .expect("it is there");
            self.audit_block(index, height, &block.data, &snapshot, &mut last);
            if self
                .checker
                .chain()
                .get(height as usize - 1)
                .is_some_and(|told| *told != hash)
            {
                let what = format!("another block at height {height}");
                self.checker.blame(Promise::OneChain, index, what);
            }
        }
        if snapshot
            .state(DIGEST)
            .expect("it is readable")
            .unwrap_or_default()
            != last
        {
            self.checker
                .blame(Promise::CommittedStays, index, "another state");
        }
    }

    fn audit_block(
        &mut self,
        index: usize,
        height: u64,
        data: &[u8],
        snapshot: &dyn BlockTreeSnapshot,
        last: &mut Vec<u8>,
    ) {
        if data.is_empty() {
            return;
        }
        *last = digest(last, data);
        let is_told = height <= self.checker.chain().len() as u64;
        for command in commands_in(data).expect("it was validated") {
            let value = snapshot
                .state(&command.to_be_bytes())
                .expect("it is readable");
            let is_there = value.is_some();
            let first = self.checker.committed().get(&command).copied();
            if !is_there || (is_told && first != Some(height)) {
                let what = format!("command {command} at height {height}, told at {first:?}");
                self.checker.blame(Promise::CommandsOnce, index, what);
            }
        }
    }

    fn report(&mut self) {
        self.reported = Instant::now();
        let outcome = &mut self.outcome;
        outcome.blocks = self.checker.chain().len() as u64;
        outcome.epochs = self.checker.epoch();
        outcome.commands = self.checker.committed().len() as u64;
        outcome.messages = self.checker.messages();
        outcome.votes = self.checker.votes() as u64;
        println!(
            "crash: {} of {} kills ({} blackouts, {} at start, {} lost writes, {} torn); \
             {} blocks, {} epochs, {} commands, {} messages, {} votes",
            outcome.kills,
            self.plan.kills,
            outcome.blackouts,
            outcome.kills_at_start,
            outcome.losses,
            outcome.torn,
            outcome.blocks,
            outcome.epochs,
            outcome.commands,
            outcome.messages,
            outcome.votes,
        );
    }
}
