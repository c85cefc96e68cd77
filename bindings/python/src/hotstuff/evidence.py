# SPDX-License-Identifier: Apache-2.0
"""What a validator has signed that contradicts itself. Verified anywhere, without a replica."""

from __future__ import annotations

import ctypes
import enum
from dataclasses import dataclass

from . import _abi
from ._library import fast, library
from ._objects import fixed
from .errors import check
from .values import Address, Hash, ValidatorSet


class EvidenceKind(enum.IntEnum):
    """What the accused has done."""

    DOUBLE_VOTE = _abi.EVIDENCE_DOUBLE_VOTE
    DOUBLE_PROPOSAL = _abi.EVIDENCE_DOUBLE_PROPOSAL
    LYING_TIMEOUT = _abi.EVIDENCE_LYING_TIMEOUT


@dataclass(frozen=True, slots=True)
class EvidenceInfo:
    """What a piece of evidence claims. Whether it is true says `verify_evidence`."""

    kind: EvidenceKind
    epoch: int
    view: int
    vote_view: int
    validator: Address


def read_evidence(evidence: bytes) -> EvidenceInfo:
    """What a piece of evidence claims, unverified."""
    out = _abi.hotstuff_evidence_info()
    fast.hotstuff_evidence_info_init(out, ctypes.sizeof(out))
    check(fast.hotstuff_evidence_read(evidence, len(evidence), out), "reading evidence")
    return EvidenceInfo(
        EvidenceKind(out.kind), out.epoch, out.view, out.vote_view, bytes(out.validator.bytes)
    )


def verify_evidence(genesis: Hash, validators: ValidatorSet, evidence: bytes) -> Address:
    """Who is convicted by a piece of evidence; an exception if nobody is. `validators` are those of
    its epoch."""
    fixed(genesis, _abi.HASH_LEN, "a genesis hash")
    out = _abi.hotstuff_validator_address()
    status = library.hotstuff_verify_evidence(
        genesis, validators._handle, evidence, len(evidence), out
    )
    check(status, "verifying evidence")
    return bytes(out.bytes)
