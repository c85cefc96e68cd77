//! One replica under test, and the pens of all four validators: a test writes the messages that the
//! others would send, hands them in through the verifier, and looks at what comes out.

use std::sync::Arc;
use std::time::Duration;

use hotstuff::algorithm::verify::{ed25519, Refusal, Verifier};
use hotstuff::algorithm::{
    Algorithm, Config, Dispatch, Durable, Effect, EpochRecord, Event, Input, Limits, Persist,
    SyncConfig, To, VoteTo, Write,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{
    Certificate, Message, Nudge, ProgressMessage, Propose, SyncMessage, SyncRequest, SyncResponse,
    TimeoutVote, Vote,
};
use hotstuff::pacemaker::{DefaultPacemaker, Pacemaker};
use hotstuff::types::*;

pub const BASE_MS: u64 = 1_000;
const LONG: Duration = Duration::from_secs(3_600);

/// A disk that remembers only what was written.
#[derive(Default)]
pub struct Journal(pub Vec<Write>);

impl Persist for Journal {
    type Error = ();

    fn persist(&mut self, writes: &[Write]) -> Result<(), ()> {
        self.0.extend_from_slice(writes);
        Ok(())
    }
}

/// What one input led to.
pub struct Outcome {
    pub writes: Vec<Write>,
    pub effects: Vec<Effect>,
    pub dispatch: Dispatch,
}

impl Outcome {
    pub fn votes(&self) -> Vec<Vote> {
        self.progress()
            .filter_map(|message| match message {
                ProgressMessage::Vote(vote) => Some(*vote),
                ProgressMessage::Propose(propose) => Some(propose.vote),
                ProgressMessage::Nudge(nudge) => Some(nudge.vote),
                _ => None,
            })
            .collect()
    }

    pub fn proposals(&self) -> Vec<Propose> {
        self.progress()
            .filter_map(|message| match message {
                ProgressMessage::Propose(propose) => Some(propose.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn nudges(&self) -> Vec<Nudge> {
        self.progress()
            .filter_map(|message| match message {
                ProgressMessage::Nudge(nudge) => Some(nudge.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn epochs(&self) -> Vec<EpochRecord> {
        self.writes
            .iter()
            .filter_map(|write| match write {
                Write::ChangeEpoch(record) => Some(record.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn timeouts(&self) -> Vec<TimeoutVote> {
        self.progress()
            .filter_map(|message| match message {
                ProgressMessage::TimeoutVote(timeout) => Some(timeout.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn certificates(&self) -> Vec<(To, Certificate)> {
        self.dispatch
            .messages
            .iter()
            .filter_map(|(to, message)| match message {
                Message::Progress(ProgressMessage::AdvanceView(certificate)) => {
                    Some((*to, certificate.clone()))
                }
                _ => None,
            })
            .collect()
    }

    pub fn requests(&self) -> Vec<(To, SyncRequest)> {
        self.dispatch
            .messages
            .iter()
            .filter_map(|(to, message)| match message {
                Message::Sync(SyncMessage::Request(request)) => Some((*to, *request)),
                _ => None,
            })
            .collect()
    }

    pub fn wakes(&self) -> usize {
        self.progress()
            .filter(|message| matches!(message, ProgressMessage::Wake(_)))
            .count()
    }

    pub fn committed(&self) -> Vec<BlockHash> {
        self.writes
            .iter()
            .filter_map(|write| match write {
                Write::CommitBlock { hash, .. } => Some(*hash),
                _ => None,
            })
            .collect()
    }

    pub fn reports(&self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.dispatch.events.iter().any(is_it)
    }

    fn progress(&self) -> impl Iterator<Item = &ProgressMessage> {
        self.dispatch
            .messages
            .iter()
            .filter_map(|(_, message)| match message {
                Message::Progress(progress) => Some(progress),
                Message::Sync(_) => None,
            })
    }
}

pub struct Fixture {
    pub genesis: Genesis,
    pub config: Config,
    keys: Vec<KeyPair>,
    /// The validators of each epoch, as the tests plan them.
    sets: Vec<ValidatorSet>,
    me: usize,
    algorithm: Option<Algorithm>,
    verifier: Verifier,
    pub now: Time,
    pub opening: Option<Outcome>,
}

/// A fixture's variations.
#[derive(Clone, Copy)]
pub struct Setup {
    pub me: usize,
    pub commit_rule: CommitRule,
    pub leader_rule: LeaderRule,
    pub vote_to: VoteTo,
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        let (commit_rule, vote_to, limits) = Default::default();
        Setup {
            me: 0,
            commit_rule,
            leader_rule: LeaderRule::RoundRobin,
            vote_to,
            limits,
        }
    }
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Fixture {
        Fixture::recovered(setup, |_, _| {})
    }

    /// A fixture whose replica wakes up with `change`d durable state.
    pub fn recovered(setup: Setup, change: impl FnOnce(&Fixture, &mut Durable)) -> Fixture {
        let mut keys: Vec<KeyPair> = (1..=4)
            .map(|i| KeyPair::from_seed(&[i; 32]).expect("32 bytes"))
            .collect();
        keys.sort_by_key(KeyPair::address);
        // Four more, who are no validators yet.
        keys.extend((5..=8).map(|i| KeyPair::from_seed(&[i; 32]).expect("32 bytes")));
        let members = keys[..4].iter().map(|key| Validator {
            address: key.address(),
            power: 1,
        });
        let validator_set = ValidatorSet::new(members).expect("four validators");
        let parameters = ChainParameters {
            commit_rule: setup.commit_rule,
            leader_rule: setup.leader_rule,
            ..Default::default()
        };
        let genesis = Genesis {
            chain_id: ChainId(7),
            validator_set: validator_set.clone(),
            app_state: Default::default(),
            parameters,
        };
        let hash = genesis.hash();
        let config = Config {
            me: Some(keys[setup.me].address()),
            genesis: hash,
            parameters,
            pacemaker: Arc::new(DefaultPacemaker {
                base_ms: BASE_MS as u32,
                max_ms: 60_000,
            }),
            vote_to: setup.vote_to,
            // No answer comes unless a test gives it: its deadline must not be the next one.
            sync: SyncConfig {
                response_timeout: LONG,
                interval: LONG,
                ..SyncConfig::default()
            },
            limits: setup.limits,
        };
        let mut verifier = Verifier::new(hash, ed25519);
        verifier.learn(Epoch(0), validator_set.clone());
        let genesis_set = validator_set.clone();
        let mut durable = Durable::new(hash, validator_set);
        let mut fixture = Fixture {
            genesis,
            config: config.clone(),
            keys,
            sets: vec![genesis_set],
            me: setup.me,
            algorithm: None,
            verifier,
            now: Time(0),
            opening: None,
        };
        change(&fixture, &mut durable);
        for record in &durable.epochs {
            let EpochRecord {
                epoch,
                validator_set,
                ..
            } = record.clone();
            fixture.plan_set(epoch, validator_set.clone());
            fixture.verifier.learn(epoch, validator_set);
        }
        let step = Algorithm::recover(config, durable, Time(0));
        let opening = fixture.finish(step);
        fixture.opening = Some(opening);
        fixture
    }

    pub fn algorithm(&self) -> &Algorithm {
        self.algorithm.as_ref().expect("between steps")
    }

    pub fn view(&self) -> u64 {
        self.algorithm().view().view.0
    }

    pub fn hash(&self) -> GenesisHash {
        self.config.genesis
    }

    pub fn me(&self) -> usize {
        self.me
    }

    pub fn address(&self, who: usize) -> ValidatorAddress {
        self.keys[who].address()
    }

    /// The validator that leads `view`.
    pub fn leader(&self, view: u64) -> usize {
        self.leader_in(0, view)
    }

    pub fn leader_in(&self, epoch: u64, view: u64) -> usize {
        let set = &self.sets[epoch as usize];
        let leader = DefaultPacemaker::default().view_leader(set, ViewNumber(view));
        self.who(&leader)
    }

    pub fn who(&self, address: &ValidatorAddress) -> usize {
        let is_it = |key: &KeyPair| key.address() == *address;
        self.keys.iter().position(is_it).expect("one of the keys")
    }

    /// The set of the epoch after the last one planned, after `updates`: (who, power).
    pub fn plan(&mut self, updates: &[(usize, u64)]) -> ValidatorSetUpdates {
        let updates = self.updates(updates);
        let last = self.sets.last().expect("there is always one");
        self.sets.push(last.updated(&updates).expect("a set"));
        updates
    }

    pub fn updates(&self, updates: &[(usize, u64)]) -> ValidatorSetUpdates {
        let update = |(who, power): &(usize, u64)| ValidatorSetUpdate {
            validator: self.address(*who),
            power: *power,
        };
        updates.iter().map(update).collect()
    }

    pub fn plan_set(&mut self, epoch: Epoch, set: ValidatorSet) {
        self.sets.truncate(epoch.0 as usize);
        self.sets.push(set);
    }

    pub fn set_of(&self, epoch: u64) -> ValidatorSet {
        self.sets[epoch as usize].clone()
    }

    /// The validators of the epoch but me.
    pub fn others_in(&self, epoch: u64) -> Vec<usize> {
        let members = self.sets[epoch as usize].members().iter();
        let members = members.map(|member| self.who(&member.address));
        members.filter(|who| *who != self.me).collect()
    }

    /// The first view above `after` that I lead, or that I do not.
    pub fn view_led_by_me(&self, after: u64, is_mine: bool) -> u64 {
        (after + 1..)
            .find(|view| (self.leader(*view) == self.me) == is_mine)
            .expect("round robin")
    }

    pub fn others(&self) -> Vec<usize> {
        (0..4).filter(|who| *who != self.me).collect()
    }

    // ---- what validators write

    pub fn genesis_qc(&self) -> QuorumCertificate {
        QuorumCertificate::genesis(self.hash())
    }

    pub fn block(&self, view: u64, height: u64, justify: &QuorumCertificate, data: &[u8]) -> Block {
        let data = Data::new(data);
        Block {
            header: BlockHeader {
                height: BlockHeight(height),
                epoch: Epoch(0),
                view: ViewNumber(view),
                justify: justify.clone(),
                data_hash: data.hash(),
                validator_set_updates: None,
            },
            data,
        }
    }

    /// A block of the epoch that its justify leads to.
    pub fn block_with(
        &self,
        view: u64,
        height: u64,
        justify: &QuorumCertificate,
        updates: Option<ValidatorSetUpdates>,
    ) -> Block {
        let data: &[u8] = if updates.is_some() { b"updates" } else { b"" };
        let mut block = self.block(view, height, justify, data);
        block.header.epoch = justify.rank().epoch;
        block.header.validator_set_updates = updates;
        block
    }

    pub fn statement(&self, block: &Block) -> VoteStatement {
        let phase = match block.header.validator_set_updates {
            Some(_) => Phase::Prepare,
            None => Phase::Generic,
        };
        VoteStatement {
            epoch: block.header.epoch,
            view_num: block.header.view,
            justify_view: block.header.justify.rank().view,
            block_hash: block.hash(&self.hash()),
            phase,
        }
    }

    /// What is voted for in `view` upon a nudge.
    pub fn nudged(&self, justify: &QuorumCertificate, view: u64, phase: Phase) -> VoteStatement {
        VoteStatement {
            epoch: justify.epoch,
            view_num: ViewNumber(view),
            justify_view: justify.rank().view,
            block_hash: justify.block_hash,
            phase,
        }
    }

    /// The QC of such a nudge, by the others.
    pub fn nudge_qc(
        &self,
        justify: &QuorumCertificate,
        view: u64,
        phase: Phase,
    ) -> QuorumCertificate {
        let who = self.others_in(justify.epoch.0);
        self.qc(self.nudged(justify, view, phase), &who)
    }

    /// The QCs of the three phases of a block, in the view of the block and the two after it.
    pub fn phases(&self, block: &Block) -> [QuorumCertificate; 3] {
        let view = block.header.view.0;
        let prepare = self.qc_of(block);
        let precommit = self.nudge_qc(&prepare, view + 1, Phase::Precommit);
        let commit = self.nudge_qc(&precommit, view + 2, Phase::Commit);
        [prepare, precommit, commit]
    }

    pub fn nudge(
        &self,
        justify: &QuorumCertificate,
        view: u64,
        phase: Phase,
        timeout_certificate: Option<TimeoutCertificate>,
    ) -> ProgressMessage {
        let leader = self.leader_in(justify.epoch.0, view);
        ProgressMessage::Nudge(Nudge {
            view_num: ViewNumber(view),
            justify: justify.clone(),
            vote: self.vote(leader, self.nudged(justify, view, phase)),
            timeout_certificate,
        })
    }

    pub fn vote(&self, who: usize, statement: VoteStatement) -> Vote {
        let digest = Statement::Vote(statement).digest(&self.hash());
        Vote {
            statement,
            voter: self.address(who),
            signature: self.keys[who].sign(&digest),
        }
    }

    pub fn qc(&self, statement: VoteStatement, who: &[usize]) -> QuorumCertificate {
        let set = &self.sets[statement.epoch.0 as usize];
        let mut signatures = vec![None; set.len()];
        for who in who {
            let slot = set.index_of(&self.address(*who)).expect("a validator");
            signatures[slot] = Some(self.vote(*who, statement).signature);
        }
        QuorumCertificate::new(statement, signatures)
    }

    /// The QC of a block by the others.
    pub fn qc_of(&self, block: &Block) -> QuorumCertificate {
        let others = self.others_in(block.header.epoch.0);
        self.qc(self.statement(block), &others)
    }

    pub fn timeout(
        &self,
        who: usize,
        view: u64,
        highest_qc: &QuorumCertificate,
        last_vote: Option<Vote>,
    ) -> TimeoutVote {
        let Rank {
            epoch,
            view: qc_view,
        } = highest_qc.rank();
        let view_num = ViewNumber(view);
        let statement = TimeoutStatement {
            epoch,
            view_num,
            qc_view,
        };
        let signature = self.keys[who].sign(&Statement::Timeout(statement).digest(&self.hash()));
        TimeoutVote {
            epoch,
            view_num,
            highest_qc: highest_qc.clone(),
            last_vote,
            validator: self.address(who),
            signature,
        }
    }

    pub fn tc(&self, view: u64, highest_qc: &QuorumCertificate) -> TimeoutCertificate {
        let epoch = highest_qc.rank().epoch;
        let set = &self.sets[epoch.0 as usize];
        let mut signatures = vec![None; set.len()];
        for who in self.others_in(epoch.0) {
            let slot = set.index_of(&self.address(who)).expect("a validator");
            let timeout = self.timeout(who, view, highest_qc, None);
            signatures[slot] = Some((highest_qc.rank().view, timeout.signature));
        }
        TimeoutCertificate {
            epoch,
            view_num: ViewNumber(view),
            highest_qc: highest_qc.clone(),
            signatures,
        }
    }

    pub fn proposal(&self, block: &Block, tc: Option<TimeoutCertificate>) -> ProgressMessage {
        let leader = self.leader_in(block.header.epoch.0, block.header.view.0);
        ProgressMessage::Propose(Propose {
            block: block.clone(),
            vote: self.vote(leader, self.statement(block)),
            timeout_certificate: tc,
        })
    }

    /// A chain of empty blocks, each justified by the QC of the one before, in these views.
    pub fn chain(&self, views: &[u64]) -> Vec<Block> {
        let mut justify = self.genesis_qc();
        let mut chain = Vec::new();
        for (index, view) in views.iter().enumerate() {
            let block = self.block(*view, index as u64 + 1, &justify, b"");
            justify = self.qc_of(&block);
            chain.push(block);
        }
        chain
    }

    /// What the replica asked for in `outcome`, or when it was opened.
    pub fn opening_request(&self, outcome: &Outcome) -> (To, SyncRequest) {
        let opening = self.opening.as_ref().expect("it was opened");
        let requests = [outcome.requests(), opening.requests()].concat();
        *requests.first().expect("it asked somebody")
    }

    pub fn fresh_opening(&self) -> Outcome {
        Outcome {
            writes: Vec::new(),
            effects: Vec::new(),
            dispatch: Dispatch::default(),
        }
    }

    // ---- what happens to the replica

    pub fn step(&mut self, input: Input) -> Outcome {
        let algorithm = self.algorithm.take().expect("between steps");
        let step = algorithm.step(self.now, input);
        self.finish(step)
    }

    fn finish(&mut self, mut step: hotstuff::algorithm::Step) -> Outcome {
        let effects = step.take_effects();
        let mut journal = Journal::default();
        let (algorithm, outbox) = step.persist(&mut journal).expect("the journal never fails");
        let me = &self.keys[self.me];
        let dispatch = outbox.sign(Some(me), &mut |_| None);
        self.algorithm = Some(algorithm);
        for event in &dispatch.events {
            if let Event::EpochStarted(record) = event {
                self.verifier
                    .learn(record.epoch, record.validator_set.clone());
            }
        }
        Outcome {
            writes: journal.0,
            effects,
            dispatch,
        }
    }

    /// Hands in a message as `from` would deliver it, and one's own votes that follow from it.
    pub fn receive(&mut self, from: usize, message: ProgressMessage) -> Outcome {
        let outcome = self.try_receive(from, message);
        outcome.expect("the verifier lets it through")
    }

    pub fn try_receive(
        &mut self,
        from: usize,
        message: ProgressMessage,
    ) -> Result<Outcome, Refusal> {
        let bytes = codec::encode(&message);
        let message = codec::decode(&bytes, bytes.len()).expect("canonical");
        let message = self.verifier.progress(message)?;
        let from = self.address(from);
        Ok(self.step(Input::Progress { from, message }))
    }

    /// The same for two messages that come while one step is open.
    pub fn receive_together(&mut self, from: usize, messages: [ProgressMessage; 2]) -> Outcome {
        let from = self.address(from);
        let [first, second] = messages.map(|message| {
            let message = self.verifier.progress(message).expect("it verifies");
            Input::Progress { from, message }
        });
        let algorithm = self.algorithm.take().expect("between steps");
        let step = algorithm.step(self.now, first).then(self.now, second);
        self.finish(step)
    }

    pub fn synced(&mut self, from: usize, response: SyncResponse) -> Outcome {
        self.try_synced(from, response).expect("it verifies")
    }

    pub fn try_synced(&mut self, from: usize, response: SyncResponse) -> Result<Outcome, Refusal> {
        let response = self.verifier.sync_response(response)?;
        let from = self.address(from);
        Ok(self.step(Input::Synced { from, response }))
    }

    pub fn verifier(&mut self) -> &mut Verifier {
        &mut self.verifier
    }

    /// A proposal from its leader.
    pub fn propose(&mut self, block: &Block, tc: Option<TimeoutCertificate>) -> Outcome {
        let leader = self.leader_in(block.header.epoch.0, block.header.view.0);
        self.receive(leader, self.proposal(block, tc))
    }

    /// A proposal from its leader, with the TC that it needs if views were lost before it.
    pub fn follow(&mut self, block: &Block) -> Outcome {
        let Block { header, .. } = block;
        let has_gap = header.justify.rank().view.next() != header.view;
        let tc = has_gap.then(|| self.tc(header.view.0 - 1, &header.justify));
        self.propose(block, tc)
    }

    pub fn advance(&mut self, certificate: Certificate) -> Outcome {
        let from = self.others()[0];
        self.receive(from, ProgressMessage::AdvanceView(certificate))
    }

    pub fn enter_by_tc(&mut self, view: u64, highest_qc: &QuorumCertificate) -> Outcome {
        self.advance(Certificate::Timeout(self.tc(view - 1, highest_qc)))
    }

    /// Lets the deadline come.
    pub fn expire(&mut self) -> Outcome {
        self.now = self.algorithm().deadline();
        self.step(Input::TimerExpired)
    }

    pub fn verdict(&mut self, block: &Block, response: ValidateBlockResponse) -> Outcome {
        let block = block.hash(&self.hash());
        self.step(Input::BlockValidated { block, response })
    }

    /// The app's answer to the question that `effects` holds.
    pub fn answer_propose(
        &mut self,
        effects: &[Effect],
        response: ProposeBlockResponse,
    ) -> Outcome {
        let (cur_view, prev_block) = effects
            .iter()
            .find_map(|effect| match effect {
                Effect::ProposeBlock {
                    cur_view,
                    prev_block,
                    ..
                } => Some((*cur_view, *prev_block)),
                Effect::ValidateBlock { .. } => None,
            })
            .expect("the app was asked for a block");
        self.step(Input::BlockProposed {
            cur_view,
            prev_block,
            response,
        })
    }
}

pub fn valid() -> ValidateBlockResponse {
    ValidateBlockResponse::Valid {
        state_updates: None,
        validator_set_updates: None,
    }
}

pub fn data(bytes: &[u8]) -> ProposeBlockResponse {
    ProposeBlockResponse::Block {
        data: bytes.to_vec(),
        state_updates: None,
        validator_set_updates: None,
    }
}

pub fn valid_with(updates: &ValidatorSetUpdates) -> ValidateBlockResponse {
    ValidateBlockResponse::Valid {
        state_updates: None,
        validator_set_updates: Some(updates.clone()),
    }
}
