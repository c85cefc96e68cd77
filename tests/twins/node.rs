//! One instance of the real core, with a simulated disk and an app that answers at once: an input
//! goes in, and what is written, said and reported comes out. It has no clock and no network.

use std::sync::Arc;
use std::time::Duration;

use hotstuff::algorithm::verify::{Refusal, SignatureCheck, Verifier};
use hotstuff::algorithm::{
    Algorithm, Config, Durable, Effect, EpochRecord, Event, Input, Limits, Step, SyncConfig, To,
    VoteTo, Write,
};
use hotstuff::app::{ProposeBlockResponse, ValidateBlockResponse};
use hotstuff::messages::{Message, ProgressMessage, SyncMessage, SyncRequest, SyncResponse};
use hotstuff::pacemaker::Pacemaker;
use hotstuff::types::limits::BLOCKS_PER_RESPONSE_MAX;
use hotstuff::types::{
    ChainId, ChainParameters, CommitRule, Epoch, Genesis, GenesisHash, Time, Validator,
    ValidatorAddress, ValidatorSet, ValidatorSetUpdates, ViewNumber,
};

use crate::disk::SimDisk;
use crate::keys::{address, SimSigner};

/// The validators 0 to `count` - 1.
pub fn equal_validators(count: usize) -> ValidatorSet {
    let members = (0..count).map(|index| Validator {
        address: address(index),
        power: 1,
    });
    ValidatorSet::new(members).expect("a few equal validators")
}

/// What all instances of a chain have in common.
#[derive(Clone)]
pub struct Chain {
    pub genesis: GenesisHash,
    pub validator_set: ValidatorSet,
    parameters: ChainParameters,
    pacemaker: Arc<dyn Pacemaker>,
    vote_to: VoteTo,
    /// The wait of a view without back-off; what sync waits for is counted in it.
    base: Duration,
    check: SignatureCheck,
    change: Option<Change>,
}

/// A change of the validator set, which whoever leads from this view of epoch 0 on proposes.
#[derive(Clone)]
pub struct Change {
    pub from_view: u64,
    pub updates: ValidatorSetUpdates,
}

impl Chain {
    /// Of so many [`equal_validators`].
    pub fn new(
        validators: usize,
        commit_rule: CommitRule,
        vote_to: VoteTo,
        pacemaker: Arc<dyn Pacemaker>,
        check: SignatureCheck,
    ) -> Chain {
        let validator_set = equal_validators(validators);
        let parameters = ChainParameters {
            commit_rule,
            max_idle_ms: 0,
            block_data_bytes_max: 4_096,
            ..ChainParameters::default()
        };
        let genesis = Genesis {
            chain_id: ChainId(validators as u64),
            validator_set: validator_set.clone(),
            app_state: Default::default(),
            parameters,
        };
        let first = ViewNumber(1);
        let before = first.previous();
        Chain {
            genesis: genesis.hash(),
            base: pacemaker.wait_timeout(&validator_set, before, before, first),
            validator_set,
            parameters,
            pacemaker,
            vote_to,
            check,
            change: None,
        }
    }

    pub fn with_change(self, change: Option<Change>) -> Chain {
        Chain { change, ..self }
    }

    fn config(&self, key: usize) -> Config {
        Config {
            me: Some(address(key)),
            genesis: self.genesis,
            parameters: self.parameters,
            pacemaker: self.pacemaker.clone(),
            vote_to: self.vote_to,
            sync: SyncConfig {
                request_limit: 16,
                response_timeout: 2 * self.base,
                interval: 10 * self.base,
            },
            limits: Limits::default(),
        }
    }
}

/// One step that is on disk: what it wrote, and what it says.
pub struct Spoken {
    pub writes: Vec<Write>,
    pub events: Vec<Event>,
    /// One's own votes and time-outs; they have been fed back already.
    pub own: Vec<Message>,
    pub messages: Vec<(To, Message)>,
}

/// An instance. Two of them may have one key: those are twins.
pub struct Node {
    /// Which instance it is: what its app makes differs from what every other app makes.
    pub index: usize,
    /// Whose key it has.
    pub key: usize,
    algorithm: Option<Algorithm>,
    pub disk: SimDisk,
    verifier: Verifier,
    change: Option<Change>,
}

impl Node {
    pub fn start(chain: &Chain, index: usize, key: usize, now: Time) -> (Node, Vec<Spoken>) {
        let mut node = Node {
            index,
            key,
            algorithm: None,
            disk: SimDisk::new(chain.genesis, chain.validator_set.clone()),
            verifier: Verifier::new(chain.genesis, chain.check),
            change: chain.change.clone(),
        };
        let spoken = node.restart(chain, now);
        (node, spoken)
    }

    /// Forgets all that is not on disk.
    pub fn restart(&mut self, chain: &Chain, now: Time) -> Vec<Spoken> {
        self.restart_from(chain, self.disk.durable(), now)
    }

    /// The same, from what a defect has made of the disk.
    pub fn restart_from(&mut self, chain: &Chain, durable: Durable, now: Time) -> Vec<Spoken> {
        for record in &durable.epochs {
            self.learn(record);
        }
        let step = Algorithm::recover(chain.config(self.key), durable, now);
        self.finish(now, step)
    }

    fn learn(&mut self, record: &EpochRecord) {
        self.verifier
            .learn(record.epoch, record.validator_set.clone());
    }

    pub fn algorithm(&self) -> &Algorithm {
        self.algorithm.as_ref().expect("it is always given back")
    }

