package main

import (
	"reflect"
	"testing"
	"time"
)

func TestARoundHasEachKindAndStrikesEachMember(t *testing.T) {
	for seed := int64(0); seed < 200; seed++ {
		p := newPlanner(seed, time.Minute)
		outside := members - 1
		for round := 0; round < 4; round++ {
			seen, struck := map[kind]int{}, map[int]int{}
			for _, f := range p.round() {
				seen[f.kind]++
				if f.hold < 2*time.Second || f.hold > 4*time.Second {
					t.Fatalf("seed %d: %v", seed, f)
				}
				switch f.kind {
				case join:
					if f.victim != outside {
						t.Fatalf("seed %d: %v joins, %d is outside", seed, f, outside)
					}
					outside = -1
					continue
				case leave:
					if outside != -1 {
						t.Fatalf("seed %d: %v leaves, and so has %d", seed, f, outside)
					}
					outside = f.victim
				}
				struck[f.victim]++
			}
			if len(seen) != len(kinds) || len(struck) != members {
				t.Fatalf("seed %d: %v, %v", seed, seen, struck)
			}
		}
	}
}

func TestASeedIsAPlan(t *testing.T) {
	first, again := newPlanner(7, time.Hour), newPlanner(7, time.Hour)
	other := newPlanner(8, time.Hour)
	for round := 0; round < 3; round++ {
		faults := first.round()
		if !reflect.DeepEqual(faults, again.round()) || reflect.DeepEqual(faults, other.round()) {
			t.Fatal("a seed is not a plan")
		}
	}
}
