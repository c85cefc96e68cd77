//! When a vote may be cast: pure predicates. Everything that keeps the chain from forking is here,
//! in `made_final_by` (tree.rs), and in the order persist, then sign (step.rs).

use crate::types::{
    BlockHeader, CommitRule, Epoch, Phase, QuorumCertificate, Rank, TimeoutCertificate, ViewNumber,
};

use super::VotingRecord;

/// one-vote-per-view, no-vote-after-timeout: `rank` is above everything voted in and timed out.
pub(super) fn may_vote(record: &VotingRecord, rank: Rank) -> bool {
    record.voted.is_none_or(|vote| vote.rank() < rank) && !has_timed_out(record, rank)
}

/// Whether the view, or a later one, has been timed out by this key.
pub(super) fn has_timed_out(record: &VotingRecord, rank: Rank) -> bool {
    record
        .timed_out
        .is_some_and(|(epoch, view)| Rank { epoch, view } >= rank)
}

/// Rule 3: the justify is of the view before, or a quorum has timed out the view before without
/// having seen a higher certificate than the justify. Jolteon (arXiv 2106.10362) Fig. 2, voting
/// rule. It makes a lock variable redundant, and stops a leader from forking off an old QC.
pub(super) fn is_justified(header: &BlockHeader, tc: Option<&TimeoutCertificate>) -> bool {
    justifies(&header.justify, tc, header.epoch, header.view)
}

/// See [`is_justified`].
pub(super) fn justifies(
    qc: &QuorumCertificate,
    tc: Option<&TimeoutCertificate>,
    epoch: Epoch,
    view: ViewNumber,
) -> bool {
    let rank = qc.rank();
    if rank.epoch != epoch || rank.view >= view {
        return false;
    }
    rank.view.next() == view
        || tc.is_some_and(|tc| {
            tc.epoch == epoch && tc.view_num.next() == view && tc.highest_qc.rank() <= rank
        })
}

/// The phase of the votes for a nudge of `view` with this justify; none if it justifies no nudge.
/// The count goes on only from the view before: a Commit QC proves that the phases before it were
/// certified in the views just before, as a chain of blocks would. After a lost view it begins
/// again.
pub(super) fn nudge_phase(
    justify: &QuorumCertificate,
    view: ViewNumber,
    rule: CommitRule,
) -> Option<Phase> {
    let next = match (justify.phase, rule) {
        (Phase::Prepare, CommitRule::ThreeChain) => Phase::Precommit,
        (Phase::Prepare, CommitRule::TwoChain) => Phase::Commit,
        (Phase::Precommit, CommitRule::ThreeChain) => Phase::Commit,
        _ => return None,
    };
    let is_next = justify.view_num.next() == view;
    Some(if is_next { next } else { Phase::Prepare })
}

/// Whether a certificate of this phase may stand under a block: those of the phases before Commit
/// are nudged, for the block that they certify must be final before it has a child.
pub(super) const fn justifies_block(phase: Phase) -> bool {
    matches!(phase, Phase::Generic | Phase::Commit)
}
