# SPDX-License-Identifier: Apache-2.0
"""Certificates and proofs: verified anywhere, without a replica and without a chain.

Who knows the genesis hash and the genesis validators can follow a chain over all its epochs by
`verify_epoch_proof`, and hold every block against `verify_commit_proof`.
"""

from __future__ import annotations

import ctypes
import enum
from dataclasses import dataclass

from . import _abi
from ._library import fast, library
from ._objects import fixed
from .errors import check
from .values import Hash, ValidatorSet


class Phase(enum.IntEnum):
    """Of a certificate: generic, or one of three of a block that updates the validators."""

    GENERIC = _abi.PHASE_GENERIC
    PREPARE = _abi.PHASE_PREPARE
    PRECOMMIT = _abi.PHASE_PRECOMMIT
    COMMIT = _abi.PHASE_COMMIT


@dataclass(frozen=True, slots=True)
class QcInfo:
    """What a quorum certificate says."""

    epoch: int
    view: int
    phase: Phase
    block: Hash
    """What was signed for; the genesis hash in the certificate of the genesis."""
    signed_power: int
    signer_count: int


def _qc_info() -> _abi.hotstuff_qc_info:
    out = _abi.hotstuff_qc_info()
    fast.hotstuff_qc_info_init(out, ctypes.sizeof(out))
    return out


def _read(out: _abi.hotstuff_qc_info) -> QcInfo:
    return QcInfo(
        epoch=out.epoch,
        view=out.view,
        phase=Phase(out.phase),
        block=bytes(out.block.bytes),
        signed_power=out.signed_power,
        signer_count=out.signer_count,
    )


def verify_qc(genesis: Hash, trusted: ValidatorSet, qc: bytes) -> QcInfo:
    """Checks that a quorum of the validators of the certificate's epoch has signed it."""
    fixed(genesis, _abi.HASH_LEN, "a genesis hash")
    out = _qc_info()
    status = library.hotstuff_verify_qc(genesis, trusted._handle, qc, len(qc), out)
    check(status, "verifying a certificate")
    return _read(out)


def verify_commit_proof(genesis: Hash, trusted: ValidatorSet, block: Hash, proof: bytes) -> QcInfo:
    """Checks that a block, and so all below it, is committed by the validators of its epoch."""
    fixed(genesis, _abi.HASH_LEN, "a genesis hash")
    fixed(block, _abi.HASH_LEN, "a hash")
    out = _qc_info()
    status = library.hotstuff_verify_commit_proof(
        genesis, trusted._handle, block, proof, len(proof), out
    )
    check(status, "verifying that a block is committed")
    return _read(out)


def verify_epoch_proof(genesis: Hash, trusted: ValidatorSet, proof: bytes) -> ValidatorSet:
    """Checks who validates in the next epoch, and returns them. `trusted` are those of the epoch
    that ends."""
    fixed(genesis, _abi.HASH_LEN, "a genesis hash")
    out = ctypes.c_void_p()
    status = library.hotstuff_verify_epoch_proof(genesis, trusted._handle, proof, len(proof), out)
    check(status, "verifying the next validators")
    return ValidatorSet(out)
