# SPDX-License-Identifier: Apache-2.0
"""Replicas in one process, for tests."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

import hotstuff

os.environ["COLUMNS"] = "120"  # of the tables of the tool
ROOT = pathlib.Path(__file__).resolve().parents[3]
SECONDS = 30.0
"""For anything that should happen soon; a slow machine is no defect."""


class Counter:
    """An app that counts to `goal`: each block holds the next number."""

    def __init__(self, goal: int = 1 << 62) -> None:
        self.goal = goal

    def propose_block(
        self, request: hotstuff.ProposeBlockRequest, updates: hotstuff.Updates
    ) -> bool:
        number = int(request.block_tree.state(b"count") or b"0") + 1
        if number > self.goal:
            return False
        updates.set_data(b"%d" % number)
        updates.set_state(b"count", b"%d" % number)
        return True

    def validate_block(
        self, request: hotstuff.ValidateBlockRequest, updates: hotstuff.Updates
    ) -> bool:
        data = request.proposed_block.data
        if not data:
            return True
        if int(data) != int(request.block_tree.state(b"count") or b"0") + 1:
            return False
        updates.set_state(b"count", data)
        return True


class Wire:
    """A network in memory: what is sent is put into the queue of the receiver."""

    def __init__(self) -> None:
        self.queues: dict[bytes, queue.Queue[tuple[bytes, bytes]]] = {}

    def end(self, address: bytes) -> WireEnd:
        self.queues[address] = queue.Queue(10_000)
        return WireEnd(self, address)


class WireEnd:
    def __init__(self, wire: Wire, address: bytes) -> None:
        self.wire, self.address = wire, address
        self.connected: set[bytes] = set()

    def connect(self, peer: bytes) -> None:
        self.connected.add(peer)

    def disconnect(self, peer: bytes) -> None:
        self.connected.discard(peer)

    def send(self, peer: bytes, message: bytes) -> None:
        with contextlib.suppress(queue.Full):
            self.wire.queues[peer].put_nowait((self.address, message))

    def receive(self, timeout: float) -> tuple[bytes, bytes] | None:
        try:
            return self.wire.queues[self.address].get(timeout=timeout)
        except queue.Empty:
            return None


class PushEnd:
    """The same without receive(): a thread of the host hands messages over."""

    def __init__(self, end: WireEnd) -> None:
        self._end = end
        self.connect, self.disconnect, self.send = end.connect, end.disconnect, end.send

    def deliver_to(self, replica: hotstuff.Replica) -> threading.Thread:
        def run() -> None:
            while not replica.closed:
                received = self._end.receive(0.1)
                if received is None:
                    continue
                try:
                    replica.deliver(*received)
                except (hotstuff.WouldBlock, hotstuff.Closed):
                    continue  # it is full, or not started yet
                except ValueError:
                    return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


class Home:
    """A place for the replicas of a test."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def config(self, number: int, keys: list[hotstuff.KeyPair], **more: object) -> hotstuff.Config:
        settings: dict[str, object] = {
            "chain_id": 7,
            "validators": {key.address: 1 for key in keys},
            "key": keys[number],
            "data_dir": self.path / str(number),
            "create": True,
            "max_idle_ms": 50,
            "durability": hotstuff.Durability.PROCESS_CRASH,
        }
        return hotstuff.Config(**{**settings, **more})  # type: ignore[arg-type]

    def alone(
        self,
        app: hotstuff.App | None = None,
        on_event: Callable[[hotstuff.Event], object] | None = None,
        **more: object,
    ) -> hotstuff.Replica:
        """The only validator of its chain."""
        key = hotstuff.KeyPair.from_seed(bytes([1] * 32))
        with self.config(0, [key], **more) as config:
            network = hotstuff.TcpNetwork(key)
            return hotstuff.Replica(config, app or Counter(), network, on_event)


@pytest.fixture
def home(tmp_path: pathlib.Path) -> Iterator[Home]:
    return Home(tmp_path)
