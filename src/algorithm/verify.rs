//! Whether a message is what it claims to be: pure, and off Alice's thread.
//!
//! `verify` decides everything that needs only the message, the validator sets and the genesis:
//! signatures, quorums, slots, data hashes. What depends on the state of the replica (views, known
//! blocks) is the algorithm's. Each signature is checked once: [`SignatureCache`] remembers it by
//! the signer, the whole statement (its digest) and its exact bytes. Those of a certificate are
//! checked together, and the certificate is remembered as well.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::messages::{
    Certificate, Nudge, ProgressMessage, Propose, SyncResponse, TimeoutVote, Vote, Wake,
};
use crate::proof::{quorum_claims, Unproven};
use crate::types::crypto::{all_verify, SignedDigest};
use crate::types::{
    BlockHeader, Epoch, GenesisHash, Phase, QuorumCertificate, Signature, Statement,
    TimeoutCertificate, ValidatorSet,
};

use super::EPOCHS_KEPT;

/// A message that [`Verifier`] has let through. Nothing else makes one, but one's own signer.
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

/// Whether all of these claims are true. Ed25519, but in simulations.
pub type SignatureCheck = fn(&[SignedDigest]) -> bool;

/// The check that every replica makes.
pub fn ed25519(claims: &[SignedDigest]) -> bool {
    all_verify(claims)
}

/// Signatures that have verified, bounded; the older half is forgotten when it is full.
#[derive(Debug, Default)]
pub struct SignatureCache {
    recent: BTreeSet<SignedDigest>,
    older: BTreeSet<SignedDigest>,
}

impl SignatureCache {
    /// Signatures in each half: 1 MiB or so together, more than a rotation of 100 validators.
    pub const HALF_MAX: usize = 4_096;

    fn contains(&self, signature: &SignedDigest) -> bool {
        self.recent.contains(signature) || self.older.contains(signature)
    }

    fn insert(&mut self, signature: SignedDigest) {
        if self.recent.len() >= Self::HALF_MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(signature);
    }
}

/// Certificates that a [`Verifier`] remembers: of 1,024 validators, 1 MiB.
pub const CERTIFICATES_MAX: usize = 16;

/// Verifies the messages of one chain.
pub struct Verifier {
    genesis: GenesisHash,
    check: SignatureCheck,
    validator_sets: BTreeMap<Epoch, ValidatorSet>,
    cache: SignatureCache,
    /// Those that have verified, the latest first. The highest QC comes again with the next
    /// proposal, with the TC of each view that fails, and with every validator's time-out.
    certificates: VecDeque<Certificate>,
}

/// What a message claims and nobody has checked yet: gathered while it is read, checked at once.
#[derive(Default)]
struct Claims {
    signatures: Vec<SignedDigest>,
    /// Those that stand if the signatures do.
    certificates: Vec<Certificate>,
}

