package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

const (
	httpSessions    = 256             // writes by HTTP under way at once; more wait, then 503
	httpShutdown    = 5 * time.Second // for requests under way when the replica stops
	httpHeaderBytes = 16 << 10
)

// The key that a linearizable read deletes, to have its place in the order of all commands. PUT
// refuses it: it is never there.
const barrierKey = "kv/barrier"

// webServer serves HTTP.
type webServer struct {
	node     *node
	listener net.Listener
	server   http.Server
	sessions sessionPool
	barrier  barrier
	requests requestCounts
}

// session is one of our own; id 0: still to be opened.
type session struct{ id, next uint64 }

// sessionPool lends sessions, each to one request at a time, the one last used first.
type sessionPool struct {
	room chan struct{} // holds one for each that is lent
	mu   sync.Mutex
	free []session
}

func (p *sessionPool) take(ctx context.Context) (session, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return session{}, &refusal{"busy", "too many writes under way: try again later"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return session{}, nil
	}
	s := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return s, nil
}

func (p *sessionPool) giveBack(s session) {
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
	<-p.room
}

func listenHTTP(n *node, address string) (*webServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http %s: %w", address, err)
	}
	w := &webServer{node: n, listener: listener}
	w.sessions.room = make(chan struct{}, httpSessions)
	w.barrier.pass = func(ctx context.Context) error {
		_, err := w.write(ctx, command{kind: commandDelete, key: []byte(barrierKey)})
		return err
	}
	w.server = http.Server{
		Handler:           w.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       ms(n.config.clientIdleMs),
		MaxHeaderBytes:    httpHeaderBytes,
	}
	return w, nil
}

func (w *webServer) address() string { return w.listener.Addr().String() }

func (w *webServer) serve() {
	if err := w.server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
		logf(hotstuff.LogError, "http: %v", err)
	}
}

// stop lets the requests under way end.
func (w *webServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), httpShutdown)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.server.Close()
	}
}

func (w *webServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /kv/{key...}", w.put)
	mux.HandleFunc("GET /kv/{key...}", w.get)
	mux.HandleFunc("DELETE /kv/{key...}", w.delete)
	mux.HandleFunc("GET /validators", w.validators)
	mux.HandleFunc("PUT /validators/{address}", w.putValidator)
	mux.HandleFunc("DELETE /validators/{address}", w.deleteValidator)
	mux.HandleFunc("POST /sessions", w.postSession)
	mux.HandleFunc("GET /status", w.status)
	mux.HandleFunc("GET /evidence", w.evidence)
	mux.HandleFunc("GET /metrics", w.metrics)
	return w.requests.count(mux)
}

/* ---- answers ---- */

func answer(out http.ResponseWriter, code int, body any) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	_ = json.NewEncoder(out).Encode(body) // who has gone hears nothing
}

// The HTTP status of each word of the line protocol.
var httpCodes = map[string]int{
	"syntax":   http.StatusBadRequest,
	"busy":     http.StatusServiceUnavailable,
	"timeout":  http.StatusGatewayTimeout,
	"stale":    http.StatusConflict,
	"expired":  http.StatusConflict,
	"refused":  http.StatusConflict,
	"listener": http.StatusServiceUnavailable,
	"stopping": http.StatusServiceUnavailable,
	"notfound": http.StatusNotFound,
}

func answerError(out http.ResponseWriter, err error) {
	r := asRefusal(err)
	code, known := httpCodes[r.word]
	if !known {
		code = http.StatusInternalServerError
	}
	answer(out, code, map[string]string{"error": r.word, "message": r.text})
}

/* ---- writes ---- */

// write names a command after one of our sessions and waits for its end.
func (w *webServer) write(ctx context.Context, c command) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, ms(w.node.config.commitTimeoutMs))
	defer cancel()
	s, err := w.sessions.take(ctx)
	if err != nil {
		return done{}, err
	}
	defer func() { w.sessions.giveBack(s) }()
	if s.id == 0 {
		d, err := w.wait(openSession())
		if err != nil {
			return done{}, err
		}
		s = session{id: d.made, next: 1}
	}
	c.client, c.sequence = s.id, s.next
	s.next++
	d, err := w.wait(c)
	if d.verdict == verdictExpired {
		s = session{} // the next write opens another
	}
	return d, err
}

// wait waits for the end of a command. It ends without us: the pool has a deadline for it.
func (w *webServer) wait(c command) (done, error) {
	began := time.Now()
	result, err := w.node.submit(c)
	if err != nil {
		return done{}, err
	}
	d := <-result
	if err := d.failure(); err != nil {
		return d, err
	}
	w.node.latency.observe(time.Since(began))
	return d, nil
}

// named is a write of the session that the client names, or of ours.
func (w *webServer) named(request *http.Request, c command) (done, error) {
	name := request.Header.Get("Kv-Command")
	if name == "" {
		return w.write(request.Context(), c)
	}
	var ok bool
	if c.client, c.sequence, ok = parseName([]byte("@" + name)); !ok {
		return done{}, &refusal{"syntax",
			"the header Kv-Command is SESSION:SEQUENCE, two numbers from 1"}
	}
	return w.wait(c)
}

// The answer to a write: where it was committed, and what it made.
type written struct {
	Height  uint64  `json:"height"`
	Epoch   *uint64 `json:"epoch,omitempty"`
	Session *uint64 `json:"session,omitempty"`
}

