package hotstuff

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// CommitRule says how many certificates commit a block.
type CommitRule uint32

const (
	// ThreeChain: three certificates in consecutive views (HotStuff). The default.
	ThreeChain CommitRule = C.HOTSTUFF_COMMIT_RULE_THREE_CHAIN
	// TwoChain: two certificates in consecutive views (Jolteon): one round sooner.
	TwoChain CommitRule = C.HOTSTUFF_COMMIT_RULE_TWO_CHAIN
)

// VoteTo says to whom votes go.
type VoteTo uint32

const (
	// VoteToAuto: to all with up to 10 validators, to the next leader beyond. The default.
	VoteToAuto VoteTo = C.HOTSTUFF_VOTE_TO_AUTO
	// VoteToAll: to everyone. A dead next leader costs nothing extra.
	VoteToAll VoteTo = C.HOTSTUFF_VOTE_TO_ALL
	// VoteToNextLeader: only to the leader of the next view. The fewest messages.
	VoteToNextLeader VoteTo = C.HOTSTUFF_VOTE_TO_NEXT_LEADER
)

// Durability says what a crash may take.
type Durability uint32

const (
	// Synced: nothing. Every step is synced to the disk before a word of it is said. The default.
	Synced Durability = C.HOTSTUFF_DURABILITY_SYNCED
	// ProcessCrash: nothing if the process dies, much if the machine does (power loss, kernel
	// crash). A replica that has lost its memory may then vote twice: if that can happen to more
	// than a third of the power at once, the chain is not safe. Far faster.
	ProcessCrash Durability = C.HOTSTUFF_DURABILITY_PROCESS_CRASH
)

// Config is everything a replica is told when it is opened. A field that is left out has its
// default.
//
// ChainID, GenesisValidators, GenesisState, CommitRule, MaxIdle and MaxBlockBytes make the genesis:
// they are the same on all replicas of a chain. Times are rounded down to milliseconds.
type Config struct {
	// ChainID says which chain this is: no message of one chain means anything on another.
	ChainID uint64
	// GenesisValidators are the validators that the chain begins with, in any order. Required.
	GenesisValidators []Validator
	// GenesisState is the app's state that the chain begins with. Keys have 1 to 500 bytes, values
	// at most 16 MiB.
	GenesisState map[string][]byte
	// CommitRule is the commit rule of the chain.
	CommitRule CommitRule
	// MaxIdle is how long a leader whose app has nothing to propose waits for work before it
	// proposes an empty block. Longer is quieter; shorter finds dead peers sooner. Default: 5 s.
	MaxIdle time.Duration
	// MaxBlockBytes is the most data that a block may carry, up to 64 MiB. Default: 1 MiB.
	MaxBlockBytes uint64

	// KeyPair is what the replica signs with. Without one, or with one that is no validator's, it
	// is a listener: it follows the chain and never votes. Never run two replicas with one key.
	KeyPair *KeyPair
	// Signer signs for the replica, in place of KeyPair: where the key is not in this process.
	Signer Signer
	// DataDir is where the replica keeps its block tree and its voting record. Required. Losing it,
	// or restoring an old copy of it, may make a validator vote twice: treat it like the key.
	DataDir string
	// Create says that the directory may be created, and the chain begun in it. True for the first
	// start only, so that a disk that was not mounted never becomes a validator without memory.
	Create bool
	// MapBytes is the most that the database may grow to: address space, not disk. Default: 1 TiB.
	MapBytes uint64
	// Durability is what a crash may take.
	Durability Durability

	// ViewTimeout is how long a view lasts before it is given up; the wait doubles with each view
	// that fails. Default: 1 s.
	ViewTimeout time.Duration
	// MaxViewTimeout is the longest such wait. It must exceed four message delays of the real
	// network. Default: 60 s.
	MaxViewTimeout time.Duration
	// Pacemaker says how long views last, and who leads them, in place of the library's own and of the
	// two above. The whole chain must have the same leaders.
	Pacemaker Pacemaker
	// VoteTo is to whom votes go.
	VoteTo VoteTo
	// SyncRequestLimit is how many blocks a replica that catches up asks for at once, up to 1024.
	// Default: 256.
	SyncRequestLimit uint32
	// SyncResponseTimeout is how long a peer has to answer. Default: 2 s.
	SyncResponseTimeout time.Duration

	// Options are set last, by their names in hotstuff.h: "sync.interval_ms". For settings that
	// newer libraries have and this package has not, and for config files.
	Options map[string]string

	// EventQueue is the capacity of [Replica.Events]. When the channel is full, events are dropped
	// and counted. Default 0: no events at all.
	EventQueue int

	panicked *atomic.Pointer[PanicError] // of the replica that is opened
}

// GenesisHash is the hash of what makes the genesis. Replicas work together only if theirs are
// equal: operators compare it before they start a chain.
func (c *Config) GenesisHash() (Hash, error) {
	var hash Hash
	err := c.lend(func(config *C.hotstuff_config) error {
		return failure("genesis hash", C.hotstuff_config_genesis_hash(config, hash.c()))
	})
	return hash, err
}

