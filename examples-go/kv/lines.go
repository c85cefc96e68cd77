package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

// The line protocol, the same as that of the other languages' kv: a request is a line, an answer is
// a line, the requests of a connection take effect and are answered in their order.
//
// A connection is two goroutines. The reader turns lines into requests: it submits writes, and
// waits where the order asks for it. The writer answers them one after the other.
//
//	socket -> reader -> requests (a channel) -> writer -> socket
//	             |                                ^
//	         node.submit -> pool -> follower -----+ done
const (
	requestLineMax = keyMax + valueMax + 64 // with its line end
	pipelineMax    = windowLen              // a session knows the outcome of so many
	answersMax     = 16 << 10               // bytes of answers that are sent together
	farewell       = time.Second            // for answers when the replica stops
	// When there are too many connections: one may have gone that nobody has noticed yet.
	grace = 100 * time.Millisecond
)

type lineServer struct {
	node     *node
	listener net.Listener
	mu       sync.Mutex
	open     map[*lineConn]struct{}
	room     chan struct{} // holds one for each connection
	stopping atomic.Bool   // set under the lock
	running  sync.WaitGroup
}

// request is one that is under way: a write with its result, a read whose turn is to come, or an
// answer that is known already.
type request struct {
	kind   commandKind
	client uint64
	result <-chan done
	read   func(to []byte) []byte
	answer string
}

type lineConn struct {
	server   *lineServer
	net      net.Conn
	requests chan request
	moved    atomic.Int64  // Unix nanoseconds of the last bytes either way
	waiting  atomic.Int32  // writes under way
	session  atomic.Uint64 // for writes without one of their own; 0: none yet
	sequence uint64        // the next one of that session
	reads    readCount

	readDeadline, writeDeadline time.Time // as the connection has them
}

// readCount lets a write wait for the reads before it, which must not see it.
type readCount struct {
	mu    sync.Mutex
	none  sync.Cond
	count int
}

func (r *readCount) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count += n; r.count == 0 {
		r.none.Broadcast()
	}
}

func (r *readCount) wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.count > 0 {
		r.none.Wait()
	}
}

// listenLines listens at "[host:]port".
func listenLines(n *node, address string) (*lineServer, error) {
	if !strings.Contains(address, ":") {
		address = "127.0.0.1:" + address
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("client_listen %s: %w", address, err)
	}
	room := make(chan struct{}, n.config.connectionsMax)
	open := make(map[*lineConn]struct{})
	return &lineServer{node: n, listener: listener, open: open, room: room}, nil
}

func (s *lineServer) address() string { return s.listener.Addr().String() }

func (s *lineServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// serve accepts until stop.
func (s *lineServer) serve() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			logf(hotstuff.LogWarn, "accept: %v", err)
			time.Sleep(time.Second)
			continue
		}
		s.accept(conn)
	}
}

func (s *lineServer) accept(conn net.Conn) {
	select {
	case s.room <- struct{}{}:
	case <-time.After(grace):
		_ = conn.SetWriteDeadline(time.Now().Add(farewell))
		_, _ = io.WriteString(conn, "ERR busy too many connections\n") // a courtesy
		conn.Close()
		return
	}
	c := &lineConn{server: s, net: conn, requests: make(chan request, pipelineMax-1)}
	c.reads.none.L = &c.reads.mu
	c.move()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() {
		conn.Close()
		return
	}
	s.open[c] = struct{}{}
	s.running.Add(1)
	go c.read()
	go c.write()
}

