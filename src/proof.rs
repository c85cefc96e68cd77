//! Proofs (floor 1): what shows that a block is committed, and who validates after it. Whoever
//! knows the genesis hash and one validator set believes nothing else, and needs neither chain nor
//! replica.
//!
//! ```text
//!   CommitProof   block <- .. <- head <- last, and a QC of last's own view: head and last were
//!                 certified in consecutive views of one epoch; or block <- .. <- last, and a
//!                 Commit QC for last, which updates the validators
//!   EpochProof    the header that updates the validators, and its Commit QC: the next set
//! ```
//!
//! The first form needs no commit rule: two certificates in consecutive views make a block final
//! under either (see "Why it does not fork" in the algorithm's header); a replica of a `ThreeChain`
//! commits it a view later. Only the last certificate's signatures are checked: its voters, of whom
//! more than half of the quorum are honest, have checked what the header below them carries, and
//! the hashes cover it. All headers are of one epoch, since each epoch ends with a Commit QC; so
//! one validator set judges a proof, and [`Trust::advance`] leads to the next.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::crypto::{all_verify, SignedDigest};
use crate::types::limits::{
    COMMIT_PROOF_BYTES_MAX, COMMIT_PROOF_HEADERS_MAX, EPOCH_PROOF_BYTES_MAX,
};
use crate::types::{
    codec, BlockHash, BlockHeader, Epoch, GenesisHash, Phase, QuorumCertificate, Signature,
    Statement, StatementDigest, ValidatorSet,
};

/// Shows that the block of its first header is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitProof {
    /// From the block on, each after its parent.
    #[serde(deserialize_with = "codec::bounded::<_, _, COMMIT_PROOF_HEADERS_MAX>")]
    pub headers: Vec<BlockHeader>,
    /// Certifies the last of them.
    pub certificate: QuorumCertificate,
}

/// Shows who validates in the epoch after the header's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochProof {
    /// Of the block that updates the validators.
    pub header: BlockHeader,
    pub commit_qc: QuorumCertificate,
}

/// Why something is not proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It is for the validators of another epoch to prove.
    OtherEpoch,
    /// The signature slots are not those of the validator set.
    WrongSlots,
    /// The signatures are not a quorum.
    NoQuorum,
    /// A signature does not verify: another chain, another statement, or a forgery.
    WrongSignature,
    /// What is signed says something else.
    SaysOther(&'static str),
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unproven::OtherEpoch => "it is for the validators of another epoch to prove",
            Unproven::WrongSlots => "its signature slots are not those of the validator set",
            Unproven::NoQuorum => "its signatures are not a quorum",
            Unproven::WrongSignature => "a signature does not verify",
            Unproven::SaysOther(what) => what,
        })
    }
}

impl std::error::Error for Unproven {}

/// Whom a verifier believes: a quorum of the validators of one epoch of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    pub genesis: GenesisHash,
    pub epoch: Epoch,
    pub validator_set: ValidatorSet,
}

