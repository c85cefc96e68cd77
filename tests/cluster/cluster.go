// The cluster under test: its members, the faults that strike them, and what must hold after each.
package main

import (
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What must happen within which time. With a faulty member in each round of leaders, commits go on
// after its view has timed out, and a view lasts at most 4 s. A connection that was cut for 10 s
// is tried again by TCP within as long, or by the transport after three silent heartbeats, 15 s.
const (
	readyWithin    = 30 * time.Second
	resumeWithin   = 10 * time.Second
	caughtUpWithin = 20 * time.Second
	answerWithin   = 30 * time.Second // the longest wait of a client
)

type cluster struct {
	members [members]*member
	history *history
	random  *rand.Rand

	once   sync.Once
	failed chan struct{}
	reason string // once `failed` is closed

	struck            map[kind]int
	hits              [members]int
	resumed, caughtUp time.Duration // the longest of each
	agreements        int           // heights at which all had the same state
}

// fail ends the run. The first reason stays.
func (c *cluster) fail(format string, values ...any) {
	c.once.Do(func() {
		c.reason = fmt.Sprintf(format, values...)
		close(c.failed)
	})
}

func (c *cluster) hasFailed() bool {
	select {
	case <-c.failed:
		return true
	default:
		return false
	}
}

func newCluster(o *options) (*cluster, error) {
	c := &cluster{
		history: &history{began: time.Now()},
		random:  rand.New(rand.NewSource(o.seed)),
		failed:  make(chan struct{}),
		struck:  map[kind]int{},
	}
	if err := makeBridge(); err != nil {
		return nil, err
	}
	for i, command := range o.members {
		host, err := newHost(i)
		if err != nil {
			return nil, err
		}
		m := &member{number: i, name: command.name, command: command.words, host: host,
			folder: o.folder, died: func(how string) { c.fail("%s", how) }}
		if err := m.makeKey(o.kv); err != nil {
			return nil, err
		}
		c.members[i] = m
	}
	return c, nil
}

// start runs all members for the first time; afterwards none may make its data again.
func (c *cluster) start() error {
	for _, m := range c.members {
		if err := m.configure(c.members[:], true); err != nil {
			return err
		}
		if err := m.start(); err != nil {
			return err
		}
	}
	for _, m := range c.members {
		if _, err := m.await("ready", func(status) bool { return true }, readyWithin); err != nil {
			return err
		}
		if err := m.configure(c.members[:], false); err != nil {
			return err
		}
	}
	return c.commits(nil)
}

func (c *cluster) destroy() {
	for _, m := range c.members {
		if m != nil {
			m.destroy()
		}
	}
}

// ---- what must hold ----------------------------------------------------------------------------

// commits: each validator, but for the one that is down, commits a new command of its own client.
func (c *cluster) commits(down *member) error {
	began := time.Now()
	results := make(chan error, members)
	for _, m := range c.members {
		go func(m *member, nonce int64) { results <- c.commitsAt(m, m == down, nonce) }(
			m, c.random.Int63()+1)
	}
	var failure error
	for range c.members {
		if err := <-results; err != nil {
			failure = err
		}
	}
	c.resumed = max(c.resumed, time.Since(began))
	return failure
}

func (c *cluster) commitsAt(m *member, isDown bool, nonce int64) error {
	if isDown {
		return nil
	}
	for began := time.Now(); ; {
		left := resumeWithin - time.Since(began)
		if left <= 0 || c.hasFailed() {
			return fmt.Errorf("member %d (%s) commits nothing within %v",
				m.number, m.name, resumeWithin)
		}
		answer, err := m.askOnce(fmt.Sprintf("OPEN %x", nonce), left)
		if err == nil && (strings.HasPrefix(answer, "OK ") ||
			strings.HasPrefix(answer, "ERR listener")) {
			return nil
		}
		if err == nil && !isPassing(answer) {
			return fmt.Errorf("member %d (%s) answers %q", m.number, m.name, answer)
		}
		time.Sleep(statusEvery)
	}
}

// catchesUp: the member commits all that any other one has committed by now.
func (c *cluster) catchesUp(m *member) error {
	target := uint64(0)
	for _, other := range c.members {
		if s, err := other.status(); other != m && err != nil {
			return fmt.Errorf("member %d (%s): %w", other.number, other.name, err)
		} else {
			target = max(target, s.height)
		}
	}
	took, err := m.await(fmt.Sprintf("caught up to height %d", target),
		func(s status) bool { return s.height >= target }, caughtUpWithin)
	c.caughtUp = max(c.caughtUp, took)
	return err
}

// agree: all have the same state, and the same block, at a height that all have committed.
func (c *cluster) agree() error {
	height := ^uint64(0)
	for _, m := range c.members {
		s, err := m.status()
		if err != nil {
			return fmt.Errorf("member %d (%s): %w", m.number, m.name, err)
		}
		if s.refused != "" && s.refused != "0" {
			return fmt.Errorf("member %d (%s) has called %s blocks invalid, and nobody lies",
				m.number, m.name, s.refused)
		}
		height = min(height, s.height)
	}
	hashes := map[string]string{}
	for _, m := range c.members {
		answer, err := m.askOnce(fmt.Sprintf("HASH %d", height), answerWithin)
		if err != nil || !strings.HasPrefix(answer, "OK ") {
			return fmt.Errorf("member %d (%s): HASH %d: %q, %v",
				m.number, m.name, height, answer, err)
		}
		hashes[answer] += fmt.Sprintf(" %d (%s)", m.number, m.name)
	}
	if len(hashes) != 1 {
		return fmt.Errorf("the members disagree at height %d: %v", height, hashes)
	}
	c.agreements++
	return nil
}

// ---- faults ------------------------------------------------------------------------------------

// suffer lets one fault happen, mends it, and checks what must hold meanwhile and afterwards.
func (c *cluster) suffer(f fault) error {
	m := c.members[f.victim]
	began := time.Now()
	if err := c.strike(f.kind, m); err != nil {
		return err
	}
	down := m
	if f.kind == join || f.kind == leave {
		down = nil
	}
	if err := c.commits(down); err != nil {
		return fmt.Errorf("during the %s of member %d (%s): %w", f.kind, m.number, m.name, err)
	}
	resumed := time.Since(began)
	select {
	case <-time.After(f.hold - resumed):
	case <-c.failed:
		return nil
	}
	mended := time.Now()
	if err := c.mend(f.kind, m); err != nil {
		return err
	}
	for _, holds := range []func() error{
		func() error { return c.catchesUp(m) },
		func() error { return c.commits(nil) },
		c.agree,
	} {
		if err := holds(); err != nil {
			return fmt.Errorf("after the %s of member %d (%s): %w", f.kind, m.number, m.name, err)
		}
	}
	c.struck[f.kind]++
	c.hits[f.victim]++
	fmt.Printf("cluster: %6.1f s  %-10s member %d (%s), %.1f s; commits after %.2f s; "+
		"caught up, commits, same state %.2f s after it\n",
		c.history.now().Seconds(), f.kind, m.number, m.name,
		mended.Sub(began).Seconds(), resumed.Seconds(), time.Since(mended).Seconds())
	return nil
}

func (c *cluster) strike(k kind, m *member) error {
	switch k {
	case disconnect:
		return m.host.cut()
	case pause:
		return m.signal(syscall.SIGSTOP)
	case kill:
		return m.kill()
	case restart:
		return m.stop()
	case join:
		return c.setPower(m, 1)
	default:
		return c.setPower(m, 0)
	}
}

func (c *cluster) mend(k kind, m *member) error {
	switch k {
	case disconnect:
		return m.host.connect()
	case pause:
		return m.signal(syscall.SIGCONT)
	case kill, restart:
		return m.start()
	default:
		return nil
	}
}

// setPower makes a validator of a member, or the contrary; all must get to know it.
func (c *cluster) setPower(m *member, power int) error {
	s := c.newSession(c.random.Int63())
	defer s.close()
	answer, _, ok := s.command(fmt.Sprintf("VALIDATOR %s %d", m.key, power), false)
	var height, epoch uint64
	if _, err := fmt.Sscanf(answer, "OK %d %d", &height, &epoch); !ok || err != nil {
		return fmt.Errorf("VALIDATOR %s %d: answer %q", m.key, power, answer)
	}
	for _, other := range c.members {
		knows := func(s status) bool {
			return s.epoch >= epoch && (other != m || s.validator == (power > 0))
		}
		what := fmt.Sprintf("in epoch %d, where member %d has power %d", epoch, m.number, power)
		if _, err := other.await(what, knows, caughtUpWithin); err != nil {
			return err
		}
	}
	return nil
}
