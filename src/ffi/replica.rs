//! Replicas.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::app::CApp;
use super::block::NamedBlock;
use super::block_tree::Tree;
use super::callback::{Owner, Userdata};
use super::config::SharedTables;
use super::entry::{enter, enter_described, enter_quietly, failure, Call, Failure};
use super::event::Listener;
use super::handle::{magic, take, Handle, Noun};
use super::network::Network;
use super::values::duration;
use super::*;
use crate::block_tree::StorageError;
use crate::replica::signals::with_all_blocked;
use crate::replica::{Replica, ReplicaError};
use crate::types::BlockHeight;

/// A replica: the threads, the disk and the network of one participant of a chain.
pub struct hotstuff_replica {
    _private: [u8; 0],
}

impl Noun for hotstuff_replica {
    const MAGIC: u32 = magic(b"REPL");
    type Value = Opened;
}

/// A replica, and what it has taken over. Dropped in this order: once the replica is gone no thread
/// runs, the data directory is closed, and what is left is destroyed.
pub(super) struct Opened {
    pub(super) replica: Replica,
    owner: Owner,
    stage: Mutex<Stage>,
    /// Destroyed at the end, as the ones below.
    _app: Userdata,
    events: OnceLock<Userdata>,
    _network: Box<Handle<Network>>,
    _shared: SharedTables,
}

/// What happens before the start.
enum Stage {
    Opened(Option<Listener>),
    Started,
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        match error {
            ReplicaError::Storage(error) => error.into(),
            ReplicaError::State(text) => failure(HOTSTUFF_E_STATE, text),
            ReplicaError::Reentrant => HOTSTUFF_E_REENTRANT.into(),
            ReplicaError::TimedOut => HOTSTUFF_E_TIMEOUT.into(),
            ReplicaError::Closed => HOTSTUFF_E_CLOSED.into(),
            ReplicaError::Halted(text) => failure(HOTSTUFF_E_HALTED, text),
            ReplicaError::WouldBlock => HOTSTUFF_E_WOULD_BLOCK.into(),
            ReplicaError::TooLarge => HOTSTUFF_E_TOO_LARGE.into(),
            ReplicaError::Thread(error) => failure(
                HOTSTUFF_E_IO,
                format!("a thread could not be started: {error}; raise the limit on processes"),
            ),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let status = match error {
            StorageError::NotFound { .. } => HOTSTUFF_E_NOT_FOUND,
            StorageError::Locked { .. } => HOTSTUFF_E_LOCKED,
            StorageError::GenesisMismatch { .. } => HOTSTUFF_E_GENESIS_MISMATCH,
            StorageError::FormatVersion { .. } => HOTSTUFF_E_UNSUPPORTED,
            StorageError::MapTooSmall { .. } => HOTSTUFF_E_INVALID_ARGUMENT,
            StorageError::NotEmpty { .. }
            | StorageError::Foreign { .. }
            | StorageError::Damaged { .. }
            | StorageError::VotingRecord { .. }
            | StorageError::Corrupt { .. } => HOTSTUFF_E_CORRUPT,
            StorageError::NotADirectory { .. }
            | StorageError::PermissionDenied { .. }
            | StorageError::Io { .. } => HOTSTUFF_E_IO,
            _ => HOTSTUFF_E_STORAGE,
        };
        failure(status, error.to_string())
    }
}