impl Verifier {
    /// A verifier that knows no epoch yet.
    pub fn new(genesis: GenesisHash, check: SignatureCheck) -> Self {
        let (validator_sets, cache, certificates) = Default::default();
        Verifier {
            genesis,
            check,
            validator_sets,
            cache,
            certificates,
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
        self.cache.insert(self.vote_claim(vote));
    }

    /// Checks the signatures of many votes in one go, so that [`Verifier::progress`] has nothing
    /// left to check. If one is wrong nothing is remembered: `progress` says which.
    pub fn check_together(&mut self, votes: &[Vote]) {
        let mut claims = Claims::default();
        for vote in votes {
            let _ = self.vote(vote, &mut claims); // of no validator: refused when its turn comes
        }
        let _ = self.settle(claims);
    }

    /// Judges a progress message.
    ///
    /// # Errors
    /// The first [`Refusal`] met; nothing but verified signatures is kept of the message.
    pub fn progress(
        &mut self,
        message: ProgressMessage,
    ) -> Result<Verified<ProgressMessage>, Refusal> {
        let mut claims = Claims::default();
        match &message {
            ProgressMessage::Propose(propose) => self.propose(propose, &mut claims)?,
            ProgressMessage::Nudge(nudge) => self.nudge(nudge, &mut claims)?,
            ProgressMessage::Vote(vote) => self.vote(vote, &mut claims)?,
            ProgressMessage::TimeoutVote(timeout) => self.timeout_vote(timeout, &mut claims)?,
            ProgressMessage::AdvanceView(Certificate::Quorum(qc)) => self.qc(qc, &mut claims)?,
            ProgressMessage::AdvanceView(Certificate::Timeout(tc)) => self.tc(tc, &mut claims)?,
            ProgressMessage::Wake(wake) => self.wake(wake, &mut claims)?,
        }
        self.settle(claims)?;
        match &message {
            ProgressMessage::Propose(propose) if !propose.block.data_matches() => {
                Err(Refusal::WrongData)
            }
            _ => Ok(Verified(message)),
        }
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
        let is_end = certificate.phase == Phase::Commit && self.certified(certificate).is_ok();
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
        mut response: SyncResponse,
    ) -> Result<Verified<SyncResponse>, Refusal> {
        if response.blocks.is_empty() {
            // It says where its sender is, which is no lie if nobody here knows that epoch.
            let sets = &self.validator_sets;
            let is_known = |qc: &QuorumCertificate| sets.contains_key(&qc.epoch);
            response.tail_qcs.retain(is_known);
        }
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
        let mut tail = response.tail_qcs.iter();
        tail.try_for_each(|qc| self.certified(qc))
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
        self.certified(qc)?;
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

    /// Judges a QC that stands alone.
    fn certified(&mut self, qc: &QuorumCertificate) -> Result<(), Refusal> {
        let mut claims = Claims::default();
        self.qc(qc, &mut claims)?;
        self.settle(claims)
    }

    fn propose(&self, propose: &Propose, claims: &mut Claims) -> Result<(), Refusal> {
        let header = &propose.block.header;
        let statement = propose.vote.statement;
        // The vote is what makes the leader answer for the block: it must name this one.
        if statement.rank() != header.rank()
            || statement.justify_view != header.justify.rank().view
            || statement.block_hash != header.hash(&self.genesis)
        {
            return Err(Refusal::Inconsistent);
        }
        self.vote(&propose.vote, claims)?;
        self.qc(&header.justify, claims)?;
        propose
            .timeout_certificate
            .as_ref()
            .map_or(Ok(()), |tc| self.tc(tc, claims))
    }

    fn nudge(&self, nudge: &Nudge, claims: &mut Claims) -> Result<(), Refusal> {
        let statement = nudge.vote.statement;
        if statement.view_num != nudge.view_num
            || statement.epoch != nudge.justify.epoch
            || statement.justify_view != nudge.justify.rank().view
            || statement.block_hash != nudge.justify.block_hash
        {
            return Err(Refusal::Inconsistent);
        }
        self.vote(&nudge.vote, claims)?;
        self.qc(&nudge.justify, claims)?;
        nudge
            .timeout_certificate
            .as_ref()
            .map_or(Ok(()), |tc| self.tc(tc, claims))
    }

    fn vote(&self, vote: &Vote, claims: &mut Claims) -> Result<(), Refusal> {
        self.signed(vote.statement.epoch, self.vote_claim(vote), claims)
    }

    fn vote_claim(&self, vote: &Vote) -> SignedDigest {
        SignedDigest {
            signature: vote.signature,
            signer: vote.voter,
            digest: vote.signed().digest(&self.genesis),
        }
    }

    fn timeout_vote(&self, timeout: &TimeoutVote, claims: &mut Claims) -> Result<(), Refusal> {
        let qc_rank = timeout.highest_qc.rank();
        if qc_rank.epoch != timeout.epoch || qc_rank.view >= timeout.view_num {
            return Err(Refusal::Inconsistent);
        }
        if let Some(vote) = &timeout.last_vote {
            if vote.voter != timeout.validator || vote.statement.epoch != timeout.epoch {
                return Err(Refusal::Inconsistent);
            }
            self.vote(vote, claims)?;
        }
        let claim = SignedDigest {
            signature: timeout.signature,
            signer: timeout.validator,
            digest: Statement::Timeout(timeout.statement()).digest(&self.genesis),
        };
        self.signed(timeout.epoch, claim, claims)?;
        self.qc(&timeout.highest_qc, claims)
    }

    fn wake(&self, wake: &Wake, claims: &mut Claims) -> Result<(), Refusal> {
        let claim = SignedDigest {
            signature: wake.signature,
            signer: wake.validator,
            digest: Statement::Wake(wake.statement()).digest(&self.genesis),
        };
        self.signed(wake.epoch, claim, claims)
    }

    /// A QC is valid iff its slots match the set of its epoch, every signature present verifies,
    /// and their power is a quorum. The genesis QC is valid by equality only.
    fn qc(&self, qc: &QuorumCertificate, claims: &mut Claims) -> Result<(), Refusal> {
        if qc.view_num.0 == 0 {
            let same = *qc == QuorumCertificate::genesis(self.genesis);
            return if same {
                Ok(())
            } else {
                Err(Refusal::Inconsistent)
            };
        }
        let set = self.validators(qc.epoch)?;
        let mut known = self.certificates.iter().chain(&claims.certificates);
        if known.any(|known| matches!(known, Certificate::Quorum(known) if known == qc)) {
            return Ok(());
        }
        let statement = Statement::Vote(qc.statement());
        let signed = |slot: &Option<Signature>| slot.map(|signature| (statement, signature));
        let signatures: Vec<_> = qc.signatures.iter().map(signed).collect();
        self.quorum(set, &signatures, claims)?;
        claims.certificates.push(Certificate::Quorum(qc.clone()));
        Ok(())
    }

    /// A TC is valid iff, besides its signatures, every `qc_view` is below its view, and it carries
    /// a valid QC of just the greatest: else one liar's inflated `qc_view` would stop the chain.
    fn tc(&self, tc: &TimeoutCertificate, claims: &mut Claims) -> Result<(), Refusal> {
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
        let set = self.validators(tc.epoch)?;
        let mut known = self.certificates.iter();
        if known.any(|known| matches!(known, Certificate::Timeout(known) if known == tc)) {
            return Ok(());
        }
        let signed = |(qc_view, signature)| (Statement::Timeout(tc.statement(qc_view)), signature);
        let signatures: Vec<_> = tc.signatures.iter().map(|slot| slot.map(signed)).collect();
        self.quorum(set, &signatures, claims)?;
        claims.certificates.push(Certificate::Timeout(tc.clone()));
        self.qc(&tc.highest_qc, claims)
    }

    fn validators(&self, epoch: Epoch) -> Result<&ValidatorSet, Refusal> {
        let set = self.validator_sets.get(&epoch);
        set.ok_or(Refusal::UnknownEpoch)
    }

    /// One slot for each validator of the set.
    fn quorum(
        &self,
        set: &ValidatorSet,
        signatures: &[Option<(Statement, Signature)>],
        claims: &mut Claims,
    ) -> Result<(), Refusal> {
        let (_, signed) = quorum_claims(set, &self.genesis, signatures)?;
        for claim in signed {
            self.claim(claim, claims);
        }
        Ok(())
    }

    fn signed(
        &self,
        epoch: Epoch,
        claim: SignedDigest,
        claims: &mut Claims,
    ) -> Result<(), Refusal> {
        if !self.validators(epoch)?.contains(&claim.signer) {
            return Err(Refusal::NotAValidator);
        }
        self.claim(claim, claims);
        Ok(())
    }

    fn claim(&self, claim: SignedDigest, claims: &mut Claims) {
        if !self.cache.contains(&claim) {
            claims.signatures.push(claim);
        }
    }

    /// Checks all that a message claims, and remembers it. Who made a wrong signature is not asked:
    /// only the sender of the message answers for it.
    fn settle(&mut self, claims: Claims) -> Result<(), Refusal> {
        if !claims.signatures.is_empty() && !(self.check)(&claims.signatures) {
            return Err(Refusal::WrongSignature);
        }
        for signature in claims.signatures {
            self.cache.insert(signature);
        }
        for certificate in claims.certificates {
            self.certificates.truncate(CERTIFICATES_MAX - 1);
            self.certificates.push_front(certificate);
        }
        Ok(())
    }
}
