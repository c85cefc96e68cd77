//! The world of one case: replicas, disks, apps and a network under one virtual clock, and one
//! queue ordered by (time, sequence). Nothing here is left to chance but what the seed decides.
//!
//! Each replica is driven as the real one is: inputs are taken in, more may join while the disk is
//! at work (group commit), the step is persisted, then signed, then sent.

pub mod oracles;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hotstuff::algorithm::verify::{Refusal, Verifier};
use hotstuff::algorithm::{
    Algorithm, Config, Dispatch, Effect, EpochRecord, Event, Input, Limits, Persist, Step,
    SyncConfig, To, Write,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::evidence::EvidenceKind;
use hotstuff::messages::{
    Certificate, Message, ProgressMessage, SyncMessage, SyncRequest, SyncResponse,
};
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::limits::BLOCKS_PER_RESPONSE_MAX;
use hotstuff::types::{
    codec, Block, BlockHash, ChainId, ChainParameters, Epoch, Genesis, GenesisHash, Phase, Time,
    Validator, ValidatorSet,
};

use crate::actors::Actor;
use crate::app::{commands, fingerprint, SimApp, CHANGE};
use crate::changes::Change;
use crate::disk::{Failure, NoState, SimDisk, State};
use crate::faults::{Counts, CrashPoint, Fault, Kind, Moment};
use crate::invariants::{Checker, Violation};
use crate::keys::{address, check_all, index_of, SimSigner};
use crate::network::{Conditions, Envelope, Network};
use crate::progress::{response_timeout, sync_interval, wait, Standing};
use crate::rng::{mix, Rng};
use crate::setup::{Machine, Setup, MICROS};
use crate::trace::{describe_input, describe_message, describe_writes};

/// What happens next. What is large is boxed: the queue moves its entries about.
enum Happening {
    Deliver(Envelope),
    Timer {
        replica: usize,
        life: u64,
    },
    /// The disk is done with the open step.
    Persisted {
        replica: usize,
        life: u64,
    },
    /// The app answers.
    App {
        replica: usize,
        life: u64,
        effect: Box<Effect>,
    },
    /// One's own vote or time-out.
    Own {
        replica: usize,
        life: u64,
        input: Box<Input>,
    },
    Load {
        replica: usize,
    },
    /// The hosts ask for a change of the validator set.
    Change {
        index: usize,
    },
    Fault(Fault),
    Restart {
        replica: usize,
        life: u64,
    },
    Mend,
}

/// One replica: Alice, with everything around her.
struct Replica {
    algorithm: Option<Algorithm>,
    /// Taken in, not yet on disk.
    step: Option<Step>,
    inbox: VecDeque<Input>,
    is_draining: bool,
    pub disk: SimDisk,
    pub app: SimApp,
    verifier: Verifier,
    machine: Machine,
    actor: Actor,
    is_correct: bool,
    /// Rises at each crash: what was meant for an earlier life comes to nothing.
    life: u64,
    dead: bool,
    timer_at: Option<u64>,
    paused_until: u64,
    /// Crashes that wait for their moment.
    crash_at: VecDeque<(CrashPoint, Moment, u64)>,
    has_key: bool,
    /// Messages of the epoch after the last one known, as they came.
    early: VecDeque<(usize, ProgressMessage)>,
}

/// When a correct replica committed: for tests that count.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub replica: usize,
    /// Of the certificate that made it final.
    pub view: u64,
}

pub struct World {
    pub setup: Setup,
    pub now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    replicas: Vec<Replica>,
    pub network: Network,
    pub checker: Checker,
    pub counts: Counts,
    genesis: GenesisHash,
    parameters: ChainParameters,
    rng: Rng,
    load_every: u64,
    next_command: u64,
    pub commits: Vec<Commit>,
    /// How many blocks each has proposed.
    pub proposals: Vec<usize>,
    /// The height at which each command is committed.
    done: BTreeMap<u64, u64>,
    /// Changes of the validator set that some correct replica has made.
    pub changed: u64,
    /// Over all that was said, told and written.
    digest: u64,
    pub verbose: bool,
    /// See [`crate::case::Outcome`].
    pub progress_per_mille: u64,
    happenings: u64,
    /// Refused messages from correct replicas are a defect; from others they are expected.
    healed: bool,
}

/// More happenings than any case needs: beyond it the replicas talk in circles.
const HAPPENINGS_MAX: u64 = 3_000_000;

/// Messages of the next epoch that are kept of each peer.
const EARLY_PER_PEER: usize = 16;

