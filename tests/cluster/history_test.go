package main

import (
	"testing"
	"time"
)

func at(kind, value string, call, answered time.Duration) operation {
	return operation{kind: kind, key: "k", value: value, call: call, answered: answered}
}

func TestHistoriesAreJudged(t *testing.T) {
	for _, story := range []struct {
		title        string
		linearizable bool
		operations   []operation
	}{
		{"a read sees the write before it", true,
			[]operation{at(set, "a", 1, 2), at(get, "a", 3, 4)}},
		{"a stale read", false,
			[]operation{at(set, "a", 1, 2), at(set, "b", 3, 4), at(get, "a", 5, 6)}},
		{"concurrent reads see either value", true,
			[]operation{at(set, "a", 1, 2), at(set, "b", 3, 9), at(get, "b", 4, 5),
				at(get, "b", 6, 7)}},
		{"reads that go back in time", false,
			[]operation{at(set, "a", 1, 2), at(set, "b", 3, 9), at(get, "b", 4, 5),
				at(get, "a", 6, 7)}},
		{"an acknowledged write that is lost", false,
			[]operation{at(set, "a", 1, 2), at(get, "", 3, 4)}},
		{"a delete that has no effect", false,
			[]operation{at(set, "a", 1, 2), at(remove, "", 3, 4), at(get, "a", 5, 6)}},
		{"a write that is applied twice", false,
			[]operation{at(set, "a", 1, 9), at(get, "a", 2, 3), at(set, "b", 4, 5),
				at(get, "b", 6, 7), at(get, "a", 10, 11)}},
		{"a write without an answer that never happens", true,
			[]operation{at(set, "a", 1, never), at(get, "", 2, 3), at(get, "", 4, 5)}},
		{"a write without an answer that happens late", true,
			[]operation{at(set, "a", 1, never), at(get, "", 2, 3), at(get, "a", 4, 5)}},
		{"a write without an answer that happens, and is gone", false,
			[]operation{at(set, "a", 1, never), at(get, "a", 2, 3), at(get, "", 4, 5)}},
		{"a value that nobody wrote", false,
			[]operation{at(set, "a", 1, 2), at(get, "b", 3, 4)}},
	} {
		violation, err := check(story.operations, time.Minute)
		if err != nil || (violation == nil) != story.linearizable {
			t.Errorf("%s: %v, %v", story.title, violation, err)
		}
	}
}

func TestAKeyIsJudgedByItself(t *testing.T) {
	other := at(get, "", 3, 4)
	other.key = "other"
	violation, err := check([]operation{at(set, "a", 1, 2), other}, time.Minute)
	if err != nil || violation != nil {
		t.Error(violation, err)
	}
}
