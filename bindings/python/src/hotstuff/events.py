# SPDX-License-Identifier: Apache-2.0
"""What happens in a replica."""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from dataclasses import dataclass

from . import _abi
from ._callbacks import Failures, destroy, field_type, serve, served
from ._library import fast
from ._objects import copy_bytes
from .values import Address, Hash


class EventKind(enum.IntEnum):
    """What happened. A newer library may tell of kinds that are not here."""

    START_VIEW = _abi.EVENT_START_VIEW
    PROPOSED = _abi.EVENT_PROPOSED
    VOTED = _abi.EVENT_VOTED
    QC_COLLECTED = _abi.EVENT_QC_COLLECTED
    COMMITTED = _abi.EVENT_COMMITTED
    VIEW_TIMEOUT = _abi.EVENT_VIEW_TIMEOUT
    VALIDATORS_CHANGED = _abi.EVENT_VALIDATORS_CHANGED
    SYNC_STARTED = _abi.EVENT_SYNC_STARTED
    SYNC_FINISHED = _abi.EVENT_SYNC_FINISHED
    EVIDENCE = _abi.EVENT_EVIDENCE
    DROPPED = _abi.EVENT_DROPPED
    FATAL = _abi.EVENT_FATAL
    DIVERGED = _abi.EVENT_DIVERGED
    APP_FAILED = _abi.EVENT_APP_FAILED
    SYNC_FAILED = _abi.EVENT_SYNC_FAILED
    BLOCK_REFUSED = _abi.EVENT_BLOCK_REFUSED
    TOO_MANY_PENDING = _abi.EVENT_TOO_MANY_PENDING
    WARNING = _abi.EVENT_WARNING
    TWIN_SEEN = _abi.EVENT_TWIN_SEEN


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a replica. What its kind has not is 0, None or empty."""

    kind: EventKind | int
    time_ns: int
    """Nanoseconds of Unix time."""
    epoch: int
    view: int
    height: int
    count: int
    message: str
    block: Hash | None
    peer: Address | None
    evidence: bytes
    """Canonical bytes, for `verify_evidence`."""


def _kind(number: int) -> EventKind | int:
    return EventKind(number) if number in EventKind._value2member_map_ else number


def read_event(pointer: int) -> Event:
    """A copy of what the library lends to a callback."""
    block, peer = _abi.hotstuff_hash(), _abi.hotstuff_validator_address()
    evidence = _abi.hotstuff_bytes()
    has_block = fast.hotstuff_event_block(pointer, block)
    has_peer = fast.hotstuff_event_peer(pointer, peer)
    fast.hotstuff_event_evidence(pointer, evidence)
    return Event(
        kind=_kind(fast.hotstuff_event_kind(pointer)),
        time_ns=fast.hotstuff_event_time_ns(pointer),
        epoch=fast.hotstuff_event_epoch(pointer),
        view=fast.hotstuff_event_view(pointer),
        height=fast.hotstuff_event_height(pointer),
        count=fast.hotstuff_event_count(pointer),
        message=fast.hotstuff_event_message(pointer).decode(),
        block=bytes(block.bytes) if has_block else None,
        peer=bytes(peer.bytes) if has_peer else None,
        evidence=copy_bytes(evidence),
    )


class ServedEvents:
    """Who is told, as the trampoline finds them."""

    def __init__(self, on_event: Callable[[Event], object], failures: Failures) -> None:
        self.on_event, self.failures = on_event, failures

    def table(self) -> _abi.hotstuff_event_callbacks:
        table = _abi.hotstuff_event_callbacks()
        fast.hotstuff_event_callbacks_init(table, ctypes.sizeof(table))
        table.userdata = serve(self)
        table.destroy = destroy
        table.on_event = _event
        return table


def _on_event(number: int | None, pointer: int) -> None:
    serving: ServedEvents | None = served(number)
    if serving is None:
        return
    try:
        serving.on_event(read_event(pointer))
    except BaseException as failure:
        serving.failures.keep(failure)


_event = field_type(_abi.hotstuff_event_callbacks, "on_event")(_on_event)
