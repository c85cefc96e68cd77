# SPDX-License-Identifier: Apache-2.0
"""What kv promises and examples-c/test_kv.py cannot see from the outside."""

from __future__ import annotations

import random

import pytest
from hotstuff_kv import command as commands
from hotstuff_kv import digest, store
from hotstuff_kv.command import Command, Malformed

GENESIS_HASH = "03c8edb576fe0ffe16b5834104e6ac01"


def test_both_ways_to_a_digest_lead_there() -> None:
    """The state hash of the genesis is the one that examples-c/kv tells for HASH 0."""
    assert digest.digest is not digest.plain_digest, "this Python has OpenSSL 3"
    assert store.Summary().hash().hex() == GENESIS_HASH
    chance = random.Random(1)
    for length in [0, 1, 6, 7, 8, 9, 255, 256, 257, 272, 8191, 8192]:
        pair = chance.randbytes(chance.randrange(1, 202)), chance.randbytes(length)
        assert digest.digest(*pair) == digest.plain_digest(*pair)


def test_batches_are_read_as_they_were_written_and_damage_is_noticed() -> None:
    batch = [
        Command(commands.SET, 1, 1, b"key", b"value"),
        Command(commands.DELETE, 1, 2, b"key"),
        Command(commands.OPEN, 7, 1),
        Command(commands.VALIDATOR, 1, 3, bytes(32), bytes(8)),
    ]
    data = commands.encode_batch([command.encode() for command in batch], bytes(16))
    assert commands.open_batch(data) == (bytes(16), 4)
    assert list(commands.commands_of(data)) == batch
    headers = [(command.kind, command.identity, command.sequence) for command in batch]
    assert list(commands.headers_of(data)) == headers
    for bad in (data[:-1], data + b"\0", data[:30]):
        with pytest.raises(Malformed):
            list(commands.commands_of(bad))
    for bad in (b"", b"\2" + data[1:], commands.encode_batch([], bytes(16))):
        with pytest.raises(Malformed):
            commands.open_batch(bad)
