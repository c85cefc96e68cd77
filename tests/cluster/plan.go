// Which fault strikes whom, and for how long: all of it from a seed.
package main

import (
	"math/rand"
	"time"
)

type kind string

const (
	disconnect kind = "disconnect"
	pause      kind = "pause"
	kill       kind = "kill"
	restart    kind = "restart"
	join       kind = "join"
	leave      kind = "leave"
)

var kinds = []kind{disconnect, pause, kill, restart, join, leave}

const (
	members    = 5
	validators = 4 // of the genesis; the last member joins
	holdMax    = 10 * time.Second
)

type fault struct {
	kind   kind
	victim int
	hold   time.Duration // until it is mended; after a join or leave, until the next
}

// planner deals out rounds: each kind once, in a random order in which the join comes before the
// leave, and each of the five members struck once (by something else than a join).
type planner struct {
	random  *rand.Rand
	outside int // the member that is no validator
	holdMax time.Duration
}

func newPlanner(seed int64, length time.Duration) *planner {
	longest := length / 15
	if longest > holdMax {
		longest = holdMax
	}
	return &planner{rand.New(rand.NewSource(seed)), members - 1, longest}
}

func (p *planner) round() []fault {
	var faults []fault
	victims := p.random.Perm(members)
	for _, i := range p.random.Perm(len(kinds)) {
		hold := p.holdMax/2 + time.Duration(p.random.Int63n(int64(p.holdMax/2)))
		faults = append(faults, fault{kind: kinds[i], hold: hold})
	}
	joins, leaves := find(faults, join), find(faults, leave)
	if joins > leaves {
		faults[joins], faults[leaves] = faults[leaves], faults[joins]
	}
	for i := range faults {
		f := &faults[i]
		if f.kind == join {
			f.victim = p.outside
			continue
		}
		f.victim, victims = victims[0], victims[1:]
		if f.kind == leave {
			p.outside = f.victim
		}
	}
	return faults
}

func find(faults []fault, wanted kind) int {
	for i, f := range faults {
		if f.kind == wanted {
			return i
		}
	}
	return -1
}
