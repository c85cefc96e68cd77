package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a slow machine may need for what should happen soon.
const patience = 30 * time.Second

// replica is one kv process, of any language; HTTP only if it is this one.
type replica struct {
	program, directory string
	number             int
	address, port      string // of the validator; for the other replicas
	lines, http        string // host:port
	process            *exec.Cmd
	log                *os.File
}

func programOf(t *testing.T, variable string) string {
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s: expected the path of a kv; `make test-go` sets it", variable)
	}
	return path
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func freePort(t *testing.T) string {
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	return l.Addr().String()
}

// newCluster makes keys and configurations; the last `listeners` replicas are no validators at
// first.
func newCluster(t *testing.T, programs []string, listeners int) []*replica {
	directory := t.TempDir()
	var all []*replica
	var members string
	for i, program := range programs {
		r := &replica{program: program, directory: directory, number: i, port: freePort(t),
			lines: freePort(t), http: freePort(t)}
		output := must(exec.Command(program, "keygen", r.file("key")).Output())(t)
		r.address = strings.TrimSpace(string(output))
		if i < len(programs)-listeners {
			members += fmt.Sprintf("validator = %s 1 %s\n", r.address, r.port)
		} else {
			members += fmt.Sprintf("peer = %s %s\n", r.address, r.port)
		}
		all = append(all, r)
	}
	for _, r := range all {
		text := fmt.Sprintf("chain_id = 7\nkey_file = %s\ndata_dir = %s\ncreate = true\nlisten = %s\n"+
			"client_listen = %s\nview_timeout_ms = 250\nmax_idle_ms = 2000\nmax_listeners = 2\n%s",
			r.file("key"), r.file("data"), r.port, r.lines, members)
		if err := os.WriteFile(r.file("conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, r := range all {
			r.kill()
		}
	})
	return all
}

func (r *replica) file(suffix string) string {
	return filepath.Join(r.directory, fmt.Sprintf("%d.%s", r.number, suffix))
}

// start waits until clients are served.
func (r *replica) start(t *testing.T) {
	t.Helper()
	arguments := []string{"run", r.file("conf")}
	if r.program == os.Getenv("KV") {
		arguments = append(arguments, "--http", r.http)
	}
	r.process = exec.Command(r.program, arguments...)
	r.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.log = must(os.Create(r.file("log")))(t)
	r.process.Stderr = r.log
	out := must(r.process.StdoutPipe())(t)
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, r.kill)
	defer timer.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "ready clients=") {
		text, _ := os.ReadFile(r.file("log"))
		t.Fatalf("replica %d said %q, %v; its log: %s", r.number, line, err, text)
	}
}

func (r *replica) kill() {
	if r.process != nil {
		_ = r.process.Process.Kill() // who has ended does not mind
	}
}

// stop expects that it ends well.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.process.Wait(); err != nil {
		text, _ := os.ReadFile(r.file("log"))
		t.Fatalf("replica %d: %v: %s", r.number, err, text)
	}
	r.process = nil
}

func startAll(t *testing.T, all []*replica) {
	for _, r := range all {
		r.start(t)
	}
}

var client = http.Client{Timeout: patience}

// ask returns the status and the body, or 0 if there was no answer.
func ask(method, url, body string) (int, string) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

func (r *replica) ask(method, path, body string) (int, string) {
	return ask(method, "http://"+r.http+path, body)
}

// line asks by the line protocol.
func (r *replica) line(t *testing.T, request string) string {
	t.Helper()
	conn := must(net.Dial("tcp", r.lines))(t)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "%s\n", request)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return strings.TrimSpace(answer)
}

func same(program string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = program
	}
	return all
}

var numbers = regexp.MustCompile(`[0-9a-f]{64}|[0-9a-f]{2}…|\d+`)

// The lines of README.md are run, and answered as it says but for numbers and addresses.
func TestReadme(t *testing.T) {
	all := newCluster(t, same(programOf(t, "KV"), 5), 1)
	startAll(t, all)
	readme := string(must(os.ReadFile(filepath.Join("..", "README.md")))(t))
	session, ran := "", 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		for _, story := range strings.Split(block[1], "$ ")[1:] {
			line, expected, _ := strings.Cut(story, "\n")
			for i, r := range all {
				line = strings.ReplaceAll(line, fmt.Sprintf("127.0.0.1:800%d", i), r.http)
			}
			command := exec.Command("sh", "-c", strings.Replace(line, "curl", "curl -sS", 1))
			command.Env = append(os.Environ(), "FIFTH="+all[4].address, "SESSION="+session)
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", line, err, output)
			}
			if found := regexp.MustCompile(`"session":(\d+)`).FindSubmatch(output); found != nil {
				session = string(found[1])
			}
			said, want := numbers.ReplaceAllString(strings.TrimSpace(string(output)), "N"),
				numbers.ReplaceAllString(strings.TrimSpace(expected), "N")
			if said != want {
				t.Fatalf("%s\nexpected %s\ngot      %s", line, expected, output)
			}
			ran++
		}
	}
	if ran < 10 {
		t.Fatalf("only %d lines were found", ran)
	}
}

