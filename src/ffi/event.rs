//! What a replica reports.

use std::ffi::{c_char, c_void, CString};
use std::sync::OnceLock;

use super::callback::Owner;
use super::entry::{enter_value, failure, Failure};
use super::handle::{magic, Handle, Noun};
use super::table::{self, Growing};
use super::*;
use crate::algorithm::Event;
use crate::replica::{ReplicaEvent, ReplicaEventKind};
use crate::types::{BlockHash, BlockHeight, Rank, ValidatorAddress, ViewNumber};

/// Event: a view has begun. epoch, view, peer: its leader.
pub const HOTSTUFF_EVENT_START_VIEW: u32 = 1;
/// Event: this replica has proposed a block. epoch, view, height, block.
pub const HOTSTUFF_EVENT_PROPOSED: u32 = 2;
/// Event: this replica has voted. epoch, view, block.
pub const HOTSTUFF_EVENT_VOTED: u32 = 3;
/// Event: this replica has collected a quorum of votes. epoch, view, block.
pub const HOTSTUFF_EVENT_QC_COLLECTED: u32 = 4;
/// Event: a block is committed. epoch, view, height, block.
pub const HOTSTUFF_EVENT_COMMITTED: u32 = 5;
/// Event: a view has run out. epoch, view.
pub const HOTSTUFF_EVENT_VIEW_TIMEOUT: u32 = 6;
/// Event: an epoch has begun, with other validators. epoch, block: what has updated them.
pub const HOTSTUFF_EVENT_VALIDATORS_CHANGED: u32 = 7;
/// Event: catching up has begun. peer: who is asked.
pub const HOTSTUFF_EVENT_SYNC_STARTED: u32 = 8;
/// Event: catching up has ended. height.
pub const HOTSTUFF_EVENT_SYNC_FINISHED: u32 = 9;
/// Event: a validator has signed two statements that contradict each other. epoch, view, peer: the
/// validator; count: one of the HOTSTUFF_EVIDENCE_ numbers; hotstuff_event_evidence(). Told once
/// for each validator, epoch and kind, also across restarts.
pub const HOTSTUFF_EVENT_EVIDENCE: u32 = 10;
/// Event: the bounded queue of events has overflowed. count: how many were lost.
pub const HOTSTUFF_EVENT_DROPPED: u32 = 11;
/// Event: the replica has stopped itself; the message says why and what to do.
pub const HOTSTUFF_EVENT_FATAL: u32 = 12;
/// Event: a quorum has certified a block that this replica's app calls invalid. height, block.
pub const HOTSTUFF_EVENT_DIVERGED: u32 = 13;
/// Event: the app has failed, or has answered what it must not.
pub const HOTSTUFF_EVENT_APP_FAILED: u32 = 14;
/// Event: a peer was asked for blocks in vain. peer.
pub const HOTSTUFF_EVENT_SYNC_FAILED: u32 = 15;
/// Event: a leader has proposed a block that breaks a rule. epoch, view, block, peer: the leader.
pub const HOTSTUFF_EVENT_BLOCK_REFUSED: u32 = 16;
/// Event: too many blocks await commit: only empty ones are proposed and accepted. count.
pub const HOTSTUFF_EVENT_TOO_MANY_PENDING: u32 = 17;
/// Event: something that an operator should look at; the message says what.
pub const HOTSTUFF_EVENT_WARNING: u32 = 18;
/// Event: this replica's own key has signed what its voting record does not know: another process
/// uses the key, or the data directory is an old copy. The replica signs nothing more until it is
/// started again, and goes on as a listener. epoch, view: of what was signed.
pub const HOTSTUFF_EVENT_TWIN_SEEN: u32 = 19;

/// Something that happened in a replica. Owned by the library, valid during the callback; all its
/// functions are [any] until then.
pub struct hotstuff_event {
    _private: [u8; 0],
}

impl Noun for hotstuff_event {
    const MAGIC: u32 = magic(b"EVEN");
    type Value = Told;
}

