package hotstuff

// #include "shim.h"
import "C"

// Block is a block of the chain, as plain data.
type Block struct {
	// Height is its distance from the genesis: 1 for the first block.
	Height uint64
	// Epoch and View are when it was proposed: a view belongs to its epoch.
	Epoch, View uint64
	// Hash is its name.
	Hash Hash
	// Parent is the hash of the block it builds on; the genesis hash for the first block.
	Parent Hash
	// DataHash is the SHA-256 of Data.
	DataHash Hash
	// Data is what an app's ProposeBlock made; nothing if the library made the block alone.
	Data []byte
}

// DecodeBlock reads the canonical bytes of a block: see [Snapshot.EncodedBlock]. It checks that the
// data is what the header names, and nothing else: whether the block is committed, or even valid,
// the bytes alone cannot say. [ErrDecode]: they are no block, or no canonical one. [ErrTooLarge]:
// no block is so large.
func DecodeBlock(genesis Hash, encoded []byte) (*Block, error) {
	block, err := decodeBlock(genesis, encoded)
	if err != nil {
		return nil, err
	}
	return takeBlock(block), nil
}

func decodeBlock(genesis Hash, encoded []byte) (*C.hotstuff_block, error) {
	var block *C.hotstuff_block
	if len(encoded) == 0 {
		return nil, failure("decode block", C.HOTSTUFF_E_DECODE)
	}
	p, n := bytesOf(encoded)
	status := C.hotstuff_block_decode(genesis.c(), p, n, &block)
	return block, failure("decode block", status)
}

// encodeBlock encodes a block, and frees it.
func encodeBlock(block *C.hotstuff_block) ([]byte, error) {
	var buffer *cBuffer
	status := C.hotstuff_block_encode(block, &buffer)
	C.hotstuff_block_free(block)
	if status != C.HOTSTUFF_OK {
		return nil, failure("encode block", status)
	}
	return takeBuffer(buffer), nil
}

// takeBlock reads a block, and frees it.
func takeBlock(block *C.hotstuff_block) *Block {
	var all C.hotstuff_go_block
	C.hotstuff_go_block_read(block, &all)
	out := goBlock(&all)
	C.hotstuff_block_free(block)
	return out
}

func goBlock(b *C.hotstuff_go_block) *Block {
	return &Block{
		Height: uint64(b.height), Epoch: uint64(b.epoch), View: uint64(b.view),
		Hash: goHash(&b.hash), Parent: goHash(&b.parent_hash), DataHash: goHash(&b.data_hash),
		Data: goBytes(b.data),
	}
}
