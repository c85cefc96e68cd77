//! Four replicas or five, their disks, and what is on its way between them. Nothing happens by
//! itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hotstuff::algorithm::verify::{Refusal, Verifier};
use hotstuff::algorithm::{
    Algorithm, Config, Dispatch, Effect, Event, Input, Limits, Step, SyncConfig, To, VoteTo,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{
    Certificate, Message, ProgressMessage, Propose, SyncMessage, SyncResponse, TimeoutVote, Vote,
};
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::*;

use crate::disk::SimDisk;
use crate::keys::{address, check_all, index_of, sign, SimSigner};
/// Of the first epoch. Whoever comes after them is a listener until an update adds it.
const VALIDATORS: usize = 4;
/// No script needs more; one that does goes in circles.
const LETTERS_MAX: usize = 5_000;
/// Deadlines that may come before a view is timed out: of sync, and of idle leaders.
const DEADLINES_MAX: usize = 20;

/// A message on its way.
#[derive(Clone)]
struct Letter {
    from: usize,
    to: usize,
    message: Message,
}

struct Replica {
    /// `None` while it is down.
    algorithm: Option<Algorithm>,
    disk: SimDisk,
    verifier: Verifier,
    work: VecDeque<String>,
}

#[derive(Default)]
pub struct Stage {
    config: Option<Config>,
    genesis: GenesisHash,
    now: Time,
    replicas: Vec<Replica>,
    letters: VecDeque<Letter>,
    /// Every block that was proposed, by its name: `b3`, `b3'` for the second of view 3, `b1.3` in
    /// epoch 1.
    blocks: BTreeMap<String, Block>,
    /// The validators of each epoch that has begun somewhere.
    sets: Vec<ValidatorSet>,
    /// What happened since the lines were last taken: who did what.
    done: Vec<(String, Vec<usize>)>,
}

impl Stage {
    /// Does what one line of a script says.
    pub fn act(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match verb {
            "start" => self.start(&words),
            "work" => self.work(number(words[0]), &words[1..].join(" ")),
            "update" => self.work(
                number(words[0]),
                &format!("update {}", words[1..].join(" ")),
            ),
            "deliver" => self.deliver(&Which::parse(&words)),
            "drop" => {
                let which = Which::parse(&words);
                self.letters.retain(|letter| !which.is(letter));
            }
            "wait" => numbers(&words).for_each(|replica| self.wait(replica)),
            "expire" => numbers(&words).for_each(|replica| self.expire(replica)),
            "crash" => numbers(&words).for_each(|replica| self.replicas[replica].algorithm = None),
            "restart" => numbers(&words).for_each(|replica| self.recover(replica)),
            "state" => numbers(&words).for_each(|replica| self.show(replica)),
            "twin" => self.twin(number(words[0]) as u64, &words[2..]),
            "strip" => self.strip(&words[1..]),
            "fork" => self.fork(&words),
            "vote" => self.vote(number(words[0]), words[1]),
            "timeout" => self.timeout(&words),
            _ => panic!("{verb:?} is no verb: see scripts/mod.rs"),
        }
    }

    /// What was done, equal deeds together.
    pub fn take_lines(&mut self) -> Vec<String> {
        let done = std::mem::take(&mut self.done);
        let line = |(what, who): (String, Vec<usize>)| {
            let who: Vec<String> = who.iter().map(ToString::to_string).collect();
            format!("{:<8} {what}", who.join(" "))
        };
        done.into_iter().map(line).collect()
    }

    fn say(&mut self, who: usize, what: String) {
        match self.done.iter_mut().find(|(said, _)| *said == what) {
            Some((_, all)) if !all.contains(&who) => {
                all.push(who);
                all.sort_unstable();
            }
            _ => self.done.push((what, vec![who])),
        }
    }

    // --- lives ---

    fn start(&mut self, words: &[&str]) {
        let member = |index| Validator {
            address: address(index),
            power: 1,
        };
        let validator_set =
            ValidatorSet::new((0..VALIDATORS).map(member)).expect("four validators");
        let commit_rule = match words.first() {
            Some(&"three-chain") => CommitRule::ThreeChain,
            Some(&"two-chain") => CommitRule::TwoChain,
            other => panic!("{other:?} is no commit rule"),
        };
        let parameters = ChainParameters {
            commit_rule,
            ..Default::default()
        };
        let genesis = Genesis {
            chain_id: ChainId(1),
            validator_set: validator_set.clone(),
            app_state: BTreeMap::new(),
            parameters,
        };
        self.genesis = genesis.hash();
        self.config = Some(Config {
            me: None,
            genesis: self.genesis,
            parameters,
            pacemaker: Arc::new(DefaultPacemaker::default()),
            vote_to: match words.contains(&"next-leader") {
                true => VoteTo::NextLeader,
                false => VoteTo::All,
            },
            sync: SyncConfig {
                interval: Duration::from_secs(3_600), // nobody asks without a reason
                ..SyncConfig::default()
            },
            limits: Limits::default(),
        });
        self.sets.push(validator_set.clone());
        let listeners = usize::from(words.contains(&"listener"));
        for _ in 0..VALIDATORS + listeners {
            let mut verifier = Verifier::new(self.genesis, check_all);
            verifier.learn(Epoch(0), validator_set.clone());
            self.replicas.push(Replica {
                algorithm: None,
                disk: SimDisk::new(self.genesis, validator_set.clone()),
                verifier,
                work: VecDeque::new(),
            });
        }
        (0..self.replicas.len()).for_each(|index| self.recover(index));
        self.done.retain(|(what, _)| !what.starts_with("asks")); // all do, and nobody has anything
    }

    fn recover(&mut self, index: usize) {
        let config = Config {
            me: Some(address(index)),
            ..self.config.clone().expect("a script begins with start")
        };
        let step = Algorithm::recover(config, self.replicas[index].disk.durable(), self.now);
        self.finish(index, step);
    }

    fn work(&mut self, index: usize, text: &str) {
        self.replicas[index].work.push_back(text.to_owned());
        self.step(index, Input::Notify);
    }

    /// The next deadline comes.
    fn wait(&mut self, index: usize) {
        if let Some(algorithm) = &self.replicas[index].algorithm {
            self.now = self.now.max(algorithm.deadline());
            self.step(index, Input::TimerExpired);
        }
    }

    /// Deadlines come until the replica times a view out.
    fn expire(&mut self, index: usize) {
        for _ in 0..DEADLINES_MAX {
            let said = self.letters.len();
            self.wait(index);
            let is_timeout = |letter: &Letter| kind(&letter.message) == "timeout";
            if self.letters.iter().skip(said).any(is_timeout) {
                return;
            }
        }
        panic!("{index} times out no view");
    }

    fn show(&mut self, index: usize) {
        let replica = &self.replicas[index];
        let text = match &replica.algorithm {
            None => format!("is down, with height {} on disk", replica.disk.height()),
            Some(algorithm) => format!(
                "is in view {}, with {} and height {}",
                view(algorithm.view()),
                self.qc(algorithm.highest_qc()),
                algorithm.committed().height
            ),
        };
        self.say(index, text);
    }

    // --- steps ---

    fn step(&mut self, index: usize, input: Input) {
        if let Some(algorithm) = self.replicas[index].algorithm.take() {
            let step = algorithm.step(self.now, input);
            self.finish(index, step);
        }
    }

    /// Disk, pen, network; then the app's answers, which come at once.
    fn finish(&mut self, index: usize, mut step: Step) {
        let effects = step.take_effects();
        let disk = &mut self.replicas[index].disk;
        let (algorithm, outbox) = step.persist(disk).expect("no disk fails in a script");
        if let Some(nonsense) = disk.take_nonsense() {
            panic!("{index}: {nonsense}");
        }
        let signer = SimSigner {
            address: address(index),
            refuses: false,
        };
        let mut stored = |hash: &BlockHash| disk.block(hash).cloned();
        let Dispatch {
            messages,
            inputs,
            events,
            ..
        } = outbox.sign(Some(&signer), &mut stored);
        // Names first: what is told speaks of the blocks that are sent.
        for (_, message) in &messages {
            self.name(message);
        }
        for event in events {
            self.learn(index, &event);
            self.tell(index, &algorithm, &event);
        }
        self.replicas[index].algorithm = Some(algorithm);
        let proposes = messages
            .iter()
            .any(|(_, message)| ["propose", "nudge"].contains(&kind(message)));
        for (to, message) in messages {
            self.post(index, to, message);
        }
        for input in inputs {
            if let (false, Input::Progress { message, .. }) = (proposes, &input) {
                self.tell_vote(index, message.message());
            }
            self.step(index, input);
        }
        for effect in effects {
            let answer = self.answer(index, effect);
            self.step(index, answer);
        }
    }

    fn answer(&mut self, index: usize, effect: Effect) -> Input {
        match effect {
            Effect::ProposeBlock {
                cur_view,
                prev_block,
                ..
            } => {
                let work = self.replicas[index].work.pop_front();
                let block = |text: String| ProposeBlockResponse::Block {
                    validator_set_updates: set_updates(text.as_bytes()),
                    data: text.into_bytes(),
                    state_updates: None,
                };
                Input::BlockProposed {
                    cur_view,
                    prev_block,
                    response: work.map_or(ProposeBlockResponse::Defer, block),
                }
            }
            Effect::ValidateBlock { hash, block, .. } => Input::BlockValidated {
                block: hash,
                response: if block.data.starts_with(b"bad") {
                    ValidateBlockResponse::Invalid
                } else {
                    ValidateBlockResponse::Valid {
                        state_updates: None,
                        validator_set_updates: set_updates(&block.data),
                    }
                },
            },
        }
    }

    fn name(&mut self, message: &Message) {
        if let Message::Progress(ProgressMessage::Propose(Propose { block, .. })) = message {
            if !self.blocks.values().any(|known| known == block) {
                let mut name = format!("b{}", view(block.header.rank()));
                while self.blocks.contains_key(&name) {
                    name.push('\'');
                }
                self.blocks.insert(name, block.clone());
            }
        }
    }

    fn name_of(&self, hash: &BlockHash) -> String {
        let is_it = |(_, block): &(&String, &Block)| block.hash(&self.genesis) == *hash;
        match self.blocks.iter().find(is_it) {
            Some((name, _)) => name.clone(),
            None if *hash == self.genesis.as_block_hash() => "b0".to_owned(),
            None => format!("{hash:?}"),
        }
    }

    /// By the name of its block: `QC3'` is of `b3'`. One of a nudge has its own view.
    fn qc(&self, qc: &QuorumCertificate) -> String {
        let (name, phase) = (self.name_of(&qc.block_hash), phase(qc.phase));
        let block = self.blocks.get(&name);
        let is_nudge = block.is_some_and(|block| block.header.view != qc.view_num);
        match is_nudge {
            true => format!("{phase}QC{} of {name}", qc.view_num),
            false => format!("{phase}QC{}", &name[1..]),
        }
    }

    fn tc(&self, tc: &TimeoutCertificate) -> String {
        format!("TC{} of {}", view(tc.rank()), self.qc(&tc.highest_qc))
    }

    fn tell(&mut self, index: usize, algorithm: &Algorithm, event: &Event) {
        let text = match event {
            Event::ViewStarted { rank, .. } => {
                let highest = algorithm.highest_qc();
                let before = Rank {
                    view: rank.view.previous(),
                    ..*rank
                };
                let by = match before.view {
                    ViewNumber(0) if before.epoch == Epoch(0) => String::new(),
                    _ if *rank != algorithm.view() => String::new(), // and left in the same step
                    _ if highest.rank() == before => format!(" by {}", self.qc(highest)),
                    _ => format!(" by TC{}", view(before)),
                };
                format!("enters {}{by}", view(*rank))
            }
            Event::EpochStarted(record) => {
                let members = record.validator_set.members().iter();
                let members = members.map(|member| {
                    let Validator { address, power } = member;
                    format!("{}={power}", index_of(address))
                });
                let members: Vec<String> = members.collect();
                format!("begins epoch {} of {}", record.epoch, members.join(" "))
            }
            Event::Committed { block, .. } => {
                let name = self.name_of(block);
                let data = self.blocks.get(&name).map(|block| block.data.to_vec());
                let data = String::from_utf8(data.unwrap_or_default()).expect("scripts are text");
                let data = if data.is_empty() { "empty" } else { &data };
                format!("commits {name} ({data})")
            }
            Event::BlockRefused {
                block, leader, why, ..
            } => {
                let name = self.name_of(block);
                format!("refuses {name} of {}: {why}", index_of(leader))
            }
            Event::SyncFailed { peer, why } => format!("gets nothing of {}: {why}", index_of(peer)),
            Event::Diverged { block, .. } => format!("differs about {}", self.name_of(block)),
            _ => return, // the messages say it
        };
        self.say(index, text);
    }

    /// The validators of a new epoch are known from here on.
    fn learn(&mut self, index: usize, event: &Event) {
        if let Event::EpochStarted(record) = event {
            let set = record.validator_set.clone();
            self.replicas[index]
                .verifier
                .learn(record.epoch, set.clone());
            if self.sets.len() as u64 == record.epoch.0 {
                self.sets.push(set);
            }
        }
    }

    fn leader(&self, rank: Rank) -> usize {
        let set = &self.sets[rank.epoch.0 as usize];
        index_of(&DefaultPacemaker::default().view_leader(set, rank.view))
    }

    /// One's own vote, whoever it is sent to; a proposal has its own line.
    fn tell_vote(&mut self, index: usize, message: &ProgressMessage) {
        if let ProgressMessage::Vote(vote) = message {
            let name = self.name_of(&vote.statement.block_hash);
            self.say(
                index,
                format!("votes {}{name}", phase(vote.statement.phase)),
            );
        }
    }

    // --- the network ---

    fn post(&mut self, from: usize, to: To, message: Message) {
        if let Some(text) = self.describe(to, &message) {
            self.say(from, text);
        }
        let to: Vec<usize> = match to {
            To::Peer(peer) => vec![index_of(&peer)],
            To::All => (0..self.replicas.len()).filter(|to| *to != from).collect(),
        };
        for to in to {
            self.letters.push_back(Letter {
                from,
                to,
                message: message.clone(),
            });
        }
    }

    /// What is worth a line; votes have theirs by the event.
    fn describe(&self, to: To, message: &Message) -> Option<String> {
        let whom = match to {
            To::Peer(peer) => index_of(&peer).to_string(),
            To::All => "all".to_owned(),
        };
        match message {
            Message::Progress(ProgressMessage::Propose(propose)) => {
                let header = &propose.block.header;
                let name = self.name_of(&propose.block.hash(&self.genesis));
                let tc = propose.timeout_certificate.as_ref();
                let tc = tc.map_or(String::new(), |tc| format!(" and {}", self.tc(tc)));
                Some(format!(
                    "proposes {name} on {}{tc}",
                    self.qc(&header.justify)
                ))
            }
            Message::Progress(ProgressMessage::Nudge(nudge)) => {
                let tc = nudge.timeout_certificate.as_ref();
                let tc = tc.map_or(String::new(), |tc| format!(" and {}", self.tc(tc)));
                let phase = phase(nudge.vote.statement.phase);
                Some(format!("nudges {phase}on {}{tc}", self.qc(&nudge.justify)))
            }
            Message::Progress(ProgressMessage::TimeoutVote(timeout)) => {
                let last = timeout.last_vote.map(|vote| vote.statement.block_hash);
                let last = last.map_or("no vote".to_owned(), |hash| self.name_of(&hash));
                let qc = self.qc(&timeout.highest_qc);
                let TimeoutVote {
                    epoch,
                    view_num: view,
                    ..
                } = *timeout;
                let view = self::view(Rank { epoch, view });
                Some(format!("times out {view} with {qc}, {last}"))
            }
            Message::Progress(ProgressMessage::AdvanceView(certificate)) => {
                let certificate = match certificate {
                    Certificate::Quorum(qc) => self.qc(qc),
                    Certificate::Timeout(tc) => self.tc(tc),
                };
                Some(format!("tells {whom} {certificate}"))
            }
            Message::Progress(ProgressMessage::Wake(_)) => Some(format!("wakes {whom}")),
            Message::Sync(SyncMessage::Request(request)) => Some(match request.wanted {
                Some(wanted) => format!("asks {whom} for {}", self.name_of(&wanted)),
                None => format!("asks {whom} what is new"),
            }),
            _ => None,
        }
    }

    fn deliver(&mut self, which: &Which) {
        for _ in 0..LETTERS_MAX {
            let Some(next) = self.letters.iter().position(|letter| which.is(letter)) else {
                return;
            };
            let letter = self.letters.remove(next).expect("it was just there");
            self.hand_over(letter);
        }
        panic!("more than {LETTERS_MAX} messages: they go in circles");
    }

    fn hand_over(&mut self, letter: Letter) {
        let Letter { from, to, message } = letter;
        let replica = &mut self.replicas[to];
        if replica.algorithm.is_none() {
            return;
        }
        let sender = address(from);
        let input = match message {
            Message::Progress(message) => match replica.verifier.progress(message.clone()) {
                Ok(message) => Input::Progress {
                    from: sender,
                    message,
                },
                Err(Refusal::UnknownEpoch) => {
                    self.say(to, format!("hears of an unknown epoch from {from}"));
                    match self.replicas[to].verifier.epoch_end(&message) {
                        Some(message) => Input::Progress {
                            from: sender,
                            message,
                        },
                        None => Input::LaterEpoch { peer: sender },
                    }
                }
                Err(refusal) => return self.say(to, format!("does not believe {from}: {refusal}")),
            },
            Message::Sync(SyncMessage::Request(request)) => {
                let after = request.highest_committed_block;
                let disk = &replica.disk;
                let found = disk.blocks_after(&after, request.wanted.as_ref(), 100);
                let (blocks, tail_qcs) =
                    found.unwrap_or_else(|| (vec![], vec![disk.highest_qc.clone()]));
                let response = SyncResponse {
                    highest_committed_block: after,
                    blocks,
                    tail_qcs,
                };
                let message = Message::Sync(SyncMessage::Response(response));
                return self.post(to, To::Peer(sender), message);
            }
            Message::Sync(SyncMessage::Response(response)) => {
                match replica.verifier.sync_response(response) {
                    Ok(response) => Input::Synced {
                        from: sender,
                        response,
                    },
                    Err(_) => Input::SyncFailed { peer: sender },
                }
            }
        };
        self.step(to, input);
    }

    // --- lies ---

    /// The leader of `view` has sent these another block than the others, and votes for both.
    fn twin(&mut self, view: u64, to: &[&str]) {
        let leader = self.leader(Rank {
            epoch: Epoch(0),
            view: ViewNumber(view),
        });
        let original = self
            .letters
            .iter()
            .find_map(|letter| match &letter.message {
                Message::Progress(ProgressMessage::Propose(propose))
                    if propose.block.header.view.0 == view =>
                {
                    Some(propose.clone())
                }
                _ => None,
            });
        let original = original.expect("a proposal of that view is on its way");
        let mut header = original.block.header.clone();
        let data = Data::new(b"twin".as_slice());
        header.data_hash = data.hash();
        let propose = self.signed(
            leader,
            Block { header, data },
            original.timeout_certificate.clone(),
        );
        self.name(&Message::Progress(propose.clone()));
        for letter in &mut self.letters {
            let is_proposal = kind(&letter.message) == "propose" && letter.from == leader;
            if is_proposal && numbers(to).any(|index| index == letter.to) {
                letter.message = Message::Progress(propose.clone());
            }
        }
    }

    fn strip(&mut self, to: &[&str]) {
        for letter in &mut self.letters {
            if let Message::Progress(ProgressMessage::Propose(propose)) = &mut letter.message {
                if numbers(to).any(|index| index == letter.to) {
                    propose.timeout_certificate = None;
                }
            }
        }
    }

    fn fork(&mut self, words: &[&str]) {
        let (view, on) = (ViewNumber(number(words[0]) as u64), words[2]);
        let justify = self.qc_of(on);
        let epoch = justify.epoch;
        let leader = self.leader(Rank { epoch, view });
        let height = match self.blocks.get(&format!("b{on}")) {
            Some(block) => block.header.height,
            None => BlockHeight(0),
        };
        let data = Data::new(b"fork".as_slice());
        let header = BlockHeader {
            height: height.next(),
            epoch,
            view,
            justify,
            data_hash: data.hash(),
            validator_set_updates: None,
        };
        let named = words.get(4).map(|named| self.qc_of(named));
        let tc = named.map(|highest_qc| self.tc_of(view.previous(), highest_qc));
        let message = Message::Progress(self.signed(leader, Block { header, data }, tc));
        self.name(&message);
        self.post(leader, To::All, message);
    }

    fn vote(&mut self, index: usize, name: &str) {
        let vote = self.vote_of(index, &self.blocks[name].clone());
        let message = Message::Progress(ProgressMessage::Vote(vote));
        self.post(index, To::All, message);
    }

    fn timeout(&mut self, words: &[&str]) {
        let (index, view_num) = (number(words[0]), ViewNumber(number(words[1]) as u64));
        let mut highest_qc = self.qc_of(words[3]);
        if words[2] == "claims" {
            let own = self.sign(index, Statement::Vote(highest_qc.statement()));
            highest_qc.signatures.fill(Some(own));
        }
        let statement = TimeoutStatement {
            epoch: Epoch(0),
            view_num,
            qc_view: highest_qc.rank().view,
        };
        let message = Message::Progress(ProgressMessage::TimeoutVote(TimeoutVote {
            epoch: Epoch(0),
            view_num,
            highest_qc,
            last_vote: None,
            validator: address(index),
            signature: self.sign(index, Statement::Timeout(statement)),
        }));
        self.post(index, To::All, message);
    }

    fn signed(
        &self,
        leader: usize,
        block: Block,
        timeout_certificate: Option<TimeoutCertificate>,
    ) -> ProgressMessage {
        let vote = self.vote_of(leader, &block);
        ProgressMessage::Propose(Propose {
            block,
            vote,
            timeout_certificate,
        })
    }

    fn vote_of(&self, index: usize, block: &Block) -> Vote {
        let header = &block.header;
        let statement = VoteStatement {
            epoch: header.epoch,
            view_num: header.view,
            justify_view: header.justify.rank().view,
            block_hash: block.hash(&self.genesis),
            phase: match header.validator_set_updates {
                Some(_) => Phase::Prepare,
                None => Phase::Generic,
            },
        };
        Vote {
            statement,
            voter: address(index),
            signature: self.sign(index, Statement::Vote(statement)),
        }
    }

    /// The QC of the block of `view`, by 0, 1 and 2; the genesis's for view 0.
    fn qc_of(&self, view: &str) -> QuorumCertificate {
        let Some(block) = self.blocks.get(&format!("b{view}")) else {
            return QuorumCertificate::genesis(self.genesis);
        };
        let votes: Vec<Vote> = (0..3).map(|index| self.vote_of(index, block)).collect();
        let slot = |index: usize| votes.get(index).map(|vote| vote.signature);
        QuorumCertificate::new(votes[0].statement, (0..VALIDATORS).map(slot).collect())
    }

    fn tc_of(&self, view_num: ViewNumber, highest_qc: QuorumCertificate) -> TimeoutCertificate {
        let qc_view = highest_qc.rank().view;
        let statement = Statement::Timeout(TimeoutStatement {
            epoch: Epoch(0),
            view_num,
            qc_view,
        });
        let slot = |index| (index < 3).then(|| (qc_view, self.sign(index, statement)));
        TimeoutCertificate {
            epoch: Epoch(0),
            view_num,
            highest_qc,
            signatures: (0..VALIDATORS).map(slot).collect(),
        }
    }

    fn sign(&self, index: usize, statement: Statement) -> Signature {
        sign(&address(index), &statement.digest(&self.genesis))
    }
}

/// Of a rank: `3`, and `1.3` in epoch 1.
fn view(rank: Rank) -> String {
    match rank.epoch {
        Epoch(0) => rank.view.to_string(),
        epoch => format!("{epoch}.{}", rank.view),
    }
}

/// A word for what is of the phased mode.
fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Generic => "",
        Phase::Prepare => "Prepare ",
        Phase::Precommit => "Precommit ",
        Phase::Commit => "Commit ",
    }
}

