//! The C functions that take bytes or text from outside: they refuse, or give an object whose
//! functions answer. `tests/c` calls them with wrong pointers; here the bytes are wrong.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use hotstuff::ffi::*;

use super::Bytes;

// As in the header; they are never renumbered.
const HOTSTUFF_OK: hotstuff_status = 0;
const HOTSTUFF_E_PANIC: hotstuff_status = -8;

/// What is called here, compared by `tests/fuzz` with the header.
pub const CALLED: &[&str] = &[
    "hotstuff_block_decode",
    "hotstuff_block_tree_open_read_only",
    "hotstuff_config_set_data_dir",
    "hotstuff_config_set_genesis_state",
    "hotstuff_config_set_option",
    "hotstuff_evidence_read",
    "hotstuff_keypair_from_pkcs8",
    "hotstuff_keypair_from_seed",
    "hotstuff_tcp_config_add_peer",
    "hotstuff_tcp_config_set_listen",
    "hotstuff_verify_commit_proof",
    "hotstuff_verify_epoch_proof",
    "hotstuff_verify_evidence",
    "hotstuff_verify_qc",
];

/// The target `filter` feeds what stands behind `deliver`. The others' objects live only in a
/// callback: `tests/c` has them.
pub const ELSEWHERE: &[&str] = &[
    "hotstuff_block_tree_state",
    "hotstuff_inbox_put",
    "hotstuff_replica_deliver",
    "hotstuff_updates_delete_state",
    "hotstuff_updates_set_data",
    "hotstuff_updates_set_state",
];

pub fn c_functions(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    match bytes.byte() % 7 {
        0 => block_decode(bytes.0),
        1 => keypair(bytes.0),
        2 => genesis_state(&mut bytes),
        3 => option(&mut bytes),
        4 => evidence(bytes.0),
        5 => proofs(bytes.0),
        _ => addresses(&mut bytes),
    }
}

fn block_decode(bytes: &[u8]) {
    let genesis = hotstuff_hash { bytes: [7; 32] };
    let mut block = null_mut();
    // SAFETY: the pointers are to living values of these lengths, and what is given is freed.
    unsafe {
        let status = hotstuff_block_decode(&genesis, bytes.as_ptr(), bytes.len(), &mut block);
        assert_eq!(status == HOTSTUFF_OK, !block.is_null());
        if status == HOTSTUFF_OK {
            let mut buffer = null_mut();
            assert_eq!(hotstuff_block_encode(block, &mut buffer), HOTSTUFF_OK);
            assert_eq!(contents(buffer), bytes);
            hotstuff_buffer_free(buffer);
            let mut hash = hotstuff_hash { bytes: [0; 32] };
            hotstuff_block_hash(block, &mut hash);
            assert_ne!(hash.bytes, [0; 32]);
        }
        hotstuff_block_free(block);
    }
}

/// # Safety
/// A living buffer.
unsafe fn contents<'a>(buffer: *const hotstuff_buffer) -> &'a [u8] {
    let mut bytes = hotstuff_bytes {
        data: null(),
        len: 0,
    };
    // SAFETY: the caller's contract; the bytes are the buffer's.
    unsafe {
        hotstuff_buffer_get(buffer, &mut bytes);
        std::slice::from_raw_parts(bytes.data, bytes.len)
    }
}

fn evidence(bytes: &[u8]) {
    let genesis = hotstuff_hash { bytes: [7; 32] };
    let mut validators = null_mut();
    let mut offender = hotstuff_validator_address { bytes: [0; 32] };
    let mut info = MaybeUninit::<hotstuff_evidence_info>::uninit();
    // SAFETY: the pointers are to living values of these lengths, and what is given is freed.
    unsafe {
        hotstuff_evidence_info_init(info.as_mut_ptr(), size_of::<hotstuff_evidence_info>());
        let read = hotstuff_evidence_read(bytes.as_ptr(), bytes.len(), info.as_mut_ptr());
        assert_ne!(read, HOTSTUFF_E_PANIC);
        assert_eq!(hotstuff_validator_set_new(&mut validators), HOTSTUFF_OK);
        let (bytes, len) = (bytes.as_ptr(), bytes.len());
        let status = hotstuff_verify_evidence(&genesis, validators, bytes, len, &mut offender);
        // Of no validators, none is guilty.
        assert!(status != HOTSTUFF_OK && status != HOTSTUFF_E_PANIC);
        hotstuff_validator_set_free(validators);
    }
}