    /// Takes in `input`, and then all that it makes the instance say to itself.
    pub fn take(&mut self, now: Time, input: Input) -> Vec<Spoken> {
        let algorithm = self.algorithm.take().expect("it is always given back");
        self.finish(now, algorithm.step(now, input))
    }

    /// Takes in a message of the validator `from`.
    ///
    /// # Errors
    /// Why the verifier refuses it. A refused answer to a sync request is an input all the same.
    pub fn hear(
        &mut self,
        now: Time,
        from: usize,
        message: Message,
    ) -> Result<Vec<Spoken>, Refusal> {
        let from = address(from);
        let input = match message {
            Message::Progress(message) if !self.verifier.knows(message.epoch()) => {
                return Ok(self.hear_of_later_epoch(now, from, &message));
            }
            Message::Progress(message) => Input::Progress {
                from,
                message: self.verifier.progress(message)?,
            },
            Message::Sync(SyncMessage::Request(request)) => {
                let response = Message::Sync(SyncMessage::Response(self.serve(&request)));
                return Ok(vec![Spoken {
                    writes: vec![],
                    events: vec![],
                    own: vec![],
                    messages: vec![(To::Peer(from), response)],
                }]);
            }
            Message::Sync(SyncMessage::Response(response)) => {
                match self.verifier.sync_response(response) {
                    Ok(response) => Input::Synced { from, response },
                    Err(_) => Input::SyncFailed { peer: from },
                }
            }
        };
        Ok(self.take(now, input))
    }

    /// A message that nobody here can verify: what ends this epoch may be in it; the rest is lost.
    fn hear_of_later_epoch(
        &mut self,
        now: Time,
        from: ValidatorAddress,
        message: &ProgressMessage,
    ) -> Vec<Spoken> {
        if message.epoch() <= self.algorithm().view().epoch {
            return vec![]; // long past
        }
        let end = self.verifier.epoch_end(message);
        let mut spoken = end.map_or(vec![], |message| {
            self.take(now, Input::Progress { from, message })
        });
        spoken.extend(self.take(now, Input::LaterEpoch { peer: from }));
        spoken
    }

    fn serve(&self, request: &SyncRequest) -> SyncResponse {
        let after = request.highest_committed_block;
        let limit = (request.limit as usize).min(BLOCKS_PER_RESPONSE_MAX);
        let answer = self
            .disk
            .blocks_after(&after, request.wanted.as_ref(), limit);
        let (blocks, tail_qcs) = answer.unwrap_or((vec![], vec![self.disk.highest_qc.clone()]));
        SyncResponse {
            highest_committed_block: after,
            blocks,
            tail_qcs,
        }
    }

    fn finish(&mut self, now: Time, step: Step) -> Vec<Spoken> {
        let mut spoken = Vec::new();
        let mut inputs = self.persist(now, step, &mut spoken);
        while let Some(input) = inputs.pop_front() {
            let algorithm = self.algorithm.take().expect("it was just given back");
            inputs.extend(self.persist(now, algorithm.step(now, input), &mut spoken));
        }
        spoken
    }

    /// Answers what the step asks the app, writes it, signs it; gives what is to be fed back.
    fn persist(
        &mut self,
        now: Time,
        mut step: Step,
        spoken: &mut Vec<Spoken>,
    ) -> std::collections::VecDeque<Input> {
        let mut effects = step.take_effects();
        while !effects.is_empty() {
            for effect in effects {
                let epoch = step.algorithm().view().epoch;
                step = step.then(now, self.answer(epoch, effect));
            }
            effects = step.take_effects();
        }
        let (algorithm, outbox) = step.persist(&mut self.disk).expect("this disk never fails");
        self.algorithm = Some(algorithm);
        let signer = SimSigner {
            address: address(self.key),
            refuses: false,
        };
        let disk = &self.disk;
        let dispatch = outbox.sign(Some(&signer), &mut |hash| disk.block(hash).cloned());
        for event in &dispatch.events {
            if let Event::EpochStarted(record) = event {
                self.learn(record);
            }
        }
        let own = dispatch.inputs.iter().filter_map(|input| match input {
            Input::Progress { message, .. } => Some(Message::Progress(message.message().clone())),
            _ => None,
        });
        spoken.push(Spoken {
            own: own.collect(),
            writes: self.disk.take_journal(),
            events: dispatch.events,
            messages: dispatch.messages,
        });
        dispatch.inputs.into()
    }

    /// The app: every block is good, no two instances make the same one, and from some view of
    /// epoch 0 on each changes the validator set.
    fn answer(&self, epoch: Epoch, effect: Effect) -> Input {
        let updates = |changes: bool| {
            let change = self.change.as_ref().filter(|_| changes);
            change.map(|change| change.updates.clone())
        };
        match effect {
            Effect::ProposeBlock {
                cur_view,
                prev_block,
                ..
            } => {
                let from_view = self.change.as_ref().map_or(u64::MAX, |it| it.from_view);
                let changes = epoch == Epoch(0) && cur_view.0 >= from_view;
                let made_by = [u8::from(changes), self.index as u8];
                Input::BlockProposed {
                    cur_view,
                    prev_block,
                    response: ProposeBlockResponse::Block {
                        data: [&made_by[..], &cur_view.0.to_le_bytes()].concat(),
                        state_updates: None,
                        validator_set_updates: updates(changes),
                    },
                }
            }
            Effect::ValidateBlock { hash, block, .. } => Input::BlockValidated {
                block: hash,
                response: ValidateBlockResponse::Valid {
                    state_updates: None,
                    validator_set_updates: updates(block.data.first() == Some(&1)),
                },
            },
        }
    }
}
