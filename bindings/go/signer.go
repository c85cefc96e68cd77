package hotstuff

// #include "shim.h"
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// Signer is whoever holds the validator's key, if it is not this process: a security module, a key
// service. It may be called by several replicas at once.
type Signer interface {
	// Address is the public key of the validator that it signs for.
	Address() Address
	// Sign signs a message, the 32 bytes of a SHA-256, with Ed25519 (RFC 8032, neither Ed25519ctx
	// nor Ed25519ph): 64 bytes. It is called after what is said is on disk. An error, and a
	// signature that does not verify, cost the view and nothing else: the replica tells
	// [EventWarning], and asks again in the next view, or when it next times out. The replica waits
	// for it: be quick against the view time-out, or fail.
	Sign(message []byte) ([]byte, error)
}

// signing is what C holds a handle of.
type signing struct {
	signer   Signer
	panicked *atomic.Pointer[PanicError] // nil: there is no replica to keep it
}

func (s *settings) setSigner(signer Signer, panicked *atomic.Pointer[PanicError]) {
	address := signer.Address()
	handle := newHandle(&signing{signer, panicked})
	status := C.hotstuff_go_set_signer(s.config, address.c(), handle)
	if status != C.HOTSTUFF_OK {
		deleteHandle(handle)
	}
	s.check("Signer", status)
}

//export hotstuffGoSign
func hotstuffGoSign(handle C.uintptr_t, message *C.uint8_t, length C.size_t,
	out *C.hotstuff_signature) (result C.int32_t) {
	s := valueOf[*signing](handle)
	defer catch(s.panicked, "Sign", &result)
	signature, err := s.signer.Sign(goBytes(C.hotstuff_bytes{message, length}))
	if err != nil {
		return failed("Sign", err)
	}
	into := (*[C.HOTSTUFF_SIGNATURE_LEN]byte)(unsafe.Pointer(out))
	if copy(into[:], signature) != len(into) || len(signature) != len(into) {
		return failed("Sign", failure("sign", C.HOTSTUFF_E_INVALID_ARGUMENT))
	}
	return C.HOTSTUFF_OK
}
