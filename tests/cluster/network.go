// The network: a bridge and a cable from it to each member, in network namespaces of their own.
//
//	this process's namespace      [ bridge ]--m0 ... m4
//	one namespace per member                  eth0 10.77.0.n, lo
//
// Nobody outside sees any of it, and the kernel removes it with the last process inside. Clients do
// not use the bridge: their sockets are made inside the member's namespace, on its loopback, so
// that a member which is cut off from the others can still be asked.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	insideVariable = "CLUSTER_INSIDE_NAMESPACE"
	bridge         = "bridge"
	dialWithin     = 500 * time.Millisecond
)

const namespaceHelp = `cluster: the network that this test cuts is made of network namespaces,
and this process may not make them. Nothing was tested. One of these helps:
    sudo make test-cluster
    docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN ...
    sudo sysctl -w kernel.unprivileged_userns_clone=1 \
        kernel.apparmor_restrict_unprivileged_userns=0
`

// runInside runs this program again in a new network namespace, and returns its exit code. Who is
// not root gets a user namespace too, in which it is.
func runInside() int {
	runtime.LockOSThread() // the child dies with this thread
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.Env = append(os.Environ(), insideVariable+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	signal.Ignore(os.Interrupt) // the child gets it too, and ends in order
	if err := child.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: a new network namespace: %v\n%s", err, namespaceHelp)
		return 1
	}
	var exit *exec.ExitError
	if err := child.Wait(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	if code := child.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 1
}

func ip(arguments ...string) error {
	output, err := exec.Command("ip", arguments...).CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(output))
	err = fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, said)
	if strings.Contains(said, "not permitted") {
		err = fmt.Errorf("%w\n%s", err, namespaceHelp)
	}
	return err
}

func makeBridge() error {
	if err := ip("link", "set", "lo", "up"); err != nil {
		return err
	}
	if err := ip("link", "add", bridge, "type", "bridge"); err != nil {
		return err
	}
	return ip("link", "set", bridge, "up")
}

// host is the namespace of one member: a thread that lives in it, and does what must be done there.
type host struct {
	cable   string // its end at the bridge
	address string
	work    chan func()
}

func newHost(number int) (*host, error) {
	h := &host{
		cable:   fmt.Sprintf("m%d", number),
		address: fmt.Sprintf("10.77.0.%d", number+1),
		work:    make(chan func()),
	}
	thread, entered := 0, make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: this thread is of no use elsewhere
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		thread = syscall.Gettid()
		entered <- err
		for f := range h.work {
			f()
		}
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("a namespace for member %d: %w\n%s", number, err, namespaceHelp)
	}
	err := ip("link", "add", h.cable, "type", "veth", "peer", "name", "eth0",
		"netns", fmt.Sprint(thread))
	if err != nil {
		return nil, err
	}
	inside := [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", h.address + "/24", "dev", "eth0"},
		{"link", "set", "eth0", "up"},
	}
	for _, arguments := range inside {
		if err := h.do(func() error { return ip(arguments...) }); err != nil {
			return nil, err
		}
	}
	if err := h.connect(); err != nil {
		return nil, err
	}
	return h, ip("link", "set", h.cable, "up")
}

// do runs f on the thread in the namespace: sockets and processes that it makes are made there.
func (h *host) do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

// connect and cut plug the cable in and out at the far end, so that this end notices nothing.
func (h *host) connect() error { return ip("link", "set", h.cable, "master", bridge) }
func (h *host) cut() error     { return ip("link", "set", h.cable, "nomaster") }

// dial connects to a port on the loopback of the namespace. Only the socket is made there: a
// paused member must not keep the thread waiting.
func (h *host) dial(port int) (net.Conn, error) {
	var fd int
	err := h.do(func() (err error) {
		fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	wait := syscall.NsecToTimeval(int64(dialWithin))
	err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &wait)
	if err != nil {
		return nil, err
	}
	to := &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Connect(fd, to); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}