/// Opens a replica, which does nothing yet. On ::HOTSTUFF_OK it takes over `network` (do not free
/// it) and the app's userdata; otherwise both stay yours, and no destroy() is called. [any]
///
/// @param cfg      the config; copied
/// @param app      the app; the table is copied
/// @param network  the network, which becomes the replica's
/// @param out      receives the replica: yours, free it with hotstuff_replica_free()
/// @param err      receives a described error, yours; may be NULL
/// @retval HOTSTUFF_E_NULL              an argument or a required callback is NULL
/// @retval HOTSTUFF_E_STATE             the chain id, the genesis validators or the data directory
///                                      is not set
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  settings do not fit together or what is in the data
///                                      directory, or the app's table was not initialised
/// @retval HOTSTUFF_E_UNSUPPORTED       the app's table sets callbacks, or the data directory has a
///                                      format, that this library is too old to know
/// @retval HOTSTUFF_E_NOT_FOUND         there is no chain in the data directory; see
///                                      hotstuff_config_set_create()
/// @retval HOTSTUFF_E_LOCKED            another replica has the data directory open
/// @retval HOTSTUFF_E_GENESIS_MISMATCH  the data directory belongs to a chain with another genesis
/// @retval HOTSTUFF_E_CORRUPT           what is in the data directory is damaged, or not a
///                                      replica's
/// @retval HOTSTUFF_E_STORAGE           the database failed, or the disk or the map is full
/// @retval HOTSTUFF_E_IO                the operating system refuses the directory
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_open(
    cfg: *const hotstuff_config,
    app: *const hotstuff_app_callbacks,
    network: *mut hotstuff_network,
    out: *mut *mut hotstuff_replica,
    err: *mut *mut hotstuff_error,
) -> hotstuff_status {
    let body = |call: &Call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living network.
        let net = unsafe { call.handle(network.cast_const()) }?;
        let owner = net.owner;
        // SAFETY: the header's rules: NULL, or a living config.
        let settings = unsafe { config::settings(call, cfg) }?;
        let config = settings.to_replica_config(owner)?;
        let shared = settings.shared_tables();
        drop(settings);
        let provider = net.fit(config.genesis.parameters.message_bytes_max())?;
        let data_bytes_max = config.genesis.parameters.block_data_bytes_max;
        let genesis = config.genesis.hash();
        // SAFETY: the header's rules: NULL, or an initialised table that keeps them.
        let app = unsafe { CApp::new(app, owner, genesis, data_bytes_max) }?;
        let userdata = app.userdata();
        let replica = Replica::open(config, Box::new(app), provider)?;
        // SAFETY: a living network that the caller gives up by the success of this call.
        let network = unsafe { take(network) }.expect("borrowed above");
        out.give(Opened {
            replica,
            owner,
            stage: Mutex::new(Stage::Opened(None)),
            _app: userdata(),
            events: OnceLock::new(),
            _network: network,
            _shared: shared,
        });
        Ok(())
    };
    // SAFETY: the header's rules: NULL, or a place for a pointer.
    unsafe { enter_described(err, body) }
}

/// Sets who is told what happens. Once, before hotstuff_replica_start(). On ::HOTSTUFF_OK the
/// library has taken over userdata, and will call destroy(). [any]
///
/// @param replica  the replica
/// @param table    the table; copied
/// @retval HOTSTUFF_E_NULL              `replica`, `table` or on_event() is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
/// @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
///                                      know
/// @retval HOTSTUFF_E_STATE             called before, or the replica was started
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_set_events(
    replica: *mut hotstuff_replica,
    table: *const hotstuff_event_callbacks,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica.cast_const()) }?;
        // SAFETY: the header's rules: NULL, or an initialised table that keeps them.
        let table = unsafe { Listener::read(table) }?;
        let mut stage = opened.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *stage {
            Stage::Opened(listener @ None) => {
                let userdata = Userdata::new(table.userdata, table.destroy, opened.owner);
                opened.events.get_or_init(|| userdata);
                *listener = Some(Listener::new(table, opened.owner));
                Ok(())
            }
            _ => Err(HOTSTUFF_E_STATE.into()),
        }
    })
}

