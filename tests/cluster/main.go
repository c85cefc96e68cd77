// Program cluster runs five replicas of the key-value example, in whatever languages, under a load
// of concurrent clients, lets one fault after the other happen, and judges what the clients saw.
//
//	cluster -kv target/examples-c/kv -member c=target/examples-c/kv ... (five times)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// One key's operations are judged in less than a second, or something is odd.
const judgeWithin = 2 * time.Minute

// A run of this length and more strikes with each fault three times, at least.
const fullRun = 5 * time.Minute

type command struct {
	name  string
	words []string
}

type options struct {
	kv         string
	folder     string
	seed       int64
	length     time.Duration
	localReads bool
	members    []command
}

func parse() (*options, error) {
	o := &options{}
	seconds := 0
	flag.StringVar(&o.kv, "kv", "target/examples-c/kv", "makes the keys")
	flag.StringVar(&o.folder, "folder", "target/cluster", "where configurations, data and logs go")
	flag.Int64Var(&o.seed, "seed", 0, "of the plan of faults; 0: another one each time")
	flag.IntVar(&seconds, "seconds", 600, "how long; the round of faults is then ended")
	flag.BoolVar(&o.localReads, "local-reads", false,
		"read what a member happens to have, as a broken one would; the history must be refused")
	flag.Func("member", "NAME=COMMAND, run as COMMAND run CONFIG; five times", o.addMember)
	flag.Parse()
	if len(o.members) != members || flag.NArg() > 0 {
		return nil, fmt.Errorf("expected -member %d times; -help says more", members)
	}
	if seconds < 1 {
		return nil, errors.New("-seconds: expected at least 1")
	}
	o.length = time.Duration(seconds) * time.Second
	if o.seed == 0 {
		o.seed = time.Now().UnixNano()%1e9 + 1
	}
	var err error
	o.folder, err = filepath.Abs(o.folder)
	return o, err
}

func (o *options) addMember(value string) error {
	name, line, _ := strings.Cut(value, "=")
	words := strings.Fields(line)
	if name == "" || len(words) == 0 {
		return errors.New("expected NAME=COMMAND")
	}
	o.members = append(o.members, command{name, words})
	return nil
}

func main() {
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	}
	if os.Getenv(insideVariable) == "" {
		os.Exit(runInside())
	}
	if err := run(o); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: FAILED: %v\n", err)
		fmt.Fprintf(os.Stderr, "cluster: the logs are in %s; the same plan again: SEED=%d\n",
			o.folder, o.seed)
		os.Exit(1)
	}
}

func run(o *options) error {
	// Of a former run; the folder holds nothing else.
	if err := os.RemoveAll(o.folder); err != nil {
		return err
	}
	if err := os.MkdirAll(o.folder, 0o700); err != nil {
		return err
	}
	c, err := newCluster(o)
	if err != nil {
		return err
	}
	defer c.destroy()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	go func() { c.fail("stopped by a signal: %v", <-stopped) }()

	fmt.Printf("cluster: seed %d\n", o.seed)
	for _, m := range c.members {
		fmt.Printf("cluster: member %d is %s: %s\n", m.number, m.name, strings.Join(m.command, " "))
	}
	if err := c.start(); err != nil {
		return err
	}
	load := c.startLoad(o.seed, o.localReads)
	if o.localReads {
		return c.mustBeRefused(load, o)
	}
	err = c.sufferAll(o)
	load.end()
	if c.hasFailed() {
		err = errors.New(c.reason)
	}
	if err == nil {
		err = c.stop()
	}
	return errors.Join(err, c.judge(o)) // after a failure too: it may show what went wrong
}

// sufferAll lets rounds of faults happen until the time is over.
func (c *cluster) sufferAll(o *options) error {
	p, rounds := newPlanner(o.seed, o.length), 1
	if o.length >= fullRun {
		rounds = 3
	}
	for ; rounds > 0 || c.history.now() < o.length; rounds-- {
		for _, f := range p.round() {
			if err := c.suffer(f); err != nil || c.hasFailed() {
				return err
			}
		}
	}
	return nil
}

// stop ends all members in order.
func (c *cluster) stop() error {
	for _, m := range c.members {
		if err := m.stop(); err != nil {
			return err
		}
	}
	return nil
}

// judge prints what happened, and what is to be thought of it.
func (c *cluster) judge(o *options) error {
	fmt.Printf("cluster: %v\n", c.history.summary())
	fmt.Print("cluster: faults:")
	for _, k := range kinds {
		fmt.Printf(" %s %d,", k, c.struck[k])
	}
	fmt.Printf(" members struck: %v\n", c.hits)
	fmt.Printf("cluster: after a fault, and after its end, all committed within %.2f s "+
		"(bound %v), and the member had caught up within %.2f s (bound %v)\n",
		c.resumed.Seconds(), resumeWithin, c.caughtUp.Seconds(), caughtUpWithin)
	fmt.Printf("cluster: all members had the same state at %d heights\n", c.agreements)
	violation, err := check(c.history.all, judgeWithin)
	if err != nil {
		return err
	}
	if violation == nil {
		fmt.Println("cluster: linearizable")
		return nil
	}
	path := filepath.Join(o.folder, "history.html")
	return errors.Join(fmt.Errorf("the history of key %s is not linearizable; see %s",
		violation.key, path), violation.visualize(path))
}

// mustBeRefused shows that a member which answers with what it has is found.
func (c *cluster) mustBeRefused(l *load, o *options) error {
	select {
	case <-time.After(o.length):
	case <-c.failed:
		return errors.New(c.reason)
	}
	l.end()
	violation, err := check(c.history.all, judgeWithin)
	if err == nil && violation == nil {
		err = errors.New("reads were local, and the history was called linearizable")
	}
	if err == nil {
		fmt.Printf("cluster: %v\n", c.history.summary())
		fmt.Printf("cluster: local reads are not linearizable, as it should be: key %s\n",
			violation.key)
	}
	return err
}
