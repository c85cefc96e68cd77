//! The TCP network that comes with the library.

use std::ffi::c_char;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use super::callback::Owner;
use super::entry::{enter, enter_described, enter_quietly, failure, Call, Failure};
use super::handle::{magic, take, Noun};
use super::network::{Kind, Network};
use super::*;
use crate::transport::{TcpConfig, TcpError, TcpNetwork};

/// How a TCP network is set up: a builder.
pub struct hotstuff_tcp_config {
    _private: [u8; 0],
}

impl Noun for hotstuff_tcp_config {
    const MAGIC: u32 = magic(b"TCPC");
    type Value = Mutex<TcpConfig>;
}

/// # Safety
/// NULL, or a living config.
unsafe fn change(
    config: *mut hotstuff_tcp_config,
    change: impl FnOnce(&Call, &mut TcpConfig) -> Result<(), Failure>,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the caller's contract.
        let config = unsafe { call.handle(config.cast_const()) }?;
        change(
            call,
            &mut config.lock().unwrap_or_else(PoisonError::into_inner),
        )
    })
}

impl From<TcpError> for Failure {
    fn from(error: TcpError) -> Self {
        let status = match &error {
            TcpError::Listen { error, .. } if error.kind() == ErrorKind::InvalidInput => {
                HOTSTUFF_E_INVALID_ARGUMENT // it is not host:port
            }
            TcpError::Listen { .. } | TcpError::System(_) => HOTSTUFF_E_IO,
            _ => HOTSTUFF_E_INVALID_ARGUMENT,
        };
        failure(status, error.to_string())
    }
}

/// Makes a TCP config that listens nowhere and knows nobody. [any]
///
/// @param out  receives the config: yours, free it with hotstuff_tcp_config_free()
/// @retval HOTSTUFF_E_NULL  `out` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_new(
    out: *mut *mut hotstuff_tcp_config,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        unsafe { call.out(out) }?.give(Mutex::default());
        Ok(())
    })
}

/// Where to listen. Without it the network only dials. [serial]
///
/// @param cfg   the config
/// @param addr  host:port, UTF-8, copied: "0.0.0.0:9000", "[::1]:0"; port 0 picks a free one, see
///              hotstuff_network_local_addr()
/// @retval HOTSTUFF_E_NULL              `cfg` or `addr` is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `addr` is not UTF-8
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_set_listen(
    cfg: *mut hotstuff_tcp_config,
    addr: *const c_char,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, config| {
            // SAFETY: the header's rules for strings.
            config.listen = Some(call.text(addr, "the address to listen on")?.to_owned());
            Ok(())
        })
    }
}

/// Where a peer listens, and the key it must prove. Of two calls for one peer the later
/// stands. [serial]
///
/// @param cfg   the config
/// @param peer  the peer's public key
/// @param addr  host:port, UTF-8, copied: "replica1.example.org:9000", "[2001:db8::1]:9000". The
///              name is looked up whenever a connection is made
/// @retval HOTSTUFF_E_NULL              an argument is NULL
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  `addr` is not UTF-8
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_add_peer(
    cfg: *mut hotstuff_tcp_config,
    peer: *const hotstuff_validator_address,
    addr: *const c_char,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, config| {
            // SAFETY: the header's rules: NULL, or an address; the header's rules for strings.
            let peer = (*call.plain(peer)?).into();
            let addr = call.text(addr, "the peer's address")?.to_owned();
            config.peers.retain(|(other, _)| *other != peer);
            config.peers.push((peer, addr));
            Ok(())
        })
    }
}

/// Under which key a peer is met, if it is not its validator's own: where that is in a security
/// module (hotstuff_config_set_signer()), the peer gives hotstuff_network_tcp() a key pair of its
/// own for the transport, and all others name the public half here. It speaks for nobody in the
/// protocol: what is signed there is signed by the validator's key. Of two calls for one peer the
/// later stands. [serial]
///
/// @param cfg   the config
/// @param peer  the validator
/// @param key   the public key that it proves
/// @retval HOTSTUFF_E_NULL  an argument is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_set_peer_key(
    cfg: *mut hotstuff_tcp_config,
    peer: *const hotstuff_validator_address,
    key: *const hotstuff_validator_address,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |call, config| {
            // SAFETY: the header's rules: NULL, or an address.
            let (peer, key) = ((*call.plain(peer)?).into(), (*call.plain(key)?).into());
            config.peer_keys.retain(|(other, _)| *other != peer);
            config.peer_keys.push((peer, key));
            Ok(())
        })
    }
}

/// How many connections of unknown keys are let in: replicas that follow the chain without being
/// validators. Default 0: none. [serial]
///
/// @param cfg          the config
/// @param connections  how many at once
/// @retval HOTSTUFF_E_NULL  `cfg` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_set_max_listeners(
    cfg: *mut hotstuff_tcp_config,
    connections: u32,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, config| {
            config.max_listeners = connections;
            Ok(())
        })
    }
}