impl World {
    pub fn new(setup: Setup) -> World {
        let changes: Arc<[_]> = setup.changes.iter().map(Change::updates).collect();
        let members = setup.powers.iter().enumerate();
        let members = members.map(|(i, power)| Validator {
            address: address(i),
            power: *power,
        });
        let validator_set = ValidatorSet::new(members).expect("setups have valid powers");
        let parameters = ChainParameters {
            commit_rule: setup.commit_rule,
            leader_rule: setup.leader_rule,
            max_idle_ms: setup.max_idle_ms,
            block_data_bytes_max: 4_096,
        };
        let genesis = Genesis {
            chain_id: ChainId(setup.seed),
            validator_set: validator_set.clone(),
            app_state: BTreeMap::new(),
            parameters,
        };
        let genesis = genesis.hash();
        let mut rng = Rng::new(setup.seed ^ 0x00C0_FFEE);
        let replicas = (0..setup.replicas()).map(|index| {
            let mut verifier = Verifier::new(genesis, check_all);
            verifier.learn(Epoch(0), validator_set.clone());
            let behaviour = setup.behaviours[index];
            Replica {
                algorithm: None,
                step: None,
                inbox: VecDeque::new(),
                is_draining: false,
                disk: SimDisk::new(genesis, validator_set.clone()),
                app: SimApp::new(setup.habits, rng.fork(), changes.clone()),
                verifier,
                machine: setup.machines[index],
                actor: Actor::new(index, behaviour, genesis, setup.powers.len(), rng.fork()),
                is_correct: setup.is_correct(index),
                life: 0,
                dead: false,
                timer_at: None,
                paused_until: 0,
                crash_at: VecDeque::new(),
                has_key: setup.has_key(index),
                early: VecDeque::new(),
            }
        });
        let replicas: Vec<Replica> = replicas.collect();
        let correct = (0..setup.replicas())
            .map(|index| setup.is_correct(index))
            .collect();
        let powers = setup.first_powers();
        let checker = Checker::new(genesis, setup.commit_rule, powers, correct);
        let network = Network::new(setup.conditions, rng.fork());
        let mut world = World {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            replicas,
            network,
            checker,
            counts: Counts::default(),
            genesis,
            parameters,
            rng,
            load_every: setup.load_every,
            next_command: 0,
            commits: Vec::new(),
            proposals: vec![0; setup.replicas()],
            done: BTreeMap::new(),
            changed: 0,
            digest: 0,
            verbose: false,
            progress_per_mille: 0,
            happenings: 0,
            healed: false,
            setup,
        };
        for (at, fault) in world.setup.faults.clone() {
            world.at(at, Happening::Fault(fault));
        }
        for (index, change) in world.setup.changes.clone().iter().enumerate() {
            world.at(change.at, Happening::Change { index });
        }
        for replica in 0..world.replicas.len() {
            let life = world.replicas[replica].life;
            let late = world.rng.below(5 * MICROS);
            world.at(late, Happening::Restart { replica, life });
            if world.load_every > 0 {
                let late = world.rng.below(world.load_every);
                world.at(late, Happening::Load { replica });
            }
        }
        world
    }

    // --- time ---

    fn at(&mut self, time: u64, happening: Happening) {
        self.sequence += 1;
        self.queue
            .insert((time.max(self.now), self.sequence), happening);
    }

    /// Lets the world go on until `end`, or until a rule is broken.
    pub fn run_until(&mut self, end: u64) {
        self.run_while(end, |_| true);
    }

    /// The same, while `goes_on`; says whether `end` was reached.
    pub fn run_while(&mut self, end: u64, mut goes_on: impl FnMut(&World) -> bool) -> bool {
        while self.checker.violations().is_empty() && goes_on(self) {
            match self.queue.first_key_value() {
                Some(((time, _), _)) if *time <= end => {}
                _ => {
                    self.now = self.now.max(end);
                    return true;
                }
            }
            let ((time, _), happening) = self.queue.pop_first().expect("it was there");
            self.now = time;
            self.happen(happening);
            self.happenings += 1;
            if self.happenings > HAPPENINGS_MAX {
                let text = format!("after {HAPPENINGS_MAX} happenings, at {}", self.now);
                self.checker.broken("nobody-talks-in-circles", text);
            }
        }
        false
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(replica) = self.paused(&happening) {
            let resumes = self.replicas[replica].paused_until;
            self.at(resumes, happening);
            return;
        }
        match happening {
            Happening::Deliver(envelope) => self.deliver(envelope),
            Happening::Timer { replica, life } => {
                if self.lives(replica, life) && self.replicas[replica].timer_at == Some(self.now) {
                    self.replicas[replica].timer_at = None;
                    self.timer(replica);
                }
            }
            Happening::Persisted { replica, life } => {
                if self.lives(replica, life) {
                    self.persist(replica);
                }
            }
            Happening::Own {
                replica,
                life,
                input,
            } => {
                if self.lives(replica, life) {
                    self.take_in(replica, *input);
                }
            }
            Happening::App {
                replica,
                life,
                effect,
            } => {
                if self.lives(replica, life) {
                    self.answer(replica, *effect);
                }
            }
            Happening::Load { replica } => self.load(replica),
            Happening::Change { index } => self.change(index),
            Happening::Fault(fault) => self.strike(fault),
            Happening::Restart { replica, life } => {
                if self.lives(replica, life) && !self.is_up(replica) {
                    self.start(replica);
                }
            }
            Happening::Mend => self.mend(),
        }
    }

    fn paused(&self, happening: &Happening) -> Option<usize> {
        let replica = match happening {
            Happening::Deliver(envelope) => envelope.to,
            Happening::Timer { replica, .. }
            | Happening::Persisted { replica, .. }
            | Happening::App { replica, .. }
            | Happening::Own { replica, .. } => *replica,
            _ => return None,
        };
        (self.replicas[replica].paused_until > self.now).then_some(replica)
    }

    fn lives(&self, replica: usize, life: u64) -> bool {
        self.replicas[replica].life == life && !self.replicas[replica].dead
    }

    fn is_up(&self, replica: usize) -> bool {
        let replica = &self.replicas[replica];
        replica.algorithm.is_some() || replica.step.is_some()
    }

    /// What the replica's own clock shows.
    fn clock(&self, replica: usize) -> Time {
        let machine = self.replicas[replica].machine;
        let passed = u128::from(self.now) * u128::from(machine.clock_rate) / 1_000_000;
        Time(machine.clock_origin + passed as u64)
    }