/// Starts the replica's threads. Once. [any]
///
/// @param replica  the replica
/// @param err      receives a described error, yours; may be NULL
/// @retval HOTSTUFF_E_NULL    `replica` is NULL
/// @retval HOTSTUFF_E_STATE   it was started before, or stopped
/// @retval HOTSTUFF_E_IO      the operating system gives no more threads
/// @retval HOTSTUFF_E_HALTED  it has stopped itself; see hotstuff_replica_wait()
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_start(
    replica: *mut hotstuff_replica,
    err: *mut *mut hotstuff_error,
) -> hotstuff_status {
    let body = |call: &Call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica.cast_const()) }?;
        let mut stage = opened.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Opened(listener) = std::mem::replace(&mut *stage, Stage::Started) {
            if listener.is_some() || logger::is_logged(HOTSTUFF_LOG_ERROR) {
                opened.replica.set_events(Box::new(move |event| {
                    event::tell(event, listener.as_ref());
                }))?;
            }
        }
        drop(stage);
        Ok(opened.replica.start()?)
    };
    // SAFETY: the header's rules: NULL, or a place for a pointer.
    unsafe { enter_described(err, body) }
}

/// Stops the replica and waits for its threads. After ::HOTSTUFF_OK no callback runs any more. A
/// replica that is stopped, or was never started, is stopped again with ::HOTSTUFF_OK; none is
/// started again. [any] [not-in-callback]
///
/// @param replica     the replica
/// @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
/// @retval HOTSTUFF_E_NULL       `replica` is NULL
/// @retval HOTSTUFF_E_TIMEOUT    a callback has not returned in time: call again
/// @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_stop(
    replica: *mut hotstuff_replica,
    timeout_ms: u32,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica.cast_const()) }?;
        opened.owner.not_in_callback("hotstuff_replica_stop()")?;
        Ok(opened.replica.stop(duration(timeout_ms))?)
    })
}

/// Stops the replica, however long it takes, closes its data directory, and frees it; at last it
/// calls destroy() of the app, the events and the network, in this order, and of the pacemaker and
/// the signer unless the config or another replica still has them. Snapshots stay, and keep
/// the directory open until they are freed. In a callback of this replica it returns at once, and
/// all this happens when that callback has returned. No other call on it may be running, and none
/// may follow. [any]
///
/// @param replica  the replica; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_replica_free(replica: *mut hotstuff_replica) {
    enter_quietly(|| {
        // SAFETY: the header's rules: NULL, or a living replica that the caller gives up.
        let Some(handle) = (unsafe { take(replica) }) else {
            return;
        };
        if handle.value().owner.is_calling() {
            free_on_another_thread(handle);
        }
    });
}

/// A replica on its way to the thread that frees it.
struct Freed(*mut Handle<Opened>);

// SAFETY: a replica may be freed on any thread; see `hotstuff_replica_free`.
unsafe impl Send for Freed {}

impl Freed {
    fn free(self) {
        // SAFETY: from `Box::into_raw` in `free_on_another_thread`, and `self` is its only holder.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// The replica's own thread cannot wait for itself.
fn free_on_another_thread(handle: Box<Handle<Opened>>) {
    let freed = Freed(Box::into_raw(handle));
    let thread = std::thread::Builder::new().name("hotstuff-free".to_owned());
    if let Err(error) = with_all_blocked(|| thread.spawn(move || freed.free())) {
        // It is leaked: to drop it here would be to wait for ourselves.
        let text = format!("no thread to free a replica on: {error}; it goes on running");
        logger::log(HOTSTUFF_LOG_ERROR, "replica", &text);
    }
}

/// Delivers a message that the host has received: the input of a network without receive(). [any],
/// also in callbacks
///
/// @param replica  the replica
/// @param from     the peer, as the transport has authenticated it
/// @param message  the bytes; copied
/// @param len      how many; at most hotstuff_config_max_message_bytes()
/// @retval HOTSTUFF_E_NULL         an argument is NULL
/// @retval HOTSTUFF_E_TOO_LARGE    longer than any message of this chain: drop it
/// @retval HOTSTUFF_E_WOULD_BLOCK  the queue of that peer is full: drop it, the protocol sends
///                                 again
/// @retval HOTSTUFF_E_CLOSED       the replica is stopped, or was never started
/// @retval HOTSTUFF_E_HALTED       it has stopped itself; see hotstuff_replica_wait()
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_deliver(
    replica: *mut hotstuff_replica,
    from: *const hotstuff_validator_address,
    message: *const u8,
    len: usize,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica.cast_const()) }?;
        // SAFETY: the header's rules: NULL, or an address.
        let from = *unsafe { call.plain(from) }?;
        // SAFETY: the header's rules for input bytes.
        let message = unsafe { call.bytes(message, len) }?;
        Ok(opened.replica.deliver(from.into(), message)?)
    })
}

