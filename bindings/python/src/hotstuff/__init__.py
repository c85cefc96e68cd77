# SPDX-License-Identifier: Apache-2.0
"""libhotstuff for Python: HotStuff Byzantine-fault-tolerant replication.

    config = hotstuff.Config(chain_id=1, validators={...}, key=key, data_dir="data", create=True)
    network = hotstuff.TcpNetwork(key, listen="127.0.0.1:9000", peers={...})
    with hotstuff.Replica(config, app, network) as replica:
        replica.start()
        for block in replica.committed_blocks():
            ...

`app` is your own class with the two methods of `App`. Objects are closed by `with` or `close()`. A
busy Python program delays the votes of its replica, which wait for the interpreter: keep the view
time-out at a second or more. For child processes use multiprocessing's "spawn".
"""

from __future__ import annotations

from ._abi import ABI_VERSION
from ._library import LibraryError, fast, library_path
from .app import App, ProposeBlockRequest, Updates, ValidateBlockRequest
from .block_tree import BlockTree, Signed, VotingRecord
from .config import CommitRule, Config, Durability, VoteTo
from .control import Pacemaker, Signer
from .errors import (
    BadSignature,
    CallbackFailed,
    Closed,
    Corrupt,
    DecodeError,
    GenesisMismatch,
    Halted,
    HotstuffError,
    InputOutput,
    InvalidArgument,
    LibraryBug,
    Locked,
    NoQuorum,
    NotFound,
    Reentrant,
    StorageFailed,
    Timeout,
    TooLarge,
    Unsupported,
    WouldBlock,
    WrongState,
)
from .events import Event, EventKind
from .evidence import EvidenceInfo, EvidenceKind, read_evidence, verify_evidence
from .logger import log_to_logging, stop_logging
from .network import BroadcastNetwork, Network, OpenNetwork, PullNetwork, TcpNetwork
from .proofs import Phase, QcInfo, verify_commit_proof, verify_epoch_proof, verify_qc
from .replica import Metrics, Replica, ReplicaInfo
from .values import Address, Block, Hash, KeyPair, ValidatorSet

__version__: str = fast.hotstuff_version_string().decode()

__all__ = [
    "ABI_VERSION",
    "Address",
    "App",
    "BadSignature",
    "Block",
    "BlockTree",
    "BroadcastNetwork",
    "CallbackFailed",
    "Closed",
    "CommitRule",
    "Config",
    "Corrupt",
    "DecodeError",
    "Durability",
    "Event",
    "EventKind",
    "EvidenceInfo",
    "EvidenceKind",
    "GenesisMismatch",
    "Halted",
    "Hash",
    "HotstuffError",
    "InputOutput",
    "InvalidArgument",
    "KeyPair",
    "LibraryBug",
    "LibraryError",
    "Locked",
    "Metrics",
    "Network",
    "NoQuorum",
    "NotFound",
    "OpenNetwork",
    "Pacemaker",
    "Phase",
    "ProposeBlockRequest",
    "PullNetwork",
    "QcInfo",
    "Reentrant",
    "Replica",
    "ReplicaInfo",
    "Signed",
    "Signer",
    "StorageFailed",
    "TcpNetwork",
    "Timeout",
    "TooLarge",
    "Unsupported",
    "Updates",
    "ValidateBlockRequest",
    "ValidatorSet",
    "VoteTo",
    "VotingRecord",
    "WouldBlock",
    "WrongState",
    "library_path",
    "log_to_logging",
    "read_evidence",
    "stop_logging",
    "verify_commit_proof",
    "verify_epoch_proof",
    "verify_evidence",
    "verify_qc",
]