    /// When the replica's clock will show `time`.
    fn true_time(&self, replica: usize, time: Time) -> u64 {
        let machine = self.replicas[replica].machine;
        let passed = u128::from(time.0.saturating_sub(machine.clock_origin));
        let true_time = (passed * 1_000_000).div_ceil(u128::from(machine.clock_rate));
        u64::try_from(true_time).unwrap_or(u64::MAX)
    }

    // --- one replica's life ---

    fn start(&mut self, index: usize) {
        let config = Config {
            me: self.replicas[index].has_key.then(|| address(index)),
            genesis: self.genesis,
            parameters: self.parameters,
            pacemaker: Arc::new(DefaultPacemaker {
                base_ms: self.setup.base_ms,
                max_ms: self.setup.max_ms,
            }),
            vote_to: self.setup.vote_to,
            sync: SyncConfig {
                request_limit: self.setup.request_limit,
                response_timeout: Duration::from_nanos(response_timeout(&self.setup)),
                interval: Duration::from_nanos(sync_interval(&self.setup)),
            },
            limits: self.setup.limits,
        };
        self.say(index, || "starts".into());
        if self.replicas[index].is_correct {
            self.checker.starts(index);
        }
        let now = self.clock(index);
        let replica = &mut self.replicas[index];
        replica.app.restart();
        let has_work = !replica.app.pool.is_empty();
        for EpochRecord {
            epoch,
            validator_set,
            ..
        } in replica.disk.durable().epochs
        {
            replica.verifier.learn(epoch, validator_set);
        }
        let step = Algorithm::recover(config, replica.disk.durable(), now);
        self.open(index, step);
        if has_work && self.is_up(index) {
            self.take_in(index, Input::Notify);
        }
    }

    fn crash(&mut self, index: usize, down: u64) {
        self.say(index, || format!("crashes, for {} ms", down / 1_000_000));
        let replica = &mut self.replicas[index];
        if replica.disk.highest_qc.phase != Phase::Generic {
            self.counts.add(Kind::CrashInPhases);
        }
        replica.early.clear();
        replica.life += 1;
        replica.algorithm = None;
        replica.step = None;
        replica.inbox.clear();
        replica.timer_at = None;
        replica.disk.fails_next = None;
        replica.disk.take_journal();
        // Another life, another origin of time.
        if replica.machine.clock_origin > 0 {
            replica.machine.clock_origin = mix(replica.machine.clock_origin) >> 8;
        }
        let life = replica.life;
        self.at(
            self.now.saturating_add(down),
            Happening::Restart {
                replica: index,
                life,
            },
        );
    }

    fn timer(&mut self, index: usize) {
        let now = self.clock(index);
        let Some(algorithm) = &self.replicas[index].algorithm else {
            return;
        };
        if algorithm.deadline() > now {
            self.set_timer(index);
            return;
        }
        self.take_in(index, Input::TimerExpired);
        let replica = &self.replicas[index];
        let deadline = replica.algorithm.as_ref().map(Algorithm::deadline);
        let deadline = deadline.or(replica.step.as_ref().map(Step::deadline));
        if deadline.is_some_and(|deadline| deadline <= now) {
            let text = format!("{index}: expired at {}, and still {deadline:?}", now.0);
            self.checker.broken("timers-move-on", text);
        }
    }

    fn set_timer(&mut self, index: usize) {
        let Some(algorithm) = &self.replicas[index].algorithm else {
            return;
        };
        let deadline = algorithm.deadline();
        if deadline == Time::NEVER {
            self.replicas[index].timer_at = None;
            return;
        }
        let at = self.true_time(index, deadline).max(self.now);
        if self.replicas[index].timer_at != Some(at) {
            self.replicas[index].timer_at = Some(at);
            let life = self.replicas[index].life;
            self.at(
                at,
                Happening::Timer {
                    replica: index,
                    life,
                },
            );
        }
    }

    fn take_in(&mut self, index: usize, input: Input) {
        let now = self.clock(index);
        let group = self
            .rng
            .chance(self.replicas[index].machine.group_per_mille);
        let replica = &mut self.replicas[index];
        if replica.step.is_some() && !group {
            replica.inbox.push_back(input);
            return;
        }
        if self.verbose {
            let text = describe_input(&input);
            self.say(index, || text);
        }
        let replica = &mut self.replicas[index];
        let step = match (replica.step.take(), replica.algorithm.take()) {
            (Some(step), _) => {
                let mut step = step.then(now, input);
                self.ask_app(index, &mut step);
                self.replicas[index].step = Some(step);
                return;
            }
            (None, Some(algorithm)) => algorithm.step(now, input),
            (None, None) => return,
        };
        self.open(index, step);
    }

    /// A step begins: its questions go to the app, its writes to the disk.
    fn open(&mut self, index: usize, mut step: Step) {
        self.ask_app(index, &mut step);
        let disk_max = self.replicas[index].machine.disk_max;
        let is_written = !step.writes().is_empty();
        self.replicas[index].step = Some(step);
        if disk_max == 0 || !is_written {
            self.persist(index);
            return;
        }
        let latency = self.rng.within(disk_max / 4, disk_max);
        let life = self.replicas[index].life;
        self.at(
            self.now + latency,
            Happening::Persisted {
                replica: index,
                life,
            },
        );
    }