/// There is work for this replica's app, which is asked when the replica leads. If the chain is
/// idle and another leads, all are told, and the views go on until it is this one's turn.
/// Remembered until then, also before the start. [any], also in callbacks
///
/// @param replica  the replica
/// @retval HOTSTUFF_E_NULL    `replica` is NULL
/// @retval HOTSTUFF_E_CLOSED  it is stopped
/// @retval HOTSTUFF_E_HALTED  it has stopped itself; see hotstuff_replica_wait()
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_notify(
    replica: *mut hotstuff_replica,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        Ok(unsafe { call.handle(replica.cast_const()) }?
            .replica
            .notify()?)
    })
}

/// A consistent view of the chain and of the state as of the last committed block. Also of a
/// replica that is not started, is stopped or has halted. [any], also in callbacks
///
/// @param replica  the replica
/// @param out      receives the snapshot: yours, free it with hotstuff_block_tree_free(), also
///                 after hotstuff_replica_free()
/// @retval HOTSTUFF_E_NULL     `replica` or `out` is NULL
/// @retval HOTSTUFF_E_STORAGE  the database failed, or too many snapshots are alive
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_snapshot(
    replica: *const hotstuff_replica,
    out: *mut *mut hotstuff_block_tree,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living replica.
        out.give(Tree::owned(
            unsafe { call.handle(replica) }?.replica.snapshot()?,
        ));
        Ok(())
    })
}

/// The committed block after the one at a height, as soon as there is one. To be called in a loop
/// with the height of the block before: all committed blocks, in order, none lost, from wherever
/// the host left off. [any] [not-in-callback]
///
/// @param replica       the replica
/// @param after_height  the height of the last block that the host has seen; 0 for the first call
/// @param timeout_ms    how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
/// @param out           receives the block: yours, free it with hotstuff_block_free()
/// @retval HOTSTUFF_E_NULL       `replica` or `out` is NULL
/// @retval HOTSTUFF_E_TIMEOUT    none is committed yet: call again
/// @retval HOTSTUFF_E_CLOSED     it is stopped
/// @retval HOTSTUFF_E_HALTED     it has stopped itself; see hotstuff_replica_wait()
/// @retval HOTSTUFF_E_STORAGE    the database failed
/// @retval HOTSTUFF_E_CORRUPT    the block is damaged or missing; the replica goes on
/// @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_next_committed(
    replica: *const hotstuff_replica,
    after_height: u64,
    timeout_ms: u32,
    out: *mut *mut hotstuff_block,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica) }?;
        opened
            .owner
            .not_in_callback("hotstuff_replica_next_committed()")?;
        let after = BlockHeight(after_height);
        let committed = opened.replica.next_committed(after, duration(timeout_ms))?;
        out.give(NamedBlock::named(committed.hash, committed.block));
        Ok(())
    })
}

