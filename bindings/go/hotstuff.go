// Package hotstuff replicates a deterministic application among replicas that may crash or lie: as
// long as less than a third of the voting power does, all replicas keep the same chain of blocks
// and the same state. It is libhotstuff behind a Go interface.
//
// A program writes an [App], the deterministic function of (block, state); opens a [Replica] with
// [OpenTCP], or with [Open] and a [Network] of its own; runs it; tells it by [Replica.Notify] that
// there is work; and follows by [Replica.NextCommitted] what the replicas have agreed on:
//
//	replica, err := hotstuff.OpenTCP(config, app, tcp)
//	if err != nil {
//		return err
//	}
//	defer replica.Close()
//	return replica.Run(ctx) // until ctx is done, or the replica cannot go on
//
// # Building
//
// The package links the shared library libhotstuff, which it finds with pkg-config. From a clone
// of the repository, without installing anything, `make build-go` builds the library and writes
// target/pkgconfig/hotstuff.pc, which names it where it lies:
//
//	PKG_CONFIG_PATH=$PWD/target/pkgconfig go build ./...
//
// When a program starts, the package compares the library that was loaded with the header that it
// was compiled with, and panics if they do not fit: see [CheckVersion].
//
// # Rules
//
// What [KeyPair], [Replica] and [Snapshot] hold is not the garbage collector's: call Close, which
// may be called again. Everything else is plain Go data, and yours.
//
// All methods may be called from any goroutine, several at once, if nothing else is said. Those of
// a [Replica] that wait must not be called in a callback of the same replica: they return
// [ErrReentrant] there.
//
// What fails returns an [*Error]; errors.Is compares it with the constants of [Status], like
// [ErrLocked].
//
// A panic in a callback is caught: the callback counts as failed, the replica goes on, and
// [Replica.Err], the logger and the result of [Replica.Run] have it. A callback must not call
// [runtime.Goexit], which no package can catch.
//
// A process that has started a replica must not fork and go on without exec, which Go never does.
package hotstuff

/*
#cgo pkg-config: hotstuff
#cgo CFLAGS: -std=c11
#include "shim.h"

static uint32_t header_abi(void) { return HOTSTUFF_ABI_VERSION; }
static uint32_t header_version(void) { return HOTSTUFF_VERSION_NUMBER; }
*/
import "C"

import "fmt"

// Types of C that many signatures have.
type (
	cStatus  = C.hotstuff_status
	cReplica = C.hotstuff_replica
	cTree    = C.hotstuff_block_tree
	cSet     = C.hotstuff_validator_set
	cBuffer  = C.hotstuff_buffer
)

func init() {
	if err := CheckVersion(); err != nil {
		panic(err.Error())
	}
}

// Version is the version of the library that is loaded, as "0.1.0".
func Version() string { return C.GoString(C.hotstuff_version_string()) }

// HasTCP says whether the library that is loaded was built with its TCP network.
func HasTCP() bool { return bool(C.hotstuff_has_feature(C.HOTSTUFF_FEATURE_TCP)) }

// CheckVersion says whether the library that is loaded fits the header that this package was
// compiled with: the same ABI, and no older. The package checks it when a program starts.
func CheckVersion() error {
	return compareVersions(
		versions{uint32(C.header_abi()), uint32(C.header_version())},
		versions{uint32(C.hotstuff_abi_version()), uint32(C.hotstuff_version_number())},
	)
}

type versions struct{ abi, number uint32 }

func (v versions) String() string {
	n := v.number
	return fmt.Sprintf("%d.%d.%d (ABI %d)", n/1_000_000, n/1_000%1_000, n%1_000, v.abi)
}

func compareVersions(header, library versions) error {
	if header.abi == library.abi && library.number >= header.number {
		return nil
	}
	return fmt.Errorf("hotstuff: this program was compiled for libhotstuff %v and has loaded %v: "+
		"install the library that it was compiled for, or compile it again", header, library)
}