    fn persist(&mut self, index: usize) {
        let Some(step) = self.replicas[index].step.take() else {
            return;
        };
        let crashes = &mut self.replicas[index].crash_at;
        let crash = match crashes.front().copied() {
            Some((point, moment, down)) if moment.has_come(&step) => {
                crashes.pop_front();
                Some((point, down))
            }
            _ => None,
        };
        match crash {
            Some((CrashPoint::BeforeWrite, down)) => {
                self.counts.add(Kind::CrashBeforeWrite);
                return self.crash(index, down);
            }
            Some((CrashPoint::Disk(failure), _)) => {
                self.counts.add(Kind::DiskFailure);
                self.replicas[index].disk.fails_next = Some(failure);
            }
            _ => {}
        }
        if self.verbose && !step.writes().is_empty() {
            let text = describe_writes(step.writes());
            self.say(index, || text);
        }
        let has_written = !step.writes().is_empty();
        let result = step.persist(&mut self.replicas[index].disk);
        let acknowledged = result.is_ok();
        let failed_after =
            matches!(crash, Some((CrashPoint::Disk(Failure::After), _))) && !acknowledged;
        if acknowledged || failed_after {
            self.written(index);
        }
        let Ok((algorithm, outbox)) = result else {
            let down = crash.map_or(0, |(_, down)| down);
            return self.crash(index, down);
        };
        // What a step without writes has changed all the same, the next one that writes shows.
        if has_written {
            self.compare(index, &algorithm);
        }
        if let Some((CrashPoint::AfterWrite, down)) = crash {
            self.counts.add(Kind::CrashAfterWrite);
            return self.crash(index, down);
        }
        let refuses = self.rng.chance(self.setup.unsigned_per_mille) && !self.healed;
        let signer = SimSigner {
            address: address(index),
            refuses,
        };
        let disk = &self.replicas[index].disk;
        let mut stored = |hash: &BlockHash| disk.block(hash).cloned();
        let dispatch = outbox.sign(Some(&signer), &mut stored);
        self.replicas[index].algorithm = Some(algorithm);
        let cut_short = match crash {
            Some((CrashPoint::WhileSending, down)) => {
                self.counts.add(Kind::CrashWhileSending);
                Some(down)
            }
            _ => None,
        };
        self.dispatch(index, dispatch, cut_short.is_some());
        if let Some(down) = cut_short {
            return self.crash(index, down);
        }
        self.drain(index);
    }

    /// Takes in what came while the step was open: in a loop, since each may be persisted at once.
    fn drain(&mut self, index: usize) {
        if std::mem::replace(&mut self.replicas[index].is_draining, true) {
            return; // by whoever called, further out
        }
        while self.replicas[index].algorithm.is_some() {
            let Some(input) = self.replicas[index].inbox.pop_front() else {
                break;
            };
            self.take_in(index, input);
        }
        self.replicas[index].is_draining = false;
        self.set_timer(index);
    }

    /// A transaction is on disk: the checkers judge it.
    fn written(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let journal = replica.disk.take_journal();
        for write in &journal {
            self.digest = mix(self.digest ^ write_digest(write));
        }
        let committed: Vec<(u64, BlockHash)> = journal.iter().filter_map(committed).collect();
        for (height, hash) in &committed {
            let done = replica
                .disk
                .block(hash)
                .map_or(vec![], |block| commands(&block.data));
            for command in &done {
                replica.app.pool.remove(command);
                let first = *self.done.entry(*command).or_insert(*height);
                if first != *height && replica.is_correct {
                    let text = format!("{command} at heights {first} and {height}");
                    self.checker.broken("each-command-once", text);
                }
            }
        }
        if !replica.is_correct {
            return;
        }
        if let Some(nonsense) = replica.disk.take_nonsense() {
            self.checker
                .broken("writes-mean-something", format!("{index}: {nonsense}"));
        }
        self.checker.wrote(index, &self.genesis, &journal);
        if !committed.is_empty() {
            let (height, sum) = (replica.disk.height(), fingerprint(&replica.disk.state));
            self.checker.state_is(index, height, sum);
        }
        if !committed.is_empty() {
            let view = replica.disk.highest_qc.view_num.0;
            let changes = journal.iter().filter_map(|write| match write {
                Write::ChangeEpoch(record) => Some(record),
                _ => None,
            });
            for record in changes {
                count_change(&mut self.changed, &mut self.counts, &replica.disk, record);
            }
            self.commits.push(Commit {
                replica: index,
                view,
            });
        }
    }

    fn compare(&mut self, index: usize, algorithm: &Algorithm) {
        if !self.replicas[index].is_correct {
            return;
        }
        let memory = algorithm.durable();
        let limits = self.setup.limits;
        let bytes: u64 = memory.pending.iter().map(|block| block.data_bytes).sum();
        // Beyond `pending_blocks_max` only empty blocks, and of those so many; certified ones
        // have that room again: a quorum had it, and may have committed further.
        let blocks_max = limits.pending_blocks_max * Limits::CERTIFIED_FACTOR;
        if memory.pending.len() > blocks_max
            || bytes > Limits::CERTIFIED_FACTOR as u64 * limits.pending_bytes_max
        {
            let text = format!("{index}: {} pending blocks", memory.pending.len());
            self.checker.broken("everything-is-bounded", text);
        }
        self.checker
            .remembers(index, memory, self.replicas[index].disk.durable());
    }

