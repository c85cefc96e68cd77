// Command languages measures the same key-value server in several languages, one after the other
// and several times around: four replicas of one language, one process each, and clients that keep
// windows of commands under way. It prints commands a second, and the ratio to the first language.
//
//	languages [-seconds 10] [-rounds 3] c=target/examples-c/kv go=target/examples-go/kv
//
// A command is what starts a replica when `run CONFIG` is put behind it; the first one also makes
// the keys. See "A replica in another language" in examples-c/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	replicas   = 4
	window     = 16 // commands of one connection under way: kv takes no more
	valueBytes = 256
	keys       = 10_000
	warmUp     = 2 * time.Second
	startTime  = 30 * time.Second
	stopTime   = 20 * time.Second
)

var (
	seconds     = flag.Int("seconds", 10, "of each measurement")
	rounds      = flag.Int("rounds", 3, "of all languages")
	connections = flag.Int("connections", 8, "to each replica")
	extra       = flag.String("config", "", "lines for the configuration, separated by ';'")
	report      = flag.String("json", "", "a file for the results")
)

// Measured is one measurement.
type Measured struct {
	Language string
	// PerSecond is commands committed a second.
	PerSecond float64
	// CPUMicros is the time of the replicas' processors for one command, in microseconds.
	CPUMicros float64
}

func main() {
	runtime.LockOSThread() // the replicas die with the thread that has started them
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "languages: expected NAME=COMMAND ...")
		os.Exit(2)
	}
	var all []Measured
	for range *rounds {
		for _, language := range flag.Args() {
			m, err := measure(language)
			if err != nil {
				fmt.Fprintf(os.Stderr, "languages: %s: %v\n", language, err)
				os.Exit(1)
			}
			fmt.Printf("%-8s %8.0f commands/s  %6.0f us of CPU each\n", m.Language, m.PerSecond, m.CPUMicros)
			all = append(all, m)
		}
	}
	summarise(all)
	if *report != "" {
		text, _ := json.MarshalIndent(all, "", "  ")
		if err := os.WriteFile(*report, text, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "languages:", err)
			os.Exit(1)
		}
	}
}

