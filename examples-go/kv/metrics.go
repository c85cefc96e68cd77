package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// histogram counts durations, as Prometheus has it.
type histogram struct {
	buckets [len(histogramBounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
}

// Seconds; the last bucket has no bound.
var histogramBounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
	5, 10}

func (h *histogram) observe(d time.Duration) {
	at, _ := slices.BinarySearch(histogramBounds[:], d.Seconds())
	h.buckets[at].Add(1)
	h.nanos.Add(uint64(d))
}

// requestCounts counts requests by method and status.
type requestCounts struct {
	mu     sync.Mutex
	counts map[string]uint64 // by labels
}

type statusWriter struct {
	http.ResponseWriter
	code int
}

func (s *statusWriter) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (r *requestCounts) count(next http.Handler) http.Handler {
	r.counts = make(map[string]uint64)
	methods := []string{"GET", "PUT", "POST", "DELETE"}
	return http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		w := &statusWriter{out, http.StatusOK}
		next.ServeHTTP(w, request)
		method := request.Method
		if !slices.Contains(methods, method) {
			method = "other" // a bound on what is counted
		}
		r.mu.Lock()
		r.counts[fmt.Sprintf("method=%q,code=\"%d\"", method, w.code)]++
		r.mu.Unlock()
	})
}

// page is the text format of Prometheus, version 0.0.4.
type page struct{ strings.Builder }

func (p *page) head(name, kind, help string) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *page) number(name, kind, help string, value uint64) {
	p.head(name, kind, help)
	fmt.Fprintf(p, "%s %d\n", name, value)
}

func (p *page) histogram(name, help string, h *histogram) {
	p.head(name, "histogram", help)
	var count uint64
	for i, bound := range histogramBounds {
		count += h.buckets[i].Load()
		fmt.Fprintf(p, "%s_bucket{le=\"%g\"} %d\n", name, bound, count)
	}
	count += h.buckets[len(histogramBounds)].Load()
	fmt.Fprintf(p, "%s_bucket{le=\"+Inf\"} %d\n", name, count)
	seconds := time.Duration(h.nanos.Load()).Seconds()
	fmt.Fprintf(p, "%s_sum %g\n%s_count %d\n", name, seconds, name, count)
}

func (p *page) requests(r *requestCounts) {
	p.head("kv_http_requests_total", "counter", "Requests answered, by method and status.")
	r.mu.Lock()
	defer r.mu.Unlock()
	labels := make([]string, 0, len(r.counts))
	for label := range r.counts {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	for _, label := range labels {
		fmt.Fprintf(p, "kv_http_requests_total{%s} %d\n", label, r.counts[label])
	}
}

func flag01(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (w *webServer) metrics(out http.ResponseWriter, _ *http.Request) {
	s, err := w.node.status()
	if err != nil {
		answerError(out, err)
		return
	}
	const gauge, counter = "gauge", "counter"
	i, m, p := &s.info, &s.metrics, new(page)
	p.number("hotstuff_epoch", gauge, "The reign of a validator set.", i.Epoch)
	p.number("hotstuff_view", gauge, "The view of the epoch that it is in.", i.View)
	p.number("hotstuff_committed_height", gauge, "The last committed block.", i.CommittedHeight)
	p.number("hotstuff_sync_target_height", gauge, "The height it catches up to; 0: it does not.",
		i.SyncTargetHeight)
	p.number("hotstuff_validators", gauge, "Members of the validator set.", uint64(s.validators))
	p.number("hotstuff_is_validator", gauge, "1 if it votes.", uint64(i.Role))
	p.number("hotstuff_halted", gauge, "1 if it has stopped itself.", flag01(i.Halted))
	p.number("hotstuff_proposals_total", counter, "Blocks proposed.", m.Proposals)
	p.number("hotstuff_votes_total", counter, "Votes cast.", m.Votes)
	p.number("hotstuff_view_timeouts_total", counter, "Views that have run out.", m.ViewTimeouts)
	p.number("hotstuff_messages_in_total", counter, "Messages received.", m.MessagesIn)
	p.number("hotstuff_messages_out_total", counter, "Messages sent.", m.MessagesOut)
	p.number("hotstuff_bytes_in_total", counter, "Bytes received.", m.BytesIn)
	p.number("hotstuff_bytes_out_total", counter, "Bytes sent.", m.BytesOut)
	p.number("hotstuff_messages_rejected_total", counter, "Messages refused.", m.MessagesRejected)
	p.number("hotstuff_transactions_total", counter, "Transactions on the database.",
		m.Transactions)
	p.number("hotstuff_app_failures_total", counter, "Questions that the app did not answer.",
		m.AppFailures)
	p.number("hotstuff_evidence_total", counter, "Validators caught lying.", m.EvidenceFound)
	p.number("kv_commands", gauge, "Commands that the state has applied.", s.summary.commands)
	p.number("kv_keys", gauge, "Keys that have a value.", s.summary.keys)
	p.number("kv_pool_commands", gauge, "Commands that wait for their commit.",
		uint64(w.node.pool.waiting()))
	p.number("kv_blocks_refused_total", counter, "Blocks called invalid: 0 among correct replicas.",
		w.node.app.refused.Load())
	p.histogram("kv_commit_seconds", "From a write by HTTP to its commit.", &w.node.latency)
	p.requests(&w.requests)
	out.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = fmt.Fprint(out, p.String())
}
