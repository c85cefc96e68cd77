//! Networks, and the one that is a table of callbacks.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::callback::{Owner, Userdata};
use super::entry::{enter, enter_quietly, failure, Failure};
use super::handle::{magic, take, Handle, Noun};
use super::table::{self, Growing};
use super::*;
use crate::network::NetworkProvider;
use crate::transport::TcpNetwork;
use crate::types::ValidatorAddress;

/// A transport between replicas, until a replica takes it.
pub struct hotstuff_network {
    _private: [u8; 0],
}

impl Noun for hotstuff_network {
    const MAGIC: u32 = magic(b"NETW");
    type Value = Network;
}

/// A place for one received message. Owned by the library, valid during receive().
pub struct hotstuff_inbox {
    _private: [u8; 0],
}

impl Noun for hotstuff_inbox {
    const MAGIC: u32 = magic(b"INBO");
    type Value = Inbox;
}

pub(super) struct Network {
    pub(super) owner: Owner,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Callbacks(Arc<CNetwork>),
    Tcp {
        network: Arc<TcpNetwork>,
        message_bytes_max: usize,
    },
}

impl Network {
    /// Tells the network how long messages get.
    pub(super) fn fit(&self, needed: usize) -> Result<Arc<dyn NetworkProvider>, Failure> {
        match &self.kind {
            Kind::Callbacks(network) => {
                network.message_bytes_max.store(needed, Ordering::Relaxed);
                Ok(Arc::clone(network) as _)
            }
            Kind::Tcp {
                message_bytes_max, ..
            } if *message_bytes_max < needed => {
                let text = format!(
                    "the TCP network carries messages of up to {message_bytes_max} bytes, and this \
                     chain has some of {needed}: call hotstuff_tcp_config_set_max_message_bytes() \
                     with at least what hotstuff_config_max_message_bytes() gives"
                );
                Err(failure(HOTSTUFF_E_INVALID_ARGUMENT, text))
            }
            Kind::Tcp { network, .. } => Ok(Arc::clone(network) as _),
        }
    }
}

pub(super) struct Inbox {
    message_bytes_max: usize,
    message: Mutex<Option<(ValidatorAddress, Vec<u8>)>>,
}

/// Hands over a received message. At most one in each call of receive(). [any]
///
/// @param inbox    what receive() was given
/// @param from     the peer, as the transport has authenticated it
/// @param message  the bytes; copied
/// @param len      how many; at most hotstuff_config_max_message_bytes()
/// @retval HOTSTUFF_E_NULL       an argument is NULL
/// @retval HOTSTUFF_E_TOO_LARGE  longer than any message of this chain: drop it
/// @retval HOTSTUFF_E_STATE      there is a message in it already
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_inbox_put(
    inbox: *mut hotstuff_inbox,
    from: *const hotstuff_validator_address,
    message: *const u8,
    len: usize,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or the inbox of a callback that runs.
        let inbox = unsafe { call.handle(inbox.cast_const()) }?;
        // SAFETY: the header's rules: NULL, or an address.
        let from = *unsafe { call.plain(from) }?;
        // SAFETY: the header's rules for input bytes.
        let message = unsafe { call.bytes(message, len) }?;
        if message.len() > inbox.message_bytes_max {
            return Err(HOTSTUFF_E_TOO_LARGE.into());
        }
        let mut place = inbox.message.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return Err(HOTSTUFF_E_STATE.into());
        }
        *place = Some((from.into(), message.to_vec()));
        Ok(())
    })
}