    fn dispatch(&mut self, index: usize, dispatch: Dispatch, cut_short: bool) {
        let is_correct = self.replicas[index].is_correct;
        for event in &dispatch.events {
            self.digest = mix(self.digest ^ event_digest(event));
            if is_correct {
                self.checker.told(index, event);
            }
            match event {
                Event::EpochStarted(record) => self.learn(index, record),
                Event::Proposed { .. } => self.proposals[index] += 1,
                _ => {}
            }
            if self.verbose {
                let text = format!("says {event:?}");
                self.say(index, || text);
            }
        }
        if is_correct {
            self.checker.told_everything(index);
        }
        for _ in &dispatch.unsigned {
            self.counts.add(Kind::Unsigned);
        }
        for input in dispatch.inputs {
            if let (true, Input::Progress { message, .. }) = (is_correct, &input) {
                self.checker
                    .said(index, &Message::Progress(message.message().clone()));
            }
            let life = self.replicas[index].life;
            self.at(
                self.now + MICROS,
                Happening::Own {
                    replica: index,
                    life,
                    input: Box::new(input),
                },
            );
        }
        let sent = if cut_short {
            self.rng.index(dispatch.messages.len() + 1)
        } else {
            dispatch.messages.len()
        };
        for (to, message) in dispatch.messages.into_iter().take(sent) {
            self.send(index, to, message, cut_short);
        }
    }

    /// The filter learns who verifies an epoch, and judges what came of it too early.
    fn learn(&mut self, index: usize, record: &EpochRecord) {
        let replica = &mut self.replicas[index];
        let set = record.validator_set.clone();
        replica.verifier.learn(record.epoch, set);
        for (from, message) in std::mem::take(&mut replica.early) {
            let message = Arc::new(Message::Progress(message));
            let envelope = Envelope {
                from,
                to: index,
                message,
            };
            self.at(self.now, Happening::Deliver(envelope));
        }
    }

    fn send(&mut self, from: usize, to: To, message: Message, cut_short: bool) {
        self.digest = mix(self.digest ^ message_digest(&message));
        if self.replicas[from].is_correct {
            self.checker.said(from, &message);
        }
        if self.verbose {
            let text = format!("sends {to:?} {}", describe_message(&message));
            self.say(from, || text);
        }
        let message = Arc::new(message);
        let all = 0..self.replicas.len();
        let to: Vec<usize> = match to {
            To::Peer(peer) => vec![index_of(&peer)],
            To::All => all.filter(|to| *to != from).collect(),
        };
        for to in to {
            if cut_short && self.rng.chance(500) {
                continue; // it died before this one
            }
            if self.replicas[from].is_correct {
                self.post(from, to, message.clone());
                continue;
            }
            let bent = self.replicas[from]
                .actor
                .bend(to, &message, &mut self.counts);
            bent.into_iter()
                .for_each(|message| self.post(from, to, Arc::new(message)));
        }
    }

    fn post(&mut self, from: usize, to: usize, message: Arc<Message>) {
        let envelope = Envelope { from, to, message };
        for (delay, envelope) in self.network.send(envelope, &mut self.counts) {
            self.at(self.now + delay, Happening::Deliver(envelope));
        }
    }

    // --- what comes from the network ---

    fn deliver(&mut self, envelope: Envelope) {
        let Envelope { from, to, message } = envelope;
        if !self.is_up(to) {
            return;
        }
        // Two actors that answer one another would never end.
        let heard = match self.replicas[from].is_correct {
            true => self.replicas[to].actor.hear(&message, &mut self.counts),
            false => vec![],
        };
        for message in heard.into_iter().map(Arc::new) {
            (0..self.replicas.len())
                .filter(|peer| *peer != to)
                .for_each(|peer| {
                    self.post(to, peer, message.clone());
                });
        }
        let message = if self.setup.as_bytes {
            let bytes = codec::encode(&*message);
            match codec::decode::<Message>(&bytes, self.parameters.message_bytes_max()) {
                Ok(message) => message,
                Err(error) => {
                    return self
                        .checker
                        .broken("codec", format!("{error}: {message:?}"));
                }
            }
        } else {
            Arc::unwrap_or_clone(message)
        };
        if let Message::Progress(message) = &message {
            if !self.replicas[to].verifier.knows(epoch_of(message)) {
                return self.put_aside(from, to, message);
            }
        }
        let sender = address(from);
        let verifier = &mut self.replicas[to].verifier;
        let (input, refused) = match message {
            Message::Progress(message) => match verifier.progress(message) {
                Ok(message) => (
                    Some(Input::Progress {
                        from: sender,
                        message,
                    }),
                    None,
                ),
                Err(refusal) => (None, Some(refusal)),
            },
            Message::Sync(SyncMessage::Response(response)) => {
                match verifier.sync_response(response) {
                    Ok(response) => (
                        Some(Input::Synced {
                            from: sender,
                            response,
                        }),
                        None,
                    ),
                    Err(refusal) => (Some(Input::SyncFailed { peer: sender }), Some(refusal)),
                }
            }
            Message::Sync(SyncMessage::Request(request)) => {
                return self.serve(to, from, &request);
            }
        };
        if let Some(refusal) = refused {
            // The certificate of a peer in another epoch may be out of sight.
            let is_far = refusal == Refusal::UnknownEpoch;
            if self.setup.is_correct(from) && self.setup.is_correct(to) && !is_far {
                let text = format!("{to} refuses a message of {from}: {refusal}");
                self.checker.broken("correct-messages-verify", text);
            }
            self.say(to, || format!("refuses a message of {from}: {refusal}"));
        }
        if let Some(input) = input {
            self.take_in(to, input);
        }
    }

    /// What is of an epoch whose set is not known here: kept if it is of the next one, and the end
    /// of this one that it may carry is passed on.
    fn put_aside(&mut self, from: usize, to: usize, message: &ProgressMessage) {
        let replica = &mut self.replicas[to];
        let epoch = epoch_of(message);
        let current = replica.disk.epoch().epoch;
        if epoch <= current {
            return; // long past
        }
        if epoch == current.next() {
            let of_peer = replica.early.iter().filter(|(peer, _)| *peer == from);
            if of_peer.count() >= EARLY_PER_PEER {
                let oldest = replica.early.iter().position(|(peer, _)| *peer == from);
                oldest.map(|oldest| replica.early.remove(oldest));
            }
            replica.early.push_back((from, message.clone()));
        }
        let peer = address(from);
        if let Some(message) = replica.verifier.epoch_end(message) {
            let from = peer;
            self.take_in(to, Input::Progress { from, message });
        }
        self.take_in(to, Input::LaterEpoch { peer });
    }

