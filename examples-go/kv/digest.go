package main

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// digest is a 128-bit digest of a key-value pair, or of a set of them: the sum, modulo 2^128, of
// the digests of its pairs. So it does not depend on the order in which they came, and is kept up
// to date at the cost of the pairs that change.
//
// It is SipHash-2-4-128 under a published key: enough to notice that correct replicas have come to
// differ, not to convince anybody of a state.
type digest struct{ low, high uint64 }

const digestLen = 16

// "hotstuff-kv-dig1": not secret, the same on all replicas.
const digestKey0, digestKey1 = 0x66667574_73746f68, 0x31676964_2d766b2d

// digestOfPair is the digest of the length of the key, the key, and the value.
func digestOfPair(key, value []byte) digest {
	var small [640]byte // longer than most pairs
	data := binary.LittleEndian.AppendUint64(small[:0], uint64(len(key)))
	data = append(data, key...)
	return sipHash128(append(data, value...))
}

// sipHash128 is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) with
// the 128-bit output that its authors added later.
func sipHash128(data []byte) digest {
	v0 := uint64(digestKey0 ^ 0x736f6d6570736575)
	v1 := uint64(digestKey1 ^ 0x646f72616e646f6d ^ 0xee)
	v2 := uint64(digestKey0 ^ 0x6c7967656e657261)
	v3 := uint64(digestKey1 ^ 0x7465646279746573)
	last := uint64(len(data)) << 56
	for ; len(data) >= 8; data = data[8:] {
		word := binary.LittleEndian.Uint64(data)
		v3 ^= word
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= word
	}
	for i, b := range data {
		last |= uint64(b) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xee
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	low := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return digest{low, v0 ^ v1 ^ v2 ^ v3}
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

func (d digest) add(term digest) digest {
	low, carry := bits.Add64(d.low, term.low, 0)
	high, _ := bits.Add64(d.high, term.high, carry)
	return digest{low, high}
}

func (d digest) subtract(term digest) digest {
	low, borrow := bits.Sub64(d.low, term.low, 0)
	high, _ := bits.Sub64(d.high, term.high, borrow)
	return digest{low, high}
}

func (d digest) append(to []byte) []byte {
	to = binary.LittleEndian.AppendUint64(to, d.low)
	return binary.LittleEndian.AppendUint64(to, d.high)
}

func takeDigest(from []byte) digest {
	return digest{binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])}
}

func (d digest) String() string { return hex.EncodeToString(d.append(nil)) }
