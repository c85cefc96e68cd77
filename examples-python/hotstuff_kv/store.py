# SPDX-License-Identifier: Apache-2.0
"""The replicated state: what a command does to it, and how it is read.

    "m"           the summary: numbers of everything, and the sum of the digests
    "d" key       a value
    "s" slot:u16  a session: id, nonce, and a window of (sequence, height), one for each residue
    "o" nonce:u64 which session an OPEN made, and at which height
    "h" slot:u16  (height, state hash) of the data blocks of late: a ring of HISTORY

examples-c/kv/store.h says why. Every byte here must be the one that the C program writes.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

import hotstuff

from . import command as commands
from .command import Command
from .digest import MODULUS, digest, total

SESSIONS = 4096
WINDOW = 16
HISTORY = 4096
CHANGES_PER_BLOCK = 16
ENTRIES_PER_COMMAND = 4
ENTRIES_MAX = ENTRIES_PER_COMMAND * commands.BLOCK_COMMANDS_MAX

_SUMMARY = struct.Struct("<5Q16s")
_SESSION_HEADER_LEN = 16
_SESSION_LEN = _SESSION_HEADER_LEN + 16 * WINDOW
_TWO = struct.Struct("<2Q")
_HISTORY = struct.Struct("<Q16s")
_U64 = struct.Struct("<Q")
_SLOT = struct.Struct("<cH")
_OPENED = struct.Struct("<cQ")
SUMMARY_KEY = b"m"


class Outcome(enum.Enum):
    APPLIED = enum.auto()
    DUPLICATE = enum.auto()
    """Applied earlier on this chain."""
    STALE = enum.auto()
    """Overtaken by sequence + WINDOW: applied long ago, or never."""
    EXPIRED = enum.auto()
    """Its session is gone: applied long ago, or never."""
    UNKNOWN = enum.auto()
    """No such session yet."""
    REFUSED = enum.auto()
    """No validators would be left, or too many, or too much power."""
    FULL = enum.auto()
    """The execution holds all it can: propose the rest later."""


class Damaged(Exception):
    """The state is not what this program has written."""


@dataclass(slots=True)
class Summary:
    next_session: int = 1
    commands: int = 0
    keys: int = 0
    data_blocks: int = 0
    height: int = 0
    """Of the last data block."""
    sum: int = 0

    @classmethod
    def decode(cls, record: bytes) -> Summary:
        session, count, keys, blocks, height, total = _SUMMARY.unpack(record)
        return cls(session, count, keys, blocks, height, int.from_bytes(total, "little"))

    def encode(self) -> bytes:
        total = self.sum.to_bytes(16, "little")
        return _SUMMARY.pack(
            self.next_session, self.commands, self.keys, self.data_blocks, self.height, total
        )

    def hash(self) -> bytes:
        """The state hash."""
        return digest(SUMMARY_KEY, self.encode()).to_bytes(16, "little")


GENESIS_STATE = {SUMMARY_KEY: Summary().encode()}

# ---- point reads -----------------------------------------------------------------------------


def _record(tree: hotstuff.BlockTree, key: bytes, length: int) -> bytes | None:
    record = tree.state(key)
    if record is not None and len(record) != length:
        raise Damaged(f"the record {key!r} has {len(record)} bytes, expected {length}")
    return record


def summary(tree: hotstuff.BlockTree) -> Summary:
    """It is in the genesis state: not finding it is damage, not a fresh start."""
    record = _record(tree, SUMMARY_KEY, _SUMMARY.size)
    if record is None:
        raise Damaged("the summary is missing")
    return Summary.decode(record)


def value_of(tree: hotstuff.BlockTree, key: bytes) -> bytes | None:
    return tree.state(b"d" + key)


def _judge_session(next_session: int, session: int) -> Outcome:
    """The sessions alive are the SESSIONS youngest."""
    if session >= next_session:
        return Outcome.UNKNOWN
    return Outcome.EXPIRED if next_session - session > SESSIONS else Outcome.APPLIED


def _window_at(sequence: int) -> int:
    return _SESSION_HEADER_LEN + 16 * (sequence % WINDOW)


def _judge_sequence(applied: int, sequence: int) -> Outcome:
    if sequence == applied:
        return Outcome.DUPLICATE
    return Outcome.STALE if sequence < applied else Outcome.APPLIED


def _change_validators(validators: hotstuff.ValidatorSet, command: Command) -> Outcome:
    """What becomes of the set. If it is refused, the set is unchanged."""
    total = validators.total_power
    try:
        validators.put(command.key, _U64.unpack(command.value)[0])
    except hotstuff.TooLarge:
        return Outcome.REFUSED
    if len(validators) > 0:
        return Outcome.APPLIED
    validators.put(command.key, total)  # it was the only one, and so had all the power
    return Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class Judgement:
    """What would become of a command; of a duplicate, where it was applied and what it made."""

    outcome: Outcome
    height: int = 0
    made: int = 0


def judge(tree: hotstuff.BlockTree, next_session: int, command: Command) -> Judgement:
    """What would become of a command on this snapshot (APPLIED: it is new), whose summary names
    `next_session`."""
    if command.kind == commands.OPEN:
        opened = _record(tree, _OPENED.pack(b"o", command.client), _TWO.size)
        if opened is None:
            return Judgement(Outcome.APPLIED)
        made, height = _TWO.unpack(opened)
        return Judgement(Outcome.DUPLICATE, height, made)
    outcome = _judge_session(next_session, command.client)
    if outcome is not Outcome.APPLIED:
        return Judgement(outcome)
    session = _record(tree, _SLOT.pack(b"s", command.client % SESSIONS), _SESSION_LEN)
    if session is None:
        raise Damaged(f"session {command.client} is missing")
    applied, height = _TWO.unpack_from(session, _window_at(command.sequence))
    outcome = _judge_sequence(applied, command.sequence)
    if outcome is Outcome.DUPLICATE:
        made = _epoch_after(tree, height) if command.kind == commands.VALIDATOR else 0
        return Judgement(outcome, height, made)
    if outcome is Outcome.APPLIED and command.kind == commands.VALIDATOR:
        with tree.validators() as validators:
            outcome = _change_validators(validators, command)
    return Judgement(outcome)


def _epoch_after(tree: hotstuff.BlockTree, height: int) -> int:
    """The epoch that the block at `height`, which changes the validators, begins."""
    block = tree.block_at(height)
    if block is None:
        raise Damaged(f"block {height} is missing")
    with block:
        return block.epoch + 1


def hash_at(tree: hotstuff.BlockTree, height: int) -> bytes | None:
    """The state hash after block `height`, which is committed; None if that is forgotten."""
    last = summary(tree).data_blocks
    oldest = low = last - HISTORY + 1 if last > HISTORY else 1
    high, found = last + 1, b""
    while low < high:  # data blocks are numbered from 1, and their heights rise
        middle = (low + high) // 2
        record = _record(tree, _SLOT.pack(b"h", middle % HISTORY), _HISTORY.size)
        if record is None:
            raise Damaged(f"the state hash of data block {middle} is missing")
        at, there = _HISTORY.unpack(record)
        if at <= height:
            low, found = middle + 1, there
        else:
            high = middle
    if low == oldest:  # before all of them
        return Summary().hash() if oldest == 1 else None
    return found


# ---- executing a block -----------------------------------------------------------------------


class _Entry:
    """A key that the block has looked at."""

    __slots__ = ("before", "changed", "value")

    def __init__(self, before: bytes | None) -> None:
        self.before = before
        self.value: bytes | bytearray | None = before
        self.changed = False

    def put(self, value: bytes | bytearray | None) -> None:
        self.value, self.changed = value, True


class Execution:
    """A block that is executed over the state of its parent."""

    def __init__(self, tree: hotstuff.BlockTree, height: int) -> None:
        self._tree, self._height = tree, height
        self._summary = summary(tree)
        self._entries: dict[bytes, _Entry] = {}
        self._validators: hotstuff.ValidatorSet | None = None
        self._changes: dict[bytes, int] = {}
        self.session = 0
        """The number that the last OPEN got."""

    def apply(self, command: Command) -> Outcome:
        if ENTRIES_MAX - len(self._entries) < ENTRIES_PER_COMMAND:
            return Outcome.FULL
        if command.kind == commands.OPEN:
            outcome = self._apply_open(command)
        elif command.kind == commands.VALIDATOR:
            outcome = self._apply_validator(command)
        else:
            outcome = self._apply_write(command)
        if outcome is Outcome.APPLIED:
            self._summary.commands += 1
        return outcome

    def _look_up(self, key: bytes) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(self._tree.state(key))
        return entry

    def _apply_open(self, command: Command) -> Outcome:
        opened = self._look_up(_OPENED.pack(b"o", command.client))
        if opened.value is not None:
            return Outcome.DUPLICATE
        session = self._summary.next_session
        slot = self._look_up(_SLOT.pack(b"s", session % SESSIONS))
        if slot.value is not None:  # the OPEN of the session that loses its slot is forgotten
            evicted = _U64.unpack_from(slot.value, 8)[0]
            self._look_up(_OPENED.pack(b"o", evicted)).put(None)
        record = _TWO.pack(session, command.client)
        slot.put(bytearray(record.ljust(_SESSION_LEN, b"\0")))
        opened.put(_TWO.pack(session, self._height))
        self._summary.next_session += 1
        self.session = session
        return Outcome.APPLIED

    def _find_window(self, command: Command) -> tuple[Outcome, _Entry | None]:
        """The session in which a command fills a place when it is applied."""
        outcome = _judge_session(self._summary.next_session, command.client)
        if outcome is not Outcome.APPLIED:
            return outcome, None
        entry = self._look_up(_SLOT.pack(b"s", command.client % SESSIONS))
        record = entry.value
        if record is None or len(record) != _SESSION_LEN:
            raise Damaged(f"session {command.client} is missing")
        if _U64.unpack_from(record)[0] != command.client:
            raise Damaged(f"the slot of session {command.client} is another's")
        applied = _U64.unpack_from(record, _window_at(command.sequence))[0]
        return _judge_sequence(applied, command.sequence), entry

    def _fill_window(self, command: Command, session: _Entry) -> None:
        record = session.value
        if not isinstance(record, bytearray):
            record = bytearray(record or b"")
        _TWO.pack_into(record, _window_at(command.sequence), command.sequence, self._height)
        session.put(record)

    def _apply_write(self, command: Command) -> Outcome:
        outcome, session = self._find_window(command)
        if outcome is not Outcome.APPLIED or session is None:
            return outcome
        data = self._look_up(b"d" + command.key)
        will_be = command.kind == commands.SET
        self._summary.keys += will_be - (data.value is not None)
        data.put(command.value if will_be else None)
        self._fill_window(command, session)
        return outcome

    def _apply_validator(self, command: Command) -> Outcome:
        outcome, session = self._find_window(command)
        if outcome is not Outcome.APPLIED or session is None:
            return outcome
        if len(self._changes) == CHANGES_PER_BLOCK or command.key in self._changes:
            return Outcome.FULL
        if self._validators is None:
            self._validators = self._tree.validators()
        outcome = _change_validators(self._validators, command)
        if outcome is Outcome.APPLIED:
            self._changes[command.key] = _U64.unpack(command.value)[0]
            self._fill_window(command, session)
        return outcome

    def finish(self, updates: hotstuff.Updates) -> bytes:
        """Writes what has changed, and returns the state hash."""
        gone: list[tuple[bytes, bytes]] = []
        come: list[tuple[bytes, bytes]] = []
        for key, entry in self._entries.items():
            if not entry.changed:
                continue
            if entry.before is not None:
                gone.append((key, entry.before))
            if entry.value is not None:
                value = bytes(entry.value)
                come.append((key, value))
                updates.set_state(key, value)
            elif entry.before is not None:
                updates.delete_state(key)
        for address, power in self._changes.items():
            updates.set_validator(address, power)
        after = self._summary
        after.sum = (after.sum + total(come) - total(gone)) % MODULUS
        after.data_blocks += 1
        after.height = self._height
        state_hash = after.hash()
        slot = _SLOT.pack(b"h", after.data_blocks % HISTORY)
        updates.set_state(slot, _HISTORY.pack(self._height, state_hash))
        updates.set_state(SUMMARY_KEY, after.encode())
        return state_hash
