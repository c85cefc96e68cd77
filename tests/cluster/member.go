// One member: its configuration, its process, and what it says of itself.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	clientPort  = 7000 // each member has a loopback of its own
	replicaPort = 9000
	stopWithin  = 15 * time.Second
	statusEvery = 20 * time.Millisecond
)

// The times are those of examples-c/demo.py.
const configuration = `# Member %d of the cluster test: %s
chain_id = 1
key_file = %s
data_dir = %s
create = %t
listen = %s:%d
client_listen = 127.0.0.1:%d
view_timeout_ms = 250
max_view_timeout_ms = 4000
max_idle_ms = 2000
commit_timeout_ms = 5000
`

type member struct {
	number  int
	name    string
	command []string
	folder  string
	host    *host
	key     string // its validator address
	process *exec.Cmd
	ended   chan struct{}
	wanted  atomic.Bool  // it should be running
	died    func(string) // is told when it ends while it is wanted
}

func (m *member) file(suffix string) string {
	return filepath.Join(m.folder, fmt.Sprintf("member-%d.%s", m.number, suffix))
}

// makeKey makes the key file with the program of the C example: all languages read the same.
func (m *member) makeKey(kv string) error {
	output, err := exec.Command(kv, "keygen", m.file("key")).Output()
	if err != nil {
		return fmt.Errorf("%s keygen: %w", kv, err)
	}
	m.key = strings.TrimSpace(string(output))
	return nil
}

func (m *member) configure(all []*member, create bool) error {
	var text strings.Builder
	fmt.Fprintf(&text, configuration, m.number, m.name, m.file("key"), m.file("data"), create,
		m.host.address, replicaPort, clientPort)
	for _, other := range all {
		power := "validator = %s 1 %s:%d\n"
		if other.number >= validators {
			power = "peer = %s %s:%d\n"
		}
		fmt.Fprintf(&text, power, other.key, other.host.address, replicaPort)
	}
	return os.WriteFile(m.file("conf"), []byte(text.String()), 0o600)
}

func (m *member) start() error {
	log, err := os.OpenFile(m.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	arguments := append(m.command[1:len(m.command):len(m.command)], "run", m.file("conf"))
	process := exec.Command(m.command[0], arguments...)
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.host.do(process.Start); err != nil {
		return fmt.Errorf("member %d: %w", m.number, err)
	}
	ended := make(chan struct{})
	m.process, m.ended = process, ended
	m.wanted.Store(true)
	go func() {
		err := process.Wait()
		if m.wanted.Load() {
			m.died(fmt.Sprintf("member %d (%s) ended by itself: %v", m.number, m.name, err))
		}
		close(ended)
	}()
	return nil
}

// signal reaches the whole process group: the command may be a script around the program.
func (m *member) signal(number syscall.Signal) error {
	return syscall.Kill(-m.process.Process.Pid, number)
}

func (m *member) kill() error {
	m.wanted.Store(false)
	err := m.signal(syscall.SIGKILL)
	<-m.ended
	return err
}

// stop asks it to end, and expects that it does, with exit code 0.
func (m *member) stop() error {
	m.wanted.Store(false)
	if err := m.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.ended:
	case <-time.After(stopWithin):
		return fmt.Errorf("member %d (%s) does not stop within %v", m.number, m.name, stopWithin)
	}
	if code := m.process.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("member %d (%s): exit code %d after SIGTERM", m.number, m.name, code)
	}
	return nil
}

// destroy leaves nothing behind, whatever state it is in.
func (m *member) destroy() {
	if m.process != nil {
		m.wanted.Store(false)
		_ = m.signal(syscall.SIGKILL)
		<-m.ended
	}
}

// ---- the line protocol -------------------------------------------------------------------------

// connection is a client's connection to one member: a line out, a line in.
type connection struct {
	net.Conn
	lines *bufio.Reader
}

func (m *member) dial() (*connection, error) {
	c, err := m.host.dial(clientPort)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReader(c)}, nil
}

// ask is over after `within`. After an error the connection is of no use: an answer may follow.
func (c *connection) ask(request string, within time.Duration) (string, error) {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\n", request); err != nil {
		return "", err
	}
	answer, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// askOnce uses a connection of its own.
func (m *member) askOnce(request string, within time.Duration) (string, error) {
	c, err := m.dial()
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ask(request, within)
}

type status struct {
	epoch, height uint64
	validator     bool
	refused       string // blocks that it called invalid
}

func (m *member) status() (status, error) {
	answer, err := m.askOnce("STATUS", time.Second)
	if err != nil {
		return status{}, err
	}
	if !strings.HasPrefix(answer, "OK ") {
		return status{}, errors.New(answer)
	}
	said := map[string]string{}
	for _, word := range strings.Fields(answer)[1:] {
		name, value, _ := strings.Cut(word, "=")
		said[name] = value
	}
	if said["halted"] != "0" {
		return status{}, fmt.Errorf("halted=%s", said["halted"])
	}
	epoch, err := strconv.ParseUint(said["epoch"], 10, 64)
	if err != nil {
		return status{}, err
	}
	height, err := strconv.ParseUint(said["committed_height"], 10, 64)
	return status{epoch, height, said["role"] == "validator", said["blocks_refused"]}, err
}

// await asks for the status until it is as it should be, and returns how long that took.
func (m *member) await(
	what string, is func(status) bool, within time.Duration,
) (time.Duration, error) {
	began := time.Now()
	for {
		s, err := m.status()
		if err == nil && is(s) {
			return time.Since(began), nil
		}
		if time.Since(began) > within {
			return 0, fmt.Errorf("member %d (%s): %s: not within %v; its status: %+v, %v",
				m.number, m.name, what, within, s, err)
		}
		time.Sleep(statusEvery)
	}
}
