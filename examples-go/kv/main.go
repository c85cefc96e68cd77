// Command kv is one replica of a replicated key-value store, and its clients: over HTTP, and over
// the line protocol of the kv in C. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

const (
	exitFailure = 1
	exitUsage   = 2
	exitHalted  = 3
)

func main() { os.Exit(program(os.Args[1:])) }

const verbs = `kv - a replicated key-value server, an example of libhotstuff %s

  kv keygen FILE                     make a key, print its address
  kv address FILE                    print the address of a key
  kv check CONFIG                    read a configuration, say what is wrong with it
  kv genesis CONFIG                  print the genesis hash: it must be the same everywhere
  kv run CONFIG [--log-level LEVEL] [--http HOST:PORT]
                                     run a replica; LEVEL: off error warn info debug trace [info]
  kv --help | --version

A first cluster: 'kv keygen' for each replica; then each gets a configuration with the addresses of
all, and 'create = true'; compare 'kv genesis'; start them. Afterwards take 'create' out, so that a
disk that is not mounted is an error and not a new beginning.

CONFIG has lines of 'key = value'; '#' begins a comment. Paths are relative to where kv runs.
`

const protocols = `
With --http, clients talk HTTP (README.md has curl lines):
  PUT /kv/KEY                   the body is the value; answered after its commit
  GET /kv/KEY[?linearizable]    as committed here; or after all that is committed anywhere
  DELETE /kv/KEY
  GET /validators               PUT (the body is a power), DELETE /validators/ADDRESS
  POST /sessions                a session: "Kv-Command: SESSION:SEQUENCE" makes writes repeatable
  GET /status, /evidence, /metrics

Clients talk in lines (try 'nc 127.0.0.1 PORT'); a request and its answer are a line each:
  SET key value         OK height            after its commit
  DEL key               OK height
  GET key               VALUE value | NONE   as committed at this replica
  VALIDATOR address n   OK height epoch      that replica has power n from this epoch on; 0: none
  OPEN [nonce]          OK height session    a session, for requests that can be repeated safely:
  @session:sequence SET|DEL|VALIDATOR ...    is applied once, wherever and however often it is sent
  HASH height           OK height state-hash block-hash
  EVIDENCE index        OK kind epoch=n view=n validator=address: who has lied, and is convicted
  WHERE key             OK height            of the last block that wrote or deleted it
  BLOCK height offset   OK length hex        a part of that block, as bytes
  PROOF height offset   OK length hex        of the proof that it is committed
  EPOCH epoch offset    OK length hex        of the proof of who validates after that epoch
  STATUS                OK name=value ...
  HELP, QUIT
Failures: ERR syntax | busy | timeout | stale | expired | refused | listener | stopping | notfound |
internal.
Clients are not authenticated: whoever reaches a client port of any validator may write every key,
and say who the validators are. Keep them on loopback, or behind something that asks.

A validator joins while the chain runs: give it a configuration with the 'validator' lines of the
others (they are the genesis's) and a 'peer' line for itself, start it, let it catch up; then
VALIDATOR at one of the others. They let it in if they have its 'peer' line, or 'max_listeners'
above 0. One that is removed goes on as a listener.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 could not start, 2 wrong usage, 3 the replica halted.
`

func usage(out io.Writer) {
	fmt.Fprintf(out, verbs, hotstuff.Version())
	describeConfig(out)
	fmt.Fprint(out, protocols)
}

func wrongUsage(what string) int {
	fmt.Fprintf(os.Stderr, "kv: %s; `kv --help` explains\n", what)
	return exitUsage
}

func failed(err error) int {
	fmt.Fprintf(os.Stderr, "kv: %v\n", err)
	return exitFailure
}

// program is the whole program, but for os.Exit.
func program(arguments []string) int {
	if len(arguments) == 0 {
		usage(os.Stdout)
		return exitUsage
	}
	verb, rest := arguments[0], arguments[1:]
	switch verb {
	case "--help", "-h", "help":
		usage(os.Stdout)
		return 0
	case "--version":
		fmt.Printf("kv, libhotstuff %s\n", hotstuff.Version())
		return 0
	case "keygen", "address":
		if len(rest) == 0 {
			return wrongUsage("which key file?")
		}
		if len(rest) > 1 {
			return wrongUsage("too many arguments")
		}
		return keyCommand(verb, rest[0])
	case "run", "check", "genesis":
		if len(rest) == 0 {
			return wrongUsage("which configuration?")
		}
		return configCommand(verb, rest[0], rest[1:])
	}
	return wrongUsage("unknown command")
}