func TestALinearizableReadSeesWhatWasAcknowledgedElsewhere(t *testing.T) {
	all := newCluster(t, same(programOf(t, "KV"), 4), 0)
	startAll(t, all)
	for i := range 20 {
		value := fmt.Sprint("value-", i)
		if code, text := all[i%4].ask("PUT", "/kv/k", value); code != 200 {
			t.Fatal(code, text)
		}
		var readers sync.WaitGroup
		for j := range all {
			readers.Add(1)
			go func() {
				defer readers.Done()
				if code, text := all[j].ask("GET", "/kv/k?linearizable", ""); code != 200 || text != value {
					t.Errorf("replica %d says %d %s, expected %s", j, code, text, value)
				}
			}()
		}
		readers.Wait()
	}
}

func TestBadRequestsAndLimits(t *testing.T) {
	all := newCluster(t, same(programOf(t, "KV"), 1), 0)
	startAll(t, all)
	r := all[0]
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"PUT", "/kv/", "v", 400},
		{"PUT", "/kv/a%20b", "v", 400},
		{"PUT", "/kv/k", "", 400},
		{"PUT", "/kv/k", "two\nlines", 400},
		{"PUT", "/kv/k", strings.Repeat("v", 8193), 400},
		{"PUT", "/kv/k", strings.Repeat("v", 100_000), 400},
		{"PUT", "/kv/" + strings.Repeat("k", 201), "v", 400},
		{"PUT", "/kv/kv/barrier", "v", 400},
		{"PUT", "/validators/xyz", "1", 400},
		{"PUT", "/validators/" + r.address, "x", 400},
		{"PUT", "/validators/" + r.address, "-1", 400},
		{"DELETE", "/validators/" + r.address, "", 409}, // nobody would be left
		{"GET", "/kv/none", "", 404},
		{"GET", "/nothing", "", 404},
		{"POST", "/kv/k", "v", 405},
		{"PUT", "/kv/" + strings.Repeat("k", 200), strings.Repeat("v", 8192), 200},
		{"PUT", "/kv/a/b%2Fc", "v", 200},
		{"GET", "/kv/a/b/c", "", 200},
		{"GET", "/evidence", "", 200},
	} {
		if code, text := r.ask(c.method, c.path, c.body); code != c.code {
			t.Errorf("%s %.40s %.20q: expected %d, got %d %s", c.method, c.path, c.body, c.code, code, text)
		}
	}
	if answer := r.line(t, "GET a/b/c"); answer != "VALUE v" {
		t.Error(answer)
	}
}

func TestMetricsAndStatus(t *testing.T) {
	all := newCluster(t, same(programOf(t, "KV"), 1), 0)
	startAll(t, all)
	if code, text := all[0].ask("PUT", "/kv/k", "v"); code != 200 {
		t.Fatal(code, text)
	}
	code, text := all[0].ask("GET", "/metrics", "")
	sample := regexp.MustCompile(`^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+$`)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "# ") && !sample.MatchString(line) {
			t.Errorf("no sample: %s", line)
		}
	}
	for _, wanted := range []string{"\nhotstuff_committed_height ", "\nkv_keys 1\n", "\nkv_commit_seconds_count 2\n",
		"\nkv_commit_seconds_bucket{le=\"+Inf\"} 2\n", "{method=\"PUT\",code=\"200\"} 1\n"} {
		if code != 200 || !strings.Contains(text, wanted) {
			t.Errorf("%d, without %q: %s", code, wanted, text)
		}
	}
	var status struct {
		Height uint64 `json:"committed_height"`
		Role   string
		Keys   uint64
	}
	_, text = all[0].ask("GET", "/status", "")
	if err := json.Unmarshal([]byte(text), &status); err != nil || status.Height == 0 ||
		status.Role != "validator" || status.Keys != 1 {
		t.Fatal(text, err)
	}
}