/// An event, taken apart.
#[derive(Default)]
pub(super) struct Told {
    kind: u32,
    level: i32,
    time_unix_ns: u64,
    rank: Rank,
    height: BlockHeight,
    count: u64,
    block: Option<BlockHash>,
    peer: Option<ValidatorAddress>,
    message: OnceLock<CString>,
    evidence: OnceLock<Vec<u8>>,
    source: Option<ReplicaEventKind>,
}

impl Told {
    fn new(event: ReplicaEvent) -> Told {
        let told = match &event.kind {
            ReplicaEventKind::Algorithm(event) => Told::of_algorithm(event),
            ReplicaEventKind::Dropped(count) => Told {
                kind: HOTSTUFF_EVENT_DROPPED,
                level: HOTSTUFF_LOG_WARN,
                count: *count,
                ..Told::default()
            },
            ReplicaEventKind::Warning(_) => Told {
                kind: HOTSTUFF_EVENT_WARNING,
                level: HOTSTUFF_LOG_WARN,
                ..Told::default()
            },
            ReplicaEventKind::Fatal(_) => Told {
                kind: HOTSTUFF_EVENT_FATAL,
                level: HOTSTUFF_LOG_ERROR,
                ..Told::default()
            },
        };
        Told {
            time_unix_ns: event.time_unix_ns,
            source: Some(event.kind),
            ..told
        }
    }

    fn of_algorithm(event: &Event) -> Told {
        let none = Told::default();
        let told = |kind, level, rest: Told| Told {
            kind,
            level,
            ..rest
        };
        match *event {
            Event::ViewStarted { rank, leader } => told(
                HOTSTUFF_EVENT_START_VIEW,
                HOTSTUFF_LOG_TRACE,
                Told {
                    rank,
                    peer: Some(leader),
                    ..none
                },
            ),
            Event::Proposed {
                rank,
                height,
                block,
            } => told(
                HOTSTUFF_EVENT_PROPOSED,
                HOTSTUFF_LOG_TRACE,
                Told {
                    rank,
                    height,
                    block: Some(block),
                    ..none
                },
            ),
            Event::Voted { rank, block } => told(
                HOTSTUFF_EVENT_VOTED,
                HOTSTUFF_LOG_TRACE,
                Told {
                    rank,
                    block: Some(block),
                    ..none
                },
            ),
            Event::QcCollected { rank, block } => told(
                HOTSTUFF_EVENT_QC_COLLECTED,
                HOTSTUFF_LOG_TRACE,
                Told {
                    rank,
                    block: Some(block),
                    ..none
                },
            ),
            Event::Committed {
                rank,
                height,
                block,
            } => told(
                HOTSTUFF_EVENT_COMMITTED,
                HOTSTUFF_LOG_DEBUG,
                Told {
                    rank,
                    height,
                    block: Some(block),
                    ..none
                },
            ),
            Event::EpochStarted(ref record) => told(
                HOTSTUFF_EVENT_VALIDATORS_CHANGED,
                HOTSTUFF_LOG_INFO,
                Told {
                    rank: Rank {
                        epoch: record.epoch,
                        view: ViewNumber(0),
                    },
                    block: record.commit_qc.as_ref().map(|qc| qc.block_hash),
                    ..none
                },
            ),
            Event::ViewTimedOut { rank } => told(
                HOTSTUFF_EVENT_VIEW_TIMEOUT,
                HOTSTUFF_LOG_INFO,
                Told { rank, ..none },
            ),
            Event::SyncStarted { peer } => told(
                HOTSTUFF_EVENT_SYNC_STARTED,
                HOTSTUFF_LOG_INFO,
                Told {
                    peer: Some(peer),
                    ..none
                },
            ),
            Event::SyncFinished { height } => told(
                HOTSTUFF_EVENT_SYNC_FINISHED,
                HOTSTUFF_LOG_INFO,
                Told { height, ..none },
            ),
            Event::SyncFailed { peer, .. } => told(
                HOTSTUFF_EVENT_SYNC_FAILED,
                HOTSTUFF_LOG_WARN,
                Told {
                    peer: Some(peer),
                    ..none
                },
            ),
            Event::BlockRefused {
                rank,
                block,
                leader,
                ..
            } => told(
                HOTSTUFF_EVENT_BLOCK_REFUSED,
                HOTSTUFF_LOG_WARN,
                Told {
                    rank,
                    block: Some(block),
                    peer: Some(leader),
                    ..none
                },
            ),
            Event::Diverged { block, height, .. } => told(
                HOTSTUFF_EVENT_DIVERGED,
                HOTSTUFF_LOG_ERROR,
                Told {
                    height,
                    block: Some(block),
                    ..none
                },
            ),
            Event::AppFailed { .. } => told(HOTSTUFF_EVENT_APP_FAILED, HOTSTUFF_LOG_WARN, none),
            Event::EvidenceFound(ref evidence) => told(
                HOTSTUFF_EVENT_EVIDENCE,
                HOTSTUFF_LOG_ERROR,
                Told {
                    rank: Rank {
                        epoch: evidence.epoch(),
                        view: evidence.views().0,
                    },
                    count: u64::from(evidence.kind().number()),
                    peer: Some(evidence.validator),
                    ..none
                },
            ),
            Event::TwinSeen { rank } => told(
                HOTSTUFF_EVENT_TWIN_SEEN,
                HOTSTUFF_LOG_ERROR,
                Told { rank, ..none },
            ),
            Event::TooManyPending { blocks } => told(
                HOTSTUFF_EVENT_TOO_MANY_PENDING,
                HOTSTUFF_LOG_WARN,
                Told {
                    count: blocks as u64,
                    ..none
                },
            ),
        }
    }

