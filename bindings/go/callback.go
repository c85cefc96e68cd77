package hotstuff

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// PanicError is a panic of a callback: of the app, or of the network.
type PanicError struct {
	// Callback is the method that panicked: "ProposeBlock".
	Callback string
	// Value is what it panicked with.
	Value any
	// Stack is where, as by debug.Stack.
	Stack []byte
}

// Error is the text for a person, without the stack.
func (p *PanicError) Error() string {
	return fmt.Sprintf("hotstuff: %s panicked: %v", p.Callback, p.Value)
}

// Unwrap is the value, if that is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// How many handles C holds; a test counts them.
var handles atomic.Int64

// newHandle names a value for C, until hotstuffGoDestroy.
func newHandle(value any) C.uintptr_t {
	handles.Add(1)
	return C.uintptr_t(cgo.NewHandle(value))
}

func deleteHandle(handle C.uintptr_t) {
	cgo.Handle(handle).Delete()
	handles.Add(-1)
}

func valueOf[T any](handle C.uintptr_t) T { return cgo.Handle(handle).Value().(T) }

func replicaOf(handle C.uintptr_t) *Replica { return valueOf[*Replica](handle) }

func (r *Replica) catch(callback string, result *C.int32_t) {
	// recover() works only in what is deferred itself.
	caught(&r.panicked, callback, recover(), result)
}

func catch(kept *atomic.Pointer[PanicError], callback string, result *C.int32_t) {
	caught(kept, callback, recover(), result)
}

// caught keeps the first panic of a callback, which then has failed.
func caught(kept *atomic.Pointer[PanicError], callback string, value any, result *C.int32_t) {
	if value == nil {
		return
	}
	*result = C.HOTSTUFF_E_CALLBACK
	p := &PanicError{Callback: callback, Value: value, Stack: debug.Stack()}
	if kept != nil {
		kept.CompareAndSwap(nil, p)
	}
	logLine(LogError, "go", fmt.Sprintf("%v\n%s", p, p.Stack))
}

// failed logs why a callback has failed: C has only a number for it.
func failed(callback string, err error) C.int32_t {
	logLine(LogWarn, "go", callback+": "+err.Error())
	return C.HOTSTUFF_E_CALLBACK
}

//export hotstuffGoDestroy
func hotstuffGoDestroy(handle C.uintptr_t) { deleteHandle(handle) }

//export hotstuffGoEventsOver
func hotstuffGoEventsOver(handle C.uintptr_t) {
	close(replicaOf(handle).events)
	deleteHandle(handle)
}

//export hotstuffGoProposeBlock
func hotstuffGoProposeBlock(handle C.uintptr_t, view C.uint64_t, budgetMs C.uint32_t,
	parent *C.hotstuff_hash, tree *cTree, out *C.hotstuff_updates) (result C.int32_t) {
	r := replicaOf(handle)
	snapshot, updates := &Snapshot{tree: tree, lent: true}, &Updates{out}
	defer func() { updates.updates = nil }()
	defer snapshot.giveBack()
	defer r.catch("ProposeBlock", &result)
	request := &ProposeRequest{View: uint64(view), Parent: goHash(parent), Snapshot: snapshot,
		Budget: time.Duration(budgetMs) * time.Millisecond}
	err := r.app.ProposeBlock(request, updates)
	switch {
	case err == nil:
		return C.HOTSTUFF_OK
	case errors.Is(err, ErrDefer):
		return C.HOTSTUFF_PROPOSE_DEFER
	}
	return failed("ProposeBlock", err)
}

//export hotstuffGoValidateBlock
func hotstuffGoValidateBlock(handle C.uintptr_t, view C.uint64_t, isSync C.bool,
	block *C.hotstuff_go_block, tree *cTree,
	out *C.hotstuff_updates) (result C.int32_t) {
	r := replicaOf(handle)
	snapshot, updates := &Snapshot{tree: tree, lent: true}, &Updates{out}
	defer func() { updates.updates = nil }()
	defer snapshot.giveBack()
	defer r.catch("ValidateBlock", &result)
	request := &ValidateRequest{View: uint64(view), Block: goBlock(block), Snapshot: snapshot,
		IsSync: bool(isSync)}
	err := r.app.ValidateBlock(request, updates)
	switch {
	case err == nil:
		return C.HOTSTUFF_BLOCK_VALID
	case errors.Is(err, ErrInvalidBlock):
		return C.HOTSTUFF_BLOCK_INVALID
	}
	return failed("ValidateBlock", err)
}

//export hotstuffGoConnect
func hotstuffGoConnect(handle C.uintptr_t, peer *C.hotstuff_validator_address) (result C.int32_t) {
	r := replicaOf(handle)
	defer r.catch("Connect", &result)
	r.network.Connect(goAddress(peer))
	return C.HOTSTUFF_OK
}

//export hotstuffGoDisconnect
func hotstuffGoDisconnect(handle C.uintptr_t,
	peer *C.hotstuff_validator_address) (result C.int32_t) {
	r := replicaOf(handle)
	defer r.catch("Disconnect", &result)
	r.network.Disconnect(goAddress(peer))
	return C.HOTSTUFF_OK
}

//export hotstuffGoSend
func hotstuffGoSend(handle C.uintptr_t, peer *C.hotstuff_validator_address, message *C.uint8_t,
	len C.size_t) (result C.int32_t) {
	r := replicaOf(handle)
	defer r.catch("Send", &result)
	return sent(r.network.Send(goAddress(peer), goBytes(C.hotstuff_bytes{message, len})))
}

//export hotstuffGoBroadcast
func hotstuffGoBroadcast(handle C.uintptr_t, message *C.uint8_t, len C.size_t) (result C.int32_t) {
	r := replicaOf(handle)
	defer r.catch("Broadcast", &result)
	return sent(r.network.(Broadcaster).Broadcast(goBytes(C.hotstuff_bytes{message, len})))
}

// sent says why the message is lost, if the network knows the word for it.
func sent(err error) C.int32_t {
	var status Status
	switch {
	case err == nil:
		return C.HOTSTUFF_OK
	case errors.As(err, &status):
		return C.int32_t(status)
	}
	return C.HOTSTUFF_E_WOULD_BLOCK
}

//export hotstuffGoEvent
func hotstuffGoEvent(handle C.uintptr_t, event *C.hotstuff_go_event) {
	replicaOf(handle).onEvent(goEvent(event))
}

//export hotstuffGoLog
func hotstuffGoLog(level C.int32_t, target, message *C.char) {
	logLine(LogLevel(level), C.GoString(target), C.GoString(message))
}
