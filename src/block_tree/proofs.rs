//! Finding proofs for others: what is stored shows that a block is committed, or who validates
//! next.

use lmdb::Transaction;

use crate::proof::{is_two_chain, CommitProof, EpochProof};
use crate::types::limits::COMMIT_PROOF_HEADERS_MAX;
use crate::types::{BlockHash, BlockHeader, Epoch, QuorumCertificate};

use super::tables::Reads;
use super::StorageError;

/// The shortest proof that `block` is committed: up the committed chain until two certificates of
/// consecutive views, or the Commit QC of the epoch. `None` if it is not committed, or if what has
/// committed it is no longer here: a later certificate, of another branch above it, has replaced
/// the last one, and the next commit brings its own.
pub(super) fn commit_proof<T: Transaction>(
    reads: Reads<'_, T>,
    block: &BlockHash,
) -> Result<Option<CommitProof>, StorageError> {
    let found = reads.locate(block)?;
    let Some(found) = found.filter(|found| found.is_committed()) else {
        return Ok(None);
    };
    let mut last = (found.hash(), found.record()?.header);
    let mut headers = Vec::new();
    while headers.len() + 1 < COMMIT_PROOF_HEADERS_MAX {
        let (hash, header) = last;
        if let Some((child, certificate)) = two_chain(&reads, &hash, &header)? {
            headers.extend([header, child]);
            return Ok(Some(proof(headers, certificate)));
        }
        if header.validator_set_updates.is_some() {
            let next = reads.epoch_record(header.epoch.next())?;
            headers.push(header);
            let commit_qc = next.and_then(|record| record.commit_qc);
            return Ok(commit_qc.map(|commit_qc| proof(headers, commit_qc)));
        }
        let Some(next) = reads.committed_at(header.height.next())? else {
            return Ok(None);
        };
        headers.push(header);
        last = (next.hash(), next.record()?.header);
    }
    Ok(None)
}

fn proof(headers: Vec<BlockHeader>, certificate: QuorumCertificate) -> CommitProof {
    CommitProof {
        headers,
        certificate,
    }
}

/// A child of `head`, committed or pending, of the view after it, and the child's certificate.
fn two_chain<T: Transaction>(
    reads: &Reads<'_, T>,
    hash: &BlockHash,
    head: &BlockHeader,
) -> Result<Option<(BlockHeader, QuorumCertificate)>, StorageError> {
    for child in reads.headers_at(head.height.next())? {
        let header = child.record()?.header;
        if header.parent() != *hash || !is_two_chain(head, &header) {
            continue;
        }
        if let Some(certificate) = certificate_of(reads, &child.hash(), &header)? {
            return Ok(Some((header, certificate)));
        }
    }
    Ok(None)
}

/// A certificate of a block, of its own view.
fn certificate_of<T: Transaction>(
    reads: &Reads<'_, T>,
    hash: &BlockHash,
    header: &BlockHeader,
) -> Result<Option<QuorumCertificate>, StorageError> {
    let certifies = |qc: &QuorumCertificate| qc.block_hash == *hash && qc.rank() == header.rank();
    for child in reads.headers_at(header.height.next())? {
        let justify = child.record()?.header.justify;
        if certifies(&justify) {
            return Ok(Some(justify));
        }
    }
    Ok(Some(reads.highest_qc()?).filter(certifies))
}

/// Who validates after `epoch`: the header that says so, and the Commit QC that ended `epoch`.
pub(super) fn epoch_proof<T: Transaction>(
    reads: Reads<'_, T>,
    epoch: Epoch,
) -> Result<Option<EpochProof>, StorageError> {
    let record = reads.epoch_record(epoch.next())?;
    let Some(commit_qc) = record.and_then(|record| record.commit_qc) else {
        return Ok(None);
    };
    let missing = || {
        let name = format!("the block that updates the validators of epoch {epoch}");
        StorageError::corrupt(name, "it is missing")
    };
    let found = reads.locate(&commit_qc.block_hash)?.ok_or_else(missing)?;
    Ok(Some(EpochProof {
        header: found.record()?.header,
        commit_qc,
    }))
}
