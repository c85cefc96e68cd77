//! One scenario, run against the real core under a virtual clock.
//!
//! What an instance sends while it is in view v reaches those of its set of v, a little later, and
//! nobody else. Once an honest replica has left the scenario's last view, everything reaches
//! everybody, and every honest replica must commit [`TRAILING`] blocks more. Where a split leaves
//! no quorum anywhere, nothing would ever happen again: when nothing has for a while, it is lifted
//! until somebody moves on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hotstuff::algorithm::verify::Refusal;
use hotstuff::algorithm::{Event, Input, To};
use hotstuff::messages::Message;
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::{
    Epoch, GenesisHash, Rank, Time, ValidatorAddress, ValidatorSet, ValidatorSetUpdate, ViewNumber,
};

use crate::invariants::Checker;
use crate::keys::{address, check_all, index_of};
use crate::node::{equal_validators, Chain, Change, Node, Spoken};
use crate::rng::{mix, Rng};
use crate::scenario::Scenario;
use crate::trace::{describe_message, describe_writes};

/// Blocks that every honest replica commits after the scenario.
pub const TRAILING: u64 = 10;

const MILLIS: u64 = 1_000_000;
const DELAY_MAX: u64 = 3 * MILLIS;
const WAITS: DefaultPacemaker = DefaultPacemaker {
    base_ms: 20,
    max_ms: 80,
};
/// When no view was entered for so long, the split is lifted: all have said all that they have to.
const STANDSTILL: u64 = 3 * 80 * MILLIS;

/// More messages than any scenario needs: beyond it the replicas talk in circles.
const MESSAGES_MAX: u64 = 200_000;

/// The scenario's leaders, where they are validators; else, and afterwards, round robin.
struct Leaders {
    scenario: Scenario,
    /// The validators of epoch 0: by them the epochs are told apart.
    first: ValidatorSet,
}

impl Pacemaker for Leaders {
    fn wait_timeout(
        &self,
        validator_set: &ValidatorSet,
        highest_qc_view: ViewNumber,
        highest_commit_view: ViewNumber,
        cur_view: ViewNumber,
    ) -> Duration {
        WAITS.wait_timeout(
            validator_set,
            highest_qc_view,
            highest_commit_view,
            cur_view,
        )
    }

    fn view_leader(&self, validator_set: &ValidatorSet, cur_view: ViewNumber) -> ValidatorAddress {
        let epoch = Epoch(u64::from(*validator_set != self.first));
        let view = cur_view;
        let named = self.scenario.view(Rank { epoch, view });
        let named = named.map(|view| address(view.leader));
        named
            .filter(|leader| validator_set.contains(leader))
            .unwrap_or_else(|| WAITS.view_leader(validator_set, cur_view))
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The rule that was broken, and how.
    pub violation: Option<String>,
    /// Views after the scenario until the last honest replica had its trailing commits.
    pub trailing_views: u64,
    /// Honest commits before the network was healed: scenarios in which nobody ever commits
    /// anything prove little.
    pub early_commits: u64,
}

/// Runs `scenario`, and tells what happens if `verbose`.
pub fn run(scenario: &Scenario, verbose: bool) -> Outcome {
    let mut world = World::new(scenario.clone(), verbose);
    world.run();
    Outcome {
        violation: world.checker.violations().first().map(|violation| {
            let at = world.now as f64 / MILLIS as f64;
            format!("{} at {at} ms: {}", violation.rule, violation.text)
        }),
        trailing_views: world.views_since(world.healed_view),
        early_commits: world.healed_height.unwrap_or(0),
    }
}

fn chain(scenario: &Scenario) -> Chain {
    let (validators, rule, vote_to) = (scenario.validators, scenario.rule, scenario.vote_to);
    let pacemaker = Arc::new(Leaders {
        scenario: scenario.clone(),
        first: equal_validators(validators),
    });
    let chain = Chain::new(validators, rule, vote_to, pacemaker, check_all);
    let change = scenario.change.map(|change| {
        let update = |key, power| ValidatorSetUpdate {
            validator: address(key),
            power,
        };
        let leaves = change.leaves.map(|key| update(key, 0));
        let joins = change.joins.then(|| update(validators, 1));
        Change {
            from_view: change.from_view,
            updates: leaves.into_iter().chain(joins).collect(),
        }
    });
    chain.with_change(change)
}

struct World {
    scenario: Scenario,
    genesis: GenesisHash,
    nodes: Vec<Node>,
    checker: Checker,
    now: u64,
    sequence: u64,
    /// Messages under way, by the time of their arrival.
    queue: BTreeMap<(u64, u64), (usize, usize, Arc<Message>)>,
    rng: Rng,
    /// The highest view of each instance so far, and when the last one rose.
    views: Vec<Rank>,
    restarted_in: Vec<Rank>,
    moved_at: u64,
    /// The highest honest view, and the greatest honest height, when all honest replicas had left
    /// the scenario.
    healed_view: Rank,
    healed_height: Option<u64>,
    verbose: bool,
}

impl World {
    fn new(scenario: Scenario, verbose: bool) -> World {
        let instances = scenario.instances();
        let chain = chain(&scenario);
        let correct = (0..instances).map(|i| scenario.is_honest(i)).collect();
        let power = |index| u64::from(index < scenario.validators);
        let powers = (0..instances).map(power).collect();
        // The delays belong to the scenario: its text replays them.
        let seed = scenario.to_string();
        let seed = seed.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
        let mut world = World {
            genesis: chain.genesis,
            nodes: Vec::new(),
            checker: Checker::new(chain.genesis, scenario.rule, powers, correct),
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed),
            views: vec![Rank::default(); instances],
            restarted_in: vec![Rank::default(); instances],
            moved_at: 0,
            healed_view: Rank::default(),
            healed_height: None,
            scenario,
            verbose,
        };
        for index in 0..instances {
            let key = world.scenario.key_of(index);
            let (node, spoken) = Node::start(&chain, index, key, Time(0));
            world.nodes.push(node);
            world.hear_out(index, spoken);
        }
        world
    }