/// What `update 3=2 4=1` asks for.
fn set_updates(data: &[u8]) -> Option<ValidatorSetUpdates> {
    let text = std::str::from_utf8(data).expect("scripts are text");
    let update = |word: &str| {
        let (who, power) = word.split_once('=').expect("an update is R=POWER");
        ValidatorSetUpdate {
            validator: address(number(who)),
            power: number(power) as u64,
        }
    };
    let words = text.strip_prefix("update ")?.split(' ');
    Some(words.map(update).collect())
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Progress(ProgressMessage::Propose(_)) => "propose",
        Message::Progress(ProgressMessage::Nudge(_)) => "nudge",
        Message::Progress(ProgressMessage::Vote(_)) => "vote",
        Message::Progress(ProgressMessage::TimeoutVote(_)) => "timeout",
        Message::Progress(ProgressMessage::AdvanceView(_)) => "advance",
        Message::Progress(ProgressMessage::Wake(_)) => "wake",
        Message::Sync(_) => "sync",
    }
}

fn number(word: &str) -> usize {
    word.parse()
        .unwrap_or_else(|_| panic!("{word:?} is no number"))
}

fn numbers<'a>(words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    words.iter().map(|word| number(word))
}

/// Some of the messages on their way: of these kinds, from and to these; of all if none is named.
#[derive(Default)]
struct Which<'a> {
    kinds: Vec<&'a str>,
    from: Vec<usize>,
    to: Vec<usize>,
}

impl<'a> Which<'a> {
    fn parse(words: &[&'a str]) -> Which<'a> {
        let mut which = Which::default();
        let mut side = "";
        for word in words {
            match (*word, side) {
                ("from" | "to", _) => side = word,
                (word, "from") => which.from.push(number(word)),
                (word, "to") => which.to.push(number(word)),
                (word, _) => which.kinds.push(word),
            }
        }
        which
    }

    fn is(&self, letter: &Letter) -> bool {
        let fits = |named: &[usize], it| named.is_empty() || named.contains(&it);
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&kind(&letter.message));
        is_kind && fits(&self.from, letter.from) && fits(&self.to, letter.to)
    }
}