impl Trust {
    /// A certificate of this epoch: the power that has signed it. The genesis's certificate, which
    /// nobody has signed, has none.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn verify_qc(&self, qc: &QuorumCertificate) -> Result<u64, Unproven> {
        if qc.epoch != self.epoch {
            return Err(Unproven::OtherEpoch);
        }
        if qc.view_num.0 == 0 {
            let genesis = QuorumCertificate::genesis(self.genesis);
            return match *qc == genesis {
                true => Ok(0),
                false => Err(Unproven::SaysOther("view 0 has the genesis's QC only")),
            };
        }
        let statement = Statement::Vote(qc.statement());
        let signed = |slot: &Option<Signature>| slot.map(|signature| (statement, signature));
        let signatures: Vec<_> = qc.signatures.iter().map(signed).collect();
        let (power, claims) = quorum_claims(&self.validator_set, &self.genesis, &signatures)?;
        if all_verify(&claims) {
            Ok(power)
        } else {
            Err(Unproven::WrongSignature)
        }
    }

    /// That `block` is committed, and with it all blocks below: the power behind the certificate.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn verify_commit(&self, block: &BlockHash, proof: &CommitProof) -> Result<u64, Unproven> {
        let headers = &proof.headers;
        if headers.iter().any(|header| header.epoch != self.epoch) {
            return Err(Unproven::OtherEpoch);
        }
        let mut hashes = headers.iter().map(|header| header.hash(&self.genesis));
        if hashes.next() != Some(*block) {
            return Err(Unproven::SaysOther("its first header is another block's"));
        }
        let mut last = *block;
        for (header, hash) in headers[1..].iter().zip(hashes) {
            if header.parent() != last {
                return Err(Unproven::SaysOther("its headers do not follow each other"));
            }
            last = hash;
        }
        if proof.certificate.block_hash != last {
            return Err(Unproven::SaysOther("its certificate is another block's"));
        }
        if !is_final(headers, &proof.certificate) {
            return Err(Unproven::SaysOther("its certificates make no block final"));
        }
        self.verify_qc(&proof.certificate)
    }

    /// Who is to be believed in the next epoch.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn advance(&self, proof: &EpochProof) -> Result<Trust, Unproven> {
        if proof.commit_qc.phase != Phase::Commit {
            return Err(Unproven::SaysOther("its certificate ends no epoch"));
        }
        let commit = CommitProof {
            headers: vec![proof.header.clone()],
            certificate: proof.commit_qc.clone(),
        };
        self.verify_commit(&proof.header.hash(&self.genesis), &commit)?;
        let updates = proof.header.validator_set_updates.as_deref();
        let set = updates.map(|updates| self.validator_set.updated(updates));
        let no_set = Unproven::SaysOther("its updates make no validator set");
        Ok(Trust {
            genesis: self.genesis,
            epoch: self.epoch.next(),
            validator_set: set.and_then(Result::ok).ok_or(no_set)?,
        })
    }
}

/// Whether `certificate`, which certifies the last of `headers`, makes the first of them final.
fn is_final(headers: &[BlockHeader], certificate: &QuorumCertificate) -> bool {
    match (headers, certificate.phase) {
        ([.., last], Phase::Commit) => {
            certificate.epoch == last.epoch && last.validator_set_updates.is_some()
        }
        ([.., head, last], _) => is_two_chain(head, last) && certificate.rank() == last.rank(),
        _ => false,
    }
}

/// Whether a block and its child were proposed in consecutive views, and the child on a certificate
/// of its parent's own view. (A nudge's is of a later one, and makes nothing final.)
pub fn is_two_chain(head: &BlockHeader, child: &BlockHeader) -> bool {
    let is_next = child.epoch == head.epoch && child.view == head.view.next();
    is_next && child.justify.rank() == head.rank()
}

impl CommitProof {
    /// Reads a proof from anywhere.
    ///
    /// # Errors
    /// [`codec::DecodeError`]. What is read is not verified.
    pub fn decode(bytes: &[u8]) -> Result<CommitProof, codec::DecodeError> {
        codec::decode(bytes, COMMIT_PROOF_BYTES_MAX)
    }
}

impl EpochProof {
    /// Reads a proof from anywhere.
    ///
    /// # Errors
    /// [`codec::DecodeError`]. What is read is not verified.
    pub fn decode(bytes: &[u8]) -> Result<EpochProof, codec::DecodeError> {
        codec::decode(bytes, EPOCH_PROOF_BYTES_MAX)
    }
}

