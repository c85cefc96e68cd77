package hotstuff

// #include <stdlib.h>
// #include "shim.h"
import "C"

import "unsafe"

// Network is a transport of your own, for [Open]. What it receives it hands to [Replica.Deliver].
// Its methods may be called by several threads of the library at once and must not block; messages
// are copies, and theirs to keep.
//
// It may lose, delay, repeat and reorder messages. What it must do is say truly who sent a message:
// not for safety, every message is signed, but so that a peer's flood costs that peer and no other.
type Network interface {
	// Connect: peer is a validator, keep a connection to it. Called when the replica starts, for
	// each validator but itself, and for each one added when its epoch begins.
	Connect(peer Address)
	// Disconnect: peer is a validator no longer, and the epoch without it is well under way. It may
	// still follow the chain, as a listener.
	Disconnect(peer Address)
	// Send queues a message for a peer. If it returns an error the message is lost, and the
	// protocol sends again.
	Send(peer Address, message []byte) error
}

// Broadcaster is a [Network] that can queue a message for every connected peer at once. For others
// the library calls Send for each peer that it has asked to connect.
type Broadcaster interface {
	Network
	// Broadcast queues a message for every connected peer but oneself.
	Broadcast(message []byte) error
}

// TCP is how the network of the library is set up, for [OpenTCP]: a mesh under TLS 1.3, in which
// each end proves its Ed25519 key, and keys that are not configured are refused.
type TCP struct {
	// Listen is where to listen, as host:port: "0.0.0.0:9000", "[::1]:0"; port 0 picks a free one,
	// see [Replica.LocalAddr]. Without it the replica only dials.
	Listen string
	// Peers are where the other replicas listen, as host:port, and the key that each must prove.
	// One's own address may be among them, and is skipped. Names are looked up whenever a
	// connection is made.
	Peers map[Address]string
	// Key is what this end proves, if it is not Config.KeyPair: where there is a Config.Signer. It
	// speaks for nobody in the protocol.
	Key *KeyPair
	// PeerKeys are what peers prove that have such a key, by the addresses of their validators.
	PeerKeys map[Address]Address
	// MaxListeners is how many connections of unknown keys are let in: replicas that follow the
	// chain without being validators. Default 0: none.
	MaxListeners uint32
	// QueueBytes is how much may wait to be sent to one peer; what does not fit is lost, and the
	// protocol sends again. Default: four of the longest messages of the chain.
	QueueBytes uint64
}

// Messages of the longest kind that a queue of TCP holds unless it is told otherwise.
const queueMessages = 4

// network opens the mesh, which carries the longest message of the chain.
func (t *TCP) network(config *Config) (*C.hotstuff_network, error) {
	key := t.Key
	if key == nil {
		key = config.KeyPair
	}
	if key == nil {
		return nil, &Error{Op: "tcp", Status: ErrInvalidArgument,
			Message: "neither TCP.Key nor Config.KeyPair: over TCP each end proves one"}
	}
	messageBytes, err := config.MaxMessageBytes()
	if err != nil {
		return nil, err
	}
	queueBytes := t.QueueBytes
	if queueBytes == 0 {
		queueBytes = queueMessages * messageBytes
	}
	var tcp *C.hotstuff_tcp_config
	if status := C.hotstuff_tcp_config_new(&tcp); status != C.HOTSTUFF_OK {
		return nil, failure("tcp", status)
	}
	defer C.hotstuff_tcp_config_free(tcp)
	status := C.hotstuff_tcp_config_set_max_listeners(tcp, C.uint32_t(t.MaxListeners))
	if status == C.HOTSTUFF_OK {
		status = C.hotstuff_tcp_config_set_max_message_bytes(tcp, C.uint64_t(messageBytes))
	}
	if status == C.HOTSTUFF_OK {
		status = C.hotstuff_tcp_config_set_queue_bytes(tcp, C.uint64_t(queueBytes))
	}
	if status == C.HOTSTUFF_OK {
		status = t.setAddresses(tcp, config.address(key))
	}
	if status != C.HOTSTUFF_OK {
		return nil, failure("tcp", status)
	}
	return openTCP(tcp, key)
}

// address is the validator's own; of a listener its key's.
func (c *Config) address(key *KeyPair) Address {
	switch {
	case c.Signer != nil:
		return c.Signer.Address()
	case c.KeyPair != nil:
		return c.KeyPair.Address()
	}
	return key.Address()
}

func (t *TCP) setAddresses(tcp *C.hotstuff_tcp_config, self Address) cStatus {
	if t.Listen != "" {
		listen := C.CString(t.Listen)
		defer C.free(unsafe.Pointer(listen))
		if status := C.hotstuff_tcp_config_set_listen(tcp, listen); status != C.HOTSTUFF_OK {
			return status
		}
	}
	for peer, key := range t.PeerKeys {
		if peer == self {
			continue
		}
		status := C.hotstuff_tcp_config_set_peer_key(tcp, peer.c(), key.c())
		if status != C.HOTSTUFF_OK {
			return status
		}
	}
	for peer, hostPort := range t.Peers {
		if peer == self {
			continue
		}
		text := C.CString(hostPort)
		status := C.hotstuff_tcp_config_add_peer(tcp, peer.c(), text)
		C.free(unsafe.Pointer(text))
		if status != C.HOTSTUFF_OK {
			return status
		}
	}
	return C.HOTSTUFF_OK
}

func openTCP(tcp *C.hotstuff_tcp_config, key *KeyPair) (network *C.hotstuff_network, err error) {
	var refused error
	err = key.lend("tcp", func(key *C.hotstuff_keypair) cStatus {
		var text *C.hotstuff_error
		refused = described("tcp", C.hotstuff_network_tcp(tcp, key, &network, &text), text)
		return C.HOTSTUFF_OK
	})
	if err == nil {
		err = refused
	}
	return network, err
}

// localAddr is "" if the network does not listen.
func localAddr(network *C.hotstuff_network) string {
	var buffer *cBuffer
	if C.hotstuff_network_local_addr(network, &buffer) != C.HOTSTUFF_OK {
		return ""
	}
	return string(takeBuffer(buffer))
}