    fn serve(&mut self, server: usize, client: usize, request: &SyncRequest) {
        let limit = (request.limit as usize).min(BLOCKS_PER_RESPONSE_MAX);
        let limit = limit.min(self.setup.served_blocks_max);
        let disk = &self.replicas[server].disk;
        let after = request.highest_committed_block;
        let answer = disk.blocks_after(&after, request.wanted.as_ref(), limit);
        let (blocks, tail_qcs) = answer.unwrap_or((vec![], vec![disk.highest_qc.clone()]));
        let response = SyncResponse {
            highest_committed_block: after,
            blocks,
            tail_qcs,
        };
        let message = Message::Sync(SyncMessage::Response(response));
        self.send(server, To::Peer(address(client)), message, false);
    }

    // --- the app and its host ---

    /// The app is on a thread of its own: it looks at the disk when it answers, not when it is
    /// asked.
    fn ask_app(&mut self, index: usize, step: &mut Step) {
        for effect in step.take_effects() {
            let replica = &mut self.replicas[index];
            let (answers_at, slow) = replica.app.answers_at(self.now);
            if slow {
                self.counts.add(Kind::SlowApp);
            }
            let state = replica.disk.state_at(&tip(&effect), step.writes());
            if state == Err(NoState::Unknown) && replica.is_correct {
                let text = format!("{index}: {effect:?}");
                self.checker.broken("app-is-asked-on-known-blocks", text);
            }
            let life = replica.life;
            self.at(
                answers_at,
                Happening::App {
                    replica: index,
                    life,
                    effect: Box::new(effect),
                },
            );
        }
    }

    fn answer(&mut self, index: usize, effect: Effect) {
        let replica = &mut self.replicas[index];
        let unwritten = replica.step.as_ref().map_or(&[][..], Step::writes);
        let state = replica.disk.state_at(&tip(&effect), unwritten).ok();
        let fails = replica.app.fails();
        if fails {
            self.counts.add(Kind::AppFailure);
        }
        let state = state.filter(|_| !fails);
        let input = match effect {
            Effect::ProposeBlock {
                cur_view,
                prev_block,
                ..
            } => {
                let failed = ProposeBlockResponse::Failed;
                let propose =
                    |(state, branch): (State, Vec<Block>)| replica.app.propose(&state, &branch);
                let response = state.map_or(failed, propose);
                Input::BlockProposed {
                    cur_view,
                    prev_block,
                    response,
                }
            }
            Effect::ValidateBlock { hash, block, .. } => {
                let undecided = ValidateBlockResponse::Undecided;
                let validate =
                    |(state, _): (State, Vec<Block>)| replica.app.validate(&state, &block.data);
                let response = state.map_or(undecided, validate);
                Input::BlockValidated {
                    block: hash,
                    response,
                }
            }
        };
        self.take_in(index, input);
    }

    fn load(&mut self, index: usize) {
        if self.load_every == 0 {
            return;
        }
        let set = &self.replicas[index].disk.epoch().validator_set;
        if !self.replicas[index].dead && set.contains(&address(index)) && self.has_key(index) {
            self.command(index);
        }
        let next = self
            .rng
            .within(self.load_every / 2, self.load_every * 3 / 2);
        self.at(self.now + next, Happening::Load { replica: index });
    }

    fn has_key(&self, index: usize) -> bool {
        self.replicas[index].has_key
    }

