package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// What clients ask for, and how it travels in a block, little-endian, nothing between, nothing
// after:
//
//	data of a block   version: u8 = 1 | state hash after it: 16 bytes | count: u32 | commands
//	command           kind: u8 | client: u64 | sequence: u64 | key_len: u16 | value_len: u32
//	                  | key | value
//
// The limits are part of the rules of the chain: every replica refuses a block that breaks them,
// whatever its configuration says. All of it is the same in the other languages' kv.
const (
	keyMax           = 200
	addressLen       = 32
	powerLen         = 8
	valueMax         = 8192
	blockCommandsMax = 4096
	batchVersion     = 1
	batchHeaderLen   = 1 + digestLen + 4
	commandHeaderLen = 1 + 8 + 8 + 2 + 4
	blockBytesMin    = batchHeaderLen + commandHeaderLen + keyMax + valueMax // any one command fits
)

type commandKind byte

const (
	commandOpen commandKind = 1 + iota
	commandSet
	commandDelete
	commandValidator
)

// command is one request. A validator command has an address as its key, and as its value a power:
// a u64, 0 to remove the validator.
type command struct {
	kind     commandKind
	client   uint64 // the session; of an open, a random number that names the request
	sequence uint64 // from 1 in each session; of an open, in a block, the session it makes
	key      []byte
	value    []byte
}

// identity is what makes two commands the same one.
type identity struct {
	isOpen           bool
	client, sequence uint64
}

func (c *command) identity() identity {
	if c.kind == commandOpen {
		return identity{true, c.client, 0}
	}
	return identity{false, c.client, c.sequence}
}

func (c *command) len() int { return commandHeaderLen + len(c.key) + len(c.value) }

// The line protocol separates words by spaces and answers by line ends.
func isWord(p []byte) bool {
	for _, b := range p {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return len(p) > 0
}

func isLine(p []byte) bool {
	// IndexByte looks at many bytes at once; values are long.
	return len(p) > 0 && bytes.IndexByte(p, 0) < 0 && bytes.IndexByte(p, '\n') < 0 &&
		bytes.IndexByte(p, '\r') < 0
}

// complaint is "" for a command that may stand in a block; otherwise what is wrong with it.
func (c *command) complaint() string {
	switch c.kind {
	case commandOpen:
		if len(c.key) != 0 || len(c.value) != 0 {
			return "OPEN takes no key and no value"
		}
		return ""
	case commandDelete:
		if len(c.value) > 0 {
			return "DEL takes a key and nothing else"
		}
	case commandSet:
		if len(c.value) > valueMax {
			return fmt.Sprintf("a value has at most %d bytes", valueMax)
		}
		if !isLine(c.value) {
			return "SET needs a value: one line, not empty"
		}
	case commandValidator:
		if len(c.key) != addressLen || len(c.value) != powerLen {
			return "VALIDATOR takes an address, 64 hexadecimal digits, and a power, a whole number"
		}
	default:
		return "no such command"
	}
	switch {
	case len(c.key) > keyMax:
		return fmt.Sprintf("a key has at most %d bytes", keyMax)
	case c.kind != commandValidator && !isWord(c.key):
		return "a key is one word without control characters"
	case c.client == 0:
		return "a session is named by a number from 1"
	case c.sequence == 0:
		return "sequence numbers start at 1"
	}
	return ""
}

// batch is a block's data under construction.
type batch struct {
	data     []byte
	count    uint32
	bytesMax int
	countMax uint32
}

// newBatch reuses the memory of buffer.
func newBatch(buffer []byte, bytesMax int, countMax uint32) *batch {
	var header [batchHeaderLen]byte
	return &batch{data: append(buffer[:0], header[:]...), bytesMax: bytesMax, countMax: countMax}
}

func (b *batch) hasRoom(c *command) bool {
	return b.count < b.countMax && len(b.data)+c.len() <= b.bytesMax
}

func (b *batch) append(c *command) {
	b.data = append(b.data, byte(c.kind))
	b.data = binary.LittleEndian.AppendUint64(b.data, c.client)
	b.data = binary.LittleEndian.AppendUint64(b.data, c.sequence)
	b.data = binary.LittleEndian.AppendUint16(b.data, uint16(len(c.key)))
	b.data = binary.LittleEndian.AppendUint32(b.data, uint32(len(c.value)))
	b.data = append(append(b.data, c.key...), c.value...)
	b.count++
}

func (b *batch) finish(stateHash digest) []byte {
	header := append(b.data[:0], batchVersion)
	header = stateHash.append(header)
	binary.LittleEndian.AppendUint32(header, b.count)
	return b.data
}

// batchReader reads a block's data, which may be anything.
type batchReader struct {
	left      []byte
	remaining uint32
	stateHash digest
}

func openBatch(data []byte) (*batchReader, bool) {
	if len(data) < batchHeaderLen || data[0] != batchVersion {
		return nil, false
	}
	r := &batchReader{
		left:      data[batchHeaderLen:],
		remaining: binary.LittleEndian.Uint32(data[1+digestLen:]),
		stateHash: takeDigest(data[1:]),
	}
	return r, r.remaining >= 1 && r.remaining <= blockCommandsMax
}

// next reads one command, which borrows from the data. Done without an error is the end.
func (r *batchReader) next(c *command) (done bool, err error) {
	p := r.left
	if r.remaining == 0 {
		if len(p) > 0 {
			return true, errMalformed
		}
		return true, nil
	}
	if len(p) < commandHeaderLen {
		return true, errMalformed
	}
	keyLen := uint64(binary.LittleEndian.Uint16(p[17:]))
	valueLen := uint64(binary.LittleEndian.Uint32(p[19:]))
	whole := commandHeaderLen + keyLen + valueLen
	if uint64(len(p)) < whole {
		return true, errMalformed
	}
	*c = command{
		kind:     commandKind(p[0]),
		client:   binary.LittleEndian.Uint64(p[1:]),
		sequence: binary.LittleEndian.Uint64(p[9:]),
		key:      p[commandHeaderLen : commandHeaderLen+keyLen],
		value:    p[commandHeaderLen+keyLen : whole],
	}
	if c.complaint() != "" {
		return true, errMalformed
	}
	r.left = p[whole:]
	r.remaining--
	return false, nil
}

var errMalformed = fmt.Errorf("a malformed command, or bytes after the last")
