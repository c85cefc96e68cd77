package hotstuff_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

// counter is the smallest application. Its state is one byte under the key "n"; each block adds
// one, until there are enough.
type counter struct{ enough byte }

// add says what a block changes: the same on every replica.
func (c counter) add(parent *hotstuff.Snapshot, updates *hotstuff.Updates) error {
	n, err := parent.Get([]byte("n"))
	if err != nil {
		return err
	}
	if n[0] == c.enough {
		return hotstuff.ErrDefer
	}
	return updates.Set([]byte("n"), []byte{n[0] + 1})
}

func (c counter) ProposeBlock(request *hotstuff.ProposeRequest, updates *hotstuff.Updates) error {
	if err := c.add(request.Snapshot, updates); err != nil {
		return err
	}
	return updates.SetData([]byte("one more"))
}

func (c counter) ValidateBlock(request *hotstuff.ValidateRequest, updates *hotstuff.Updates) error {
	if string(request.Block.Data) != "one more" {
		return fmt.Errorf("%w: its data is %q", hotstuff.ErrInvalidBlock, request.Block.Data)
	}
	err := c.add(request.Snapshot, updates)
	if errors.Is(err, hotstuff.ErrDefer) {
		return fmt.Errorf("%w: there are enough", hotstuff.ErrInvalidBlock)
	}
	return err
}

// hub is a network in memory. Each replica has a mailbox, and a goroutine that empties it.
type hub struct {
	mu        sync.Mutex
	mailboxes map[hotstuff.Address]chan letter
}

type letter struct {
	from    hotstuff.Address
	message []byte
}

// Letters that wait for one replica. What does not fit is lost, and sent again if it matters.
const mailboxLen = 256

func newHub() *hub { return &hub{mailboxes: make(map[hotstuff.Address]chan letter)} }

// serve hands what comes for a replica to it. What the replica does not take is lost.
func (h *hub) serve(ctx context.Context, address hotstuff.Address, replica *hotstuff.Replica) {
	for {
		select {
		case l := <-h.mailbox(address):
			_ = replica.Deliver(l.from, l.message)
		case <-ctx.Done():
			return
		}
	}
}

func (h *hub) mailbox(address hotstuff.Address) chan letter {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mailboxes[address] == nil {
		h.mailboxes[address] = make(chan letter, mailboxLen)
	}
	return h.mailboxes[address]
}

// port is one replica's end of the hub.
type port struct {
	hub  *hub
	self hotstuff.Address
}

func (p port) Connect(hotstuff.Address)    {}
func (p port) Disconnect(hotstuff.Address) {}

func (p port) Send(peer hotstuff.Address, message []byte) error {
	select {
	case p.hub.mailbox(peer) <- letter{p.self, message}:
		return nil
	default:
		return hotstuff.ErrWouldBlock
	}
}

// Four replicas in one process count to 20 together.
func Example() {
	directory, err := os.MkdirTemp("", "hotstuff-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(directory)

	var keys [4]*hotstuff.KeyPair
	var validators []hotstuff.Validator
	for i := range keys {
		if keys[i], err = hotstuff.GenerateKeyPair(); err != nil {
			log.Fatal(err)
		}
		defer keys[i].Close()
		validators = append(validators, hotstuff.Validator{Address: keys[i].Address(), Power: 1})
	}

	network := newHub()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	var running sync.WaitGroup
	var replicas [4]*hotstuff.Replica
	for i, key := range keys {
		config := hotstuff.Config{
			ChainID:           7,
			GenesisValidators: validators,
			GenesisState:      map[string][]byte{"n": {0}},
			KeyPair:           key,
			DataDir:           filepath.Join(directory, fmt.Sprint(i)),
			Create:            true,
		}
		replica, err := hotstuff.Open(config, counter{enough: 20}, port{network, key.Address()})
		if err != nil {
			log.Fatal(err)
		}
		defer replica.Close()
		replicas[i] = replica
		running.Add(1)
		go func() {
			defer running.Done()
			if err := replica.Run(ctx); err != nil {
				log.Print(err)
			}
		}()
		go network.serve(ctx, key.Address(), replica)
	}

	for i, replica := range replicas {
		height := uint64(0)
		for count := 0; count < 20; {
			block, err := replica.NextCommitted(ctx, height)
			if err != nil {
				log.Fatal(err)
			}
			if height = block.Height; len(block.Data) > 0 {
				count++
			}
		}
		snapshot, err := replica.Snapshot()
		if err != nil {
			log.Fatal(err)
		}
		n, err := snapshot.Get([]byte("n"))
		snapshot.Close()
		fmt.Printf("replica %d: %d %v\n", i, n[0], err)
	}
	cancel()
	running.Wait()
	// Output:
	// replica 0: 20 <nil>
	// replica 1: 20 <nil>
	// replica 2: 20 <nil>
	// replica 3: 20 <nil>
}