func keyCommand(verb, path string) int {
	if verb == "keygen" {
		address, err := generateKey(path)
		if err != nil {
			return failed(err)
		}
		fmt.Println(address)
		return 0
	}
	key, err := loadKey(path)
	if err != nil {
		return failed(err)
	}
	defer key.Close()
	fmt.Println(key.Address())
	return 0
}

func configCommand(verb, path string, rest []string) int {
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	level, http := "info", ""
	if verb == "run" {
		flags.StringVar(&level, "log-level", level, "")
		flags.StringVar(&http, "http", http, "")
	}
	if err := flags.Parse(rest); err != nil {
		return wrongUsage(err.Error())
	}
	if flags.NArg() > 0 {
		return wrongUsage("too many arguments")
	}
	if err := startLog(level); err != nil {
		return wrongUsage(err.Error())
	}
	c, err := loadConfig(path)
	if err != nil {
		failed(err)
		return exitUsage
	}
	switch verb {
	case "check":
		fmt.Printf("%s: %d validators\n", path, c.validatorCount())
		return 0
	case "genesis":
		replicaConfig := c.replicaConfig(nil)
		hash, err := replicaConfig.GenesisHash()
		if err != nil {
			return failed(err)
		}
		fmt.Println(hash)
		return 0
	}
	return run(c, http)
}

func run(c *config, httpAddress string) int {
	key, err := loadKey(c.keyFile)
	if err != nil {
		return failed(err)
	}
	defer key.Close()
	n, err := openNode(c, key)
	if err != nil {
		return failed(fmt.Errorf("%s: %w", c.dataDir, err))
	}
	defer n.replica.Close()
	lines, err := listenLines(n, c.clientListen)
	if err != nil {
		return failed(err)
	}
	var web *webServer
	if httpAddress != "" {
		if web, err = listenHTTP(n, httpAddress); err != nil {
			return failed(err)
		}
	}
	err = serve(n, lines, web)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, hotstuff.ErrHalted):
		failed(err)
		return exitHalted
	}
	return failed(err)
}

// serve serves from the start of the replica to its end: a signal, or that it has halted.
func serve(n *node, lines *lineServer, web *webServer) error {
	background := context.Background()
	signalled, release := signal.NotifyContext(background, syscall.SIGINT, syscall.SIGTERM)
	defer release()
	ctx, cancel := context.WithCancel(signalled)
	defer cancel()

	info, err := n.replica.Info()
	if err != nil {
		return err
	}
	if err := n.replica.Start(); err != nil {
		return err
	}
	n.look()
	n.show()
	followed := make(chan error, 1)
	go func() {
		followed <- n.follow(ctx, info.CommittedHeight)
		cancel() // without commits there is nothing to serve
	}()
	go n.keep(ctx)
	go lines.serve()
	logf(hotstuff.LogInfo, "chain %d from height %d: replicas at %s, clients at %s",
		n.config.chainID, info.CommittedHeight, n.replica.LocalAddr(), lines.address())
	if web != nil {
		go web.serve()
		fmt.Fprintf(os.Stderr, "ready http=%s\n", web.address())
	}
	fmt.Printf("ready clients=%s\n", lines.address())

	<-ctx.Done()
	n.pool.close()
	if web != nil {
		web.stop()
	}
	lines.stop()
	return stop(n, signalled, <-followed)
}

// How long a callback may take to let go when the replica stops.
const stopTimeout = 10 * time.Second

// stop stops the replica, and says whether that was our own wish.
func stop(n *node, signalled context.Context, followed error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if errors.Is(followed, hotstuff.ErrHalted) {
		followed = n.replica.Wait(ctx) // which says why
	}
	if signalled.Err() != nil && errors.Is(followed, context.Canceled) {
		followed = nil
	}
	err := n.replica.Stop(ctx)
	logf(hotstuff.LogInfo, "stopped")
	return errors.Join(followed, err, n.replica.Err())
}