// stop takes no more requests, answers those under way, and closes. The pool is closed already.
func (s *lineServer) stop() {
	s.listener.Close()
	s.mu.Lock()
	s.stopping.Store(true)
	for c := range s.open {
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
		_ = c.net.SetWriteDeadline(time.Now().Add(farewell))
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *lineServer) isStopping() bool { return s.stopping.Load() }

/* ---- bytes in and out ---- */

func (c *lineConn) move() { c.moved.Store(time.Now().UnixNano()) }

func (c *lineConn) idle() time.Duration { return ms(c.server.node.config.clientIdleMs) }

// Read waits for bytes until the client has been idle for too long.
func (c *lineConn) Read(into []byte) (int, error) {
	for {
		c.armRead()
		if c.server.isStopping() {
			return 0, io.EOF
		}
		n, err := c.net.Read(into)
		if n > 0 {
			c.move()
			return n, nil
		}
		var netErr net.Error
		if !errors.As(err, &netErr) || !netErr.Timeout() {
			return 0, err
		}
		if time.Since(time.Unix(0, c.moved.Load())) >= c.idle() {
			if c.waiting.Load() == 0 {
				return 0, err
			}
			c.move() // it waits for us
		}
	}
}

// armRead moves the deadline, if that is worth a call.
func (c *lineConn) armRead() {
	deadline := time.Unix(0, c.moved.Load()).Add(c.idle())
	if deadline.Sub(c.readDeadline) > c.idle()/16 || time.Until(c.readDeadline) <= 0 {
		_ = c.net.SetReadDeadline(deadline)
		c.readDeadline = deadline
	}
}

func (c *lineConn) armWrite() {
	deadline := time.Now().Add(c.idle())
	if deadline.Sub(c.writeDeadline) <= c.idle()/16 {
		return
	}
	c.writeDeadline = deadline
	_ = c.net.SetWriteDeadline(deadline)
	if c.server.isStopping() { // which has set it before us
		_ = c.net.SetWriteDeadline(time.Now().Add(farewell))
	}
}

// Write gives up on a client that takes nothing.
func (c *lineConn) Write(bytes []byte) (int, error) {
	c.armWrite()
	n, err := c.net.Write(bytes)
	if n > 0 {
		c.move()
	}
	return n, err
}

// read is the reader.
func (c *lineConn) read() {
	defer close(c.requests)
	lines := bufio.NewReaderSize(c, requestLineMax)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			c.say(fmt.Sprintf("ERR syntax a line has at most %d bytes", requestLineMax-1))
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if more := c.take(line); !more {
			return
		}
	}
}

// write is the writer. After a failure it goes on without a word, so that the reader finds its end.
func (c *lineConn) write() {
	defer c.leave()
	out := bufio.NewWriterSize(c, answersMax)
	broken := false
	for r := range c.requests {
		if r.read != nil {
			if !broken {
				_, err := out.Write(append(r.read(out.AvailableBuffer()), '\n'))
				broken = err != nil
			}
			c.reads.add(-1)
		} else {
			text := c.end(&r, out, broken)
			if !broken {
				_, err := out.WriteString(text)
				broken = err != nil || out.WriteByte('\n') != nil
			}
		}
		if len(c.requests) == 0 && !broken {
			broken = out.Flush() != nil
		}
		if broken {
			c.net.Close()
		}
	}
	_ = out.Flush()
}

func (c *lineConn) leave() {
	c.net.Close()
	c.server.mu.Lock()
	delete(c.server.open, c)
	c.server.mu.Unlock()
	<-c.server.room
	c.server.running.Done()
}

// end waits for the end of a write; what has been answered before it is sent meanwhile.
func (c *lineConn) end(r *request, out *bufio.Writer, broken bool) string {
	if r.result == nil {
		return r.answer
	}
	var d done
	select {
	case d = <-r.result:
	default:
		if !broken {
			_ = out.Flush() // a failure shows again
		}
		d = <-r.result
	}
	c.waiting.Add(-1)
	if d.verdict == verdictExpired {
		c.session.CompareAndSwap(r.client, 0) // the next write opens another
	}
	return sayDone(r.kind, d)
}

func sayDone(kind commandKind, d done) string {
	if err := d.failure(); err != nil {
		return "ERR " + err.Error()
	}
	text := "OK " + strconv.FormatUint(d.height, 10)
	if kind == commandOpen || kind == commandValidator {
		text += " " + strconv.FormatUint(d.made, 10)
	}
	return text
}

/* ---- lines ---- */

func (c *lineConn) say(answer string) { c.requests <- request{answer: answer} }

func (c *lineConn) sayFailure(err error) { c.say("ERR " + asRefusal(err).Error()) }

// asRefusal gives every failure its word.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return internal(err)
}

// later answers when all before are answered.
func (c *lineConn) later(read func(to []byte) []byte) {
	c.reads.add(1)
	c.requests <- request{read: read}
}

