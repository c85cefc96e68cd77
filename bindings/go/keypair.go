package hotstuff

// #include "shim.h"
import "C"

import "sync"

// KeyPair is an Ed25519 key pair: what a validator signs with. Close overwrites its seed. What was
// opened with it keeps a copy.
type KeyPair struct {
	mu      sync.RWMutex
	key     *C.hotstuff_keypair // nil: closed
	address Address
}

// GenerateKeyPair makes a key pair from random bytes of the operating system.
func GenerateKeyPair() (*KeyPair, error) {
	var key *C.hotstuff_keypair
	status := C.hotstuff_keypair_generate(&key)
	return newKeyPair("generate key", key, status)
}

// KeyPairFromSeed makes the key pair of a seed of 32 bytes, which is secret: the same seed, the
// same key.
func KeyPairFromSeed(seed []byte) (*KeyPair, error) {
	var key *C.hotstuff_keypair
	p, n := bytesOf(seed)
	status := C.hotstuff_keypair_from_seed(p, n, &key)
	return newKeyPair("key from seed", key, status)
}

// ParseKeyPair reads a key pair in PKCS#8 DER (RFC 8410): what [KeyPair.PKCS8] and `openssl genpkey
// -algorithm ed25519 -outform DER` write.
func ParseKeyPair(der []byte) (*KeyPair, error) {
	var key *C.hotstuff_keypair
	p, n := bytesOf(der)
	status := C.hotstuff_keypair_from_pkcs8(p, n, &key)
	return newKeyPair("parse key", key, status)
}

func newKeyPair(op string, key *C.hotstuff_keypair, status cStatus) (*KeyPair, error) {
	k := &KeyPair{key: key}
	if status == C.HOTSTUFF_OK {
		status = C.hotstuff_keypair_public(key, k.address.c())
	}
	if status != C.HOTSTUFF_OK {
		C.hotstuff_keypair_free(key)
		return nil, failure(op, status)
	}
	return k, nil
}

// Address is the public key: the address of the validator that this key pair speaks for. It
// outlives Close.
func (k *KeyPair) Address() Address { return k.address }

// PKCS8 is the key pair as PKCS#8 DER, version 1 (RFC 8410). The bytes are secret.
func (k *KeyPair) PKCS8() ([]byte, error) {
	var der []byte
	err := k.lend("encode key", func(key *C.hotstuff_keypair) cStatus {
		var buffer *cBuffer
		status := C.hotstuff_keypair_to_pkcs8(key, &buffer)
		if status == C.HOTSTUFF_OK {
			der = takeBuffer(buffer)
		}
		return status
	})
	return der, err
}

// Close overwrites the seed. A second call does nothing.
func (k *KeyPair) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	C.hotstuff_keypair_free(k.key)
	k.key = nil
	return nil
}

// lend calls use with the key, which is not closed meanwhile.
func (k *KeyPair) lend(op string, use func(*C.hotstuff_keypair) cStatus) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.key == nil {
		return &Error{Op: op, Status: ErrClosed, Message: "the key pair is closed"}
	}
	return failure(op, use(k.key))
}
