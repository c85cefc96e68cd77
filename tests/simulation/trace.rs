//! A case in words, for whoever reads a replay.

use hotstuff::algorithm::{Input, Write};
use hotstuff::messages::{Certificate, Message, ProgressMessage, SyncMessage};
use hotstuff::types::{Phase, QuorumCertificate, TimeoutCertificate};

use crate::keys::index_of;

pub fn describe_message(message: &Message) -> String {
    match message {
        Message::Progress(message) => describe_progress(message),
        Message::Sync(SyncMessage::Request(request)) => {
            let (after, wanted) = (request.highest_committed_block, request.wanted);
            format!(
                "Request after {after:?}, wanted {wanted:?}, limit {}",
                request.limit
            )
        }
        Message::Sync(SyncMessage::Response(response)) => {
            let heights: Vec<u64> = response.blocks.iter().map(|b| b.header.height.0).collect();
            let tail: Vec<String> = response.tail_qcs.iter().map(qc).collect();
            format!(
                "Response after {:?}: {heights:?}, tail {tail:?}",
                response.highest_committed_block
            )
        }
    }
}

fn describe_progress(message: &ProgressMessage) -> String {
    match message {
        ProgressMessage::Propose(propose) => {
            let header = &propose.block.header;
            let tc = propose
                .timeout_certificate
                .as_ref()
                .map_or(String::new(), tc);
            format!(
                "Propose {:?} view {} height {} on {} with {} bytes{tc}",
                propose.vote.statement.block_hash,
                header.view,
                header.height,
                qc(&header.justify),
                propose.block.data.len(),
            )
        }
        ProgressMessage::Nudge(nudge) => format!(
            "Nudge view {} {:?} on {}",
            nudge.view_num,
            nudge.vote.statement.phase,
            qc(&nudge.justify)
        ),
        ProgressMessage::Vote(vote) => {
            let statement = vote.statement;
            let voter = index_of(&vote.voter);
            format!(
                "Vote of {voter} view {} {:?} {:?}",
                statement.view_num, statement.phase, statement.block_hash
            )
        }
        ProgressMessage::TimeoutVote(timeout) => {
            let last = timeout.last_vote.map(|vote| vote.statement.view_num.0);
            format!(
                "TimeoutVote of {} view {} {} last vote {last:?}",
                index_of(&timeout.validator),
                timeout.view_num,
                qc(&timeout.highest_qc),
            )
        }
        ProgressMessage::AdvanceView(Certificate::Quorum(quorum)) => {
            format!("AdvanceView {}", qc(quorum))
        }
        ProgressMessage::AdvanceView(Certificate::Timeout(timeout)) => {
            format!("AdvanceView{}", tc(timeout))
        }
        ProgressMessage::Wake(wake) => {
            format!(
                "Wake of {} view {}",
                index_of(&wake.validator),
                wake.view_num
            )
        }
    }
}

pub fn describe_input(input: &Input) -> String {
    match input {
        Input::TimerExpired => "<- the timer".into(),
        Input::Notify => "<- the host has work".into(),
        Input::Progress { from, message } => {
            format!(
                "<- {}: {}",
                index_of(from),
                describe_progress(message.message())
            )
        }
        Input::Synced { from, response } => {
            let message = Message::Sync(SyncMessage::Response(response.message().clone()));
            format!("<- {}: {}", index_of(from), describe_message(&message))
        }
        Input::LaterEpoch { peer } => format!("<- {} is in a later epoch", index_of(peer)),
        Input::SyncFailed { peer } => format!("<- sync with {} failed", index_of(peer)),
        Input::BlockProposed {
            cur_view,
            prev_block,
            response,
        } => {
            let response = short(&format!("{response:?}"));
            format!("<- the app, for view {cur_view} on {prev_block:?}: {response}")
        }
        Input::BlockValidated { block, response } => {
            format!(
                "<- the app, of {block:?}: {}",
                short(&format!("{response:?}"))
            )
        }
    }
}

pub fn describe_writes(writes: &[Write]) -> String {
    let words: Vec<String> = writes.iter().map(describe_write).collect();
    format!("writes {}", words.join(", "))
}

fn describe_write(write: &Write) -> String {
    match write {
        Write::CastVote(vote) => format!("CastVote {} {:?}", vote.view_num, vote.block_hash),
        Write::TimeOut(rank) => format!("TimeOut {rank}"),
        Write::StoreProposal(proposal) => format!("StoreProposal {:?}", proposal.block),
        Write::SetHighestQc(certificate) => format!("SetHighestQc {}", qc(certificate)),
        Write::SetHighestTc(certificate) => format!("SetHighestTc{}", tc(certificate)),
        Write::InsertBlock { hash, block, .. } => {
            format!("InsertBlock {hash:?} height {}", block.header.height)
        }
        Write::CommitBlock { hash, height } => format!("CommitBlock {hash:?} height {height}"),
        Write::DropBlock { hash } => format!("DropBlock {hash:?}"),
        Write::ChangeEpoch(record) => {
            format!("ChangeEpoch {} {:?}", record.epoch, record.validator_set)
        }
        Write::KeepEvidence(evidence) => {
            let (kind, who) = (evidence.kind(), index_of(&evidence.validator));
            format!("KeepEvidence of a {kind} by {who}")
        }
    }
}

fn qc(qc: &QuorumCertificate) -> String {
    let phase = match qc.phase {
        Phase::Generic => String::new(),
        phase => format!(", {phase:?} of epoch {}", qc.epoch),
    };
    format!("QC({}, {:?}{phase})", qc.view_num, qc.block_hash)
}

fn tc(tc: &TimeoutCertificate) -> String {
    format!(" TC({}, highest {})", tc.view_num, qc(&tc.highest_qc))
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
