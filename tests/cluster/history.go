// What the clients did and saw, and whether one register per key can have answered so.
package main

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	set    = "SET"
	get    = "GET"
	remove = "DEL"
)

// operation is one call of one client. An empty value is an absent key.
type operation struct {
	kind, key string
	value     string // written, or read
	client    int
	call      time.Duration // since the start of the history
	answered  time.Duration
}

// never is when an operation whose outcome is not known was answered: it may take effect at any
// time after its call, or after all that was seen, which is never.
const never = time.Duration(math.MaxInt64)

// history is safe for concurrent use.
type history struct {
	began time.Time
	mutex sync.Mutex
	all   []operation
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) add(o operation) {
	if o.kind == get && o.answered == never {
		return // it had no effect, and nobody saw its value
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.all = append(h.all, o)
}

// summary says how much there is, and how long the longest call took that had an answer.
func (h *history) summary() string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	count, unanswered, longest := map[string]int{}, 0, time.Duration(0)
	for _, o := range h.all {
		count[o.kind]++
		if o.answered == never {
			unanswered++
			continue
		}
		longest = max(longest, o.answered-o.call)
	}
	return fmt.Sprintf("%d operations: %d set, %d get, %d deleted, %d of them without an answer; "+
		"the longest wait of a client: %.2f s", len(h.all), count[set], count[get], count[remove],
		unanswered, longest.Seconds())
}

// register is the sequential specification of one key.
var register = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		o := input.(operation)
		if o.kind == get {
			return o.value == state, state
		}
		return true, o.value
	},
	DescribeOperation: func(input, output interface{}) string {
		o := input.(operation)
		unknown := ""
		if o.answered == never {
			unknown = ", no answer"
		}
		return fmt.Sprintf("%s %s %q%s", o.kind, o.key, o.value, unknown)
	},
	DescribeState: func(state interface{}) string { return fmt.Sprintf("%q", state) },
}

// violation is a key whose operations no register explains.
type violation struct {
	key  string
	info porcupine.LinearizationInfo
}

// check judges each key by itself. It gives up, with an error, after `within` for one key.
func check(all []operation, within time.Duration) (*violation, error) {
	keys := map[string][]porcupine.Operation{}
	for _, o := range all {
		keys[o.key] = append(keys[o.key], porcupine.Operation{
			ClientId: o.client, Input: o, Call: int64(o.call), Return: int64(o.answered),
		})
	}
	for key, operations := range keys {
		switch porcupine.CheckOperationsTimeout(register, operations, within) {
		case porcupine.Unknown:
			return nil, fmt.Errorf("%d operations of %s: no verdict within %v",
				len(operations), key, within)
		case porcupine.Illegal:
			_, info := porcupine.CheckOperationsVerbose(register, operations, within)
			return &violation{key, info}, nil
		}
	}
	return nil, nil
}

func (v *violation) visualize(path string) error {
	return porcupine.VisualizePath(register, v.info, path)
}