func TestItStopsInOrderAndGoesOnFromItsDisk(t *testing.T) {
	all := newCluster(t, same(programOf(t, "KV"), 4), 0)
	startAll(t, all)
	acknowledged := make(chan string, 1<<16)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", w, i)
				code, _ := all[0].ask("PUT", "/kv/"+key, "v")
				if code != 200 {
					return // it stops: 503, or nobody is there
				}
				acknowledged <- key
			}
		}()
	}
	for len(acknowledged) < 100 {
		time.Sleep(time.Millisecond) // until there is a load: the writers make it
	}
	all[0].stop(t)
	writers.Wait()
	close(acknowledged)
	config := string(must(os.ReadFile(all[0].file("conf")))(t))
	config = strings.Replace(config, "create = true\n", "", 1)
	if err := os.WriteFile(all[0].file("conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	all[0].start(t)
	for key := range acknowledged {
		if code, text := all[0].ask("GET", "/kv/"+key+"?linearizable=false", ""); code != 200 {
			t.Fatalf("%s was acknowledged: %d %s", key, code, text)
		}
	}
	for _, r := range all {
		r.stop(t)
	}
}

// Two replicas of each language are one cluster: writes anywhere, one state.
func TestACommonClusterWithC(t *testing.T) {
	c, own := programOf(t, "KV_C"), programOf(t, "KV")
	all := newCluster(t, []string{c, own, c, own}, 0)
	for _, r := range all { // the same genesis
		output := must(exec.Command(r.program, "genesis", r.file("conf")).Output())(t)
		if first := must(exec.Command(c, "genesis", all[0].file("conf")).Output())(t); !bytes.Equal(output, first) {
			t.Fatalf("genesis %s and %s", first, output)
		}
	}
	startAll(t, all)
	height := ""
	for i := range 40 {
		r := all[i%4]
		requests := []string{fmt.Sprintf("SET key-%d %s", i, strings.Repeat("v", i*200+1)),
			fmt.Sprintf("DEL key-%d", i/2), fmt.Sprintf("VALIDATOR %s %d", r.address, 10+i%3)}
		answer := r.line(t, requests[i%3])
		if !strings.HasPrefix(answer, "OK ") {
			t.Fatalf("%s: %s", requests[i%3], answer)
		}
		height = strings.Fields(answer)[1]
	}
	seen := map[string]bool{}
	for _, r := range all {
		answer := ""
		for deadline := time.Now().Add(patience); ; {
			if answer = r.line(t, "HASH "+height); !strings.HasPrefix(answer, "ERR notfound") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(answer)
			}
		}
		seen[answer] = true
		if status := r.line(t, "STATUS"); !strings.Contains(status, " blocks_refused=0 ") {
			t.Error(status)
		}
	}
	if len(seen) != 1 {
		t.Fatalf("%v", seen)
	}
	// The same bytes in both languages; proofs may have other signatures.
	for _, request := range []string{"WHERE key-36", "BLOCK " + height + " 0"} {
		c, own := all[0].line(t, request), all[1].line(t, request)
		if c != own || !strings.HasPrefix(own, "OK ") {
			t.Errorf("%s: C says %s, Go %s", request, c, own)
		}
	}
	for _, request := range []string{"PROOF 1 0", "EPOCH 0 0", "PROOF 1 99999999", "BLOCK x 0", "WHERE nowhere"} {
		c, own := strings.Fields(all[0].line(t, request)), strings.Fields(all[1].line(t, request))
		if c[0] != own[0] || (c[0] == "ERR" && c[1] != own[1]) {
			t.Errorf("%s: C says %s, Go %s", request, c, own)
		}
	}
}

// Whatever the bytes are: no panic, and what is read is written the same.
func TestBatchesFromAnywhere(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	b := newBatch(nil, 1<<16, 100)
	for i := range 50 {
		b.append(&command{kind: commandSet, client: 1, sequence: uint64(i + 1), key: []byte("key"),
			value: bytes.Repeat([]byte("v"), i+1)})
	}
	whole := bytes.Clone(b.finish(digest{1, 2}))
	read, refused := 0, 0
	for i := range 20_000 {
		data := bytes.Clone(whole)
		if i > 0 {
			data[random.Intn(len(data))] ^= 1 << random.Intn(8)
			data = data[:len(data)-random.Intn(3)*random.Intn(50)]
		}
		r, ok := openBatch(data)
		if !ok {
			refused++
			continue
		}
		again := newBatch(nil, 1<<20, blockCommandsMax)
		for {
			var c command
			done, err := r.next(&c)
			if err != nil {
				refused++
				break
			}
			if done {
				if read++; !bytes.Equal(again.finish(r.stateHash), data) {
					t.Fatal("read and written, it differs")
				}
				break
			}
			again.append(&c)
		}
	}
	if read < 1000 || refused < 1000 {
		t.Fatalf("%d read, %d refused", read, refused)
	}
}