    /// All hosts want the change; whoever leads proposes it when its turn has come.
    fn change(&mut self, index: usize) {
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].disk.epoch().epoch.0 <= index as u64 {
                let command = CHANGE + index as u64;
                self.replicas[replica].app.pool.insert(command);
                if self.is_up(replica) && self.replicas[replica].paused_until <= self.now {
                    self.take_in(replica, Input::Notify);
                }
            }
        }
    }

    /// The host of `replica` has a command.
    pub fn command(&mut self, replica: usize) {
        self.next_command += 1;
        self.replicas[replica].app.pool.insert(self.next_command);
        if self.is_up(replica) && self.replicas[replica].paused_until <= self.now {
            self.take_in(replica, Input::Notify);
        }
    }

    pub fn set_load(&mut self, every: u64) {
        let was_off = self.load_every == 0;
        self.load_every = every;
        if was_off && every > 0 {
            (0..self.replicas.len()).for_each(|replica| self.load(replica));
        }
    }

    // --- faults ---

    /// Plans a crash at `point` of the next step of this kind.
    pub fn crash_in(&mut self, replica: usize, point: CrashPoint, moment: Moment, down: u64) {
        let crashes = &mut self.replicas[replica].crash_at;
        crashes.push_back((point, moment, down));
    }

    fn strike(&mut self, fault: Fault) {
        if self.verbose {
            println!("{:>12.3} ms         {fault:?}", self.now as f64 / 1e6);
        }
        match fault {
            Fault::Crash {
                replica,
                point: CrashPoint::Now,
                down,
            } => {
                self.counts.add(Kind::Crash);
                self.crash(replica, down);
            }
            Fault::Crash {
                replica,
                point,
                down,
            } => {
                self.crash_in(replica, point, Moment::Speaks, down);
            }
            Fault::CrashAll { down } => {
                self.counts.add(Kind::WholeCluster);
                for replica in 0..self.replicas.len() {
                    let spread = self.rng.below(down / 4 + 1);
                    self.crash(replica, down + spread);
                }
            }
            Fault::Die { replica } => {
                self.counts.add(Kind::Dead);
                self.crash(replica, 0);
                self.replicas[replica].dead = true;
            }
            Fault::Pause { replica, nanos } => {
                self.counts.add(Kind::Pause);
                self.replicas[replica].paused_until = self.now + nanos;
            }
            Fault::Partition { links, how, nanos } => {
                self.counts.add(Kind::Partition);
                links
                    .iter()
                    .for_each(|(from, to)| self.network.cut(*from, *to, how));
                self.at(self.now + nanos, Happening::Mend);
            }
        }
    }

    fn mend(&mut self) {
        for (delay, envelope) in self.network.mend(&mut self.counts) {
            self.at(self.now + delay, Happening::Deliver(envelope));
        }
    }

    /// Ends all faults but the dead and the wicked, and gives the hosts enough to do.
    pub fn heal(&mut self, conditions: Conditions) {
        if self.verbose {
            println!("{:>12.3} ms         all is healed", self.now as f64 / 1e6);
        }
        self.healed = true;
        self.network.conditions = conditions;
        self.mend();
        for index in 0..self.replicas.len() {
            self.replicas[index].app.calm_down();
            self.replicas[index].paused_until = 0;
            self.replicas[index].crash_at.clear();
            let life = self.replicas[index].life;
            self.at(
                self.now,
                Happening::Restart {
                    replica: index,
                    life,
                },
            );
        }
    }

    /// Whether a crash still waits for its moment.
    pub fn crashes_wait(&self) -> bool {
        self.replicas
            .iter()
            .any(|replica| !replica.dead && !replica.crash_at.is_empty())
    }

    /// Puts `writes` on the disk of a replica that has not started yet, as an earlier life of it
    /// would have.
    pub fn remember(&mut self, replica: usize, writes: &[hotstuff::algorithm::Write]) {
        let written = self.replicas[replica].disk.persist(writes);
        written.expect("this disk does not fail");
        self.written(replica);
    }

    // --- what tests ask ---

    /// The longest wait that a survivor's view has, by its own certificates and commits; while the
    /// validators do not change.
    pub fn timeout_max(&self) -> u64 {
        let wait = |replica: usize| {
            let disk = &self.replicas[replica].disk;
            let n = disk.epoch().validator_set.len() as u64;
            let qc_view = disk.highest_qc.rank().view.0;
            let commit_view = disk.committed_view();
            wait(&self.setup, n, qc_view, commit_view, self.view(replica))
        };
        self.survivors().map(wait).max().unwrap_or(0)
    }

    pub fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    pub fn survivors(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.replicas.len()).filter(|index| self.setup.survives(*index))
    }

    pub fn height(&self, replica: usize) -> u64 {
        self.replicas[replica].disk.height()
    }

    /// Of which offences a replica keeps evidence, and by whom.
    pub fn convicted(&self, replica: usize) -> Vec<(usize, EvidenceKind)> {
        let offences = self.replicas[replica].disk.durable().offences.into_iter();
        offences
            .map(|offence| (index_of(&offence.validator), offence.kind))
            .collect()
    }

    pub fn height_min(&self) -> u64 {
        self.survivors()
            .map(|replica| self.height(replica))
            .min()
            .unwrap_or(0)
    }

    /// Changes of the validator set that some survivor has not made.
    pub fn changes_to_come(&self) -> usize {
        let made = |replica: usize| self.replicas[replica].disk.epoch().epoch.0 as usize;
        let made = self.survivors().map(made).min().unwrap_or(0);
        self.setup.changes.len() - made
    }

    pub fn view(&self, replica: usize) -> u64 {
        let replica = &self.replicas[replica];
        let algorithm = replica
            .algorithm
            .as_ref()
            .or(replica.step.as_ref().map(Step::algorithm));
        algorithm.map_or(0, |algorithm| algorithm.view().view.0)
    }

    /// Commands that no host of a survivor still waits for.
    pub fn waiting_commands(&self) -> usize {
        self.survivors()
            .map(|replica| self.replicas[replica].app.pool.len())
            .sum()
    }

    pub fn standing(&self) -> Standing {
        let deadline = |replica: usize| {
            let it = &self.replicas[replica];
            let deadline = it.algorithm.as_ref().map(Algorithm::deadline);
            let deadline = deadline.or(it.step.as_ref().map(Step::deadline))?;
            Some(self.true_time(replica, deadline).saturating_sub(self.now))
        };
        let epoch = |replica: usize| self.replicas[replica].disk.epoch().epoch.0;
        let last = self.survivors().map(epoch).max().unwrap_or(0);
        // Who is in an earlier epoch begins the last one at its beginning.
        let in_last = |replica: &usize| epoch(*replica) == last;
        let highest_qc = |replica: usize| match &self.replicas[replica].disk.highest_qc {
            qc if qc.rank().epoch.0 == last && in_last(&replica) => qc.rank().view.0,
            _ => 0,
        };
        let heights = self
            .replicas
            .iter()
            .map(|replica| replica.disk.height_stored());
        let committed = |replica: usize| match &self.replicas[replica].disk {
            disk if in_last(&replica) => disk.committed_view(),
            _ => 0,
        };
        Standing {
            wait: self.survivors().filter_map(deadline).max().unwrap_or(0),
            epoch: last,
            view_max: (0..self.replicas.len())
                .filter(in_last)
                .map(|r| self.view(r))
                .max()
                .unwrap_or(0),
            qc_view_min: self.survivors().map(highest_qc).min().unwrap_or(0),
            missing: heights.max().unwrap_or(0) - self.height_min(),
            commit_view_min: self.survivors().map(committed).min().unwrap_or(0),
        }
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.checker.violations().first()
    }

    /// Over everything that was written, told and sent.
    pub fn digest(&self) -> u64 {
        mix(self.digest ^ self.happenings ^ self.network.sent.rotate_left(32))
    }

    fn say(&self, replica: usize, text: impl FnOnce() -> String) {
        if self.verbose {
            let view = self.view(replica);
            println!(
                "{:>12.3} ms  {replica} @{view:<4} {}",
                self.now as f64 / 1e6,
                text()
            );
        }
    }
}

