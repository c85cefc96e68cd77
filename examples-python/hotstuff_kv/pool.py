# SPDX-License-Identifier: Apache-2.0
"""The commands of this replica's clients that are not yet known to be committed.

A command stays until it is resolved or has expired: that a block proposes it is no reason to forget
it, because that block may be abandoned. Any thread may call anything.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .command import Command, Identity


class Verdict(enum.Enum):
    COMMITTED = enum.auto()
    STALE = enum.auto()
    EXPIRED_SESSION = enum.auto()
    REFUSED = enum.auto()
    LISTENER = enum.auto()
    TIMEOUT = enum.auto()
    STOPPED = enum.auto()


@dataclass(slots=True)
class Item:
    """A command, whom its answer is for, and what became of it."""

    command: Command
    ticket: object
    deadline: float
    verdict: Verdict = Verdict.TIMEOUT
    height: int = 0
    """Of a committed command."""
    made: int = 0
    """The session that an OPEN, the epoch that a VALIDATOR has made."""

    @property
    def payload(self) -> int:
        return len(self.command.key) + len(self.command.value)


class Resolution(NamedTuple):
    """What became of the commands of one identity."""

    identity: Identity
    verdict: Verdict
    height: int = 0
    made: int = 0


class Pool:
    def __init__(self, commands_max: int, bytes_max: int, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._commands_max, self._bytes_max, self._wake = commands_max, bytes_max, wake
        self._waiting: dict[int, Item] = {}  # by number of arrival, oldest first
        self._of_identity: dict[Identity, list[int]] = {}
        self._done: list[Item] = []
        self._arrived = 0
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def submit(self, item: Item) -> bool:
        """False if the pool is full."""
        with self._lock:
            held = len(self._waiting) + len(self._done)
            if held >= self._commands_max or self._bytes + item.payload > self._bytes_max:
                return False
            self._arrived += 1
            self._waiting[self._arrived] = item
            self._of_identity.setdefault(item.command.identity, []).append(self._arrived)
            self._bytes += item.payload
            return True

    def waiting(self) -> list[Item]:
        """The waiting commands, oldest first."""
        with self._lock:
            return list(self._waiting.values())

    def resolve(self, resolutions: Iterable[Resolution]) -> None:
        """Finishes every waiting command of these identities."""
        any_done = False
        with self._lock:
            for resolution in resolutions:
                for number in self._of_identity.pop(resolution.identity, ()):
                    item = self._waiting.pop(number)
                    item.verdict = resolution.verdict
                    item.height, item.made = resolution.height, resolution.made
                    self._done.append(item)
                    any_done = True
        if any_done:
            self._wake()

    def expire(self, now: float, verdict: Verdict) -> None:
        """Finishes every waiting command whose deadline is not after `now`."""
        any_done = False
        with self._lock:
            while self._waiting:
                number, item = next(iter(self._waiting.items()))
                if item.deadline > now:
                    break  # all wait equally long: the oldest expires first
                del self._waiting[number]
                same = self._of_identity[item.command.identity]
                same.remove(number)
                if not same:
                    del self._of_identity[item.command.identity]
                item.verdict = verdict
                self._done.append(item)
                any_done = True
        if any_done:
            self._wake()

    def take_done(self) -> list[Item]:
        """The finished commands, each once."""
        with self._lock:
            done, self._done = self._done, []
            self._bytes -= sum(item.payload for item in done)
            return done