/// The longest message either way. A peer that sends a longer one is cut off. Default: 8388608
/// (8 MiB). [serial]
///
/// @param cfg    the config
/// @param bytes  at least what hotstuff_config_max_message_bytes() gives, and less than
///               hotstuff_tcp_config_set_queue_bytes(); hotstuff_network_tcp() and
///               hotstuff_replica_open() check it
/// @retval HOTSTUFF_E_NULL       `cfg` is NULL
/// @retval HOTSTUFF_E_TOO_LARGE  beyond the address space
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_set_max_message_bytes(
    cfg: *mut hotstuff_tcp_config,
    bytes: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, config| {
            config.message_bytes_max = usize::try_from(bytes).map_err(|_| HOTSTUFF_E_TOO_LARGE)?;
            Ok(())
        })
    }
}

/// Messages that wait to be sent to one peer. When it is full, messages to that peer are lost, and
/// the protocol sends again. Votes have a queue of their own that no large block can hold up.
/// Default: 16777216 (16 MiB). [serial]
///
/// @param cfg    the config
/// @param bytes  bytes for each peer; more than hotstuff_tcp_config_set_max_message_bytes()
/// @retval HOTSTUFF_E_NULL  `cfg` is NULL
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_tcp_config_set_queue_bytes(
    cfg: *mut hotstuff_tcp_config,
    bytes: u64,
) -> hotstuff_status {
    // SAFETY: the header's rules: NULL, or a living config.
    unsafe {
        change(cfg, |_, config| {
            config.queue_bytes = bytes;
            Ok(())
        })
    }
}

/// Frees a TCP config. Networks made with it keep their copy. [any]
///
/// @param cfg  the config; NULL is a no-op
#[no_mangle]
pub unsafe extern "C" fn hotstuff_tcp_config_free(cfg: *mut hotstuff_tcp_config) {
    // SAFETY: the header's rules: NULL, or a living config that the caller gives up.
    enter_quietly(|| drop(unsafe { take(cfg) }));
}

/// Opens a TCP mesh under TLS 1.3, in which each end proves its Ed25519 key (raw public keys, RFC
/// 7250); keys that are not configured are refused. It listens at once, and connects when a replica
/// that has taken it starts. [any]
///
/// @param cfg  the config; copied
/// @param key  the key that this end proves: the validator's own, or the one that the others have
///             been told by hotstuff_tcp_config_set_peer_key(); copied
/// @param out  receives the network: yours, until hotstuff_replica_open() takes it
/// @param err  receives a described error, yours; may be NULL
/// @retval HOTSTUFF_E_NULL              `cfg`, `key` or `out` is NULL
/// @retval HOTSTUFF_E_IO                the address to listen on cannot be had
/// @retval HOTSTUFF_E_INVALID_ARGUMENT  an address is not host:port, two peers have one key, a peer
///                                      has this end's, or a limit does not fit the others
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_network_tcp(
    cfg: *const hotstuff_tcp_config,
    key: *const hotstuff_keypair,
    out: *mut *mut hotstuff_network,
    err: *mut *mut hotstuff_error,
) -> hotstuff_status {
    let body = |call: &Call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living config.
        let config = unsafe { call.handle(cfg) }?;
        // SAFETY: the header's rules: NULL, or a living key pair.
        let key = unsafe { call.handle(key) }?.duplicate();
        let config = config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let message_bytes_max = config.message_bytes_max;
        let network = Arc::new(TcpNetwork::open(config, key)?);
        let kind = Kind::Tcp {
            network,
            message_bytes_max,
        };
        out.give(Network {
            owner: Owner::new(),
            kind,
        });
        Ok(())
    };
    // SAFETY: the header's rules: NULL, or a place for a pointer.
    unsafe { enter_described(err, body) }
}

/// Where a TCP network listens, with the port it was given: "127.0.0.1:40213". To be asked before a
/// replica takes the network. [any]
///
/// @param network  the network
/// @param out      receives the text, not terminated by NUL: yours, free it with
///                 hotstuff_buffer_free()
/// @retval HOTSTUFF_E_NULL         `network` or `out` is NULL
/// @retval HOTSTUFF_E_NOT_FOUND    it does not listen
/// @retval HOTSTUFF_E_UNSUPPORTED  it is not a TCP network
#[no_mangle]
#[must_use]
pub unsafe extern "C" fn hotstuff_network_local_addr(
    network: *const hotstuff_network,
    out: *mut *mut hotstuff_buffer,
) -> hotstuff_status {
    enter(|call| {
        // SAFETY: the header's rules: NULL, or a place for a pointer.
        let out = unsafe { call.out(out) }?;
        // SAFETY: the header's rules: NULL, or a living network.
        match &unsafe { call.handle(network) }?.kind {
            Kind::Callbacks(_) => Err(HOTSTUFF_E_UNSUPPORTED.into()),
            Kind::Tcp { network, .. } => {
                let address = network.local_addr().ok_or(HOTSTUFF_E_NOT_FOUND)?;
                out.give(address.to_string().into_bytes());
                Ok(())
            }
        }
    })
}