// take turns one line into a request. False: the client has said goodbye.
func (c *lineConn) take(line []byte) bool {
	if bytes.IndexByte(line, 0) >= 0 {
		c.say("ERR syntax a NUL byte")
		return true
	}
	if c.tryWrite(line) {
		return true
	}
	verb, argument, _ := strings.Cut(string(line), " ")
	node := c.server.node
	switch {
	case verb == "GET" || verb == "WHERE":
		if argument == "" || len(argument) > keyMax || strings.Contains(argument, " ") {
			c.say("ERR syntax GET takes a key: one word of at most 200 bytes")
		} else if verb == "WHERE" {
			c.later(func(to []byte) []byte { return node.sayWhere(to, argument) })
		} else {
			c.later(func(to []byte) []byte { return node.sayValue(to, argument) })
		}
	case (verb == "BLOCK" || verb == "PROOF" || verb == "EPOCH") && argument != "":
		c.later(func(to []byte) []byte { return node.sayPart(to, verb, argument) })
	case verb == "HASH" && argument != "":
		if height, ok := parseNumber(argument); ok {
			c.later(func(to []byte) []byte { return node.sayHash(to, height) })
		} else {
			c.say("ERR syntax HASH takes a height")
		}
	case verb == "EVIDENCE" && argument != "":
		if index, err := strconv.ParseUint(argument, 10, 31); err == nil {
			c.later(func(to []byte) []byte { return node.sayEvidence(to, int(index)) })
		} else {
			c.say("ERR syntax EVIDENCE takes an index from 0")
		}
	case verb == "STATUS" && argument == "":
		c.later(func(to []byte) []byte { return node.sayStatus(to, c.server.connections()) })
	case verb == "OPEN":
		c.takeOpen(argument)
	case verb == "HELP":
		c.say("OK SET key value | DEL key | GET key | VALIDATOR address power | OPEN [nonce] " +
			"| @session:sequence SET key value | HASH height | EVIDENCE index | WHERE key " +
			"| BLOCK height offset | PROOF height offset | EPOCH epoch offset | STATUS | QUIT")
	case verb == "QUIT" && argument == "":
		c.say("OK bye")
		return false
	default:
		c.say("ERR syntax unknown request; HELP lists them")
	}
	return true
}

func (c *lineConn) takeOpen(nonce string) {
	open := openSession()
	if nonce != "" {
		n, err := strconv.ParseUint(nonce, 16, 64)
		if len(nonce) > 16 || err != nil || n == 0 {
			c.say("ERR syntax the nonce of OPEN is 1 to 16 hexadecimal digits, not all 0")
			return
		}
		open.client = n
	}
	c.submit(open)
}

// tryWrite takes a write, and is false for anything else.
func (c *lineConn) tryWrite(line []byte) bool {
	var w command
	rest, named := line, false
	if bytes.HasPrefix(line, []byte("@")) {
		var name []byte
		name, rest, _ = bytes.Cut(line, []byte(" "))
		if w.client, w.sequence, named = parseName(name); !named {
			c.say("ERR syntax expected @session:sequence, two numbers from 1")
			return true
		}
	}
	verb, arguments, found := bytes.Cut(rest, []byte(" "))
	switch {
	case found && string(verb) == "SET":
		w.kind = commandSet
	case found && string(verb) == "DEL":
		w.kind = commandDelete
	case found && string(verb) == "VALIDATOR":
		w.kind = commandValidator
	case named:
		c.say("ERR syntax after @session:sequence comes SET, DEL or VALIDATOR")
		return true
	default:
		return false
	}
	// The line is the buffer's, the command the pool's.
	w.key, w.value, _ = bytes.Cut(bytes.Clone(arguments), []byte(" "))
	if w.kind == commandValidator {
		parseChange(&w)
	}
	c.takeWrite(w, named)
	return true
}

// parseName reads "@session:sequence".
func parseName(name []byte) (session, sequence uint64, ok bool) {
	a, b, _ := strings.Cut(string(name[1:]), ":")
	session, okA := parseNumber(a)
	sequence, okB := parseNumber(b)
	return session, sequence, okA && okB && session != 0 && sequence != 0
}