func (w *webServer) put(out http.ResponseWriter, request *http.Request) {
	key := request.PathValue("key")
	value, err := io.ReadAll(http.MaxBytesReader(out, request.Body, valueMax+1))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return // the client has gone
	}
	if key == barrierKey {
		answerError(out, &refusal{"syntax",
			"the key " + barrierKey + " is kept for linearizable reads"})
		return
	}
	// What is too large still is, and submit says so.
	w.answerWrite(out, request, command{kind: commandSet, key: []byte(key), value: value})
}

func (w *webServer) delete(out http.ResponseWriter, request *http.Request) {
	w.answerWrite(out, request, command{kind: commandDelete, key: []byte(request.PathValue("key"))})
}

func (w *webServer) answerWrite(out http.ResponseWriter, request *http.Request, c command) {
	d, err := w.named(request, c)
	if err != nil {
		answerError(out, err)
		return
	}
	body := written{Height: d.height}
	if c.kind == commandValidator {
		body.Epoch = &d.made
	}
	answer(out, http.StatusOK, body)
}

func (w *webServer) postSession(out http.ResponseWriter, _ *http.Request) {
	d, err := w.wait(openSession())
	if err != nil {
		answerError(out, err)
		return
	}
	answer(out, http.StatusCreated, written{Height: d.height, Session: &d.made})
}

func (w *webServer) putValidator(out http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(out, request.Body, 32))
	power, ok := parseNumber(strings.TrimSpace(string(body)))
	if err != nil || !ok {
		answerError(out, &refusal{"syntax", "the body is a power: a whole number"})
		return
	}
	w.changeValidator(out, request, power)
}

func (w *webServer) deleteValidator(out http.ResponseWriter, request *http.Request) {
	w.changeValidator(out, request, 0)
}

func (w *webServer) changeValidator(out http.ResponseWriter, request *http.Request, power uint64) {
	address, err := hotstuff.ParseAddress(request.PathValue("address"))
	if err != nil {
		answerError(out, &refusal{"syntax", err.Error()})
		return
	}
	value := binary.LittleEndian.AppendUint64(nil, power)
	w.answerWrite(out, request, command{kind: commandValidator, key: address[:], value: value})
}

/* ---- reads ---- */

// get is a local read, or a linearizable one: after a command that this replica has committed since
// the request came, so after all that was acknowledged anywhere before it came.
func (w *webServer) get(out http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	if query.Has("linearizable") && query.Get("linearizable") != "false" {
		if err := w.barrier.wait(request.Context()); err != nil {
			answerError(out, err)
			return
		}
	}
	value, err := w.node.get([]byte(request.PathValue("key")))
	if errors.Is(err, hotstuff.ErrNotFound) {
		err = &refusal{"notfound", "no such key"}
	}
	if err != nil {
		answerError(out, err)
		return
	}
	out.Header().Set("Content-Type", "application/octet-stream")
	_, _ = out.Write(value) // who has gone hears nothing
}

// barrier lets readers wait for one command that was submitted after they came. Many share one:
// while one is under way, those who come wait for the next.
type barrier struct {
	pass    func(context.Context) error
	mu      sync.Mutex
	next    *round
	running bool
}

type round struct {
	over chan struct{}
	err  error
}

func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{over: make(chan struct{})}
	}
	mine := b.next
	if !b.running {
		b.running = true
		go b.run()
	}
	b.mu.Unlock()
	select {
	case <-mine.over:
		return mine.err
	case <-ctx.Done():
		return &refusal{"timeout", ctx.Err().Error()}
	}
}

// run passes one barrier after the other, as long as somebody waits.
func (b *barrier) run() {
	for {
		b.mu.Lock()
		now := b.next
		b.next = nil
		b.running = now != nil
		b.mu.Unlock()
		if now == nil {
			return
		}
		now.err = b.pass(context.Background())
		close(now.over)
	}
}

func (w *webServer) validators(out http.ResponseWriter, _ *http.Request) {
	set, err := w.node.validators()
	if err != nil {
		answerError(out, err)
		return
	}
	type validator struct {
		Address hotstuff.Address `json:"address"`
		Power   uint64           `json:"power"`
	}
	all := make([]validator, len(set.Members))
	for i, v := range set.Members {
		all[i] = validator(v)
	}
	answer(out, http.StatusOK, all)
}

func (w *webServer) status(out http.ResponseWriter, _ *http.Request) {
	s, err := w.node.status()
	if err != nil {
		answerError(out, err)
		return
	}
	answer(out, http.StatusOK, map[string]any{
		"epoch": s.info.Epoch, "view": s.info.View, "committed_height": s.info.CommittedHeight,
		"role": s.info.Role.String(), "halted": s.info.Halted, "validators": s.validators,
		"highest_qc_view": s.info.HighestQCView, "sync_target": s.info.SyncTargetHeight,
		"state_height": s.summary.height, "state_hash": s.summary.hash().String(),
		"data_blocks": s.summary.dataBlocks, "commands": s.summary.commands, "keys": s.summary.keys,
		"sessions_opened": s.summary.nextSession - 1, "pool": w.node.pool.waiting(),
		"blocks_refused": w.node.app.refused.Load(),
	})
}

func (w *webServer) evidence(out http.ResponseWriter, _ *http.Request) {
	type piece struct {
		Kind      string           `json:"kind"`
		Epoch     uint64           `json:"epoch"`
		View      uint64           `json:"view"`
		Validator hotstuff.Address `json:"validator"`
	}
	all := []piece{}
	for {
		info, err := w.node.evidence(len(all))
		var none *refusal
		if errors.As(err, &none) {
			answer(out, http.StatusOK, all)
			return
		}
		if err != nil {
			answerError(out, err)
			return
		}
		all = append(all, piece{info.Kind.String(), info.Epoch, info.View, info.Validator})
	}
}
