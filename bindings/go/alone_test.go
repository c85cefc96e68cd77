package hotstuff_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

// What a slow machine may need for what should happen soon.
const patience = 30 * time.Second

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// appFuncs is an app of two functions. Without them it proposes "x" and calls everything valid.
type appFuncs struct {
	propose  func(*hotstuff.ProposeRequest, *hotstuff.Updates) error
	validate func(*hotstuff.ValidateRequest, *hotstuff.Updates) error
}

func (a appFuncs) ProposeBlock(r *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
	if a.propose != nil {
		return a.propose(r, u)
	}
	return u.SetData([]byte("x"))
}

func (a appFuncs) ValidateBlock(r *hotstuff.ValidateRequest, u *hotstuff.Updates) error {
	if a.validate != nil {
		return a.validate(r, u)
	}
	return nil
}

// nowhere is the network of a validator alone.
type nowhere struct{}

func (nowhere) Connect(hotstuff.Address)            {}
func (nowhere) Disconnect(hotstuff.Address)         {}
func (nowhere) Send(hotstuff.Address, []byte) error { return nil }

func mustKey(t testing.TB, seed byte) *hotstuff.KeyPair {
	key, err := hotstuff.KeyPairFromSeed(append(make([]byte, 31), seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { key.Close() })
	return key
}

// configAlone is that of a validator alone, which syncs nothing: what these tests end is at most
// the process.
func configAlone(t testing.TB) hotstuff.Config {
	key := mustKey(t, 1)
	return hotstuff.Config{
		ChainID:           1,
		GenesisValidators: []hotstuff.Validator{{Address: key.Address(), Power: 1}},
		GenesisState:      map[string][]byte{"k": []byte("genesis"), "empty": nil},
		KeyPair:           key,
		DataDir:           filepath.Join(t.TempDir(), "data"),
		Create:            true,
		MapBytes:          1 << 28,
		Durability:        hotstuff.ProcessCrash,
	}
}

func mustOpen(t testing.TB, config hotstuff.Config, app hotstuff.App) *hotstuff.Replica {
	replica, err := hotstuff.Open(config, app, nowhere{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { replica.Close() })
	return replica
}

func mustStart(t testing.TB, config hotstuff.Config, app hotstuff.App) *hotstuff.Replica {
	replica := mustOpen(t, config, app)
	if err := replica.Start(); err != nil {
		t.Fatal(err)
	}
	return replica
}

func expect(t *testing.T, err, status error) {
	t.Helper()
	if !errors.Is(err, status) {
		t.Fatalf("expected %v, got %v", status, err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAValidatorAloneCommitsAndItsSnapshotOutlivesIt(t *testing.T) {
	app := appFuncs{propose: func(_ *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		return errors.Join(u.Set([]byte("k"), []byte("v")), u.Delete([]byte("empty")),
			u.Set([]byte("large"), make([]byte, 5000)), u.SetData([]byte("data")))
	}}
	config := configAlone(t)
	replica := mustStart(t, config, app)
	block, err := replica.NextCommitted(patient(t), 0)
	check(t, err)
	genesis, err := config.GenesisHash()
	check(t, err)
	if block.Height != 1 || string(block.Data) != "data" || block.Parent != genesis {
		t.Fatalf("the first block is %+v", block)
	}
	check(t, replica.WaitCommitted(patient(t), 3))
	snapshot, err := replica.Snapshot()
	check(t, err)
	check(t, replica.Close())

	value, err := snapshot.Get([]byte("k"))
	if err != nil || string(value) != "v" {
		t.Fatalf("k is %q, %v", value, err)
	}
	if value, err = snapshot.Get([]byte("large")); err != nil || len(value) != 5000 {
		t.Fatalf("large has %d bytes, %v", len(value), err)
	}
	_, err = snapshot.Get([]byte("empty"))
	expect(t, err, hotstuff.ErrNotFound)
	_, err = snapshot.Get(nil)
	expect(t, err, hotstuff.ErrNotFound)
	height, err := snapshot.CommittedHeight()
	if err != nil || height < 3 {
		t.Fatalf("height %d, %v", height, err)
	}
	count, parent := uint64(0), genesis
	for b, err := range snapshot.Blocks(1) {
		check(t, err)
		if count++; b.Height != count || b.Parent != parent {
			t.Fatalf("block %d: %+v", count, b)
		}
		parent = b.Hash
		encoded, err := snapshot.EncodedBlock(b.Hash)
		check(t, err)
		again, err := hotstuff.DecodeBlock(genesis, encoded)
		if err != nil || again.Hash != b.Hash || string(again.Data) != string(b.Data) {
			t.Fatalf("%+v is encoded as %+v, %v", b, again, err)
		}
	}
	if count != height {
		t.Fatalf("%d blocks up to height %d", count, height)
	}
	for range snapshot.Blocks(2) {
		break // an iteration may end early
	}
	_, err = snapshot.BlockAt(height + 1)
	expect(t, err, hotstuff.ErrNotFound)
	qc, err := snapshot.HighestQC()
	if err != nil || len(qc) == 0 {
		t.Fatalf("a certificate of %d bytes, %v", len(qc), err)
	}
	set, err := snapshot.ValidatorsOf(0)
	if err != nil || set.Power(config.KeyPair.Address()) != 1 || set.QuorumPower() != 1 {
		t.Fatalf("%v, %v", set, err)
	}
	_, err = snapshot.ValidatorsOf(1)
	expect(t, err, hotstuff.ErrNotFound)
	_, err = snapshot.CommitQCOf(0)
	expect(t, err, hotstuff.ErrNotFound)
	check(t, snapshot.Close())
	check(t, snapshot.Close())
	_, err = snapshot.Get([]byte("k"))
	expect(t, err, hotstuff.ErrClosed)
	for _, err := range snapshot.Blocks(1) {
		expect(t, err, hotstuff.ErrClosed)
	}
}

// hsm signs elsewhere, as a security module does; now and then it fails.
type hsm struct {
	key    ed25519.PrivateKey
	signed atomic.Int32
}

func (h *hsm) Address() hotstuff.Address {
	return hotstuff.Address(h.key.Public().(ed25519.PublicKey))
}

func (h *hsm) Sign(message []byte) ([]byte, error) {
	switch h.signed.Add(1) {
	case 3:
		return nil, errors.New("the module is busy")
	case 5:
		return []byte("short"), nil
	case 7:
		panic("the module is on fire")
	}
	return ed25519.Sign(h.key, message), nil
}

func TestASignerElsewhereAndProofsForAnybody(t *testing.T) {
	before := hotstuff.Handles()
	module := &hsm{key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	config := configAlone(t)
	config.KeyPair, config.Signer = nil, module
	config.ViewTimeout, config.MaxViewTimeout = 20*time.Millisecond, 100*time.Millisecond
	config.GenesisValidators = []hotstuff.Validator{{Address: module.Address(), Power: 1}}
	other := mustKey(t, 9).Address()
	app := appFuncs{propose: func(r *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		if r.Budget <= 0 || r.Budget > 200*time.Millisecond {
			return fmt.Errorf("a budget of %v", r.Budget)
		}
		if set, err := r.Snapshot.Validators(); err == nil && set.Epoch == 0 && len(set.Members) == 1 {
			err := errors.Join(u.SetValidator(module.Address(), 3), u.SetValidator(other, 1))
			return errors.Join(err, u.SetData([]byte("two validators")))
		}
		return u.SetData([]byte("x"))
	}}
	replica := mustStart(t, config, app)
	check(t, replica.WaitCommitted(patient(t), 20))
	if err := replica.Err(); err == nil || module.signed.Load() < 8 {
		t.Fatalf("signed %d times, %v", module.signed.Load(), err)
	}
	snapshot, err := replica.Snapshot()
	check(t, err)
	defer snapshot.Close()
	genesis, err := config.GenesisHash()
	check(t, err)
	trusted, err := hotstuff.NewValidatorSet(config.GenesisValidators...)
	check(t, err)

	proof, err := snapshot.EpochProof(0)
	check(t, err)
	next, err := hotstuff.VerifyEpochProof(genesis, trusted, proof)
	check(t, err)
	if next.Epoch != 1 || len(next.Members) != 2 || next.Power(other) != 1 {
		t.Fatalf("%+v", next)
	}
	block, err := snapshot.BlockAt(10)
	check(t, err)
	if proof, err = snapshot.CommitProof(block.Hash); err != nil {
		t.Fatal(err)
	}
	info, err := hotstuff.VerifyCommitProof(genesis, next, block.Hash, proof)
	if err != nil || info.Epoch != 1 || info.SignedPower != 3 || info.SignerCount != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	_, err = hotstuff.VerifyCommitProof(genesis, next, block.Parent, proof)
	expect(t, err, hotstuff.ErrInvalidArgument)
	_, err = hotstuff.VerifyCommitProof(genesis, trusted, block.Hash, proof)
	expect(t, err, hotstuff.ErrNotFound)
	if _, err = hotstuff.VerifyCommitProof(hotstuff.Hash{}, next, block.Hash, proof); err == nil {
		t.Fatal("a proof on another chain")
	}

	qc, err := snapshot.CommitQCOf(1)
	check(t, err)
	if info, err = hotstuff.VerifyQC(genesis, trusted, qc); err != nil || info.Phase != hotstuff.PhaseCommit {
		t.Fatalf("%+v, %v", info, err)
	}
	_, err = hotstuff.VerifyQC(genesis, trusted, qc[1:])
	expect(t, err, hotstuff.ErrDecode)
	_, err = hotstuff.VerifyQC(genesis, hotstuff.ValidatorSet{}, qc)
	expect(t, err, hotstuff.ErrInvalidArgument)
	_, err = hotstuff.VerifyEpochProof(genesis, trusted, nil)
	expect(t, err, hotstuff.ErrDecode)
	replica.Close()
	if now := hotstuff.Handles(); now != before {
		t.Fatalf("%d handles before, %d after", before, now)
	}
}

// metronome is a pacemaker: views of 30 ms, led in turn; from some view on it has gone mad.
type metronome struct{ madFrom uint64 }

func (metronome) ViewTimeout(_ hotstuff.ValidatorSet, _, _, _ uint64) time.Duration {
	return 30 * time.Millisecond
}

func (m metronome) Leader(validators hotstuff.ValidatorSet, view uint64) int {
	if view >= m.madFrom {
		panic("mad")
	}
	return int(view % uint64(len(validators.Members)))
}

func TestAPacemakerOfOnesOwn(t *testing.T) {
	config := configAlone(t)
	config.Pacemaker = metronome{madFrom: 50}
	replica := mustOpen(t, config, appFuncs{})
	err := replica.Run(patient(t)) // which halts when nobody knows who leads
	expect(t, err, hotstuff.ErrHalted)
	var caught *hotstuff.PanicError
	if !errors.As(err, &caught) || caught.Callback != "Leader" {
		t.Fatal(err)
	}
	t.Log(err)
	info, err := replica.Info()
	if err != nil || !info.Halted || info.CommittedHeight < 20 {
		t.Fatalf("%+v, %v", info, err)
	}
	expect(t, replica.Notify(), hotstuff.ErrHalted)
}

func TestAReplicaWithoutRoomHaltsAndSaysWhatToDo(t *testing.T) {
	config := configAlone(t)
	config.MapBytes = 16 << 20
	app := appFuncs{propose: func(_ *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		return u.SetData(make([]byte, 1<<20))
	}}
	err := mustOpen(t, config, app).Run(patient(t))
	expect(t, err, hotstuff.ErrHalted)
	if len(err.Error()) < 40 {
		t.Fatal(err)
	}
	t.Log(err)
}

// broken is a network that panics, and so loses everything.
type broken struct{ connected atomic.Int32 }

func (b *broken) Connect(hotstuff.Address)            { b.connected.Add(1) }
func (b *broken) Disconnect(hotstuff.Address)         {}
func (b *broken) Send(hotstuff.Address, []byte) error { panic("no cable") }

func TestAPanicOfTheNetwork(t *testing.T) {
	config := configAlone(t)
	config.ViewTimeout = 20 * time.Millisecond
	for i := byte(2); i <= 4; i++ {
		config.GenesisValidators = append(config.GenesisValidators,
			hotstuff.Validator{Address: mustKey(t, i).Address(), Power: 1})
	}
	network := new(broken)
	replica, err := hotstuff.Open(config, appFuncs{}, network)
	check(t, err)
	defer replica.Close()
	check(t, replica.Start())
	for ctx := patient(t); replica.Err() == nil; {
		check(t, ctx.Err())
		brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		expect(t, replica.WaitCommitted(brief, 1), context.DeadlineExceeded)
		cancel()
	}
	var caught *hotstuff.PanicError
	if !errors.As(replica.Err(), &caught) || caught.Callback != "Send" || network.connected.Load() != 3 {
		t.Fatal(replica.Err(), network.connected.Load())
	}
}

func TestAReplicaIsClosedTwiceAndThenSaysSo(t *testing.T) {
	replica := mustStart(t, configAlone(t), appFuncs{})
	check(t, replica.Close())
	check(t, replica.Close())
	calls := map[string]func() error{
		"Start":         replica.Start,
		"Notify":        replica.Notify,
		"Stop":          func() error { return replica.Stop(patient(t)) },
		"Run":           func() error { return replica.Run(patient(t)) },
		"Wait":          func() error { return replica.Wait(patient(t)) },
		"WaitCommitted": func() error { return replica.WaitCommitted(patient(t), 1) },
		"Deliver":       func() error { return replica.Deliver(hotstuff.Address{}, []byte("x")) },
		"NextCommitted": func() error { _, err := replica.NextCommitted(patient(t), 0); return err },
		"Snapshot":      func() error { _, err := replica.Snapshot(); return err },
		"Info":          func() error { _, err := replica.Info(); return err },
		"Metrics":       func() error { _, err := replica.Metrics(); return err },
		"Evidence":      func() error { _, err := replica.Evidence(); return err },
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, hotstuff.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := replica.Notify().Error(); text != "hotstuff: notify: the replica is closed" {
		t.Error(text)
	}
}

func TestADataDirectoryInUse(t *testing.T) {
	config := configAlone(t)
	replica := mustOpen(t, config, appFuncs{})
	_, err := hotstuff.Open(config, appFuncs{}, nowhere{})
	expect(t, err, hotstuff.ErrLocked)
	t.Log(err)
	check(t, replica.Close())
	mustOpen(t, config, appFuncs{})
}

func TestWhatKeepsAReplicaFromOpening(t *testing.T) {
	cases := []struct {
		name   string
		status hotstuff.Status
		change func(*hotstuff.Config)
	}{
		{"no data directory", hotstuff.ErrState, func(c *hotstuff.Config) { c.DataDir = "" }},
		{"a NUL byte", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.DataDir = "a\x00b" }},
		{"no chain there", hotstuff.ErrNotFound, func(c *hotstuff.Config) { c.Create = false }},
		{"no validators", hotstuff.ErrState, func(c *hotstuff.Config) { c.GenesisValidators = nil }},
		{"no power", hotstuff.ErrInvalidArgument,
			func(c *hotstuff.Config) { c.GenesisValidators[0].Power = 0 }},
		{"no such rule", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.CommitRule = 7 }},
		{"no such durability", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.Durability = 7 }},
		{"no such vote", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.VoteTo = 7 }},
		{"no time", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.MaxIdle = 1 }},
		{"a negative time", hotstuff.ErrInvalidArgument,
			func(c *hotstuff.Config) { c.ViewTimeout = -time.Second }},
		{"times that cross", hotstuff.ErrInvalidArgument,
			func(c *hotstuff.Config) { c.MaxViewTimeout = time.Millisecond }},
		{"an empty key", hotstuff.ErrInvalidArgument,
			func(c *hotstuff.Config) { c.GenesisState = map[string][]byte{"": nil} }},
		{"no such option", hotstuff.ErrUnsupported,
			func(c *hotstuff.Config) { c.Options = map[string]string{"flux": "1"} }},
		{"a small map", hotstuff.ErrInvalidArgument, func(c *hotstuff.Config) { c.MapBytes = 1 }},
		{"a closed key", hotstuff.ErrClosed, func(c *hotstuff.Config) {
			c.KeyPair, _ = hotstuff.GenerateKeyPair()
			c.KeyPair.Close()
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config := configAlone(t)
			c.change(&config)
			_, err := hotstuff.Open(config, appFuncs{}, nowhere{})
			expect(t, err, c.status)
			t.Log(err)
		})
	}
	_, err := hotstuff.Open(configAlone(t), nil, nowhere{})
	expect(t, err, hotstuff.ErrNull)
	_, err = hotstuff.Open(configAlone(t), appFuncs{}, nil)
	expect(t, err, hotstuff.ErrNull)

	config := configAlone(t)
	check(t, mustOpen(t, config, appFuncs{}).Close())
	config.ChainID = 2
	_, err = hotstuff.Open(config, appFuncs{}, nowhere{})
	expect(t, err, hotstuff.ErrGenesisMismatch)
}

func TestAPanicInACallbackIsCaughtKeptAndReported(t *testing.T) {
	var logged atomic.Bool
	check(t, hotstuff.SetLogger(func(level hotstuff.LogLevel, target, message string) {
		if level == hotstuff.LogError && target == "go" {
			logged.Store(true)
		}
	}, hotstuff.LogWarn))
	defer func() { check(t, hotstuff.SetLogger(nil, hotstuff.LogOff)) }()

	boom := errors.New("boom")
	var asked atomic.Int32
	app := appFuncs{propose: func(_ *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		switch asked.Add(1) {
		case 1:
			panic(boom)
		case 2:
			return errors.New("the app's database is down")
		}
		return u.SetData([]byte("at last"))
	}}
	config := configAlone(t)
	config.ViewTimeout, config.MaxIdle = 50*time.Millisecond, 50*time.Millisecond
	config.EventQueue = 1000
	replica := mustOpen(t, config, app)
	ctx, cancel := context.WithCancel(patient(t))
	ran := make(chan error)
	go func() { ran <- replica.Run(ctx) }()

	height := uint64(0)
	for {
		block, err := replica.NextCommitted(ctx, height)
		check(t, err)
		if height = block.Height; string(block.Data) == "at last" {
			break
		}
		check(t, replica.Notify())
	}
	var caught *hotstuff.PanicError
	if err := replica.Err(); !errors.As(err, &caught) || !errors.Is(err, boom) {
		t.Fatalf("kept %v", err)
	}
	if caught.Callback != "ProposeBlock" || len(caught.Stack) == 0 || !logged.Load() {
		t.Fatalf("kept %+v, logged %v", caught, logged.Load())
	}
	cancel()
	if err := <-ran; !errors.Is(err, boom) {
		t.Fatalf("Run said %v", err)
	}
	replica.Close()
	failures := 0
	for e := range replica.Events() {
		if e.Kind == hotstuff.EventAppFailed {
			failures++
		}
	}
	if failures < 2 {
		t.Fatalf("%d events of failures", failures)
	}
}

func TestWhatACallbackMayNotDo(t *testing.T) {
	var replica *hotstuff.Replica
	var lent *hotstuff.Snapshot
	var lentUpdates *hotstuff.Updates
	opened := make(chan struct{})
	answers := make(chan error, 4)
	app := appFuncs{propose: func(r *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		<-opened
		if lent == nil {
			lent, lentUpdates = r.Snapshot, u
			r.Snapshot.Close() // it is not ours to close
			_, err := r.Snapshot.Get([]byte("k"))
			answers <- err
			answers <- replica.Stop(context.Background())
			answers <- replica.Wait(context.Background())
			_, err = replica.NextCommitted(context.Background(), 0)
			answers <- err
		}
		return u.SetData([]byte("x"))
	}}
	replica = mustStart(t, configAlone(t), app)
	close(opened)
	check(t, <-answers)
	for range 3 {
		expect(t, <-answers, hotstuff.ErrReentrant)
	}
	_, err := replica.NextCommitted(patient(t), 0)
	check(t, err)
	_, err = lent.Get([]byte("k"))
	expect(t, err, hotstuff.ErrClosed)
	expect(t, lentUpdates.Set([]byte("k"), nil), hotstuff.ErrState)
	expect(t, lentUpdates.SetData([]byte("k")), hotstuff.ErrState)
	expect(t, lentUpdates.Delete([]byte("k")), hotstuff.ErrState)
	expect(t, lentUpdates.SetValidator(hotstuff.Address{}, 1), hotstuff.ErrState)
}

func TestCloseInACallbackAndWhileOthersWait(t *testing.T) {
	opened, closed := make(chan *hotstuff.Replica, 1), make(chan struct{})
	app := appFuncs{propose: func(*hotstuff.ProposeRequest, *hotstuff.Updates) error {
		if replica, first := <-opened; first {
			replica.Close()
			close(closed)
		}
		return hotstuff.ErrDefer
	}}
	config := configAlone(t)
	replica := mustStart(t, config, app)
	waited := make(chan error)
	go func() { waited <- replica.WaitCommitted(patient(t), 1<<40) }()
	opened <- replica
	close(opened)
	<-closed
	expect(t, <-waited, hotstuff.ErrClosed)
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	defers := appFuncs{propose: func(*hotstuff.ProposeRequest, *hotstuff.Updates) error {
		return hotstuff.ErrDefer
	}}
	replica := mustStart(t, configAlone(t), defers)
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error)
	go func() { waited <- replica.WaitCommitted(ctx, 1<<40) }()
	cancel()
	expect(t, <-waited, context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := replica.NextCommitted(ctx, 1<<40)
	expect(t, err, context.DeadlineExceeded)
	expect(t, replica.Start(), hotstuff.ErrState)
	check(t, replica.Stop(patient(t)))
	check(t, replica.Stop(patient(t)))
	check(t, replica.Wait(patient(t)))
	_, err = replica.NextCommitted(patient(t), 1<<40)
	expect(t, err, hotstuff.ErrClosed)
	expect(t, replica.Start(), hotstuff.ErrState)
}

func TestRefusedUpdates(t *testing.T) {
	answers := make(chan error, 16)
	app := appFuncs{propose: func(_ *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		select {
		case answers <- u.SetData(nil):
			answers <- u.Set(nil, nil)
			answers <- u.Delete(nil)
			answers <- u.Set(make([]byte, 501), nil)
			answers <- u.SetData(make([]byte, 2<<20))
		default:
		}
		return hotstuff.ErrDefer
	}}
	mustStart(t, configAlone(t), app)
	for range 3 {
		expect(t, <-answers, hotstuff.ErrInvalidArgument)
	}
	for range 2 {
		expect(t, <-answers, hotstuff.ErrTooLarge)
	}
}

func TestEventsAreBoundedAndWhatIsDroppedIsCounted(t *testing.T) {
	config := configAlone(t)
	config.EventQueue = 4
	replica := mustStart(t, config, appFuncs{})
	check(t, replica.WaitCommitted(patient(t), 20))
	for replica.EventsDropped() == 0 { // nobody reads: it cannot stay so
		check(t, replica.WaitCommitted(patient(t), 21))
	}
	told, kept := uint64(0), 0
	var last hotstuff.Event
	closing := false
	for e := range replica.Events() {
		if e.Kind == hotstuff.EventDropped {
			told += e.Count
		} else if e.Time.Before(last.Time) {
			t.Errorf("%+v after %+v", e, last)
		}
		kept++
		last = e
		if told > 0 && !closing {
			closing = true
			go replica.Close() // which closes the channel
		}
	}
	if told == 0 || told > replica.EventsDropped() || kept == 0 {
		t.Fatalf("told of %d, dropped %d, kept %d", told, replica.EventsDropped(), kept)
	}
}

func TestNoEventsUnlessAskedFor(t *testing.T) {
	if replica := mustOpen(t, configAlone(t), appFuncs{}); replica.Events() != nil {
		t.Fatal("a channel that nobody has asked for")
	}
}

func TestHandlesAreNotLeaked(t *testing.T) {
	config := configAlone(t)
	config.EventQueue = 1
	locked := mustOpen(t, config, appFuncs{})
	before := hotstuff.Handles()
	for range 100 {
		_, err := hotstuff.Open(config, appFuncs{}, nowhere{}) // fails late
		expect(t, err, hotstuff.ErrLocked)
	}
	if now := hotstuff.Handles(); now != before {
		t.Fatalf("%d handles before, %d after failures", before, now)
	}
	locked.Close()
	for i := range 100 {
		replica := mustOpen(t, config, appFuncs{})
		if i%10 == 0 {
			check(t, replica.Start())
		}
		check(t, replica.Close())
	}
	if now := hotstuff.Handles(); now != 0 {
		t.Fatalf("%d handles are left", now)
	}
}
