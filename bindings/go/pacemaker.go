package hotstuff

// #include "shim.h"
import "C"

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Pacemaker says how long a view lasts, and who leads it, in place of the library's own. Both methods
// are pure: the same answer to the same question, whenever it is asked. They are called often, and by
// several replicas at once: they must not block.
type Pacemaker interface {
	// ViewTimeout is how long to wait in view current before it is given up, from 1 ms to a day. All
	// views are of one epoch; 0 stands for none yet. The waits must grow while nothing is certified or
	// committed, until they exceed four message delays. May differ between replicas.
	ViewTimeout(validators ValidatorSet, highestQC, highestCommit, current uint64) time.Duration
	// Leader is the index in validators.Members of who leads a view. Every validator must lead again
	// and again, and the answers must be those of all other replicas: else the chain stops. An index
	// that no validator has, and a panic, halt the replica, before it says anything that depends on
	// it.
	Leader(validators ValidatorSet, view uint64) int
}

// pacing is what C holds a handle of.
type pacing struct {
	pacemaker Pacemaker
	panicked  *atomic.Pointer[PanicError] // nil: there is no replica to keep it
}

func (s *settings) setPacemaker(pacemaker Pacemaker, panicked *atomic.Pointer[PanicError]) {
	handle := newHandle(&pacing{pacemaker, panicked})
	status := C.hotstuff_go_set_pacemaker(s.config, handle)
	if status != C.HOTSTUFF_OK {
		deleteHandle(handle)
	}
	s.check("Pacemaker", status)
}

//export hotstuffGoViewTimeout
func hotstuffGoViewTimeout(handle C.uintptr_t, validators *C.hotstuff_validator_set,
	highestQC, highestCommit, current C.uint64_t) C.uint64_t {
	p := valueOf[*pacing](handle)
	var wait time.Duration // of a panic: none, which counts as the shortest
	var result C.int32_t
	func() {
		defer catch(p.panicked, "ViewTimeout", &result)
		wait = p.pacemaker.ViewTimeout(readSet(validators), uint64(highestQC), uint64(highestCommit),
			uint64(current))
	}()
	return C.uint64_t(max(wait.Milliseconds(), 0))
}

//export hotstuffGoLeader
func hotstuffGoLeader(handle C.uintptr_t, validators *C.hotstuff_validator_set, view C.uint64_t,
	index *C.size_t) (result C.int32_t) {
	p := valueOf[*pacing](handle)
	defer catch(p.panicked, "Leader", &result)
	leader := p.pacemaker.Leader(readSet(validators), uint64(view))
	if leader < 0 {
		return failed("Leader", fmt.Errorf("no validator has the index %d", leader))
	}
	*index = C.size_t(leader)
	return C.HOTSTUFF_OK
}
