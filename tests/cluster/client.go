// The clients: sets, linearizable reads and deletes of a few keys, at any member, repeated at
// another when there is no answer.
package main

import (
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"time"
)

const (
	clients       = 12
	slots         = 4    // keys in use at a time
	callsMax      = 1500 // of one key, before another takes its slot
	attemptWithin = time.Second
	avoidFor      = 2 * time.Second
	giveUpChance  = 0.2 // after a failed attempt
)

// session is a session of the replicated store: a command in it is applied once, however often it
// is sent. For one goroutine.
type session struct {
	cluster     *cluster
	random      *rand.Rand
	connections [members]*connection
	failed      [members]time.Time
	number      string // "": none is open
	sequence    uint64
}

func (c *cluster) newSession(seed int64) *session {
	return &session{cluster: c, random: rand.New(rand.NewSource(seed))}
}

func (s *session) close() {
	for i := range s.connections {
		s.hangUp(i)
	}
}

func (s *session) hangUp(i int) {
	if s.connections[i] != nil {
		s.connections[i].Close()
		s.connections[i] = nil
	}
}

// choose prefers members that have not just failed, but tries those too: they are of interest.
func (s *session) choose() int {
	i := s.random.Intn(members)
	for s.random.Intn(8) > 0 && time.Since(s.failed[i]) < avoidFor {
		i = s.random.Intn(members)
	}
	return i
}

// attempt asks one member. False: it did not do it, as far as is known.
func (s *session) attempt(i int, request string) (string, bool) {
	var err error
	if s.connections[i] == nil {
		s.connections[i], err = s.cluster.members[i].dial()
	}
	answer := ""
	if err == nil {
		answer, err = s.connections[i].ask(request, attemptWithin)
	}
	if err == nil && !strings.HasPrefix(answer, "ERR ") {
		return answer, true
	}
	if err != nil {
		s.hangUp(i)
	} else if !isPassing(answer) {
		s.cluster.fail("member %d (%s) answers %q to %q",
			i, s.cluster.members[i].name, answer, request)
	}
	s.failed[i] = time.Now()
	return "", false
}

// isPassing: such an answer may be given while somebody fails. Others break a promise.
func isPassing(answer string) bool {
	for _, word := range []string{"busy", "timeout", "listener", "stopping"} {
		if strings.HasPrefix(answer, "ERR "+word) {
			return true
		}
	}
	return false
}

// perform repeats a request until some member has done it, and says which.
func (s *session) perform(request string, mayGiveUp bool) (answer string, at int, ok bool) {
	for began := time.Now(); ; {
		i := s.choose()
		if answer, ok := s.attempt(i, request); ok {
			return answer, i, true
		}
		if time.Since(began) > answerWithin {
			s.cluster.fail("a client has waited %v for an answer to %q", answerWithin, request)
		}
		if s.cluster.hasFailed() || mayGiveUp && s.random.Float64() < giveUpChance {
			return "", 0, false
		}
	}
}

// command performs a write. False: it may take effect at any time, or never.
func (s *session) command(request string, mayGiveUp bool) (answer string, at int, ok bool) {
	if s.number == "" {
		opened, _, ok := s.perform(fmt.Sprintf("OPEN %x", s.random.Int63()+1), false)
		words := strings.Fields(opened) // OK height session
		if !ok || len(words) != 3 {
			return "", 0, false
		}
		s.number, s.sequence = words[2], 0
	}
	s.sequence++
	numbered := fmt.Sprintf("@%s:%d %s", s.number, s.sequence, request)
	answer, at, ok = s.perform(numbered, mayGiveUp)
	if !ok {
		s.number = "" // its window has a hole
	}
	return answer, at, ok
}

// read is linearizable: a write through consensus, and then what that member has committed. With
// `local` it is not.
func (s *session) read(key string, client int, local bool) (value string, ok bool) {
	at := s.choose()
	if !local {
		if _, at, ok = s.command(fmt.Sprintf("SET read/%d x", client), true); !ok {
			return "", false
		}
	}
	answer, ok := s.attempt(at, "GET "+key)
	return strings.TrimPrefix(answer, "VALUE "), ok
}

// ---- the load ----------------------------------------------------------------------------------

// load is what the clients share.
type load struct {
	cluster    *cluster
	localReads bool
	stop       chan struct{}
	running    sync.WaitGroup
	mutex      sync.Mutex
	calls      [slots]int
}

func (c *cluster) startLoad(seed int64, localReads bool) *load {
	l := &load{cluster: c, localReads: localReads, stop: make(chan struct{})}
	for i := 0; i < clients; i++ {
		l.running.Add(1)
		go l.client(i, c.newSession(seed*clients+int64(i)))
	}
	return l
}

// end returns when each client has had its last answer.
func (l *load) end() {
	close(l.stop)
	l.running.Wait()
}

// key takes another name after so many calls, because a long history of one key is hard to judge.
func (l *load) key(slot int) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.calls[slot]++
	return fmt.Sprintf("%c%d", 'a'+slot, l.calls[slot]/callsMax)
}

func (l *load) client(number int, s *session) {
	defer l.running.Done()
	defer s.close()
	for call := 0; ; call++ {
		select {
		case <-l.stop:
			return
		case <-l.cluster.failed:
			return
		default:
			l.call(number, call, s)
		}
	}
}

// call makes one call and records it.
func (l *load) call(number, call int, s *session) {
	history := l.cluster.history
	o := operation{key: l.key(s.random.Intn(slots)), client: number, answered: never}
	o.call = history.now()
	ok := false
	switch dice := s.random.Intn(20); {
	case dice < 9:
		o.kind = get
		o.value, ok = s.read(o.key, number, l.localReads)
		if o.value == "NONE" {
			o.value = ""
		}
	case dice < 18:
		o.kind, o.value = set, fmt.Sprintf("%d/%d", number, call)
		_, _, ok = s.command(fmt.Sprintf("SET %s %s", o.key, o.value), true)
	default:
		o.kind = remove
		_, _, ok = s.command("DEL "+o.key, true)
	}
	if ok {
		o.answered = history.now()
	}
	history.add(o)
}