// parseChange turns the words of a validator command into bytes; leaves it without a key if they
// are wrong.
func parseChange(c *command) {
	address := make([]byte, addressLen)
	power, ok := parseNumber(string(c.value))
	if len(c.key) != 2*addressLen {
		ok = false
	} else if _, err := hex.Decode(address, c.key); err != nil {
		ok = false
	}
	c.key, c.value = nil, binary.LittleEndian.AppendUint64(nil, power)
	if ok {
		c.key = address
	}
}

func (c *lineConn) takeWrite(w command, named bool) {
	c.reads.wait() // an earlier read must not see a later write
	if !named {
		// Nobody opens a session for a command that will be refused.
		w.client, w.sequence = 1, 1
		if w.complaint() == "" {
			if answer := c.takeOwnSession(&w); answer != "" {
				c.say(answer)
				return
			}
		}
	}
	c.submit(w)
}

// takeOwnSession names a command after the connection's own session, which it opens if there is
// none; or says why it cannot.
func (c *lineConn) takeOwnSession(w *command) (answer string) {
	session := c.session.Load()
	if session == 0 {
		result, err := c.server.node.submit(openSession())
		if err != nil {
			return "ERR " + asRefusal(err).Error()
		}
		c.waiting.Add(1)
		d := <-result
		c.waiting.Add(-1)
		if err := d.failure(); err != nil {
			return "ERR " + err.Error()
		}
		session = d.made
		c.session.Store(session)
		c.sequence = 1
	}
	w.client, w.sequence = session, c.sequence
	c.sequence++
	return ""
}

func (c *lineConn) submit(w command) {
	result, err := c.server.node.submit(w)
	if err != nil {
		c.sayFailure(err)
		return
	}
	c.waiting.Add(1)
	c.requests <- request{kind: w.kind, client: w.client, result: result}
}

/* ---- what is read, in words ---- */

func say(to []byte, format string, arguments ...any) []byte {
	return fmt.Appendf(to, format, arguments...)
}

func sayError(to []byte, err error) []byte { return say(to, "ERR %v", asRefusal(err)) }

func (n *node) sayValue(to []byte, key string) []byte {
	value, err := n.get([]byte(key))
	switch {
	case errors.Is(err, hotstuff.ErrNotFound):
		return append(to, "NONE"...)
	case err != nil:
		return sayError(to, err)
	}
	return append(append(to, "VALUE "...), value...)
}

func (n *node) sayHash(to []byte, height uint64) []byte {
	state, block, err := n.hash(height)
	if err != nil {
		return sayError(to, err)
	}
	return say(to, "OK %d %v %v", height, state, block)
}

func (n *node) sayEvidence(to []byte, index int) []byte {
	info, err := n.evidence(index)
	if err != nil {
		return sayError(to, err)
	}
	return say(to, "OK %v epoch=%d view=%d validator=%v", info.Kind, info.Epoch, info.View,
		info.Validator)
}

func (n *node) sayStatus(to []byte, connections int) []byte {
	s, err := n.status()
	if err != nil {
		return sayError(to, err)
	}
	halted := 0
	if s.info.Halted {
		halted = 1
	}
	i, m := &s.info, &s.metrics
	to = say(to, "OK epoch=%d view=%d committed_height=%d role=%v halted=%d highest_qc_view=%d "+
		"sync_target=%d validators=%d", i.Epoch, i.View, i.CommittedHeight, i.Role, halted,
		i.HighestQCView, i.SyncTargetHeight, s.validators)
	to = say(to, " state_height=%d state_hash=%v data_blocks=%d commands=%d keys=%d "+
		"sessions_opened=%d", s.summary.height, s.summary.hash(), s.summary.dataBlocks, s.summary.commands, s.summary.keys,
		s.summary.nextSession-1)
	to = say(to, " blocks_refused=%d pool=%d connections=%d", n.app.refused.Load(),
		n.pool.waiting(), connections)
	return say(to, " proposals=%d votes=%d view_timeouts=%d messages_in=%d messages_out=%d "+
		"bytes_in=%d bytes_out=%d messages_rejected=%d events_dropped=%d", m.Proposals, m.Votes, m.ViewTimeouts,
		m.MessagesIn, m.MessagesOut, m.BytesIn, m.BytesOut, m.MessagesRejected, m.EventsDropped)
}