/// Waits until a height is committed. [any] [not-in-callback]
///
/// @param replica     the replica
/// @param height      the height
/// @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
/// @retval HOTSTUFF_E_NULL       `replica` is NULL
/// @retval HOTSTUFF_E_TIMEOUT    it is not committed yet
/// @retval HOTSTUFF_E_CLOSED     the replica is stopped
/// @retval HOTSTUFF_E_HALTED     it has stopped itself; see hotstuff_replica_wait()
/// @retval HOTSTUFF_E_STORAGE    the database failed
/// @retval HOTSTUFF_E_CORRUPT    the block is damaged or missing; the replica goes on
/// @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_wait_committed(
    replica: *const hotstuff_replica,
    height: u64,
    timeout_ms: u32,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica) }?;
        opened
            .owner
            .not_in_callback("hotstuff_replica_wait_committed()")?;
        let height = BlockHeight(height);
        if opened.replica.info().committed_height < height {
            opened
                .replica
                .next_committed(height.previous(), duration(timeout_ms))?;
        }
        Ok(())
    })
}

/// Waits until the replica is stopped by hotstuff_replica_stop(), or has stopped itself because it
/// cannot go on safely, as when its disk is full. On a replica that has halted, only this function,
/// hotstuff_replica_snapshot(), hotstuff_replica_get_info(), hotstuff_replica_metrics(),
/// hotstuff_replica_metrics_text(), hotstuff_replica_stop() and hotstuff_replica_free() do
/// anything. [any] [not-in-callback]
///
/// @param replica     the replica
/// @param timeout_ms  how long to wait, in milliseconds, or ::HOTSTUFF_NO_TIMEOUT
/// @param err         receives a described error, yours: if halted, why and what to do; may be NULL
/// @retval HOTSTUFF_E_NULL       `replica` is NULL
/// @retval HOTSTUFF_E_TIMEOUT    it still runs, or was never started
/// @retval HOTSTUFF_E_HALTED     it has stopped itself
/// @retval HOTSTUFF_E_REENTRANT  called in a callback of this replica
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_wait(
    replica: *const hotstuff_replica,
    timeout_ms: u32,
    err: *mut *mut hotstuff_error,
) -> hotstuff_status {
    let body = |call: &Call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let opened = unsafe { call.handle(replica) }?;
        opened.owner.not_in_callback("hotstuff_replica_wait()")?;
        Ok(opened.replica.wait(duration(timeout_ms))?)
    };
    // SAFETY: the header's rules: NULL, or a place for a pointer.
    unsafe { enter_described(err, body) }
}

/// Where the replica is. [any], also in callbacks
///
/// @param replica  the replica
/// @param out      initialised by hotstuff_replica_info_init(); receives the answer
/// @retval HOTSTUFF_E_NULL              `replica` or `out` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_get_info(
    replica: *const hotstuff_replica,
    out: *mut hotstuff_replica_info,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let info = unsafe { call.handle(replica) }?.replica.info().into();
        // SAFETY: the header's rules: NULL, or initialised.
        unsafe { table::write(out, &info) }
    })
}

/// Counters of the replica. [any], also in callbacks
///
/// @param replica  the replica
/// @param out      initialised by hotstuff_metrics_init(); receives the answer
/// @retval HOTSTUFF_E_NULL              `replica` or `out` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `out` was not initialised
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_metrics(
    replica: *const hotstuff_replica,
    out: *mut hotstuff_metrics,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a living replica.
        let metrics = unsafe { call.handle(replica) }?.replica.metrics().into();
        // SAFETY: the header's rules: NULL, or initialised.
        unsafe { table::write(out, &metrics) }
    })
}

/// The counters, and where the replica is, as text for Prometheus: exposition format 0.0.4, UTF-8,
/// to be served as `text/plain; version=0.0.4`. The names of a release stay in the next. [any],
/// also in callbacks
///
/// @param replica  the replica
/// @param out      receives the text, not terminated by NUL: yours, free it with
///                 hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL  `replica` or `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_replica_metrics_text(
    replica: *const hotstuff_replica,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living replica.
        let text = unsafe { call.handle(replica) }?.replica.metrics_text();
        out.give(text.into_bytes());
        Ok(())
    })
}
