//! Whether a message is what it claims to be: pure, and off Alice's thread.
//!
//! `verify` decides everything that needs only the message, the validator sets and the genesis:
//! signatures, quorums, slots, data hashes. What depends on the state of the replica (views, known
//! blocks) is the algorithm's. Each signature is checked once: [`SignatureCache`] remembers it by
//! the signer, the whole statement (its digest) and its exact bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::messages::{
    Certificate, Nudge, ProgressMessage, Propose, SyncResponse, TimeoutVote, Vote, Wake,
};
use crate::proof::{quorum_power, Unproven};
use crate::types::{
    BlockHeader, Epoch, GenesisHash, Phase, QuorumCertificate, Signature, Statement,
    StatementDigest, TimeoutCertificate, ValidatorAddress, ValidatorSet,
};

use super::EPOCHS_KEPT;

/// A message that [`verify`] has let through. Nothing else makes one, but one's own signer.
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(super) fn own(message: T) -> Self {
        Verified(message)
    }

    /// The message.
    pub fn message(&self) -> &T {
        &self.0
    }

    pub(super) fn into_message(self) -> T {
        self.0
    }
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It speaks of an epoch whose validators are not known here.
    UnknownEpoch,
    /// The signer is no validator of the epoch.
    NotAValidator,
    /// A signature does not verify: another chain, another statement, or a forgery.
    WrongSignature,
    /// The signatures are not a quorum.
    NoQuorum,
    /// The signature slots are not those of the validator set.
    WrongSlots,
    /// The parts of the message contradict each other.
    Inconsistent,
    /// The data is not what the header's hash names.
    WrongData,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::UnknownEpoch => "of an unknown epoch",
            Refusal::NotAValidator => "signed by no validator",
            Refusal::WrongSignature => "wrong signature",
            Refusal::NoQuorum => "no quorum",
            Refusal::WrongSlots => "wrong number of signature slots",
            Refusal::Inconsistent => "contradicts itself",
            Refusal::WrongData => "data does not match its hash",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Unproven> for Refusal {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::OtherEpoch => Refusal::UnknownEpoch,
            Unproven::WrongSlots => Refusal::WrongSlots,
            Unproven::NoQuorum => Refusal::NoQuorum,
            Unproven::WrongSignature => Refusal::WrongSignature,
            Unproven::SaysOther(_) => Refusal::Inconsistent,
        }
    }
}

/// Whether `signature` is `signer`'s over `digest`. Ed25519, but in simulations.
pub type SignatureCheck = fn(&ValidatorAddress, &StatementDigest, &Signature) -> bool;

/// The check that every replica makes.
pub fn ed25519(signer: &ValidatorAddress, digest: &StatementDigest, signature: &Signature) -> bool {
    signature.verifies(signer, digest)
}

/// The digest first: it differs most, and so decides a comparison at once.
type CachedSignature = (StatementDigest, ValidatorAddress, Signature);

/// Signatures that have verified, bounded; the older half is forgotten when it is full.
#[derive(Debug, Default)]
pub struct SignatureCache {
    recent: BTreeSet<CachedSignature>,
    older: BTreeSet<CachedSignature>,
}

impl SignatureCache {
    /// Signatures in each half: 1 MiB or so together, more than a rotation of 100 validators.
    pub const HALF_MAX: usize = 4_096;

    fn contains(&mut self, signature: &CachedSignature) -> bool {
        self.recent.contains(signature) || self.older.contains(signature)
    }

    fn insert(&mut self, signature: CachedSignature) {
        if self.recent.len() >= Self::HALF_MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(signature);
    }
}

/// Verifies the messages of one chain.
pub struct Verifier {
    genesis: GenesisHash,
    check: SignatureCheck,
    validator_sets: BTreeMap<Epoch, ValidatorSet>,
    cache: SignatureCache,
}

impl Verifier {
    /// A verifier that knows no epoch yet.
    pub fn new(genesis: GenesisHash, check: SignatureCheck) -> Self {
        let (validator_sets, cache) = Default::default();
        Verifier {
            genesis,
            check,
            validator_sets,
            cache,
        }
    }

    /// Learns the validators of an epoch, and forgets those of all but the last [`EPOCHS_KEPT`].
    pub fn learn(&mut self, epoch: Epoch, validator_set: ValidatorSet) {
        self.validator_sets.insert(epoch, validator_set);
        while self.validator_sets.len() > EPOCHS_KEPT {
            self.validator_sets.pop_first();
        }
    }