/// The power of those who are said to have signed, and what is still to be checked for it: one
/// slot for each validator of the set, and together they are a quorum. Every signature present must
/// verify; what has no quorum is not worth the check.
///
/// # Errors
/// [`Unproven::WrongSlots`], [`Unproven::NoQuorum`].
pub fn quorum_claims(
    set: &ValidatorSet,
    genesis: &GenesisHash,
    signatures: &[Option<(Statement, Signature)>],
) -> Result<(u64, Vec<SignedDigest>), Unproven> {
    if signatures.len() != set.len() {
        return Err(Unproven::WrongSlots);
    }
    let slots = set.members().iter().zip(signatures);
    let signed = slots.filter_map(|(member, slot)| Some((member, slot.as_ref()?)));
    let power = signed.clone().map(|(member, _)| member.power).sum();
    if !set.is_quorum(power) {
        return Err(Unproven::NoQuorum);
    }
    let mut claims: Vec<SignedDigest> = Vec::with_capacity(set.len());
    let mut last: Option<(Statement, StatementDigest)> = None; // most sign the same
    for (member, (statement, signature)) in signed {
        let known = last.filter(|(last, _)| last == statement);
        let digest = known.map_or_else(|| statement.digest(genesis), |(_, digest)| digest);
        last = Some((*statement, digest));
        claims.push(SignedDigest {
            signature: *signature,
            signer: member.address,
            digest,
        });
    }
    Ok((power, claims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        BlockHeight, Data, KeyPair, Validator, ValidatorSetUpdate, ViewNumber, VoteStatement,
    };

    const GENESIS: GenesisHash = GenesisHash([7; 32]);

    fn key(number: u8) -> KeyPair {
        KeyPair::from_seed(&[number; 32]).expect("32 bytes")
    }

    fn trust(epoch: u64, keys: &[u8]) -> Trust {
        let member = |number: &u8| Validator {
            address: key(*number).address(),
            power: 1,
        };
        Trust {
            genesis: GENESIS,
            epoch: Epoch(epoch),
            validator_set: ValidatorSet::new(keys.iter().map(member)).expect("a set"),
        }
    }

    /// A chain of one epoch, in which everybody of `keys` signs but the last.
    struct Chain {
        trust: Trust,
        keys: Vec<u8>,
        headers: Vec<BlockHeader>,
        certificates: Vec<QuorumCertificate>,
    }

    impl Chain {
        fn new(epoch: u64, keys: &[u8], justify: QuorumCertificate) -> Chain {
            Chain {
                trust: trust(epoch, keys),
                keys: keys.to_vec(),
                headers: Vec::new(),
                certificates: vec![justify],
            }
        }

        fn first() -> Chain {
            Chain::new(0, &[1, 2, 3, 4], QuorumCertificate::genesis(GENESIS))
        }

        fn qc(&self, header: &BlockHeader, view: u64, phase: Phase) -> QuorumCertificate {
            let statement = VoteStatement {
                epoch: header.epoch,
                view_num: ViewNumber(view),
                justify_view: header.justify.rank().view,
                block_hash: header.hash(&GENESIS),
                phase,
            };
            let digest = Statement::Vote(statement).digest(&GENESIS);
            let mut signatures = vec![None; self.keys.len()];
            for number in &self.keys[..self.keys.len() - 1] {
                let slot = self.trust.validator_set.index_of(&key(*number).address());
                signatures[slot.expect("a member")] = Some(key(*number).sign(&digest));
            }
            QuorumCertificate {
                epoch: header.epoch,
                view_num: ViewNumber(view),
                justify_view: statement.justify_view,
                block_hash: statement.block_hash,
                phase,
                signatures,
            }
        }

        /// Adds a block of this view, and its certificate.
        fn grow(&mut self, view: u64, updates: Option<Vec<ValidatorSetUpdate>>) {
            let header = BlockHeader {
                height: BlockHeight(self.headers.len() as u64 + 1),
                epoch: self.trust.epoch,
                view: ViewNumber(view),
                justify: self.certificates.last().expect("one").clone(),
                data_hash: Data::new([view as u8]).hash(),
                validator_set_updates: updates,
            };
            let phase = match header.validator_set_updates {
                Some(_) => Phase::Prepare,
                None => Phase::Generic,
            };
            self.certificates.push(self.qc(&header, view, phase));
            self.headers.push(header);
        }

        fn of_views(views: &[u64]) -> Chain {
            let mut chain = Chain::first();
            views.iter().for_each(|view| chain.grow(*view, None));
            chain
        }

        fn hash(&self, index: usize) -> BlockHash {
            self.headers[index].hash(&GENESIS)
        }

        /// The headers from `first` to `last`, and the last one's certificate.
        fn proof(&self, first: usize, last: usize) -> CommitProof {
            CommitProof {
                headers: self.headers[first..=last].to_vec(),
                certificate: self.certificates[last + 1].clone(),
            }
        }

        /// Ends the epoch with a block of the next view, three views later.
        fn end(&mut self, updates: Vec<ValidatorSetUpdate>) -> EpochProof {
            let view = self.headers.last().map_or(1, |last| last.view.0 + 1);
            self.grow(view, Some(updates));
            let header = self.headers.last().expect("grown").clone();
            let commit_qc = self.qc(&header, view + 2, Phase::Commit);
            EpochProof { header, commit_qc }
        }
    }

    fn update(number: u8, power: u64) -> ValidatorSetUpdate {
        ValidatorSetUpdate {
            validator: key(number).address(),
            power,
        }
    }

    #[test]
    fn two_certificates_in_consecutive_views_commit_the_first_block_and_all_below() {
        let chain = Chain::of_views(&[1, 3, 5, 6, 9]);
        for first in 0..=2 {
            let verified = chain
                .trust
                .verify_commit(&chain.hash(first), &chain.proof(first, 3));
            assert_eq!(verified, Ok(3));
        }
        // The block of view 6 is certified, and not followed by one of view 7.
        let none = Unproven::SaysOther("its certificates make no block final");
        for (first, last) in [(0, 0), (0, 1), (1, 2), (3, 3), (3, 4), (0, 4)] {
            let verified = chain
                .trust
                .verify_commit(&chain.hash(first), &chain.proof(first, last));
            assert_eq!(verified, Err(none), "{first} to {last}");
        }
    }

    #[test]
    fn each_way_to_forge_a_commit_is_refused() {
        let chain = Chain::of_views(&[1, 2, 3]);
        let (block, whole) = (chain.hash(0), chain.proof(0, 2));
        assert_eq!(chain.trust.verify_commit(&block, &whole), Ok(3));
        let other = {
            let mut other = Chain::first();
            [2, 3, 4].iter().for_each(|view| other.grow(*view, None));
            other
        };
        type Forge<'a> = Box<dyn Fn(&mut CommitProof) + 'a>;
        let says = Unproven::SaysOther;
        let links = says("its headers do not follow each other");
        let (another, final_) = (
            says("its certificate is another block's"),
            says("its certificates make no block final"),
        );
        let forgeries: Vec<(&str, Unproven, Forge)> = vec![
            (
                "no header",
                says("its first header is another block's"),
                Box::new(|proof| proof.headers.clear()),
            ),
            (
                "another chain's first header",
                says("its first header is another block's"),
                Box::new(|proof| proof.headers[0] = other.headers[0].clone()),
            ),
            (
                "data of one's own",
                says("its first header is another block's"),
                Box::new(|proof| proof.headers[0].data_hash = Data::new([9]).hash()),
            ),
            (
                "a hole",
                links,
                Box::new(|proof| drop(proof.headers.remove(1))),
            ),
            (
                "a header too many",
                links,
                Box::new(|proof| proof.headers.insert(1, other.headers[1].clone())),
            ),
            (
                "another order",
                links,
                Box::new(|proof| proof.headers.swap(1, 2)),
            ),
            (
                "a certificate of what is below",
                another,
                Box::new(|proof| proof.certificate = chain.certificates[2].clone()),
            ),
            (
                "the genesis's certificate",
                another,
                Box::new(|proof| proof.certificate = QuorumCertificate::genesis(GENESIS)),
            ),
            (
                "a certificate of a later view: a nudge's",
                final_,
                Box::new(|proof| {
                    proof.certificate = chain.qc(&chain.headers[2], 4, Phase::Generic);
                }),
            ),
            (
                "a Commit QC of a block without updates",
                final_,
                Box::new(|proof| {
                    proof.certificate = chain.qc(&chain.headers[2], 3, Phase::Commit);
                }),
            ),
            (
                "another phase than was signed",
                Unproven::WrongSignature,
                Box::new(|proof| proof.certificate.phase = Phase::Prepare),
            ),
            (
                "another view than was signed",
                Unproven::WrongSignature,
                Box::new(|proof| proof.certificate.justify_view = ViewNumber(1)),
            ),
            (
                "two of four",
                Unproven::NoQuorum,
                Box::new(|proof| {
                    let signed = proof.certificate.signatures.iter_mut();
                    *signed.filter(|slot| slot.is_some()).last().expect("three") = None;
                }),
            ),
            (
                "one signature in two slots",
                Unproven::WrongSignature,
                Box::new(|proof| {
                    let signatures = &mut proof.certificate.signatures;
                    let any = *signatures.iter().flatten().next().expect("three");
                    signatures.iter_mut().for_each(|slot| *slot = Some(any));
                }),
            ),
            (
                "a slot too many",
                Unproven::WrongSlots,
                Box::new(|proof| proof.certificate.signatures.push(None)),
            ),
            (
                "a slot too few",
                Unproven::WrongSlots,
                Box::new(|proof| _ = proof.certificate.signatures.pop()),
            ),
            (
                "an epoch of which the verifier knows no validators",
                Unproven::OtherEpoch,
                Box::new(|proof| proof.headers[1].epoch = Epoch(1)),
            ),
            (
                "a certificate of such an epoch",
                final_,
                Box::new(|proof| proof.certificate.epoch = Epoch(1)),
            ),
        ];
        for (what, expected, forge) in forgeries {
            let mut forged = whole.clone();
            forge(&mut forged);
            let verified = chain.trust.verify_commit(&block, &forged);
            assert_eq!(verified, Err(expected), "{what}");
        }
        // True, and of another chain, another epoch, other validators, or another block.
        let mut elsewhere = chain.trust.clone();
        elsewhere.genesis = GenesisHash([8; 32]);
        assert!(elsewhere.verify_commit(&block, &whole).is_err());
        let later = trust(1, &[1, 2, 3, 4]);
        assert_eq!(
            later.verify_commit(&block, &whole),
            Err(Unproven::OtherEpoch)
        );
        let strangers = trust(0, &[5, 6, 7, 8]);
        assert_eq!(
            strangers.verify_commit(&block, &whole),
            Err(Unproven::WrongSignature)
        );
        assert!(chain.trust.verify_commit(&chain.hash(1), &whole).is_err());
    }

    #[test]
    fn no_bit_of_a_proof_can_be_changed() {
        let mut chain = Chain::of_views(&[1, 2]);
        let (block, proof) = (chain.hash(0), codec::encode(&chain.proof(0, 1)));
        let step = codec::encode(&chain.end(vec![update(5, 1)]));
        for bit in 0..proof.len() * 8 {
            let mut damaged = proof.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = CommitProof::decode(&damaged);
            let is_refused =
                read.map_or(true, |it| chain.trust.verify_commit(&block, &it).is_err());
            assert!(is_refused, "bit {bit} of {}", proof.len() * 8);
        }
        for bit in 0..step.len() * 8 {
            let mut damaged = step.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = EpochProof::decode(&damaged);
            let is_refused = read.map_or(true, |it| chain.trust.advance(&it).is_err());
            assert!(is_refused, "bit {bit} of {}", step.len() * 8);
        }
    }

    #[test]
    fn a_nudge_certificate_under_a_block_makes_nothing_final() {
        // A block of view 2 on a certificate that a liar has its validators sign for view 1 again:
        // its justify is of its parent, and not of its parent's own view.
        let mut chain = Chain::of_views(&[1]);
        let nudge = chain.qc(&chain.headers[0], 2, Phase::Generic);
        *chain.certificates.last_mut().expect("one") = nudge;
        chain.grow(2, None);
        let verified = chain
            .trust
            .verify_commit(&chain.hash(0), &chain.proof(0, 1));
        let none = Unproven::SaysOther("its certificates make no block final");
        assert_eq!(verified, Err(none));
    }

    #[test]
    fn a_commit_qc_commits_its_block_and_all_below() {
        let mut chain = Chain::of_views(&[1, 3, 5]);
        let step = chain.end(vec![update(5, 1), update(1, 0)]);
        for first in 0..=3 {
            let proof = CommitProof {
                headers: chain.headers[first..].to_vec(),
                certificate: step.commit_qc.clone(),
            };
            let verified = chain.trust.verify_commit(&chain.hash(first), &proof);
            assert_eq!(verified, Ok(3));
        }
        let next = chain.trust.advance(&step).expect("it is proved");
        assert_eq!(next, trust(1, &[2, 3, 4, 5]));
    }

    #[test]
    fn validators_are_followed_over_many_epochs_and_none_is_left_out() {
        let mut chain = Chain::first();
        let mut trusted = chain.trust.clone();
        let mut steps = Vec::new();
        for epoch in 1..=40 {
            let (joins, leaves) = (epoch + 4, epoch);
            let step = chain.end(vec![update(joins, 1), update(leaves, 0)]);
            trusted = trusted.advance(&step).expect("it is proved");
            assert_eq!(trusted.epoch, Epoch(u64::from(epoch)));
            let keys: Vec<u8> = (epoch + 1..epoch + 5).collect();
            chain = Chain::new(u64::from(epoch), &keys, step.commit_qc.clone());
            chain.trust = trusted.clone();
            steps.push(step);
        }
        let first = Chain::first().trust;
        assert_eq!(first.advance(&steps[1]), Err(Unproven::OtherEpoch));
        assert_eq!(trusted.advance(&steps[39]), Err(Unproven::OtherEpoch));
        // The new set cannot elect itself.
        let mut usurped = steps[0].clone();
        let usurpers = Chain::new(0, &[5, 6, 7, 8], QuorumCertificate::genesis(GENESIS));
        usurped.commit_qc = usurpers.qc(&usurped.header, 3, Phase::Commit);
        assert_eq!(first.advance(&usurped), Err(Unproven::WrongSignature));
    }

    #[test]
    fn an_epoch_ends_with_a_commit_qc_and_updates_that_make_a_set() {
        let mut chain = Chain::first();
        let mut step = chain.end(vec![update(5, 1)]);
        step.commit_qc = chain.qc(&step.header, 2, Phase::Precommit);
        let ends_none = Unproven::SaysOther("its certificate ends no epoch");
        assert_eq!(chain.trust.advance(&step), Err(ends_none));

        let mut chain = Chain::of_views(&[1]);
        let header = chain.headers[0].clone();
        let commit_qc = chain.qc(&header, 3, Phase::Commit);
        let none = Unproven::SaysOther("its certificates make no block final");
        let step = EpochProof { header, commit_qc };
        assert_eq!(chain.trust.advance(&step), Err(none));

        let empties = chain.end([1, 2, 3, 4].map(|number| update(number, 0)).to_vec());
        let no_set = Unproven::SaysOther("its updates make no validator set");
        assert_eq!(chain.trust.advance(&empties), Err(no_set));
    }

    #[test]
    fn a_certificate_is_judged_by_the_validators_of_its_epoch() {
        let chain = Chain::of_views(&[1]);
        let genesis = &chain.certificates[0];
        assert_eq!(chain.trust.verify_qc(genesis), Ok(0));
        assert_eq!(chain.trust.verify_qc(&chain.certificates[1]), Ok(3));
        let mut forged = genesis.clone();
        forged.block_hash = chain.hash(0);
        assert!(chain.trust.verify_qc(&forged).is_err());
        let later = trust(1, &[1, 2, 3, 4]);
        let verified = later.verify_qc(&chain.certificates[1]);
        assert_eq!(verified, Err(Unproven::OtherEpoch));
    }

    #[test]
    fn a_proof_has_a_greatest_number_of_headers() {
        let chain = Chain::of_views(&[1]);
        let of = |count| {
            codec::encode(&CommitProof {
                headers: vec![chain.headers[0].clone(); count],
                certificate: chain.certificates[1].clone(),
            })
        };
        assert!(CommitProof::decode(&of(COMMIT_PROOF_HEADERS_MAX)).is_ok());
        let refused = CommitProof::decode(&of(COMMIT_PROOF_HEADERS_MAX + 1));
        assert_eq!(refused, Err(codec::DecodeError::Malformed));
        let large = CommitProof::decode(&vec![0; COMMIT_PROOF_BYTES_MAX + 1]);
        assert_eq!(large, Err(codec::DecodeError::TooLarge));
        let large = EpochProof::decode(&vec![0; EPOCH_PROOF_BYTES_MAX + 1]);
        assert_eq!(large, Err(codec::DecodeError::TooLarge));
    }
}
