package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	hotstuff "libhotstuff/bindings/go"
)

// What is handed out for those who believe nothing: where a key was written, blocks, and proofs.
const (
	findBytesMax = 16 << 20 // of blocks that WHERE searches
	partMax      = 4096     // bytes of a block or a proof in one answer, as hexadecimal digits
)

// findWrite is the height of the last block that wrote or deleted a key, as far back as the last
// historyLen data blocks and findBytesMax of their data reach; else hotstuff.ErrNotFound.
func findWrite(tree *hotstuff.Snapshot, key []byte) (uint64, error) {
	s, err := readSummary(tree)
	if err != nil {
		return 0, err
	}
	oldest := s.dataBlocks - min(s.dataBlocks, historyLen)
	searched := 0
	for i := s.dataBlocks; i > oldest && searched < findBytesMax; i-- {
		record, err := readRecord(tree, slotKey('h', i%historyLen), historyRecordLen)
		if err != nil {
			return 0, fmt.Errorf("the history: %w", errCorrupt)
		}
		block, err := tree.BlockAt(binary.LittleEndian.Uint64(record))
		if err != nil {
			return 0, fmt.Errorf("a block of the history: %w", errCorrupt)
		}
		searched += len(block.Data)
		if writes(block.Data, key) {
			return block.Height, nil
		}
	}
	return 0, hotstuff.ErrNotFound
}

func writes(data, key []byte) bool {
	reader, ok := openBatch(data)
	for ok {
		var c command
		if done, err := reader.next(&c); done || err != nil {
			return false
		}
		if (c.kind == commandSet || c.kind == commandDelete) && bytes.Equal(c.key, key) {
			return true
		}
	}
	return false
}

func (n *node) sayWhere(to []byte, key string) []byte {
	var height uint64
	err := n.read(func(tree *hotstuff.Snapshot) (err error) {
		height, err = findWrite(tree, []byte(key))
		return err
	})
	if errors.Is(err, hotstuff.ErrNotFound) {
		err = &refusal{"notfound", fmt.Sprintf("not in the last %d MiB or %d blocks: who wrote it "+
			"knows where", findBytesMax>>20, historyLen)}
	}
	if err != nil {
		return sayError(to, err)
	}
	return say(to, "OK %d", height)
}

// canonical is what a request names: a block, its proof, or an epoch's.
func canonical(tree *hotstuff.Snapshot, verb string, number uint64) ([]byte, error) {
	if verb == "EPOCH" {
		return tree.EpochProof(number)
	}
	block, err := tree.BlockAt(number)
	if err != nil {
		return nil, err
	}
	if verb == "BLOCK" {
		return tree.EncodedBlock(block.Hash)
	}
	return tree.CommitProof(block.Hash)
}

// sayPart answers "BLOCK height offset" and the like.
func (n *node) sayPart(to []byte, verb, argument string) []byte {
	a, b, _ := strings.Cut(argument, " ")
	number, okA := parseNumber(a)
	offset, okB := parseNumber(b)
	if !okA || !okB {
		return say(to, "ERR syntax expected a number, and an offset in bytes")
	}
	var all []byte
	err := n.read(func(tree *hotstuff.Snapshot) (err error) {
		all, err = canonical(tree, verb, number)
		return err
	})
	if err != nil && !errors.Is(err, hotstuff.ErrNotFound) {
		return sayError(to, err)
	}
	if err != nil || offset >= uint64(len(all)) {
		return say(to, "ERR notfound not committed here yet, not over yet, or beyond its end")
	}
	part := all[offset:min(uint64(len(all)), offset+partMax)]
	return hex.AppendEncode(say(to, "OK %d ", len(all)), part)
}