    /// Whether the epoch's validators are known.
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.validator_sets.contains_key(&epoch)
    }

    /// Takes one's own vote for verified: its signature has just been made here.
    pub fn trust(&mut self, vote: &Vote) {
        let digest = vote.signed().digest(&self.genesis);
        self.cache.insert((digest, vote.voter, vote.signature));
    }

    /// Judges a progress message.
    ///
    /// # Errors
    /// The first [`Refusal`] met; nothing but verified signatures is kept of the message.
    pub fn progress(
        &mut self,
        message: ProgressMessage,
    ) -> Result<Verified<ProgressMessage>, Refusal> {
        match &message {
            ProgressMessage::Propose(propose) => self.propose(propose)?,
            ProgressMessage::Nudge(nudge) => self.nudge(nudge)?,
            ProgressMessage::Vote(vote) => self.vote(vote)?,
            ProgressMessage::TimeoutVote(timeout) => self.timeout_vote(timeout)?,
            ProgressMessage::AdvanceView(Certificate::Quorum(qc)) => self.qc(qc)?,
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => self.tc(tc)?,
            ProgressMessage::Wake(wake) => self.wake(wake)?,
        }
        Ok(Verified(message))
    }

    /// The end of an epoch that a message of the next one tells, when its own epoch is not known
    /// yet: the Commit QC that it carries, if that verifies.
    pub fn epoch_end(&mut self, message: &ProgressMessage) -> Option<Verified<ProgressMessage>> {
        let certificate = match message {
            ProgressMessage::Propose(propose) => &propose.block.header.justify,
            ProgressMessage::TimeoutVote(timeout) => &timeout.highest_qc,
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => &tc.highest_qc,
            _ => return None,
        };
        let is_end = certificate.phase == Phase::Commit && self.qc(certificate).is_ok();
        let message = ProgressMessage::AdvanceView(Certificate::Quorum(certificate.clone()));
        is_end.then_some(Verified(message))
    }

    /// Judges a sync response: its data hashes, the Commit QCs in it, and its tail, each by the set
    /// of its epoch. Links and heights are the algorithm's, which knows what it asked for.
    ///
    /// # Errors
    /// As for [`Verifier::progress`].
    pub fn sync_response(
        &mut self,
        response: SyncResponse,
    ) -> Result<Verified<SyncResponse>, Refusal> {
        let last_known = self.validator_sets.keys().next_back().copied();
        let judged = self.range(&response);
        // Sets that only this answer shows are forgotten with it: they are learned when the chain
        // gets there.
        self.validator_sets
            .retain(|epoch, _| Some(*epoch) <= last_known);
        judged.map(|()| Verified(response))
    }

    /// The tail proves a range within one epoch. Where it updates the validator set, the Commit QC
    /// under the next block proves that it did, and the rest is judged by the set that it made.
    fn range(&mut self, response: &SyncResponse) -> Result<(), Refusal> {
        let mut updating: Option<&BlockHeader> = None;
        for block in &response.blocks {
            if !block.data_matches() {
                return Err(Refusal::WrongData);
            }
            let header = &block.header;
            if updating.is_some() || header.justify.phase == Phase::Commit {
                self.commit_qc(updating, &header.justify)?;
            }
            updating = Some(header).filter(|header| header.validator_set_updates.is_some());
        }
        response.tail_qcs.iter().try_for_each(|qc| self.qc(qc))
    }

    /// Judges the certificate under a block, whose parent in the range is `updating` the set.
    fn commit_qc(
        &mut self,
        updating: Option<&BlockHeader>,
        qc: &QuorumCertificate,
    ) -> Result<(), Refusal> {
        if qc.phase != Phase::Commit {
            return Err(Refusal::Inconsistent);
        }
        self.qc(qc)?;
        let Some(header) = updating else {
            return Ok(()); // the block below is not in the range: its set is known, or nothing is
        };
        let names_it = qc.block_hash == header.hash(&self.genesis) && qc.epoch == header.epoch;
        let updates = header.validator_set_updates.iter().flatten();
        let updates: Vec<_> = updates.copied().collect();
        let set = self.validator_sets.get(&qc.epoch);
        let set = set.filter(|_| names_it).ok_or(Refusal::Inconsistent)?;
        let updated = set.updated(&updates);
        let updated = updated.map_err(|_| Refusal::Inconsistent)?;
        self.validator_sets.insert(qc.epoch.next(), updated);
        Ok(())
    }

    fn propose(&mut self, propose: &Propose) -> Result<(), Refusal> {
        let header = &propose.block.header;
        let statement = propose.vote.statement;
        // The vote is what makes the leader answer for the block: it must name this one.
        if statement.rank() != header.rank()
            || statement.justify_view != header.justify.rank().view
            || statement.block_hash != header.hash(&self.genesis)
        {
            return Err(Refusal::Inconsistent);
        }
        self.vote(&propose.vote)?;
        self.qc(&header.justify)?;
        propose
            .timeout_certificate
            .as_ref()
            .map_or(Ok(()), |tc| self.tc(tc))?;
        if propose.block.data_matches() {
            Ok(())
        } else {
            Err(Refusal::WrongData)
        }
    }

    fn nudge(&mut self, nudge: &Nudge) -> Result<(), Refusal> {
        let statement = nudge.vote.statement;
        if statement.view_num != nudge.view_num
            || statement.epoch != nudge.justify.epoch
            || statement.justify_view != nudge.justify.rank().view
            || statement.block_hash != nudge.justify.block_hash
        {
            return Err(Refusal::Inconsistent);
        }
        self.vote(&nudge.vote)?;
        self.qc(&nudge.justify)?;
        nudge
            .timeout_certificate
            .as_ref()
            .map_or(Ok(()), |tc| self.tc(tc))
    }

    fn vote(&mut self, vote: &Vote) -> Result<(), Refusal> {
        self.signed(&vote.voter, &vote.signed(), &vote.signature)
    }

    fn timeout_vote(&mut self, timeout: &TimeoutVote) -> Result<(), Refusal> {
        let qc_rank = timeout.highest_qc.rank();
        if qc_rank.epoch != timeout.epoch || qc_rank.view >= timeout.view_num {
            return Err(Refusal::Inconsistent);
        }
        if let Some(vote) = &timeout.last_vote {
            if vote.voter != timeout.validator || vote.statement.epoch != timeout.epoch {
                return Err(Refusal::Inconsistent);
            }
            self.vote(vote)?;
        }
        let statement = Statement::Timeout(timeout.statement());
        self.signed(&timeout.validator, &statement, &timeout.signature)?;
        self.qc(&timeout.highest_qc)
    }

    fn wake(&mut self, wake: &Wake) -> Result<(), Refusal> {
        self.signed(
            &wake.validator,
            &Statement::Wake(wake.statement()),
            &wake.signature,
        )
    }

    /// A QC is valid iff its slots match the set of its epoch, every signature present verifies,
    /// and their power is a quorum. The genesis QC is valid by equality only.
    fn qc(&mut self, qc: &QuorumCertificate) -> Result<(), Refusal> {
        if qc.view_num.0 == 0 {
            let same = *qc == QuorumCertificate::genesis(self.genesis);
            return if same {
                Ok(())
            } else {
                Err(Refusal::Inconsistent)
            };
        }
        let statement = Statement::Vote(qc.statement());
        let signatures: Vec<_> = qc
            .signatures
            .iter()
            .map(|s| s.map(|s| (statement, s)))
            .collect();
        self.quorum(qc.epoch, &signatures)
    }

    /// A TC is valid iff, besides its signatures, every `qc_view` is below its view, and it carries
    /// a valid QC of just the greatest: else one liar's inflated `qc_view` would stop the chain.
    fn tc(&mut self, tc: &TimeoutCertificate) -> Result<(), Refusal> {
        let greatest = tc
            .signatures
            .iter()
            .flatten()
            .map(|(qc_view, _)| *qc_view)
            .max();
        let qc_rank = tc.highest_qc.rank();
        if qc_rank.epoch != tc.epoch
            || greatest != Some(qc_rank.view)
            || qc_rank.view >= tc.view_num
        {
            return Err(Refusal::Inconsistent);
        }
        let signed = |(qc_view, signature)| (Statement::Timeout(tc.statement(qc_view)), signature);
        let signatures: Vec<_> = tc.signatures.iter().map(|slot| slot.map(signed)).collect();
        self.quorum(tc.epoch, &signatures)?;
        self.qc(&tc.highest_qc)
    }

    fn quorum(
        &mut self,
        epoch: Epoch,
        signatures: &[Option<(Statement, Signature)>],
    ) -> Result<(), Refusal> {
        let set = self
            .validator_sets
            .get(&epoch)
            .ok_or(Refusal::UnknownEpoch)?;
        let (cache, check) = (&mut self.cache, self.check);
        let verifies = |signer: &ValidatorAddress, digest: &StatementDigest, signature: &_| {
            cached(cache, check, (*digest, *signer, *signature))
        };
        quorum_power(set, &self.genesis, signatures, verifies)?;
        Ok(())
    }

    fn signed(
        &mut self,
        signer: &ValidatorAddress,
        statement: &Statement,
        signature: &Signature,
    ) -> Result<(), Refusal> {
        let set = self
            .validator_sets
            .get(&statement.epoch())
            .ok_or(Refusal::UnknownEpoch)?;
        if !set.contains(signer) {
            return Err(Refusal::NotAValidator);
        }
        let key = (statement.digest(&self.genesis), *signer, *signature);
        if cached(&mut self.cache, self.check, key) {
            Ok(())
        } else {
            Err(Refusal::WrongSignature)
        }
    }
}

fn cached(cache: &mut SignatureCache, check: SignatureCheck, key: CachedSignature) -> bool {
    if cache.contains(&key) {
        return true;
    }
    let (digest, signer, signature) = &key;
    let valid = check(signer, digest, signature);
    if valid {
        cache.insert(key);
    }
    valid
}