// MaxMessageBytes is the most bytes that any message of this chain has: what a transport must be
// able to carry. It follows from MaxBlockBytes.
func (c *Config) MaxMessageBytes() (uint64, error) {
	var bytes C.uint64_t
	err := c.lend(func(config *C.hotstuff_config) error {
		return failure("max message bytes", C.hotstuff_config_max_message_bytes(config, &bytes))
	})
	return uint64(bytes), err
}

// lend calls use with the config as C has it.
func (c *Config) lend(use func(*C.hotstuff_config) error) error {
	var config *C.hotstuff_config
	if status := C.hotstuff_config_new(&config); status != C.HOTSTUFF_OK {
		return failure("config", status)
	}
	defer C.hotstuff_config_free(config)
	s := &settings{config: config}
	s.setAll(c)
	if s.err != nil {
		return s.err
	}
	return use(config)
}

// settings carries a Config over, up to the first failure.
type settings struct {
	config *C.hotstuff_config
	err    error
}

func (s *settings) setAll(c *Config) {
	s.check("ChainID", C.hotstuff_config_set_chain_id(s.config, C.uint64_t(c.ChainID)))
	s.setGenesis(c)
	s.check("CommitRule", C.hotstuff_config_set_commit_rule(s.config, C.uint32_t(c.CommitRule)))
	s.milliseconds("Config.MaxIdle", "chain.max_idle_ms", c.MaxIdle)
	s.number("Config.MaxBlockBytes", "chain.max_block_bytes", c.MaxBlockBytes)
	if c.KeyPair != nil {
		s.keep(c.KeyPair.lend("Config.KeyPair", func(key *C.hotstuff_keypair) cStatus {
			return C.hotstuff_config_set_keypair(s.config, key)
		}))
	}
	if c.Signer != nil {
		s.setSigner(c.Signer, c.panicked)
	}
	if c.DataDir != "" {
		s.option("Config.DataDir", "storage.data_dir", c.DataDir)
	}
	s.check("Create", C.hotstuff_config_set_create(s.config, C.bool(c.Create)))
	s.number("Config.MapBytes", "storage.map_bytes", c.MapBytes)
	s.check("Durability", C.hotstuff_config_set_durability(s.config, C.uint32_t(c.Durability)))
	s.milliseconds("Config.ViewTimeout", "pacemaker.base_ms", c.ViewTimeout)
	s.milliseconds("Config.MaxViewTimeout", "pacemaker.max_ms", c.MaxViewTimeout)
	if c.Pacemaker != nil {
		s.setPacemaker(c.Pacemaker, c.panicked)
	}
	s.check("VoteTo", C.hotstuff_config_set_vote_to(s.config, C.uint32_t(c.VoteTo)))
	s.number("Config.SyncRequestLimit", "sync.request_limit", uint64(c.SyncRequestLimit))
	s.milliseconds("Config.SyncResponseTimeout", "sync.response_timeout_ms", c.SyncResponseTimeout)
	for name, value := range c.Options {
		s.option("option."+name, name, value)
	}
}

func (s *settings) setGenesis(c *Config) {
	if len(c.GenesisValidators) > 0 {
		set := ValidatorSet{Members: c.GenesisValidators}
		s.keep(set.lend("Config.GenesisValidators", func(set *cSet) cStatus {
			return C.hotstuff_config_set_genesis_validators(s.config, set)
		}))
	}
	for key, value := range c.GenesisState {
		k, kn := bytesOf([]byte(key))
		v, vn := bytesOf(value)
		s.check("GenesisState", C.hotstuff_config_set_genesis_state(s.config, k, kn, v, vn))
	}
}

func (s *settings) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *settings) check(field string, status cStatus) {
	s.keep(failure("Config."+field, status))
}

// milliseconds sets a time that is not left out.
func (s *settings) milliseconds(field, name string, d time.Duration) {
	if d != 0 {
		s.option(field, name, fmt.Sprint(d.Milliseconds()))
	}
}

// number sets a number that is not left out.
func (s *settings) number(field, name string, n uint64) {
	if n != 0 {
		s.option(field, name, fmt.Sprint(n))
	}
}

func (s *settings) option(field, name, value string) {
	if strings.ContainsRune(name+value, 0) {
		s.keep(&Error{Op: field, Status: ErrInvalidArgument, Message: "a NUL byte"})
		return
	}
	n, v := C.CString(name), C.CString(value)
	defer C.free(unsafe.Pointer(n))
	defer C.free(unsafe.Pointer(v))
	status := C.hotstuff_config_set_option(s.config, n, v)
	if status == C.HOTSTUFF_OK {
		return
	}
	s.keep(&Error{Op: field, Status: Status(status),
		Message: fmt.Sprintf("%s: %q", message(status), value)})
}