    fn message(&self) -> &CString {
        self.message.get_or_init(|| {
            let text = self.source.as_ref().map(sentence).unwrap_or_default();
            CString::new(text.replace('\0', " ")).unwrap_or_default()
        })
    }

    fn evidence(&self) -> &[u8] {
        self.evidence.get_or_init(|| match &self.source {
            Some(ReplicaEventKind::Algorithm(Event::EvidenceFound(found))) => found.encode(),
            _ => Vec::new(),
        })
    }
}

/// What happened, and what to do where something is to be done.
fn sentence(event: &ReplicaEventKind) -> String {
    match event {
        ReplicaEventKind::Dropped(count) => format!(
            "{count} events were lost because on_event is slower than they come; make it faster, \
             or read hotstuff_replica_next_committed(), which loses nothing"
        ),
        ReplicaEventKind::Warning(what) => what.clone(),
        ReplicaEventKind::Fatal(why) => format!("the replica has stopped itself: {why}"),
        ReplicaEventKind::Algorithm(event) => match event {
            Event::ViewStarted {
                rank: Rank { epoch, view },
                leader,
            } => {
                format!("view {view} of epoch {epoch} has begun, led by {leader:.8}")
            }
            Event::Proposed {
                rank,
                height,
                block,
            } => {
                format!(
                    "proposed block {block:.8} at height {height} in view {}",
                    rank.view
                )
            }
            Event::Voted { rank, block } => {
                format!("voted for block {block:.8} in view {}", rank.view)
            }
            Event::QcCollected { rank, block } => {
                format!(
                    "a quorum has voted for block {block:.8} in view {}",
                    rank.view
                )
            }
            Event::Committed {
                height,
                block,
                rank,
            } => {
                format!(
                    "block {block:.8} of view {} is committed at height {height}",
                    rank.view
                )
            }
            Event::EpochStarted(record) => format!(
                "epoch {} has begun with {} validators",
                record.epoch,
                record.validator_set.len()
            ),
            Event::ViewTimedOut {
                rank: Rank { epoch, view },
            } => format!(
                "view {view} of epoch {epoch} has run out without a certificate; if many do, check \
                 that the other validators are up and reachable, and the view time-out"
            ),
            Event::SyncStarted { peer } => format!("catching up with the help of {peer:.8}"),
            Event::SyncFinished { height } => format!("caught up to height {height}"),
            Event::SyncFailed { peer, why } => {
                format!("{peer:.8} was asked for blocks in vain: {why}; another peer is asked next")
            }
            Event::BlockRefused {
                rank,
                block,
                leader,
                why,
            } => format!(
                "refused block {block:.8} of view {} by {leader:.8}: {why}; if it recurs, that \
                 validator runs other software, or is dishonest",
                rank.view
            ),
            Event::Diverged {
                block,
                height,
                is_committed,
            } => {
                format!(
                "a quorum has {} block {block:.8} at height {height}, which the app here calls \
                 invalid: the app is not deterministic, or not the same version as the others'; \
                 stop it, and start it with the version that the others run",
                if *is_committed { "committed" } else { "certified" }
            )
            }
            Event::AppFailed { why } => {
                format!("the app has failed: {why}; look into its own log and its resources")
            }
            Event::EvidenceFound(evidence) => format!(
                "validator {:.8} has contradicted itself: a {} in view {} of epoch {}. The \
                 evidence is kept: hotstuff_replica_evidence_at(). Show it to whoever decides \
                 who validates",
                evidence.validator,
                evidence.kind(),
                evidence.views().0,
                evidence.epoch()
            ),
            Event::TwinSeen {
                rank: Rank { epoch, view },
            } => format!(
                "this replica's own key has signed in view {view} of epoch {epoch} what its voting \
                 record does not know: another process uses the key, or this data directory is an \
                 older copy. It signs nothing more, and goes on as a listener. Find the other \
                 process and stop it, then start this one again; if the directory was put back \
                 from a copy, start with a new key instead"
            ),
            Event::TooManyPending { blocks } => format!(
                "{blocks} blocks await commit: until some are committed, only empty blocks are \
                 proposed and accepted; check that more than two thirds of the power are up"
            ),
        },
    }
}