    fn run(&mut self) {
        while self.checker.violations().is_empty() && !self.is_done() {
            let timer = (0..self.nodes.len())
                .map(|index| (self.nodes[index].algorithm().deadline().0, index))
                .min();
            let (due, index) = timer.expect("there are instances");
            match self.queue.first_key_value() {
                Some(((time, _), _)) if *time <= due => {
                    let ((time, _), envelope) = self.queue.pop_first().expect("it was there");
                    self.now = time;
                    self.deliver(envelope);
                }
                _ => {
                    self.now = self.now.max(due);
                    let spoken = self.nodes[index].take(Time(self.now), Input::TimerExpired);
                    self.hear_out(index, spoken);
                }
            }
            self.bounds();
        }
    }

    /// Every honest replica has its trailing commits.
    fn is_done(&mut self) -> bool {
        let last = self.scenario.last();
        let honest = self.scenario.honest();
        if self.healed_height.is_none() && honest.clone().all(|i| self.views[i] > last) {
            self.healed_view = self.honest_view_max();
            self.healed_height = honest.clone().map(|i| self.nodes[i].disk.height()).max();
            self.say(0, || "all honest replicas have left the scenario".into());
        }
        let Some(height) = self.healed_height else {
            return false;
        };
        let mut heights = honest.map(|i| self.nodes[i].disk.height());
        heights.all(|reached| reached >= height + TRAILING)
    }

    /// Each rotation has three honest leaders in a row, and so commits at least the block of the
    /// first; one rotation more to meet, one to finish. A change of the validators comes in time,
    /// too, once the views that stand in its way are over.
    fn bounds(&mut self) {
        let views_max = (TRAILING + 2) * self.scenario.keys() as u64;
        let views = match self.healed_height {
            Some(_) => self.views_since(self.healed_view),
            None => self.views_since(Rank {
                view: ViewNumber(self.scenario.views.len() as u64),
                ..Rank::default()
            }),
        };
        if views > views_max {
            let heights: Vec<u64> = self.nodes.iter().map(|node| node.disk.height()).collect();
            let text = format!("heights {heights:?} after {views} views, of {views_max} allowed");
            self.checker.broken("trailing-commits", text);
        }
        if self.sequence > MESSAGES_MAX {
            let text = format!("{MESSAGES_MAX} messages; views {:?}", self.views);
            self.checker.broken("nobody-talks-in-circles", text);
        }
    }

    /// Views that the first of the honest replicas has entered since, in the same epoch.
    fn views_since(&self, rank: Rank) -> u64 {
        let highest = self.honest_view_max();
        match highest.epoch == rank.epoch {
            true => highest.view.0.saturating_sub(rank.view.0),
            false => 0,
        }
    }

    fn honest_view_max(&self) -> Rank {
        let honest = self.scenario.honest();
        honest
            .map(|i| self.views[i])
            .max()
            .expect("somebody is honest")
    }