// summarise prints the median of each language and of its ratios, round by round, to the first.
func summarise(all []Measured) {
	count := flag.NArg()
	for i := range count {
		var speeds, ratios []float64
		for at := i; at < len(all); at += count {
			speeds = append(speeds, all[at].PerSecond)
			ratios = append(ratios, all[at].PerSecond/all[at-i].PerSecond)
		}
		fmt.Printf("median %-8s %8.0f commands/s  ratio to %s: %.2f\n", all[i].Language, median(speeds),
			all[0].Language, median(ratios))
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

/* ---- a cluster of one language ---- */

type cluster struct {
	directory string
	processes []*exec.Cmd
	clients   []string // addresses
}

func measure(language string) (m Measured, err error) {
	name, command, _ := strings.Cut(language, "=")
	words := strings.Fields(command)
	if len(words) == 0 {
		return m, fmt.Errorf("expected NAME=COMMAND")
	}
	c := new(cluster)
	if c.directory, err = os.MkdirTemp("", "hotstuff-bench-"); err != nil {
		return m, err
	}
	defer os.RemoveAll(c.directory)
	defer c.kill()
	if err := c.start(words); err != nil {
		return m, err
	}
	l := &load{stop: make(chan struct{})}
	if err := l.start(c.clients); err != nil {
		return m, err
	}
	time.Sleep(warmUp)
	before, cpuBefore, began := l.done.Load(), c.cpu(), time.Now()
	time.Sleep(time.Duration(*seconds) * time.Second)
	done, cpu, took := l.done.Load()-before, c.cpu()-cpuBefore, time.Since(began)
	close(l.stop)
	l.running.Wait()
	if failure := l.failure.Load(); failure != nil {
		return m, *failure
	}
	if done == 0 {
		return m, fmt.Errorf("no command was committed")
	}
	if err := c.stop(); err != nil {
		return m, err
	}
	return Measured{name, float64(done) / took.Seconds(), float64(cpu.Microseconds()) / float64(done)}, nil
}

func (c *cluster) file(i int, suffix string) string {
	return filepath.Join(c.directory, fmt.Sprintf("%d.%s", i, suffix))
}

func (c *cluster) start(words []string) error {
	keyProgram := strings.Fields(strings.SplitN(flag.Arg(0), "=", 2)[1])
	ports, err := freePorts(replicas)
	if err != nil {
		return err
	}
	var members strings.Builder
	for i := range replicas {
		arguments := append(slices.Clone(keyProgram[1:]), "keygen", c.file(i, "key"))
		address, err := exec.Command(keyProgram[0], arguments...).Output()
		if err != nil {
			return fmt.Errorf("keygen: %w", err)
		}
		fmt.Fprintf(&members, "validator = %s 1 127.0.0.1:%d\n", strings.TrimSpace(string(address)), ports[i])
	}
	for i := range replicas {
		text := fmt.Sprintf("chain_id = 1\nkey_file = %s\ndata_dir = %s\ncreate = true\n"+
			"listen = 127.0.0.1:%d\nclient_listen = 0\nmax_idle_ms = 2000\n%s%s\n", c.file(i, "key"),
			c.file(i, "data"), ports[i], members.String(), strings.ReplaceAll(*extra, ";", "\n"))
		if err := os.WriteFile(c.file(i, "conf"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for i := range replicas {
		if err := c.startOne(i, words); err != nil {
			return err
		}
	}
	return nil
}

// startOne waits until clients are served.
func (c *cluster) startOne(i int, words []string) error {
	process := exec.Command(words[0], append(slices.Clone(words[1:]), "run", c.file(i, "conf"))...)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(c.file(i, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	process.Stderr = log
	out, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	c.processes = append(c.processes, process)
	timer := time.AfterFunc(startTime, func() { process.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "ready clients="); ok {
			c.clients = append(c.clients, address)
			go io.Copy(io.Discard, out)
			return nil
		}
	}
	text, _ := os.ReadFile(c.file(i, "log"))
	return fmt.Errorf("replica %d does not serve: %s", i, text)
}

// cpu is the time that the processes have had, user and system.
func (c *cluster) cpu() (total time.Duration) {
	for _, p := range c.processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		var user, system int64
		fmt.Sscan(fields[11], &user)
		fmt.Sscan(fields[12], &system)
		total += time.Duration(user+system) * 10 * time.Millisecond // a tick
	}
	return total
}

func (c *cluster) stop() error {
	for _, p := range c.processes {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	timer := time.AfterFunc(stopTime, c.kill)
	defer timer.Stop()
	for i, p := range c.processes {
		if err := p.Wait(); err != nil {
			text, _ := os.ReadFile(c.file(i, "log"))
			return fmt.Errorf("replica %d: %w: %s", i, err, text)
		}
	}
	return nil
}

func (c *cluster) kill() {
	for _, p := range c.processes {
		_ = p.Process.Kill() // who has ended does not mind
	}
}

// freePorts are free now, and so most likely when a replica listens.
func freePorts(count int) (ports []int, err error) {
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

/* ---- the clients ---- */

type load struct {
	done    atomic.Int64
	failure atomic.Pointer[error]
	stop    chan struct{}
	running sync.WaitGroup
}

func (l *load) start(addresses []string) error {
	for _, address := range addresses {
		for i := range *connections {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			l.running.Add(1)
			go func() {
				defer l.running.Done()
				defer conn.Close()
				if err := l.client(conn, i); err != nil {
					l.failure.Store(&err)
				}
			}()
		}
	}
	return nil
}

// client keeps a window of commands under way, until it is to stop: a new one for each answer.
func (l *load) client(conn net.Conn, number int) error {
	value := strings.Repeat("v", valueBytes)
	out, in := bufio.NewWriter(conn), bufio.NewReader(conn)
	under, next := 0, number
	for {
		stopping := false
		select {
		case <-l.stop:
			stopping = true
		default:
		}
		if stopping && under == 0 {
			return nil
		}
		for ; under < window && !stopping; under++ {
			next = (next + 7919) % keys
			fmt.Fprintf(out, "SET key-%d %s\n", next, value)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		for first := true; under > 0 && (first || in.Buffered() > 0); first = false {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, "OK ") {
				return fmt.Errorf("a write was answered %q", line)
			}
			under--
			l.done.Add(1)
		}
	}
}