/// # Safety
/// NULL, or the event of a callback that runs.
unsafe fn told<V>(event: *const hotstuff_event, none: V, read: impl FnOnce(&Told) -> V) -> V {
    // SAFETY: the caller's contract.
    enter_value(none, |call| Ok(read(unsafe { call.handle(event) }?)))
}

/// What happened: one of the HOTSTUFF_EVENT_ numbers. New ones will come: ignore those that you do
/// not know. 0 for NULL. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_kind(event: *const hotstuff_event) -> u32 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.kind) }
}

/// When it happened: nanoseconds of Unix time; 0 for NULL. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_time_ns(event: *const hotstuff_event) -> u64 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.time_unix_ns) }
}

/// The epoch it is about; 0 if its kind has none. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_epoch(event: *const hotstuff_event) -> u64 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.rank.epoch.0) }
}

/// The view it is about; 0 if its kind has none. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_view(event: *const hotstuff_event) -> u64 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.rank.view.0) }
}

/// The height it is about; 0 if its kind has none. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_height(event: *const hotstuff_event) -> u64 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.height.0) }
}

/// How many; 0 if its kind has no count. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_count(event: *const hotstuff_event) -> u64 {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, 0, |told| told.count) }
}

/// What happened, and what to do about it if something is to be done: a sentence in English, UTF-8,
/// valid during the callback. Never NULL. [any]
///
/// @param event  the event
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_message(event: *const hotstuff_event) -> *const c_char {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    unsafe { told(event, c"".as_ptr(), |told| told.message().as_ptr()) }
}

/// The evidence, as canonical bytes that can be verified anywhere: see hotstuff_verify_evidence().
/// Borrowed: valid during the callback. No bytes if it is no ::HOTSTUFF_EVENT_EVIDENCE. [any]
///
/// @param event  the event
/// @param out    receives the bytes; may be NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_evidence(
    event: *const hotstuff_event,
    out: *mut hotstuff_bytes,
) {
    let none = hotstuff_bytes::EMPTY;
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    let bytes = unsafe { told(event, none, |told| hotstuff_bytes::of(told.evidence())) };
    // SAFETY: the header's rules: NULL, or a place for the bytes.
    if let Some(out) = unsafe { out.as_mut() } {
        *out = bytes;
    }
}

