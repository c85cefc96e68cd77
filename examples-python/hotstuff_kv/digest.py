# SPDX-License-Identifier: Apache-2.0
"""A 128-bit digest of key-value pairs: SipHash-2-4-128 under a published key, as a number.

The digest of a set is the sum, modulo 2^128, of the digests of its pairs. It notices that correct
replicas have come to differ; it convinces nobody else. See examples-c/kv/digest.h.

Computed by the OpenSSL that this Python has for its `hashlib`, which hides it; where there is none,
in plain Python, a hundred times slower.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable

MODULUS = 1 << 128
_MASK = (1 << 64) - 1
_KEY = b"hotstuff-kv-dig1"
_FIRST = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
_K = int.from_bytes(_KEY[:8], "little"), int.from_bytes(_KEY[8:], "little")
_START = _K[0] ^ _FIRST[0], _K[1] ^ _FIRST[1] ^ 0xEE, _K[0] ^ _FIRST[2], _K[1] ^ _FIRST[3]


def plain_digest(key: bytes, value: bytes) -> int:
    """The digest of one pair, in plain Python."""
    v0, v1, v2, v3 = _START
    message = len(key).to_bytes(8, "little") + key + value
    message += bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
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


def _openssl() -> Callable[[bytes, bytes], int] | None:
    """The same by OpenSSL's EVP_MAC (3.0 and later). The dynamic linker finds its functions behind
    the module that hashlib is made of."""
    try:
        import _hashlib

        crypto = ctypes.PyDLL(_hashlib.__file__)  # held: each call takes a microsecond
        fetch, new = crypto.EVP_MAC_fetch, crypto.EVP_MAC_CTX_new
        start, update, final = crypto.EVP_MAC_init, crypto.EVP_MAC_update, crypto.EVP_MAC_final
    except (ImportError, AttributeError, OSError):
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    fetch.restype, fetch.argtypes = pointer, [pointer, ctypes.c_char_p, ctypes.c_char_p]
    new.restype, new.argtypes = pointer, [pointer]
    start.argtypes = [pointer, pointer, size, pointer]
    update.argtypes = [pointer, pointer, size]
    final.argtypes = [pointer, pointer, ctypes.POINTER(size), size]
    context = new(fetch(None, b"SIPHASH", None))
    if not context:
        return None
    out, length, lock = ctypes.create_string_buffer(16), size(), threading.Lock()

    def compute(key: bytes, value: bytes) -> int:
        message = len(key).to_bytes(8, "little") + key + value
        with lock:
            start(context, _KEY, len(_KEY), None)
            update(context, message, len(message))
            final(context, out, length, 16)
            return int.from_bytes(out.raw, "little")

    return compute


digest = _openssl() or plain_digest
"""The digest of one pair."""


def total(pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """The digest of a set."""
    return sum(digest(key, value) for key, value in pairs) % MODULUS
