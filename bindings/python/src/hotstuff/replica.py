# SPDX-License-Identifier: Apache-2.0
"""Replicas: the threads, the disk and the network of one participant of a chain."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import _abi
from ._callbacks import Failures, forget
from ._library import fast, library
from ._objects import Managed, fixed, take_bytes
from .app import App, ServedApp
from .block_tree import BlockTree
from .config import Config
from .errors import Closed, Reentrant, Timeout, check, error
from .events import Event, ServedEvents
from .network import CallbackNetwork, Network, OpenNetwork
from .values import Address, Block

SLICE_MS = 100
"""The longest that a call waits inside the library: signals and exceptions are seen in between."""
EXIT_SECONDS = 10.0
"""How long the end of the interpreter waits for the callbacks of a replica that still runs."""

_live: weakref.WeakSet[Replica] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """Where a replica is, at one moment."""

    epoch: int
    view: int
    committed_height: int
    highest_qc_view: int
    sync_target_height: int
    """The height it is catching up to; 0 when it is not."""
    is_validator: bool
    halted: bool
    silenced: bool
    """Whether it has seen its own key used elsewhere, and signs nothing more."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counters since the replica was opened. They only rise, but for the view."""

    epoch: int
    current_view: int
    committed_height: int
    proposals: int
    votes: int
    view_timeouts: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    messages_rejected: int
    events_dropped: int
    transactions: int
    app_failures: int
    evidence_found: int


