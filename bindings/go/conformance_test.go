package hotstuff_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	hotstuff "libhotstuff/bindings/go"
)

// The golden vectors of tests/conformance, through the C door. It decodes and encodes blocks, and
// reads evidence; the other types are inside of these or never leave the library.

func conformance(t *testing.T, name ...string) string {
	return filepath.Join(append([]string{root(t), "tests", "conformance"}, name...)...)
}

func vectors(t *testing.T, name string) (all [][]byte) {
	text, err := os.ReadFile(conformance(t, "vectors.json"))
	check(t, err)
	var types []struct {
		Name  string
		First []string
	}
	check(t, json.Unmarshal(text, &types))
	for _, one := range types {
		if one.Name != name {
			continue
		}
		for _, digits := range one.First {
			value, err := hex.DecodeString(digits)
			check(t, err)
			all = append(all, value)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no vectors of %s", name)
	}
	return all
}

// cursor walks over an encoding, as tests/conformance/README.md has it.
type cursor struct {
	left []byte
	at   int
}

func (c *cursor) skip(n int) []byte {
	out := c.left[:n]
	c.left, c.at = c.left[n:], c.at+n
	return out
}

func (c *cursor) number() (n uint64) {
	for shift := 0; ; shift += 7 {
		b := c.skip(1)[0]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

func (c *cursor) certificate() {
	for range 3 { // epoch, view, justify view
		c.number()
	}
	c.skip(32) // block
	c.number() // phase
	for range c.number() {
		if c.number() == 1 {
			c.skip(int(c.number()))
		}
	}
}

// block is what a golden block says, with the place of its data hash.
func (c *cursor) block() (b hotstuff.Block, hashAt int) {
	b.Height, b.Epoch, b.View = c.number(), c.number(), c.number()
	c.certificate()
	hashAt = c.at
	c.skip(32)
	if c.number() == 1 { // validator set updates
		for range c.number() {
			c.skip(32)
			c.number()
		}
	}
	b.Data = c.skip(int(c.number()))
	return b, hashAt
}

func TestGoldenBlocksAreDecodedAndEncoded(t *testing.T) {
	genesis := hotstuff.Hash{7}
	for _, golden := range vectors(t, "Block") {
		// The generator draws any data hash; a block that is named so is refused.
		_, err := hotstuff.DecodeBlock(genesis, golden)
		expect(t, err, hotstuff.ErrDecode)

		c := &cursor{left: golden}
		wanted, hashAt := c.block()
		if len(c.left) != 0 {
			t.Fatalf("%d bytes are left", len(c.left))
		}
		honest := bytes.Clone(golden)
		hash := sha256.Sum256(wanted.Data)
		copy(honest[hashAt:], hash[:])
		block, err := hotstuff.DecodeBlock(genesis, honest)
		check(t, err)
		if block.Height != wanted.Height || block.Epoch != wanted.Epoch || block.View != wanted.View ||
			!bytes.Equal(block.Data, wanted.Data) || block.DataHash != hash {
			t.Fatalf("%x is read as %+v", honest, block)
		}
		again, err := hotstuff.Recode(genesis, honest)
		if err != nil || !bytes.Equal(again, honest) {
			t.Fatalf("%x is written as %x, %v", honest, again, err)
		}
		for _, broken := range [][]byte{nil, honest[:len(honest)-1], append(bytes.Clone(honest), 0)} {
			_, err := hotstuff.DecodeBlock(genesis, broken)
			expect(t, err, hotstuff.ErrDecode)
		}
	}
}

func TestGoldenCertificatesAreRead(t *testing.T) {
	member, err := hotstuff.NewValidatorSet(hotstuff.Validator{Power: 1})
	check(t, err)
	for _, golden := range vectors(t, "QuorumCertificate") {
		// It is read, and then refused: nobody has signed what the generator has drawn.
		_, err := hotstuff.VerifyQC(hotstuff.Hash{}, member, golden)
		if err == nil || errors.Is(err, hotstuff.ErrDecode) {
			t.Fatal(err)
		}
		for _, broken := range [][]byte{nil, golden[:len(golden)-1], append(bytes.Clone(golden), 0)} {
			_, err := hotstuff.VerifyQC(hotstuff.Hash{}, member, broken)
			expect(t, err, hotstuff.ErrDecode)
		}
	}
}

func TestGoldenEvidenceIsRead(t *testing.T) {
	member, err := hotstuff.NewValidatorSet(hotstuff.Validator{Power: 1})
	check(t, err)
	for _, golden := range vectors(t, "Evidence") {
		info, err := hotstuff.ReadEvidence(golden)
		check(t, err)
		if info.Kind < hotstuff.DoubleVote || info.Kind > hotstuff.LyingTimeout {
			t.Fatalf("%+v", info)
		}
		// Its signatures are drawn, too: nobody is convicted.
		_, err = hotstuff.VerifyEvidence(hotstuff.Hash{}, member, golden)
		expect(t, err, hotstuff.ErrNotFound)
		accused, err := hotstuff.NewValidatorSet(hotstuff.Validator{Address: info.Validator, Power: 1})
		check(t, err)
		if _, err = hotstuff.VerifyEvidence(hotstuff.Hash{}, accused, golden); err == nil {
			t.Fatal("convicted by rubbish")
		}
		_, err = hotstuff.ReadEvidence(golden[:len(golden)-1])
		expect(t, err, hotstuff.ErrDecode)
	}
	_, err = hotstuff.ReadEvidence(nil)
	expect(t, err, hotstuff.ErrDecode)
	_, err = hotstuff.ReadEvidence(make([]byte, 32<<20))
	expect(t, err, hotstuff.ErrTooLarge)
}

// The database of format 1, as tests/storage/chain.rs has made it.
func TestTheDatabaseOfFormat1IsRead(t *testing.T) {
	directory := t.TempDir()
	for _, name := range []string{"data.mdb", "hotstuff.chain"} {
		data, err := os.ReadFile(conformance(t, "format-1", name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(directory, name), data, 0o600))
	}
	var validators []hotstuff.Validator
	for i := byte(1); i <= 4; i++ {
		validators = append(validators,
			hotstuff.Validator{Address: hotstuff.Address(bytes.Repeat([]byte{i}, 32)), Power: 1})
	}
	config := hotstuff.Config{
		ChainID: 7, GenesisValidators: validators, DataDir: directory, MapBytes: 1 << 30,
		GenesisState: map[string][]byte{"a": []byte("genesis a"), "z": []byte("genesis z")},
		Options:      map[string]string{"chain.leader_rule": "round_robin"},
	}
	replica := mustOpen(t, config, appFuncs{})
	snapshot, err := replica.Snapshot()
	check(t, err)
	defer snapshot.Close()
	genesis, err := config.GenesisHash()
	check(t, err)
	parent := genesis
	for height, data := range map[uint64]string{1: "zero", 2: "one"} {
		block, err := snapshot.BlockAt(height)
		check(t, err)
		if string(block.Data) != data || block.DataHash != sha256.Sum256([]byte(data)) {
			t.Fatalf("block %d is %+v", height, block)
		}
		encoded, err := snapshot.EncodedBlock(block.Hash)
		check(t, err)
		again, err := hotstuff.Recode(genesis, encoded)
		if err != nil || !bytes.Equal(again, encoded) {
			t.Fatalf("%x is written as %x, %v", encoded, again, err)
		}
		if height == 1 && block.Parent != parent {
			t.Fatalf("the first block builds on %v", block.Parent)
		}
	}
	if value, err := snapshot.Get([]byte("a")); err != nil || string(value) != "1" {
		t.Fatalf("a is %q, %v", value, err)
	}
	_, err = snapshot.Get([]byte("z"))
	expect(t, err, hotstuff.ErrNotFound)
	set, err := snapshot.ValidatorsOf(1)
	if err != nil || len(set.Members) != 5 {
		t.Fatalf("%+v, %v", set, err)
	}
}
