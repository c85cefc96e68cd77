# SPDX-License-Identifier: Apache-2.0
"""A 128-bit digest of key-value pairs: SipHash-2-4-128 under a published key, as a number.

The digest of a set is the sum, modulo 2^128, of the digests of its pairs. It notices that correct
replicas have come to differ; it convinces nobody else. See examples-c/kv/digest.h.

One pair is computed in plain Python. Many at once are computed by numpy, if it is installed, which
is a hundred times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

MODULUS = 1 << 128
_MASK = (1 << 64) - 1
_KEY = b"hotstuff-kv-dig1"
_FIRST = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
_K = int.from_bytes(_KEY[:8], "little"), int.from_bytes(_KEY[8:], "little")
_START = _K[0] ^ _FIRST[0], _K[1] ^ _FIRST[1] ^ 0xEE, _K[0] ^ _FIRST[2], _K[1] ^ _FIRST[3]

MANY = 6
"""From how many pairs on numpy is worth its fixed cost."""
_BATCH_WORDS = 1 << 18
"""The most words (2 MiB) that are computed at once."""


def _message(key: bytes, value: bytes) -> bytes:
    """What is hashed, and the padding of SipHash: whole words."""
    message = len(key).to_bytes(8, "little") + key + value
    return message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])


def digest(key: bytes, value: bytes) -> int:
    """The digest of one pair."""
    v0, v1, v2, v3 = _START
    message = _message(key, value)
    for at in range(0, len(message), 8):
        word = int.from_bytes(message[at : at + 8], "little")
        v0, v1, v2, v3 = _round(*_round(v0, v1, v2, v3 ^ word))
        v0 ^= word
    v0, v1, v2, v3 = _round(*_round(*_round(*_round(v0, v1, v2 ^ 0xEE, v3))))
    low = v0 ^ v1 ^ v2 ^ v3
    v0, v1, v2, v3 = _round(*_round(*_round(*_round(v0, v1 ^ 0xDD, v2, v3))))
    return low | (v0 ^ v1 ^ v2 ^ v3) << 64


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK
    v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
    v0 = v0 << 32 & _MASK | v0 >> 32
    v2 = v2 + v3 & _MASK
    v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
    v0 = v0 + v3 & _MASK
    v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
    v2 = v2 + v1 & _MASK
    v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
    v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3


def digests(pairs: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """The digests of many pairs, in their order."""
    if numpy is None or len(pairs) < MANY:
        return [digest(key, value) for key, value in pairs]
    messages = [_message(key, value) for key, value in pairs]
    longest_first = sorted(range(len(pairs)), key=lambda i: -len(messages[i]))
    found = [0] * len(pairs)
    while longest_first:
        words = len(messages[longest_first[0]]) // 8
        rows = max(1, _BATCH_WORDS // words)
        batch, longest_first = longest_first[:rows], longest_first[rows:]
        for index, value in zip(batch, _of_batch([messages[i] for i in batch]), strict=True):
            found[index] = value
    return found


def _of_batch(messages: list[bytes]) -> list[int]:
    """The digests of messages of whole words, the longest first."""
    count, width = len(messages), len(messages[0])
    padded = b"".join([message.ljust(width, b"\0") for message in messages])
    table = numpy.frombuffer(padded, dtype="<u8").reshape(count, width // 8)
    words = numpy.ascontiguousarray(table.T)
    lanes = _Lanes(count)
    active = count
    for at in range(width // 8):
        while len(messages[active - 1]) <= 8 * at:
            active -= 1
        lanes.absorb(words[at, :active], active)
    return lanes.finish()


class _Lanes:
    """The state of SipHash, many times side by side: rows v0, v2 and rows v1, v3."""

    def __init__(self, count: int) -> None:
        self.even = numpy.empty((2, count), dtype=numpy.uint64)
        self.odd = numpy.empty((2, count), dtype=numpy.uint64)
        self.spare = numpy.empty((2, count), dtype=numpy.uint64)
        self.even[0], self.odd[0], self.even[1], self.odd[1] = _START

    def absorb(self, word: Any, active: int) -> None:
        self.odd[1, :active] ^= word
        self.rounds(2, active)
        self.even[0, :active] ^= word

    def rounds(self, count: int, active: int) -> None:
        even, odd = self.even[:, :active], self.odd[:, :active]
        spare = self.spare[:, :active]
        for _ in range(count):
            even += odd
            _rotate(odd, _SHIFTS_1, spare)
            odd ^= even
            _rotate(even[0], _HALF, spare[0])
            even += odd[::-1]
            _rotate(odd, _SHIFTS_2, spare)
            odd ^= even[::-1]
            _rotate(even[1], _HALF, spare[0])

    def finish(self) -> list[int]:
        count = self.even.shape[1]
        self.even[1] ^= numpy.uint64(0xEE)
        self.rounds(4, count)
        low = self.sum()
        self.odd[0] ^= numpy.uint64(0xDD)
        self.rounds(4, count)
        return [a | b << 64 for a, b in zip(low, self.sum(), strict=True)]

    def sum(self) -> list[int]:
        found: list[int] = (self.even[0] ^ self.odd[0] ^ self.even[1] ^ self.odd[1]).tolist()
        return found


def _rotate(lanes: Any, shifts: tuple[Any, Any], spare: Any) -> None:
    left, right = shifts
    numpy.right_shift(lanes, right, out=spare)
    numpy.left_shift(lanes, left, out=lanes)
    lanes |= spare


if numpy is not None:

    def _shifts(*bits: int) -> tuple[Any, Any]:
        left = numpy.array(bits, dtype=numpy.uint64).reshape(-1, 1)
        return left, numpy.uint64(64) - left

    _SHIFTS_1, _SHIFTS_2 = _shifts(13, 16), _shifts(17, 21)
    _HALF = numpy.uint64(32), numpy.uint64(32)
