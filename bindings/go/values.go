package hotstuff

// #include "shim.h"
import "C"

import (
	"encoding/hex"
	"fmt"
	"unsafe"
)

// Hash is a SHA-256 hash: of a block, of its data, or of a genesis.
type Hash [C.HOTSTUFF_HASH_LEN]byte

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText is the hash in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error { return decodeHex("hash", h[:], text) }

func (h *Hash) c() *C.hotstuff_hash { return (*C.hotstuff_hash)(unsafe.Pointer(h)) }

func goHash(h *C.hotstuff_hash) Hash { return *(*Hash)(unsafe.Pointer(h)) }

// Address is the name of a validator: its Ed25519 public key (RFC 8032).
type Address [C.HOTSTUFF_VALIDATOR_ADDRESS_LEN]byte

// ParseAddress reads 64 hexadecimal digits.
func ParseAddress(text string) (Address, error) {
	var a Address
	err := a.UnmarshalText([]byte(text))
	return a, err
}

// String is the address in hexadecimal.
func (a Address) String() string { return hex.EncodeToString(a[:]) }

// MarshalText is the address in hexadecimal.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (a *Address) UnmarshalText(text []byte) error { return decodeHex("address", a[:], text) }

func (a *Address) c() *C.hotstuff_validator_address {
	return (*C.hotstuff_validator_address)(unsafe.Pointer(a))
}

func goAddress(a *C.hotstuff_validator_address) Address { return *(*Address)(unsafe.Pointer(a)) }

func decodeHex(what string, out, text []byte) error {
	if len(text) == 2*len(out) {
		if _, err := hex.Decode(out, text); err == nil {
			return nil
		}
	}
	return &Error{Op: what, Status: ErrDecode,
		Message: fmt.Sprintf("expected %d hexadecimal digits, got %q", 2*len(out), text)}
}

// bytesOf is what C takes for bytes: NULL for none.
func bytesOf(b []byte) (*C.uint8_t, C.size_t) {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))), C.size_t(len(b))
}

// goBytes copies what C has lent.
func goBytes(b C.hotstuff_bytes) []byte {
	if b.len == 0 {
		return nil
	}
	out := make([]byte, b.len)
	copy(out, unsafe.Slice((*byte)(unsafe.Pointer(b.data)), b.len))
	return out
}

// takeBuffer copies the bytes of a buffer, and frees it.
func takeBuffer(buffer *cBuffer) []byte {
	var bytes C.hotstuff_bytes
	C.hotstuff_buffer_get(buffer, &bytes)
	out := goBytes(bytes)
	C.hotstuff_buffer_free(buffer)
	return out
}