/// The block it is about; false, and `out` unchanged, if there is none. [any]
///
/// @param event  the event
/// @param out    receives the block's hash; may be NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_block(
    event: *const hotstuff_event,
    out: *mut hotstuff_hash,
) -> bool {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    let block = unsafe { told(event, None, |told| told.block) };
    // SAFETY: the header's rules: NULL, or a place for a hash.
    if let (Some(block), Some(out)) = (block, unsafe { out.as_mut() }) {
        *out = block.into();
    }
    block.is_some()
}

/// The validator it is about; false, and `out` unchanged, if there is none. [any]
///
/// @param event  the event
/// @param out    receives the validator's address; may be NULL
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_peer(
    event: *const hotstuff_event,
    out: *mut hotstuff_validator_address,
) -> bool {
    // SAFETY: the header's rules: NULL, or the event of a callback that runs.
    let peer = unsafe { told(event, None, |told| told.peer) };
    // SAFETY: the header's rules: NULL, or a place for an address.
    if let (Some(peer), Some(out)) = (peer, unsafe { out.as_mut() }) {
        *out = peer.into();
    }
    peer.is_some()
}

/// Who is told what happens in a replica.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_event_callbacks {
    /// Set by hotstuff_event_callbacks_init().
    pub struct_size: usize,
    /// Given to each callback; the library does not look at it.
    pub userdata: *mut c_void,
    /// Frees userdata: called once, after the last other callback has returned, on any thread. May
    /// be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
    /// Something has happened. Called on one thread, in order; `event` is valid during the call. If
    /// it is slow, events are lost and counted: they never hold up the replica. Required.
    pub on_event:
        Option<unsafe extern "C-unwind" fn(userdata: *mut c_void, event: *const hotstuff_event)>,
}

// SAFETY: repr(C), struct_size first, and zero is "no callback".
unsafe impl Growing for hotstuff_event_callbacks {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_event_callbacks>();
    const NAME: &'static str = "hotstuff_event_callbacks";
}

/// Zeroes a table and notes its size. Call it before you fill the table. [any]
///
/// @param table        the table
/// @param struct_size  `sizeof *table`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_event_callbacks_init(
    table: *mut hotstuff_event_callbacks,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(table, struct_size) }
}

/// The host's table.
pub(super) struct Listener {
    table: hotstuff_event_callbacks,
    owner: Owner,
}

// SAFETY: the table's contract: callbacks may come from any thread, one at a time.
unsafe impl Send for Listener {}

impl Listener {
    /// # Safety
    /// NULL, or initialised, with callbacks that keep the header's rules.
    pub(super) unsafe fn read(
        table: *const hotstuff_event_callbacks,
    ) -> Result<hotstuff_event_callbacks, Failure> {
        // SAFETY: the caller's contract.
        let table: hotstuff_event_callbacks = unsafe { table::read(table) }?;
        if table.on_event.is_none() {
            return Err(failure(
                HOTSTUFF_E_NULL,
                "hotstuff_event_callbacks.on_event is NULL",
            ));
        }
        Ok(table)
    }

    /// Calls the table's on_event. It does not own the userdata: the replica does.
    pub(super) fn new(table: hotstuff_event_callbacks, owner: Owner) -> Listener {
        Listener { table, owner }
    }
}

/// Tells the logger and the host.
pub(super) fn tell(event: ReplicaEvent, listener: Option<&Listener>) {
    let handle = Handle::new::<hotstuff_event>(Told::new(event));
    let told = handle.value();
    if logger::is_logged(told.level) {
        logger::log(told.level, "replica", &told.message().to_string_lossy());
    }
    if let Some((listener, on_event)) = listener.and_then(|l| Some((l, l.table.on_event?))) {
        // SAFETY: the table's contract; the event is alive until it returns.
        listener
            .owner
            .call(|| unsafe { on_event(listener.table.userdata, handle.as_noun()) });
    }
}