/// The epoch whose validators verify the message.
fn epoch_of(message: &ProgressMessage) -> Epoch {
    match message {
        ProgressMessage::Propose(propose) => propose.vote.statement.epoch,
        ProgressMessage::Nudge(nudge) => nudge.vote.statement.epoch,
        ProgressMessage::Vote(vote) => vote.statement.epoch,
        ProgressMessage::TimeoutVote(timeout) => timeout.epoch,
        ProgressMessage::AdvanceView(Certificate::Quorum(qc)) => qc.epoch,
        ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => tc.epoch,
        ProgressMessage::Wake(wake) => wake.epoch,
    }
}

/// What the first correct replica that makes a change sees of it.
fn count_change(changed: &mut u64, counts: &mut Counts, disk: &SimDisk, record: &EpochRecord) {
    if record.epoch.0 <= *changed {
        return;
    }
    *changed = record.epoch.0;
    let before = disk
        .epochs()
        .iter()
        .find(|old| old.epoch.next() == record.epoch);
    let (Some(before), Some(commit_qc)) = (before, &record.commit_qc) else {
        return;
    };
    let (old, new) = (&before.validator_set, &record.validator_set);
    let members = |set: &ValidatorSet| set.members().to_vec();
    let is_in = |set: &ValidatorSet, who: &Validator| set.contains(&who.address);
    let leader = DefaultPacemaker::default().view_leader(old, commit_qc.view_num);
    counts.add(Kind::SetChange);
    let seen = [
        (
            Kind::ValidatorAdded,
            members(new).iter().any(|who| !is_in(old, who)),
        ),
        (
            Kind::ValidatorRemoved,
            members(old).iter().any(|who| !is_in(new, who)),
        ),
        (
            Kind::SetReplaced,
            !members(old).iter().any(|who| is_in(new, who)),
        ),
        (Kind::LeaderRemoved, !new.contains(&leader)),
        (
            Kind::PowerChanged,
            members(old)
                .iter()
                .any(|who| is_in(new, who) && !members(new).contains(who)),
        ),
    ];
    for (kind, came) in seen {
        if came {
            counts.add(kind);
        }
    }
}

/// The block on whose state a question is asked.
fn tip(effect: &Effect) -> BlockHash {
    match effect {
        Effect::ProposeBlock { prev_block, .. } => *prev_block,
        Effect::ValidateBlock { block, .. } => block.header.parent(),
    }
}

fn committed(write: &Write) -> Option<(u64, BlockHash)> {
    match write {
        Write::CommitBlock { hash, height } => Some((height.0, *hash)),
        _ => None,
    }
}

/// Cheap digests: what differs between two histories differs in one of these words.
fn write_digest(write: &Write) -> u64 {
    match write {
        Write::CastVote(vote) => mix(1 ^ vote.view_num.0) ^ word(&vote.block_hash.0),
        Write::TimeOut(rank) => mix(2 ^ (rank.view.0 << 8)),
        Write::StoreProposal(proposal) => mix(3) ^ word(&proposal.block.0),
        Write::SetHighestQc(qc) => mix(4 ^ (qc.view_num.0 << 8)) ^ word(&qc.block_hash.0),
        Write::SetHighestTc(tc) => mix(5 ^ (tc.view_num.0 << 8)),
        Write::InsertBlock { hash, .. } => mix(6) ^ word(&hash.0),
        Write::CommitBlock { hash, height } => mix(7 ^ (height.0 << 8)) ^ word(&hash.0),
        Write::DropBlock { hash } => mix(8) ^ word(&hash.0),
        Write::ChangeEpoch(record) => mix(9 ^ (record.epoch.0 << 8)),
        Write::KeepEvidence(evidence) => mix(10) ^ word(&evidence.validator.0),
    }
}

fn event_digest(event: &Event) -> u64 {
    match event {
        Event::ViewStarted { rank, leader } => {
            return mix(11 ^ (rank.view.0 << 8)) ^ word(&leader.0)
        }
        Event::QcCollected { rank, block } => return mix(12 ^ (rank.view.0 << 8)) ^ word(&block.0),
        Event::Voted { rank, block } => return mix(13 ^ (rank.view.0 << 8)) ^ word(&block.0),
        Event::Committed { height, block, .. } => {
            return mix(14 ^ (height.0 << 8)) ^ word(&block.0)
        }
        _ => {} // seldom
    }
    let text = format!("{event:?}");
    text.bytes().fold(9, |sum, byte| {
        sum.rotate_left(5).wrapping_mul(31) ^ u64::from(byte)
    })
}

fn message_digest(message: &Message) -> u64 {
    codec::encode(message).chunks(8).fold(10, |sum, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        mix(sum ^ u64::from_le_bytes(bytes))
    })
}

fn word(bytes: &[u8; 32]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}
