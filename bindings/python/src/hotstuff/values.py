# SPDX-License-Identifier: Apache-2.0
"""Keys, validator sets and blocks. Hashes and addresses are `bytes` of length 32."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from . import _abi
from ._library import fast
from ._objects import Managed, copy_bytes, fixed, take_bytes
from .errors import check

Address: TypeAlias = bytes
"""The name of a validator: its Ed25519 public key, 32 bytes."""
Hash: TypeAlias = bytes
"""A SHA-256 hash, 32 bytes."""


class KeyPair(Managed):
    """An Ed25519 key pair. Its seed is overwritten when it is closed."""

    _free = staticmethod(fast.hotstuff_keypair_free)

    @classmethod
    def generate(cls) -> KeyPair:
        """A new one, of random bytes of the operating system."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_keypair_generate(out), "making a key")
        return cls(out)

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """The key pair of a seed of 32 bytes (RFC 8032). A seed is secret."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_keypair_from_seed(seed, len(seed), out), "reading a seed")
        return cls(out)

    @classmethod
    def from_pkcs8(cls, der: bytes) -> KeyPair:
        """Reads PKCS#8 DER: what `openssl genpkey -algorithm ed25519 -outform DER` writes."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_keypair_from_pkcs8(der, len(der), out), "reading a key")
        return cls(out)

    def to_pkcs8(self) -> bytes:
        """The key pair as PKCS#8 DER. The bytes are secret."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_keypair_to_pkcs8(self._handle, out), "writing a key")
        return take_bytes(out)

    @property
    def address(self) -> Address:
        """The public key."""
        out = _abi.hotstuff_validator_address()
        check(fast.hotstuff_keypair_public(self._handle, out), "reading a key")
        return bytes(out.bytes)


class ValidatorSet(Managed):
    """Validators and their powers, sorted by address. Iterates over (address, power)."""

    _free = staticmethod(fast.hotstuff_validator_set_free)

    def __init__(self, powers: Mapping[Address, int] | ctypes.c_void_p | None = None) -> None:
        if isinstance(powers, ctypes.c_void_p):
            super().__init__(powers)
            return
        out = ctypes.c_void_p()
        check(fast.hotstuff_validator_set_new(out), "making a validator set")
        super().__init__(out)
        for address, power in (powers or {}).items():
            self.put(address, power)

    def put(self, address: Address, power: int) -> None:
        """Gives a validator a power in place of any it had; 0 removes it."""
        fixed(address, _abi.VALIDATOR_ADDRESS_LEN, "an address")
        check(fast.hotstuff_validator_set_put(self._handle, address, power), "adding a validator")

    def __len__(self) -> int:
        return int(fast.hotstuff_validator_set_len(self._handle))

    def __iter__(self) -> Iterator[tuple[Address, int]]:
        address, power = _abi.hotstuff_validator_address(), ctypes.c_uint64()
        for index in range(len(self)):
            check(
                fast.hotstuff_validator_set_at(self._handle, index, address, power),
                "reading a validator set",
            )
            yield bytes(address.bytes), power.value

    @property
    def epoch(self) -> int:
        """The epoch in which they validate; 0 for a set that was made here."""
        return int(fast.hotstuff_validator_set_epoch(self._handle))

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        check(fast.hotstuff_validator_set_set_epoch(self._handle, epoch), "an epoch")

    def powers(self) -> dict[Address, int]:
        """A copy, as a dictionary."""
        return dict(self)

    @property
    def total_power(self) -> int:
        return int(fast.hotstuff_validator_set_total_power(self._handle))

    @property
    def quorum_power(self) -> int:
        """The least power that is a quorum: more than two thirds of all."""
        return int(fast.hotstuff_validator_set_quorum_power(self._handle))


class Block(Managed):
    """A block. Immutable, and usable on any thread; one that a callback was lent ends with it."""

    _free = staticmethod(fast.hotstuff_block_free)

    @classmethod
    def decode(cls, genesis: Hash, encoded: bytes) -> Block:
        """Reads what `encode` wrote. Whether the block is committed, the bytes alone cannot say."""
        out = ctypes.c_void_p()
        fixed(genesis, _abi.HASH_LEN, "a genesis hash")
        status = fast.hotstuff_block_decode(genesis, encoded, len(encoded), out)
        check(status, "decoding a block")
        return cls(out)

    def encode(self) -> bytes:
        """The block as canonical bytes."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_block_encode(self._handle, out), "encoding a block")
        return take_bytes(out)

    @property
    def justify(self) -> bytes:
        """The certificate on which it builds, as canonical bytes, for `verify_qc`."""
        out = ctypes.c_void_p()
        check(fast.hotstuff_block_justify(self._handle, out), "reading a certificate")
        return take_bytes(out)

    @property
    def hash(self) -> Hash:
        """Its name."""
        out = _abi.hotstuff_hash()
        fast.hotstuff_block_hash(self._handle, out)
        return bytes(out.bytes)

    @property
    def parent_hash(self) -> Hash:
        """The block it builds on; the genesis hash for the first."""
        out = _abi.hotstuff_hash()
        fast.hotstuff_block_parent_hash(self._handle, out)
        return bytes(out.bytes)

    @property
    def data_hash(self) -> Hash:
        """The SHA-256 of its data."""
        out = _abi.hotstuff_hash()
        fast.hotstuff_block_data_hash(self._handle, out)
        return bytes(out.bytes)

    @property
    def height(self) -> int:
        """Its distance from the genesis: 1 for the first."""
        return int(fast.hotstuff_block_height(self._handle))

    @property
    def epoch(self) -> int:
        """The epoch it was proposed in."""
        return int(fast.hotstuff_block_epoch(self._handle))

    @property
    def view(self) -> int:
        """The view of its epoch that it was proposed in."""
        return int(fast.hotstuff_block_view(self._handle))

    @property
    def data(self) -> bytes:
        """What the app's propose_block made; empty if the library made the block alone."""
        out = _abi.hotstuff_bytes()
        fast.hotstuff_block_data(self._handle, out)
        return copy_bytes(out)


class LentBlock(Block):
    """A block that a callback was lent."""

    _free = staticmethod(lambda _pointer: None)
