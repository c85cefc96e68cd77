# SPDX-License-Identifier: Apache-2.0
# Written by generate_abi.py from include/hotstuff.h. Do not edit.
"""The ABI of libhotstuff: constants, structs, and the types of every function."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

VERSION_MAJOR = 0
VERSION_MINOR = 1
VERSION_PATCH = 0
VERSION_NUMBER = 1000
VERSION_STRING = "0.1.0"
ABI_VERSION = 0
OK = 0
E_NULL = -1
E_INVALID_ARGUMENT = -2
E_NOT_FOUND = -3
E_TIMEOUT = -4
E_CLOSED = -5
E_STATE = -6
E_REENTRANT = -7
E_PANIC = -8
E_POISONED = -9
E_IO = -10
E_STORAGE = -11
E_CORRUPT = -12
E_LOCKED = -13
E_GENESIS_MISMATCH = -14
E_DECODE = -15
E_BAD_SIGNATURE = -16
E_NO_QUORUM = -17
E_UNSUPPORTED = -18
E_TOO_LARGE = -19
E_DONE = -20
E_CALLBACK = -21
E_NO_MEMORY = -22
E_HALTED = -23
E_WOULD_BLOCK = -24
FEATURE_TCP = 1
HASH_LEN = 32
VALIDATOR_ADDRESS_LEN = 32
SECRET_SEED_LEN = 32
SIGNATURE_LEN = 64
NO_TIMEOUT = 4294967295
COMMIT_RULE_THREE_CHAIN = 0
COMMIT_RULE_TWO_CHAIN = 1
VOTE_TO_AUTO = 0
VOTE_TO_ALL = 1
VOTE_TO_NEXT_LEADER = 2
DURABILITY_SYNCED = 0
DURABILITY_PROCESS_CRASH = 1
PROPOSE_DEFER = 1
BLOCK_INVALID = 0
BLOCK_VALID = 1
EVENT_START_VIEW = 1
EVENT_PROPOSED = 2
EVENT_VOTED = 3
EVENT_QC_COLLECTED = 4
EVENT_COMMITTED = 5
EVENT_VIEW_TIMEOUT = 6
EVENT_VALIDATORS_CHANGED = 7
EVENT_SYNC_STARTED = 8
EVENT_SYNC_FINISHED = 9
EVENT_EVIDENCE = 10
EVENT_DROPPED = 11
EVENT_FATAL = 12
EVENT_DIVERGED = 13
EVENT_APP_FAILED = 14
EVENT_SYNC_FAILED = 15
EVENT_BLOCK_REFUSED = 16
EVENT_TOO_MANY_PENDING = 17
EVENT_WARNING = 18
EVENT_TWIN_SEEN = 19
PHASE_GENERIC = 0
PHASE_PREPARE = 1
PHASE_PRECOMMIT = 2
PHASE_COMMIT = 3
EVIDENCE_DOUBLE_VOTE = 1
EVIDENCE_DOUBLE_PROPOSAL = 2
EVIDENCE_LYING_TIMEOUT = 3
ROLE_LISTENER = 0
ROLE_VALIDATOR = 1
LOG_OFF = 0
LOG_ERROR = 1
LOG_WARN = 2
LOG_INFO = 3
LOG_DEBUG = 4
LOG_TRACE = 5

hotstuff_log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p, c_char_p)


class hotstuff_bytes(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("len", c_size_t),
    ]


class hotstuff_hash(Structure):
    _fields_ = [
        ("bytes", c_uint8 * 32),
    ]


class hotstuff_signature(Structure):
    _fields_ = [
        ("bytes", c_uint8 * 64),
    ]


class hotstuff_validator_address(Structure):
    _fields_ = [
        ("bytes", c_uint8 * 32),
    ]


class hotstuff_signer_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("userdata", c_void_p),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("sign", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t, POINTER(hotstuff_signature))),
    ]


class hotstuff_pacemaker_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("userdata", c_void_p),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("wait_timeout", CFUNCTYPE(c_uint64, c_void_p, c_void_p, c_uint64, c_uint64, c_uint64)),
        ("view_leader", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, POINTER(c_size_t))),
    ]


class hotstuff_app_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("userdata", c_void_p),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("propose_block", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p)),
        ("validate_block", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p)),
    ]


class hotstuff_network_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("userdata", c_void_p),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("connect", CFUNCTYPE(c_int32, c_void_p, c_void_p)),
        ("disconnect", CFUNCTYPE(c_int32, c_void_p, c_void_p)),
        ("send", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t)),
        ("broadcast", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t)),
        ("receive", CFUNCTYPE(c_int32, c_void_p, c_uint32, c_void_p)),
        ("wake", CFUNCTYPE(None, c_void_p)),
    ]


class hotstuff_event_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("userdata", c_void_p),
        ("destroy", CFUNCTYPE(None, c_void_p)),
        ("on_event", CFUNCTYPE(None, c_void_p, c_void_p)),
    ]


class hotstuff_qc_info(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epoch", c_uint64),
        ("view", c_uint64),
        ("signed_power", c_uint64),
        ("phase", c_uint32),
        ("signer_count", c_uint32),
        ("block", hotstuff_hash),
    ]


class hotstuff_evidence_info(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_uint32),
        ("reserved", c_uint32),
        ("epoch", c_uint64),
        ("view", c_uint64),
        ("vote_view", c_uint64),
        ("validator", hotstuff_validator_address),
    ]


class hotstuff_replica_info(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epoch", c_uint64),
        ("view", c_uint64),
        ("committed_height", c_uint64),
        ("highest_qc_view", c_uint64),
        ("sync_target_height", c_uint64),
        ("role", c_uint32),
        ("halted", c_uint32),
        ("silenced", c_uint32),
        ("reserved", c_uint32),
    ]


class hotstuff_metrics(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("epoch", c_uint64),
        ("current_view", c_uint64),
        ("committed_height", c_uint64),
        ("proposals", c_uint64),
        ("votes", c_uint64),
        ("view_timeouts", c_uint64),
        ("messages_in", c_uint64),
        ("messages_out", c_uint64),
        ("bytes_in", c_uint64),
        ("bytes_out", c_uint64),
        ("messages_rejected", c_uint64),
        ("events_dropped", c_uint64),
        ("transactions", c_uint64),
        ("app_failures", c_uint64),
        ("evidence_found", c_uint64),
    ]


class hotstuff_voting_record(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("changes", c_uint64),
        ("voted_epoch", c_uint64),
        ("voted_view", c_uint64),
        ("timed_out_epoch", c_uint64),
        ("timed_out_view", c_uint64),
        ("proposed_epoch", c_uint64),
        ("proposed_view", c_uint64),
        ("voted_block", hotstuff_hash),
        ("proposed_block", hotstuff_hash),
        ("voted_phase", c_uint32),
        ("reserved", c_uint32),
    ]


FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "hotstuff_status_name": (c_char_p, [c_int32]),
    "hotstuff_status_message": (c_char_p, [c_int32]),
    "hotstuff_error_status": (c_int32, [c_void_p]),
    "hotstuff_error_message": (c_char_p, [c_void_p]),
    "hotstuff_error_free": (None, [c_void_p]),
    "hotstuff_version_number": (c_uint32, []),
    "hotstuff_version_string": (c_char_p, []),
    "hotstuff_abi_version": (c_uint32, []),
    "hotstuff_has_feature": (c_bool, [c_uint32]),
    "hotstuff_buffer_get": (None, [c_void_p, POINTER(hotstuff_bytes)]),
    "hotstuff_buffer_free": (None, [c_void_p]),
    "hotstuff_keypair_generate": (c_int32, [POINTER(c_void_p)]),
    "hotstuff_keypair_from_seed": (c_int32, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_keypair_from_pkcs8": (c_int32, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_keypair_to_pkcs8": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_keypair_public": (c_int32, [c_void_p, POINTER(hotstuff_validator_address)]),
    "hotstuff_keypair_free": (None, [c_void_p]),
    "hotstuff_signer_callbacks_init": (None, [POINTER(hotstuff_signer_callbacks), c_size_t]),
    "hotstuff_validator_set_new": (c_int32, [POINTER(c_void_p)]),
    "hotstuff_validator_set_put": (c_int32, [c_void_p, c_void_p, c_uint64]),
    "hotstuff_validator_set_len": (c_size_t, [c_void_p]),
    "hotstuff_validator_set_at": (c_int32, [c_void_p, c_size_t, POINTER(hotstuff_validator_address),
        POINTER(c_uint64)]),
    "hotstuff_validator_set_total_power": (c_uint64, [c_void_p]),
    "hotstuff_validator_set_quorum_power": (c_uint64, [c_void_p]),
    "hotstuff_validator_set_epoch": (c_uint64, [c_void_p]),
    "hotstuff_validator_set_set_epoch": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_validator_set_free": (None, [c_void_p]),
    "hotstuff_pacemaker_callbacks_init": (None, [POINTER(hotstuff_pacemaker_callbacks), c_size_t]),
    "hotstuff_block_hash": (None, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_block_parent_hash": (None, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_block_data_hash": (None, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_block_height": (c_uint64, [c_void_p]),
    "hotstuff_block_epoch": (c_uint64, [c_void_p]),
    "hotstuff_block_view": (c_uint64, [c_void_p]),
    "hotstuff_block_data": (None, [c_void_p, POINTER(hotstuff_bytes)]),
    "hotstuff_block_encode": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_decode": (c_int32, [c_void_p, c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_block_free": (None, [c_void_p]),
    "hotstuff_block_tree_state": (c_int32, [c_void_p, c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_block_tree_block": (c_int32, [c_void_p, c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_tree_block_at": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p)]),
    "hotstuff_block_tree_committed_height": (c_int32, [c_void_p, POINTER(c_uint64)]),
    "hotstuff_block_tree_highest_qc": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_tree_validators": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_tree_validators_of": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p)]),
    "hotstuff_block_tree_commit_qc_of": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p)]),
    "hotstuff_block_tree_commit_proof": (c_int32, [c_void_p, c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_tree_epoch_proof": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p)]),
    "hotstuff_block_tree_iter": (c_int32, [c_void_p, c_uint64, POINTER(c_void_p)]),
    "hotstuff_block_iter_next": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_block_iter_free": (None, [c_void_p]),
    "hotstuff_block_tree_free": (None, [c_void_p]),
    "hotstuff_config_new": (c_int32, [POINTER(c_void_p)]),
    "hotstuff_config_set_chain_id": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_config_set_genesis_validators": (c_int32, [c_void_p, c_void_p]),
    "hotstuff_config_set_genesis_state": (c_int32, [c_void_p, c_void_p, c_size_t, c_void_p,
        c_size_t]),
    "hotstuff_config_set_commit_rule": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_config_set_max_idle_ms": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_config_set_max_block_bytes": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_config_genesis_hash": (c_int32, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_config_max_message_bytes": (c_int32, [c_void_p, POINTER(c_uint64)]),
    "hotstuff_config_set_keypair": (c_int32, [c_void_p, c_void_p]),
    "hotstuff_config_set_signer": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "hotstuff_config_set_data_dir": (c_int32, [c_void_p, c_char_p]),
    "hotstuff_config_set_create": (c_int32, [c_void_p, c_bool]),
    "hotstuff_config_set_map_size": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_config_set_durability": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_config_set_view_timeout_ms": (c_int32, [c_void_p, c_uint32, c_uint32]),
    "hotstuff_config_set_pacemaker": (c_int32, [c_void_p, c_void_p]),
    "hotstuff_config_set_vote_to": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_config_set_sync": (c_int32, [c_void_p, c_uint32, c_uint32]),
    "hotstuff_config_free": (None, [c_void_p]),
    "hotstuff_config_set_option": (c_int32, [c_void_p, c_char_p, c_char_p]),
    "hotstuff_updates_set_data": (c_int32, [c_void_p, c_void_p, c_size_t]),
    "hotstuff_updates_set_state": (c_int32, [c_void_p, c_void_p, c_size_t, c_void_p, c_size_t]),
    "hotstuff_updates_delete_state": (c_int32, [c_void_p, c_void_p, c_size_t]),
    "hotstuff_updates_set_validator": (c_int32, [c_void_p, c_void_p, c_uint64]),
    "hotstuff_propose_block_request_cur_view": (c_uint64, [c_void_p]),
    "hotstuff_propose_block_request_prev_block": (None, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_propose_block_request_budget_ms": (c_uint32, [c_void_p]),
    "hotstuff_propose_block_request_block_tree": (c_void_p, [c_void_p]),
    "hotstuff_validate_block_request_cur_view": (c_uint64, [c_void_p]),
    "hotstuff_validate_block_request_proposed_block": (c_void_p, [c_void_p]),
    "hotstuff_validate_block_request_block_tree": (c_void_p, [c_void_p]),
    "hotstuff_validate_block_request_is_sync": (c_bool, [c_void_p]),
    "hotstuff_app_callbacks_init": (None, [POINTER(hotstuff_app_callbacks), c_size_t]),
    "hotstuff_inbox_put": (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t]),
    "hotstuff_network_callbacks_init": (None, [POINTER(hotstuff_network_callbacks), c_size_t]),
    "hotstuff_network_from_callbacks": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_network_free": (None, [c_void_p]),
    "hotstuff_tcp_config_new": (c_int32, [POINTER(c_void_p)]),
    "hotstuff_tcp_config_set_listen": (c_int32, [c_void_p, c_char_p]),
    "hotstuff_tcp_config_add_peer": (c_int32, [c_void_p, c_void_p, c_char_p]),
    "hotstuff_tcp_config_set_peer_key": (c_int32, [c_void_p, c_void_p, c_void_p]),
    "hotstuff_tcp_config_set_max_listeners": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_tcp_config_set_max_message_bytes": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_tcp_config_set_queue_bytes": (c_int32, [c_void_p, c_uint64]),
    "hotstuff_tcp_config_free": (None, [c_void_p]),
    "hotstuff_network_tcp": (c_int32, [c_void_p, c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "hotstuff_network_local_addr": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_event_kind": (c_uint32, [c_void_p]),
    "hotstuff_event_time_ns": (c_uint64, [c_void_p]),
    "hotstuff_event_epoch": (c_uint64, [c_void_p]),
    "hotstuff_event_view": (c_uint64, [c_void_p]),
    "hotstuff_event_height": (c_uint64, [c_void_p]),
    "hotstuff_event_count": (c_uint64, [c_void_p]),
    "hotstuff_event_message": (c_char_p, [c_void_p]),
    "hotstuff_event_evidence": (None, [c_void_p, POINTER(hotstuff_bytes)]),
    "hotstuff_event_block": (c_bool, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_event_peer": (c_bool, [c_void_p, POINTER(hotstuff_validator_address)]),
    "hotstuff_event_callbacks_init": (None, [POINTER(hotstuff_event_callbacks), c_size_t]),
    "hotstuff_qc_info_init": (None, [POINTER(hotstuff_qc_info), c_size_t]),
    "hotstuff_verify_qc": (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t,
        POINTER(hotstuff_qc_info)]),
    "hotstuff_verify_commit_proof": (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_size_t,
        POINTER(hotstuff_qc_info)]),
    "hotstuff_verify_epoch_proof": (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t,
        POINTER(c_void_p)]),
    "hotstuff_evidence_info_init": (None, [POINTER(hotstuff_evidence_info), c_size_t]),
    "hotstuff_replica_evidence_at": (c_int32, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_evidence_read": (c_int32, [c_void_p, c_size_t, POINTER(hotstuff_evidence_info)]),
    "hotstuff_verify_evidence": (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t,
        POINTER(hotstuff_validator_address)]),
    "hotstuff_replica_info_init": (None, [POINTER(hotstuff_replica_info), c_size_t]),
    "hotstuff_metrics_init": (None, [POINTER(hotstuff_metrics), c_size_t]),
    "hotstuff_voting_record_init": (None, [POINTER(hotstuff_voting_record), c_size_t]),
    "hotstuff_block_tree_open_read_only": (c_int32, [c_char_p, POINTER(c_void_p),
        POINTER(c_void_p)]),
    "hotstuff_block_tree_genesis_hash": (c_int32, [c_void_p, POINTER(hotstuff_hash)]),
    "hotstuff_block_tree_pending_at": (c_int32, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_block_tree_evidence_at": (c_int32, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "hotstuff_block_tree_voting_record": (c_int32, [c_void_p, POINTER(hotstuff_voting_record)]),
    "hotstuff_block_justify": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_replica_open": (c_int32, [c_void_p, c_void_p, c_void_p, POINTER(c_void_p),
        POINTER(c_void_p)]),
    "hotstuff_replica_set_events": (c_int32, [c_void_p, c_void_p]),
    "hotstuff_replica_start": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_replica_stop": (c_int32, [c_void_p, c_uint32]),
    "hotstuff_replica_free": (None, [c_void_p]),
    "hotstuff_replica_deliver": (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t]),
    "hotstuff_replica_notify": (c_int32, [c_void_p]),
    "hotstuff_replica_snapshot": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_replica_next_committed": (c_int32, [c_void_p, c_uint64, c_uint32, POINTER(c_void_p)]),
    "hotstuff_replica_wait_committed": (c_int32, [c_void_p, c_uint64, c_uint32]),
    "hotstuff_replica_wait": (c_int32, [c_void_p, c_uint32, POINTER(c_void_p)]),
    "hotstuff_replica_get_info": (c_int32, [c_void_p, POINTER(hotstuff_replica_info)]),
    "hotstuff_replica_metrics": (c_int32, [c_void_p, POINTER(hotstuff_metrics)]),
    "hotstuff_replica_metrics_text": (c_int32, [c_void_p, POINTER(c_void_p)]),
    "hotstuff_set_logger": (c_int32, [hotstuff_log_fn, c_void_p, c_int32]),
}


def declare(library: ctypes.CDLL) -> None:
    """Tells ctypes the types of every function; AttributeError names one that is missing."""
    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = parameters