class Replica(Managed):
    """One participant of a chain. Opened by the constructor, which starts nothing.

    The replica takes the network over. Close it, or use it in a `with` statement: an app that
    knows its replica would else live for ever. Exceptions in callbacks are kept, and raised by the
    next call on the replica; only the first is, with a note of how many followed.
    """

    _free = staticmethod(library.hotstuff_replica_free)

    def __init__(
        self,
        config: Config,
        app: App,
        network: OpenNetwork | Network,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        opened = network if isinstance(network, OpenNetwork) else CallbackNetwork(network)
        self._failures = Failures()
        self._other_failures = opened._failures, config._failures
        self._calls = 0
        self._calls_changed = threading.Condition()
        self._closing = False
        super().__init__(self._open(config, app, opened))
        opened._give_up()
        _live.add(self)
        if on_event is not None:
            self._set_events(on_event)

    def _open(self, config: Config, app: App, network: OpenNetwork) -> ctypes.c_void_p:
        table = ServedApp(app, self._failures).table()
        out, err = ctypes.c_void_p(), ctypes.c_void_p()
        status = library.hotstuff_replica_open(
            config._handle, ctypes.byref(table), network._handle, out, err
        )
        if status != _abi.OK:
            forget(table.userdata)
        check(status, "opening a replica", err)
        return out

    def _set_events(self, on_event: Callable[[Event], object]) -> None:
        table = ServedEvents(on_event, self._failures).table()
        status = library.hotstuff_replica_set_events(self._handle, ctypes.byref(table))
        if status != _abi.OK:
            forget(table.userdata)
        check(status, "setting events")

    @contextlib.contextmanager
    def _call(self) -> Iterator[int]:
        """The pointer, for one call: close() waits for it."""
        with self._calls_changed:
            pointer = self._handle
            if self._closing:
                raise ValueError("this Replica is being closed")
            self._calls += 1
        try:
            yield pointer
        finally:
            with self._calls_changed:
                self._calls -= 1
                self._calls_changed.notify_all()

    def raise_kept(self) -> None:
        """Raises what a callback has raised since the last call, if anything."""
        self._failures.raise_kept()
        for failures in self._other_failures:
            failures.raise_kept()

    # ---- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the replica's threads. Once. From here on the library calls the app."""
        with self._call() as pointer:
            err = ctypes.c_void_p()
            check(library.hotstuff_replica_start(pointer, err), "starting the replica", err)

    def stop(self, timeout: float | None = None) -> None:
        """Stops the replica and waits for its threads: then no callback runs any more. Timeout if
        a callback has not returned in time: call again. A second stop does nothing."""
        with self._call() as pointer:
            self._stop(pointer, timeout)

    def _stop(self, pointer: int, timeout: float | None) -> None:
        for wait_ms in _slices(timeout):
            status = library.hotstuff_replica_stop(pointer, wait_ms)
            if status != _abi.E_TIMEOUT:
                break
        check(status, "stopping the replica")

    def close(self) -> None:
        """Stops the replica, however long it takes, closes its data directory, and frees it. Calls
        on other threads end with `Closed`. Snapshots stay. A second call does nothing."""
        with self._calls_changed:
            if self.closed or self._closing:
                self._pointer = None
                return
            pointer, self._closing = self._handle, True
        try:
            self._stop(pointer, None)
        except Reentrant:
            self._closing = False
            raise
        with self._calls_changed:
            self._calls_changed.wait_for(lambda: self._calls == 0)
        super().close()

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            Managed.close(self)  # nobody else calls any more; the library stops it

    def wait(self, timeout: float | None = None) -> None:
        """Waits until the replica is stopped; Halted says why if it has stopped itself."""
        with self._call() as pointer:
            for wait_ms in _slices(timeout):
                self.raise_kept()
                err = ctypes.c_void_p()
                status = library.hotstuff_replica_wait(pointer, wait_ms, err)
                if status != _abi.E_TIMEOUT:
                    check(status, "waiting for the replica", err)
                    return
                library.hotstuff_error_free(err)
            self.raise_kept()
            raise error(_abi.E_TIMEOUT, "waiting for the replica")

    # ---- the chain -----------------------------------------------------------------------------

    def notify(self) -> None:
        """There is work for the app: whoever leads asks its app again."""
        self.raise_kept()
        with self._call() as pointer:
            check(library.hotstuff_replica_notify(pointer), "notifying the replica")

    def deliver(self, peer: Address, message: bytes) -> None:
        """Hands over a message that the host has received. Drop it if this raises WouldBlock or
        TooLarge."""
        self.raise_kept()
        fixed(peer, _abi.VALIDATOR_ADDRESS_LEN, "an address")
        with self._call() as pointer:
            status = library.hotstuff_replica_deliver(pointer, peer, message, len(message))
            check(status, "delivering a message")

    def snapshot(self) -> BlockTree:
        """The chain and the state as of the last committed block: yours to close."""
        self.raise_kept()
        out = ctypes.c_void_p()
        with self._call() as pointer:
            check(library.hotstuff_replica_snapshot(pointer, out), "taking a snapshot")
        return BlockTree(out)

    def next_committed(self, after_height: int, timeout: float | None = None) -> Block:
        """The committed block after the one at a height, as soon as there is one; Timeout until
        then. In a loop: all committed blocks, in order, none lost, from wherever one left off."""
        out = ctypes.c_void_p()
        with self._call() as pointer:
            for wait_ms in _slices(timeout):
                self.raise_kept()
                status = library.hotstuff_replica_next_committed(
                    pointer, after_height, wait_ms, out
                )
                if status == _abi.OK:
                    return Block(out)
                if status != _abi.E_TIMEOUT:
                    break
        self.raise_kept()
        raise error(status, f"waiting for the block after height {after_height}")

    def committed_blocks(self, after_height: int = 0) -> Iterator[Block]:
        """Every committed block after a height, until the replica is stopped."""
        while True:
            try:
                block = self.next_committed(after_height)
            except (Closed, ValueError):
                return
            after_height += 1
            yield block

    def wait_committed(self, height: int, timeout: float | None = None) -> None:
        """Waits until a height is committed; Timeout if it is not by then."""
        with self._call() as pointer:
            for wait_ms in _slices(timeout):
                self.raise_kept()
                status = library.hotstuff_replica_wait_committed(pointer, height, wait_ms)
                if status != _abi.E_TIMEOUT:
                    break
        self.raise_kept()
        check(status, f"waiting for height {height}")

    def evidence(self) -> Iterator[bytes]:
        """The pieces of evidence that this replica keeps, for `verify_evidence`."""
        index = 0
        while True:
            out = ctypes.c_void_p()
            with self._call() as pointer:
                status = library.hotstuff_replica_evidence_at(pointer, index, out)
            if status == _abi.E_DONE:
                return
            check(status, "reading evidence")
            yield take_bytes(out)
            index += 1

    # ---- where it is ---------------------------------------------------------------------------

    @property
    def info(self) -> ReplicaInfo:
        """Where the replica is."""
        out = _abi.hotstuff_replica_info()
        fast.hotstuff_replica_info_init(out, ctypes.sizeof(out))
        with self._call() as pointer:
            check(library.hotstuff_replica_get_info(pointer, out), "reading the replica")
        return ReplicaInfo(
            epoch=out.epoch,
            view=out.view,
            committed_height=out.committed_height,
            highest_qc_view=out.highest_qc_view,
            sync_target_height=out.sync_target_height,
            is_validator=out.role == _abi.ROLE_VALIDATOR,
            halted=bool(out.halted),
            silenced=bool(out.silenced),
        )

    @property
    def metrics(self) -> Metrics:
        """Counters of the replica."""
        out = _abi.hotstuff_metrics()
        fast.hotstuff_metrics_init(out, ctypes.sizeof(out))
        with self._call() as pointer:
            check(library.hotstuff_replica_metrics(pointer, out), "reading the counters")
        return Metrics(**{name: getattr(out, name) for name in Metrics.__dataclass_fields__})

    @property
    def metrics_text(self) -> str:
        """The counters for Prometheus: serve it as `text/plain; version=0.0.4`."""
        out = ctypes.c_void_p()
        with self._call() as pointer:
            check(library.hotstuff_replica_metrics_text(pointer, out), "reading the counters")
        return take_bytes(out).decode()


def _slices(timeout: float | None) -> Iterator[int]:
    """Milliseconds to wait, again and again, until `timeout` seconds are over; at least once."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while deadline is None:
        yield SLICE_MS
    while True:
        left_ms = math.ceil((deadline - time.monotonic()) * 1000)
        yield max(0, min(left_ms, SLICE_MS))
        if left_ms <= SLICE_MS:
            return


def _stop_all() -> None:
    """A thread of the library that calls Python after its end would end the process."""
    for replica in list(_live):
        if not replica.closed:
            with contextlib.suppress(Timeout, Reentrant, ValueError):
                replica.stop(EXIT_SECONDS)


atexit.register(_stop_all)