/// A transport of your own. All but receive() may be called from several threads of the library at
/// once, also while receive() waits, and must not block.
///
/// It may lose, delay, repeat and reorder messages. What it must do is say truly who sent a
/// message: not for safety, every message is signed, but so that a peer's flood costs that peer and
/// no other.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hotstuff_network_callbacks {
    /// Set by hotstuff_network_callbacks_init().
    pub struct_size: usize,
    /// Given to each callback; the library does not look at it.
    pub userdata: *mut c_void,
    /// Frees userdata: called once, after the last other callback has returned, on any thread. May
    /// be NULL.
    pub destroy: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
    /// `peer` is a validator: keep a connection to it. Called when the replica starts, for each
    /// validator but itself, and for each one added when its epoch begins. The result is ignored.
    /// May be NULL.
    pub connect: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            peer: *const hotstuff_validator_address,
        ) -> i32,
    >,
    /// `peer` is a validator no longer, and the epoch without it is well under way. It may still
    /// follow the chain, as a listener. The result is ignored. May be NULL.
    pub disconnect: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            peer: *const hotstuff_validator_address,
        ) -> i32,
    >,
    /// Queues a message for a peer; the bytes are valid during the call. If it cannot be queued,
    /// return ::HOTSTUFF_E_WOULD_BLOCK: the message is lost, and the protocol sends again.
    /// Required.
    pub send: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            peer: *const hotstuff_validator_address,
            message: *const u8,
            len: usize,
        ) -> i32,
    >,
    /// Queues a message for every connected peer but oneself. NULL: the library calls send() for
    /// each peer that it has asked to connect.
    pub broadcast: Option<
        unsafe extern "C-unwind" fn(userdata: *mut c_void, message: *const u8, len: usize) -> i32,
    >,
    /// Waits for a message, at most `timeout_ms` milliseconds: hotstuff_inbox_put() and
    /// ::HOTSTUFF_OK, or ::HOTSTUFF_E_TIMEOUT, or ::HOTSTUFF_E_CLOSED if none will ever come.
    /// Called from one thread only. It must wait: after one that returns early with nothing, the
    /// library waits a little itself. NULL: the host calls hotstuff_replica_deliver() instead.
    pub receive: Option<
        unsafe extern "C-unwind" fn(
            userdata: *mut c_void,
            timeout_ms: u32,
            inbox: *mut hotstuff_inbox,
        ) -> i32,
    >,
    /// Makes the receive() that waits return, or else the next one. May be NULL: then receive() is
    /// called with at most 100 ms.
    pub wake: Option<unsafe extern "C-unwind" fn(userdata: *mut c_void)>,
}

// SAFETY: repr(C), struct_size first, and zero is "no callback".
unsafe impl Growing for hotstuff_network_callbacks {
    const BYTES_MIN: usize = std::mem::size_of::<hotstuff_network_callbacks>();
    const NAME: &'static str = "hotstuff_network_callbacks";
}

/// Zeroes a table and notes its size. Call it before you fill the table. [any]
///
/// @param table        the table
/// @param struct_size  `sizeof *table`
#[no_mangle]
pub unsafe extern "C" fn hotstuff_network_callbacks_init(
    table: *mut hotstuff_network_callbacks,
    struct_size: usize,
) {
    // SAFETY: the header's rules: NULL, or `struct_size` bytes.
    unsafe { table::init(table, struct_size) }
}

/// Makes a network of a table of callbacks. On ::HOTSTUFF_OK the library has taken over userdata,
/// and will call destroy(). [any]
///
/// @param table  the table; copied
/// @param out    receives the network: yours, until hotstuff_replica_open() takes it
/// @retval HOTSTUFF_E_NULL              `table`, `out` or send() is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  the table was not initialised
/// @retval HOTSTUFF_E_UNSUPPORTED       the table sets callbacks that this library is too old to
///                                      know
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_network_from_callbacks(
    table: *const hotstuff_network_callbacks,
    out: *mut *mut hotstuff_network,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or initialised.
        let table: hotstuff_network_callbacks = unsafe { table::read(table) }?;
        if table.send.is_none() {
            return Err(failure(
                HOTSTUFF_E_NULL,
                "hotstuff_network_callbacks.send is NULL",
            ));
        }
        let owner = Owner::new();
        let network = CNetwork {
            table,
            owner,
            message_bytes_max: AtomicUsize::new(usize::MAX),
            peers: Mutex::default(),
            alarm: Alarm::default(),
            _userdata: Userdata::new(table.userdata, table.destroy, owner),
        };
        out.give(Network {
            owner,
            kind: Kind::Callbacks(Arc::new(network)),
        });
        Ok(())
    })
}

/// Frees a network that no replica has taken. [any]
///
/// @param network  the network; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_network_free(network: *mut hotstuff_network) {
    // SAFETY: the header's rules: NULL, or a living network that the caller owns and gives up.
    enter_quietly(|| drop(unsafe { take(network) }));
}

/// The network of a table.
pub(super) struct CNetwork {
    table: hotstuff_network_callbacks,
    owner: Owner,
    /// What an inbox takes.
    message_bytes_max: AtomicUsize,
    /// Who is connected, for a table without broadcast().
    peers: Mutex<BTreeSet<ValidatorAddress>>,
    alarm: Alarm,
    /// Destroyed with the last that holds the network.
    _userdata: Userdata,
}

