//! The sync server: sends those who are behind what follows, from read snapshots of its own.
//!
//! One request per peer is in flight: the filter refuses a second one. Each answer is paid for at
//! [`SYNC_BYTES_PER_SECOND`] before the peer's next one is read, so whoever asks for the whole
//! chain in a loop waits for itself, and nobody else does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::app::{BlockTreeSnapshot, ReadError};
use crate::block_tree::Snapshot;
use crate::messages::{Message, MessageKind, SyncMessage, SyncRequest, SyncResponse};
use crate::types::limits::{BLOCKS_PER_RESPONSE_MAX, TAIL_QCS_MAX};
use crate::types::{codec, Time, ValidatorAddress};

use super::metrics::Reason;
use super::peers::SyncTurn;
use super::shared::Shared;

/// Requests on their way to the server.
pub(super) const SYNC_QUEUE_MAX: usize = 256;
/// Requests that wait until their peer has paid for the last answer.
pub(super) const SYNC_WAITING_MAX: usize = 1_024;
/// How fast one peer is served.
pub(super) const SYNC_BYTES_PER_SECOND: u64 = 64 << 20;

/// A request to answer.
pub(super) struct Job {
    pub(super) peer: ValidatorAddress,
    pub(super) request: SyncRequest,
    /// Dropped with the job: the peer may ask again.
    pub(super) turn: SyncTurn,
}

/// The thread's state.
pub(super) struct SyncServer {
    shared: Arc<Shared>,
    requests: Receiver<Job>,
    waiting: Vec<(Time, Job)>,
    /// When each peer will have paid.
    paid_at: HashMap<ValidatorAddress, Time>,
    buffer: Vec<u8>,
}

impl SyncServer {
    pub(super) fn new(shared: Arc<Shared>, requests: Receiver<Job>) -> SyncServer {
        let (waiting, paid_at, buffer) = Default::default();
        SyncServer {
            shared,
            requests,
            waiting,
            paid_at,
            buffer,
        }
    }

    /// Until the filter has gone.
    pub(super) fn run(mut self) {
        while let Some(Job {
            peer,
            request,
            turn,
        }) = self.next_job()
        {
            if self.answer(&request).is_err() {
                let kind = Some(MessageKind::SyncRequest);
                self.shared.counters.reject(peer, kind, Reason::Storage);
                continue;
            }
            self.charge(peer);
            drop(turn); // before the answer goes: the next request may come at once
            self.shared.network.send(peer, &self.buffer);
            self.shared.counters.sent(self.buffer.len(), 1);
        }
    }

    /// The next request whose peer has paid; `None` at the end.
    fn next_job(&mut self) -> Option<Job> {
        loop {
            let now = self.shared.clock.now();
            let due = (0..self.waiting.len()).min_by_key(|i| self.waiting[*i].0);
            let job = match due {
                None => self.requests.recv().ok()?,
                Some(first) if self.waiting[first].0 <= now => {
                    return Some(self.waiting.swap_remove(first).1);
                }
                Some(first) => {
                    let wait = self.waiting[first].0.since(now);
                    match self.requests.recv_timeout(wait) {
                        Ok(job) => job,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => return None,
                    }
                }
            };
            if self.waiting.len() < SYNC_WAITING_MAX {
                let due = self.paid_at.get(&job.peer).copied().unwrap_or(now);
                self.waiting.push((due, job));
            } else {
                let kind = Some(MessageKind::SyncRequest);
                self.shared
                    .counters
                    .reject(job.peer, kind, Reason::QueueFull);
            }
        }
    }

    fn answer(&mut self, request: &SyncRequest) -> Result<(), ReadError> {
        let snapshot = self.shared.reader.snapshot()?;
        self.encode_answer(&snapshot, request)
    }

    /// Fills the buffer. The tree counts bytes only roughly; what comes out too large is read again
    /// with fewer blocks.
    fn encode_answer(
        &mut self,
        snapshot: &Snapshot,
        request: &SyncRequest,
    ) -> Result<(), ReadError> {
        let mut limit = (request.limit as usize).min(BLOCKS_PER_RESPONSE_MAX);
        loop {
            let response = self.read(snapshot, request, limit)?;
            let blocks = response.blocks.len();
            let message = Message::Sync(SyncMessage::Response(response));
            codec::encode_into(&message, &mut self.buffer);
            if self.buffer.len() <= self.shared.message_bytes_max || blocks <= 1 {
                return Ok(());
            }
            limit = blocks / 2;
        }
    }

    fn read(
        &self,
        snapshot: &Snapshot,
        request: &SyncRequest,
        limit: usize,
    ) -> Result<SyncResponse, ReadError> {
        let after = request.highest_committed_block;
        let bytes_max = self.shared.message_bytes_max / 8 * 7;
        let found = snapshot.blocks_after(&after, request.wanted.as_ref(), limit, bytes_max)?;
        let (blocks, mut tail_qcs) = match found {
            Some(found) => found,
            // The hash is unknown here: the certificate tells the asker what it has missed.
            None => (Vec::new(), vec![snapshot.highest_qc()?]),
        };
        tail_qcs.truncate(TAIL_QCS_MAX);
        Ok(SyncResponse {
            highest_committed_block: after,
            blocks,
            tail_qcs,
        })
    }

    fn charge(&mut self, peer: ValidatorAddress) {
        let now = self.shared.clock.now();
        if self.paid_at.len() >= SYNC_WAITING_MAX {
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        let nanos = self.buffer.len() as u64 * 1_000_000_000 / SYNC_BYTES_PER_SECOND;
        self.paid_at
            .insert(peer, now.after(Duration::from_nanos(nanos)));
    }
}
