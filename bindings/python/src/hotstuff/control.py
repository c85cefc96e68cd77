# SPDX-License-Identifier: Apache-2.0
"""What a host may replace: who signs, and how long views last and who leads them."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

from . import _abi
from ._callbacks import Failures, destroy, field_type, serve, served
from ._library import fast
from .values import Address, ValidatorSet


class Signer(Protocol):
    """Whoever holds the validator's key, if it is not this process."""

    def sign(self, message: bytes) -> bytes:
        """Signs 32 bytes with Ed25519 (RFC 8032): 64 bytes. An exception costs the view. Be quick
        against the view time-out."""
        ...


class Pacemaker(Protocol):
    """How long a view lasts, and who leads it. Pure, and never blocking. Validators are given as
    (address, power), sorted by address."""

    def wait_timeout(
        self,
        validators: list[tuple[Address, int]],
        highest_qc_view: int,
        highest_commit_view: int,
        cur_view: int,
    ) -> float:
        """Seconds to wait in view `cur_view`; 0 stands for "no view yet" in the other two. The
        waits must grow while nothing is certified or committed. After an exception: a second."""
        ...

    def view_leader(self, validators: list[tuple[Address, int]], cur_view: int) -> Address:
        """Who leads a view: the same on all replicas, and everyone again and again. An exception
        halts the replica."""
        ...


class LentValidatorSet(ValidatorSet):
    """Validators that a callback was lent."""

    _free = staticmethod(lambda _pointer: None)


FALLBACK_WAIT_MS = 1000


class ServedSigner:
    def __init__(self, signer: Signer, failures: Failures) -> None:
        self.signer, self.failures = signer, failures

    def table(self) -> _abi.hotstuff_signer_callbacks:
        table = _abi.hotstuff_signer_callbacks()
        fast.hotstuff_signer_callbacks_init(table, ctypes.sizeof(table))
        table.userdata, table.destroy, table.sign = serve(self), destroy, _sign
        return table


class ServedPacemaker:
    def __init__(self, pacemaker: Pacemaker, failures: Failures) -> None:
        self.pacemaker, self.failures = pacemaker, failures

    def table(self) -> _abi.hotstuff_pacemaker_callbacks:
        table = _abi.hotstuff_pacemaker_callbacks()
        fast.hotstuff_pacemaker_callbacks_init(table, ctypes.sizeof(table))
        table.userdata, table.destroy = serve(self), destroy
        table.wait_timeout, table.view_leader = _wait_timeout, _view_leader
        return table


def _members(pointer: int) -> list[tuple[Address, int]]:
    with LentValidatorSet(ctypes.c_void_p(pointer)) as validators:
        return list(validators)


def _on_sign(number: int | None, message: int, length: int, out: Any) -> int:
    serving: ServedSigner | None = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    try:
        signature = serving.signer.sign(ctypes.string_at(message, length))
        if len(signature) != _abi.SIGNATURE_LEN:
            raise ValueError(f"a signature has {_abi.SIGNATURE_LEN} bytes, got {len(signature)}")
        ctypes.memmove(out, signature, _abi.SIGNATURE_LEN)
        return _abi.OK
    except BaseException as failure:
        serving.failures.keep(failure)
        return _abi.E_CALLBACK


def _on_wait_timeout(
    number: int | None, validators: int, qc_view: int, commit_view: int, cur_view: int
) -> int:
    serving: ServedPacemaker | None = served(number)
    if serving is None:
        return FALLBACK_WAIT_MS
    try:
        wait = serving.pacemaker.wait_timeout
        return int(wait(_members(validators), qc_view, commit_view, cur_view) * 1000)
    except BaseException as failure:
        serving.failures.keep(failure)
        return FALLBACK_WAIT_MS


def _on_view_leader(number: int | None, validators: int, cur_view: int, out: Any) -> int:
    serving: ServedPacemaker | None = served(number)
    if serving is None:
        return _abi.E_CALLBACK
    try:
        members = _members(validators)
        leader = serving.pacemaker.view_leader(members, cur_view)
        out[0] = [address for address, _ in members].index(leader)
        return _abi.OK
    except BaseException as failure:
        serving.failures.keep(failure)
        return _abi.E_CALLBACK


_sign = field_type(_abi.hotstuff_signer_callbacks, "sign")(_on_sign)
_wait_timeout = field_type(_abi.hotstuff_pacemaker_callbacks, "wait_timeout")(_on_wait_timeout)
_view_leader = field_type(_abi.hotstuff_pacemaker_callbacks, "view_leader")(_on_view_leader)
