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

use crate::types::limits::{
    COMMIT_PROOF_BYTES_MAX, COMMIT_PROOF_HEADERS_MAX, EPOCH_PROOF_BYTES_MAX,
};
use crate::types::{
    codec, BlockHash, BlockHeader, Epoch, GenesisHash, Phase, QuorumCertificate, Signature,
    Statement, StatementDigest, ValidatorAddress, ValidatorSet,
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
        let verifies = |signer: &ValidatorAddress, digest: &_, signature: &Signature| {
            signature.verifies(signer, digest)
        };
        quorum_power(&self.validator_set, &self.genesis, &signatures, verifies)
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

/// The power that has signed: one slot for each validator of the set, every signature present
/// verifies, and together they are a quorum. The power is counted first: it is cheap, and spares
/// the signatures of what has no quorum.
///
/// # Errors
/// [`Unproven::WrongSlots`], [`Unproven::NoQuorum`], [`Unproven::WrongSignature`].
pub fn quorum_power(
    set: &ValidatorSet,
    genesis: &GenesisHash,
    signatures: &[Option<(Statement, Signature)>],
    mut verifies: impl FnMut(&ValidatorAddress, &StatementDigest, &Signature) -> bool,
) -> Result<u64, Unproven> {
    if signatures.len() != set.len() {
        return Err(Unproven::WrongSlots);
    }
    let slots = set.members().iter().zip(signatures);
    let signed = slots.filter_map(|(member, slot)| Some((member, slot.as_ref()?)));
    let power = signed.clone().map(|(member, _)| member.power).sum();
    if !set.is_quorum(power) {
        return Err(Unproven::NoQuorum);
    }
    for (member, (statement, signature)) in signed {
        if !verifies(&member.address, &statement.digest(genesis), signature) {
            return Err(Unproven::WrongSignature);
        }
    }
    Ok(power)
}
