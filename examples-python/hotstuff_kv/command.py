# SPDX-License-Identifier: Apache-2.0
"""What clients ask for, and how it travels in a block.

    data of a block   version: u8 = 1 | state hash after it: 16 bytes | count: u32 | commands
    command           kind: u8 | client: u64 | sequence: u64 | key_len: u16 | value_len: u32
                      | key | value

Little-endian, nothing between, nothing after. The limits below are part of the rules of the chain.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

KEY_MAX = 200
VALUE_MAX = 8192
ADDRESS_LEN = 32
POWER_LEN = 8
BLOCK_COMMANDS_MAX = 4096
DIGEST_LEN = 16
BATCH_HEADER = struct.Struct("<B16sI")
COMMAND_HEADER = struct.Struct("<BQQHI")
BLOCK_BYTES_MIN = BATCH_HEADER.size + COMMAND_HEADER.size + KEY_MAX + VALUE_MAX
BATCH_VERSION = 1

OPEN, SET, DELETE, VALIDATOR = 1, 2, 3, 4

Identity: TypeAlias = tuple[bool, int, int]


class Malformed(Exception):
    """Bytes that are no batch; the text says why."""


class Command(NamedTuple):
    """VALIDATOR has an address as its key, and as its value a power: a u64."""

    kind: int
    client: int
    """The session; for OPEN a random number that names the request."""
    sequence: int
    """From 1 in each session; for OPEN, in a block, the session it makes."""
    key: bytes = b""
    value: bytes = b""

    @property
    def identity(self) -> Identity:
        """By which the same command is known again."""
        return (True, self.client, 0) if self.kind == OPEN else (False, self.client, self.sequence)

    @property
    def encoded_len(self) -> int:
        return COMMAND_HEADER.size + len(self.key) + len(self.value)

    def encode(self) -> bytes:
        kind, client, sequence, key, value = self
        return COMMAND_HEADER.pack(kind, client, sequence, len(key), len(value)) + key + value


_not_in_word = re.compile(rb"[\x00-\x20\x7f]").search


def _is_line(value: bytes) -> bool:
    return bool(value) and b"\n" not in value and b"\r" not in value and b"\0" not in value


def complaint(command: Command) -> str | None:
    """None if it may stand in a block; otherwise what is wrong with it, for a person."""
    kind, client, sequence, key, value = command
    if kind == OPEN:
        return "OPEN takes no key and no value" if key or value else None
    if kind == SET:
        if len(value) > VALUE_MAX:
            return "a value has at most 8192 bytes"
        if not _is_line(value):
            return "SET needs a value: one line, not empty"
    elif kind == DELETE:
        if value:
            return "DEL takes a key and nothing else"
    elif kind == VALIDATOR:
        if len(key) != ADDRESS_LEN or len(value) != POWER_LEN:
            return "VALIDATOR takes an address, 64 hexadecimal digits, and a power, a whole number"
    else:
        return "no such command"
    if len(key) > KEY_MAX:
        return "a key has at most 200 bytes"
    if kind != VALIDATOR and (not key or _not_in_word(key)):
        return "a key is one word without control characters"
    if client == 0:
        return "a session is named by a number from 1"
    if sequence == 0:
        return "sequence numbers start at 1"
    return None


def encode_batch(commands: list[bytes], state_hash: bytes) -> bytes:
    header = BATCH_HEADER.pack(BATCH_VERSION, state_hash, len(commands))
    return header + b"".join(commands)


def open_batch(data: bytes) -> tuple[bytes, int]:
    """The state hash and the number of commands that untrusted bytes claim."""
    if len(data) < BATCH_HEADER.size or data[0] != BATCH_VERSION:
        raise Malformed("no batch header")
    _, state_hash, count = BATCH_HEADER.unpack_from(data)
    if not 1 <= count <= BLOCK_COMMANDS_MAX:
        raise Malformed("no batch header")
    return state_hash, count


def commands_of(data: bytes) -> Iterator[Command]:
    """The commands of untrusted bytes whose header is good."""
    malformed = "a malformed command, or bytes after the last"
    _, _, count = BATCH_HEADER.unpack_from(data)
    at, end = BATCH_HEADER.size, len(data)
    header_len, unpack = COMMAND_HEADER.size, COMMAND_HEADER.unpack_from
    for _ in range(count):
        if end - at < header_len:
            raise Malformed(malformed)
        kind, client, sequence, key_len, value_len = unpack(data, at)
        key_at = at + header_len
        value_at = key_at + key_len
        at = value_at + value_len
        if at > end:
            raise Malformed(malformed)
        command = Command(kind, client, sequence, data[key_at:value_at], data[value_at:at])
        if complaint(command) is not None:
            raise Malformed(malformed)
        yield command
    if at != end:
        raise Malformed(malformed)


def headers_of(data: bytes) -> Iterator[tuple[int, Identity, int]]:
    """Kind, identity and sequence of the commands of a block that is known to be well formed."""
    _, _, count = BATCH_HEADER.unpack_from(data)
    at, unpack = BATCH_HEADER.size, COMMAND_HEADER.unpack_from
    for _ in range(count):
        kind, client, sequence, key_len, value_len = unpack(data, at)
        at += COMMAND_HEADER.size + key_len + value_len
        is_open = kind == OPEN
        yield kind, (is_open, client, 0 if is_open else sequence), sequence