// SAFETY: the table's contract: callbacks may come from any thread.
unsafe impl Send for CNetwork {}
// SAFETY: the table's contract: they may come from several at once, receive() excepted, which
// `NetworkProvider` calls from one thread.
unsafe impl Sync for CNetwork {}

/// The longest receive() of a table without wake(): how long a stop may take.
const WITHOUT_WAKE_MAX: Duration = Duration::from_millis(100);

/// A receive() that comes back early with nothing would make its thread spin: it is delayed.
const EARLY_RETURN_DELAY: Duration = Duration::from_millis(10);

impl CNetwork {
    /// One call of receive(), and how it ended.
    fn call_receive(&self, timeout: Duration) -> Result<(ValidatorAddress, Vec<u8>), Duration> {
        let Some(receive) = self.table.receive else {
            return Err(timeout);
        };
        let started = Instant::now();
        let longest = if self.table.wake.is_some() {
            timeout
        } else {
            timeout.min(WITHOUT_WAKE_MAX)
        };
        let timeout_ms = longest
            .as_micros()
            .div_ceil(1_000)
            .min(u128::from(u32::MAX - 1)) as u32;
        let inbox = Handle::new::<hotstuff_inbox>(Inbox {
            message_bytes_max: self.message_bytes_max.load(Ordering::Relaxed),
            message: Mutex::default(),
        });
        // SAFETY: the table's contract; the inbox is alive until it returns.
        let status = self.owner.call(|| unsafe {
            receive(
                self.table.userdata,
                timeout_ms,
                inbox.as_noun::<hotstuff_inbox>().cast_mut(),
            )
        });
        let message = inbox
            .value()
            .message
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let rest = longest.saturating_sub(started.elapsed());
        match (status, message) {
            (HOTSTUFF_OK, Some(message)) => Ok(message),
            (HOTSTUFF_OK | HOTSTUFF_E_TIMEOUT, _) => Err(rest.min(EARLY_RETURN_DELAY)),
            _ => Err(rest), // closed, or rubbish: nothing will come
        }
    }
}

impl NetworkProvider for CNetwork {
    fn connect(&self, peer: ValidatorAddress) {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer);
        if let Some(connect) = self.table.connect {
            let peer = hotstuff_validator_address::from(peer);
            // SAFETY: the table's contract; the address is alive until it returns.
            self.owner
                .call(|| unsafe { connect(self.table.userdata, &raw const peer) });
        }
    }

    fn disconnect(&self, peer: ValidatorAddress) {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&peer);
        if let Some(disconnect) = self.table.disconnect {
            let peer = hotstuff_validator_address::from(peer);
            // SAFETY: the table's contract; the address is alive until it returns.
            self.owner
                .call(|| unsafe { disconnect(self.table.userdata, &raw const peer) });
        }
    }

    fn send(&self, peer: ValidatorAddress, message: &[u8]) {
        let Some(send) = self.table.send else { return };
        let peer = hotstuff_validator_address::from(peer);
        // SAFETY: the table's contract; the address and the bytes are alive until it returns.
        self.owner.call(|| unsafe {
            send(
                self.table.userdata,
                &raw const peer,
                message.as_ptr(),
                message.len(),
            )
        });
    }

    fn broadcast(&self, message: &[u8]) {
        let Some(broadcast) = self.table.broadcast else {
            let peers = self
                .peers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            peers.into_iter().for_each(|peer| self.send(peer, message));
            return;
        };
        // SAFETY: the table's contract; the bytes are alive until it returns.
        self.owner
            .call(|| unsafe { broadcast(self.table.userdata, message.as_ptr(), message.len()) });
    }

    fn receive(&self, timeout: Duration) -> Option<(ValidatorAddress, Vec<u8>)> {
        if self.alarm.has_rung() {
            return None;
        }
        match self.call_receive(timeout) {
            Ok(message) => Some(message),
            Err(rest) => {
                self.alarm.wait(rest);
                None
            }
        }
    }

    fn wake(&self) {
        self.alarm.ring();
        if let Some(wake) = self.table.wake {
            // SAFETY: the table's contract.
            self.owner.call(|| unsafe { wake(self.table.userdata) });
        }
    }
}

/// Ends a wait; rung while nobody waits, it ends the next one.
#[derive(Default)]
struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_one();
    }

    fn has_rung(&self) -> bool {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait(&self, timeout: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(rung, timeout, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