/// A certificate or a proof of a set whose only validator has signed nothing.
fn proofs(bytes: &[u8]) {
    let hash = hotstuff_hash { bytes: [7; 32] };
    let validator = hotstuff_validator_address { bytes: [9; 32] };
    let (mut trusted, mut next) = (null_mut(), null_mut());
    // SAFETY: the pointers are to living values of these lengths, and what is given is freed.
    unsafe {
        assert_eq!(hotstuff_validator_set_new(&mut trusted), HOTSTUFF_OK);
        assert_eq!(
            hotstuff_validator_set_put(trusted, &validator, 1),
            HOTSTUFF_OK
        );
        let (bytes, len) = (bytes.as_ptr(), bytes.len());
        let info = null_mut();
        for status in [
            hotstuff_verify_qc(&hash, trusted, bytes, len, info),
            hotstuff_verify_commit_proof(&hash, trusted, &hash, bytes, len, info),
            hotstuff_verify_epoch_proof(&hash, trusted, bytes, len, &mut next),
        ] {
            assert!(status != HOTSTUFF_OK && status != HOTSTUFF_E_PANIC);
        }
        assert!(next.is_null());
        hotstuff_validator_set_free(trusted);
    }
}

fn keypair(bytes: &[u8]) {
    // SAFETY: the pointers are to living values of these lengths, and what is given is freed.
    unsafe {
        for read in [hotstuff_keypair_from_seed, hotstuff_keypair_from_pkcs8] {
            let mut key = null_mut();
            let status = read(bytes.as_ptr(), bytes.len(), &mut key);
            assert_eq!(status == HOTSTUFF_OK, !key.is_null());
            if status == HOTSTUFF_OK {
                let mut buffer = null_mut();
                assert_eq!(hotstuff_keypair_to_pkcs8(key, &mut buffer), HOTSTUFF_OK);
                assert_eq!(contents(buffer).len(), 48);
                hotstuff_buffer_free(buffer);
            }
            hotstuff_keypair_free(key);
        }
    }
}

fn genesis_state(bytes: &mut Bytes<'_>) {
    let config = config();
    for _ in 0..8 {
        let length = usize::from(bytes.number() % 600);
        let key = bytes.take(length);
        let length = usize::from(bytes.number());
        let value = bytes.take(length);
        // SAFETY: the pointers are to living values of these lengths.
        let status = unsafe {
            let (key, key_len) = (key.as_ptr(), key.len());
            hotstuff_config_set_genesis_state(config, key, key_len, value.as_ptr(), value.len())
        };
        assert_eq!(status == HOTSTUFF_OK, (1..=500).contains(&key.len()));
    }
    // SAFETY: it is ours, and given up.
    unsafe { hotstuff_config_free(config) };
}

/// A new config, to be freed.
fn config() -> *mut hotstuff_config {
    let mut config = null_mut();
    // SAFETY: a place for a pointer.
    assert_eq!(unsafe { hotstuff_config_new(&mut config) }, HOTSTUFF_OK);
    config
}

/// Text without the byte that ends it.
fn text(bytes: &mut Bytes<'_>) -> CString {
    let length = usize::from(bytes.byte());
    let text: Vec<u8> = bytes
        .take(length)
        .iter()
        .copied()
        .filter(|byte| *byte != 0)
        .collect();
    CString::new(text).expect("without zeros")
}

fn option(bytes: &mut Bytes<'_>) {
    let config = config();
    for _ in 0..8 {
        let (name, value) = (text(bytes), text(bytes));
        // SAFETY: the pointers are to living texts.
        unsafe {
            let (name, value) = (name.as_ptr(), value.as_ptr());
            let status = hotstuff_config_set_option(config, name, value);
            assert_ne!(status, HOTSTUFF_E_PANIC);
            let status = hotstuff_config_set_data_dir(config, value);
            assert_ne!(status, HOTSTUFF_E_PANIC);
            let mut tree = null_mut();
            let status = hotstuff_block_tree_open_read_only(value, &mut tree, null_mut());
            assert!(status != HOTSTUFF_OK && status != HOTSTUFF_E_PANIC && tree.is_null());
        }
    }
    // SAFETY: it is ours, and given up.
    unsafe { hotstuff_config_free(config) };
}

fn addresses(bytes: &mut Bytes<'_>) {
    let mut config = null_mut();
    // SAFETY: a place for a pointer.
    assert_eq!(unsafe { hotstuff_tcp_config_new(&mut config) }, HOTSTUFF_OK);
    for _ in 0..8 {
        let (address, listen) = (text(bytes), text(bytes));
        let mut peer = hotstuff_validator_address { bytes: [0; 32] };
        let key = bytes.take(32);
        peer.bytes[..key.len()].copy_from_slice(key);
        // SAFETY: the pointers are to living values.
        unsafe {
            let added = hotstuff_tcp_config_add_peer(config, &peer, address.as_ptr());
            let set = hotstuff_tcp_config_set_listen(config, listen.as_ptr());
            assert!(added != HOTSTUFF_E_PANIC && set != HOTSTUFF_E_PANIC);
        }
    }
    // SAFETY: it is ours, and given up.
    unsafe { hotstuff_tcp_config_free(config) };
}