    fn deliver(&mut self, (from, to, message): (usize, usize, Arc<Message>)) {
        let key = self.nodes[from].key;
        if self.verbose {
            let text = format!("<- {from}: {}", describe_message(&message));
            self.say(to, || text);
        }
        match self.nodes[to].hear(Time(self.now), key, Arc::unwrap_or_clone(message)) {
            Ok(spoken) => self.hear_out(to, spoken),
            Err(Refusal::UnknownEpoch) => {} // whose certificate may be out of sight
            Err(refusal) => {
                let text = format!("{to} refuses a message of {from}: {refusal}");
                self.checker.broken("messages-verify", text);
            }
        }
    }

    /// Takes in what an instance has written and said. A twin that is silent because of what the
    /// other one has signed starts again, once in a view: if it finds that on its disk, too, it
    /// stays silent.
    fn hear_out(&mut self, index: usize, spoken: Vec<Spoken>) {
        let is_twin_seen = |event: &Event| matches!(event, Event::TwinSeen { .. });
        let is_silenced = spoken.iter().any(|s| s.events.iter().any(is_twin_seen));
        self.pass_on(index, spoken);
        let view = self.nodes[index].algorithm().view();
        if is_silenced && view > self.restarted_in[index] {
            self.restarted_in[index] = view;
            let chain = chain(&self.scenario);
            let spoken = self.nodes[index].restart(&chain, Time(self.now));
            self.pass_on(index, spoken);
        }
    }

    /// Judges what an instance has written and said, and sends it on its way.
    fn pass_on(&mut self, index: usize, spoken: Vec<Spoken>) {
        let node = &self.nodes[index];
        let view = node.algorithm().view();
        if view > self.views[index] {
            self.views[index] = view;
            self.moved_at = self.now;
        }
        for spoken in &spoken {
            if self.verbose && !spoken.writes.is_empty() {
                self.say(index, || describe_writes(&spoken.writes));
            }
            if self.scenario.is_honest(index) {
                self.judge(index, spoken);
            }
        }
        let has_written = spoken.iter().any(|spoken| !spoken.writes.is_empty());
        if has_written && self.scenario.is_honest(index) {
            self.compare(index);
        }
        for (to, message) in spoken.into_iter().flat_map(|spoken| spoken.messages) {
            self.send(index, to, message);
        }
    }

    /// What an instance remembers, and what is on its disk.
    fn compare(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if let Some(nonsense) = node.disk.take_nonsense() {
            self.checker.broken("writes-mean-something", nonsense);
        }
        let (memory, disk) = (node.algorithm().durable(), node.disk.durable());
        self.checker.remembers(index, memory, disk);
    }

    fn judge(&mut self, index: usize, spoken: &Spoken) {
        self.checker.wrote(index, &self.genesis, &spoken.writes);
        for event in &spoken.events {
            self.checker.told(index, event);
        }
        self.checker.told_everything(index);
        let messages = spoken.messages.iter().map(|(_, message)| message);
        for message in spoken.own.iter().chain(messages) {
            self.checker.said(index, message);
        }
    }

    /// To every instance with the key that it is meant for. Twins say nothing to each other: each
    /// believes that it is the only one.
    fn send(&mut self, from: usize, to: To, message: Message) {
        let message = Arc::new(message);
        let is_meant = |key: usize| match to {
            To::Peer(peer) => index_of(&peer) == key,
            To::All => true,
        };
        for index in 0..self.nodes.len() {
            let key = self.nodes[index].key;
            if key == self.nodes[from].key || !is_meant(key) || !self.is_heard(from, index) {
                continue;
            }
            self.sequence += 1;
            let arrives = self.now + self.rng.within(DELAY_MAX / 3, DELAY_MAX);
            self.queue
                .insert((arrives, self.sequence), (from, index, message.clone()));
        }
    }

    fn is_heard(&self, from: usize, to: usize) -> bool {
        let view = self.nodes[from].algorithm().view();
        let is_over = self.honest_view_max() > self.scenario.last();
        let is_lifted = is_over || self.now - self.moved_at > STANDSTILL;
        match self.scenario.view(view) {
            Some(view) => is_lifted || view.set_of[from] == view.set_of[to],
            None => true,
        }
    }

    fn say(&self, index: usize, text: impl FnOnce() -> String) {
        if self.verbose {
            let (at, view) = (self.now as f64 / MILLIS as f64, self.views[index]);
            let Rank { epoch, view } = view;
            println!("{at:>10.3} ms  {index} @{epoch}.{view:<3} {}", text());
        }
    }
}
