package hotstuff_test

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"

	hotstuff "libhotstuff/bindings/go"
)

func TestOpenTCPSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	_, err = hotstuff.OpenTCP(configAlone(t), appFuncs{}, hotstuff.TCP{Listen: taken.Addr().String()})
	expect(t, err, hotstuff.ErrIO)
	t.Log(err)
	_, err = hotstuff.OpenTCP(configAlone(t), appFuncs{}, hotstuff.TCP{
		Peers: map[hotstuff.Address]string{{}: "nowhere"}})
	expect(t, err, hotstuff.ErrInvalidArgument)
	config := configAlone(t)
	config.KeyPair = nil
	_, err = hotstuff.OpenTCP(config, appFuncs{}, hotstuff.TCP{})
	expect(t, err, hotstuff.ErrInvalidArgument)
	_, err = hotstuff.OpenTCP(configAlone(t), nil, hotstuff.TCP{})
	expect(t, err, hotstuff.ErrNull)
	replica, err := hotstuff.OpenTCP(configAlone(t), appFuncs{}, hotstuff.TCP{Listen: "127.0.0.1:0"})
	check(t, err)
	defer replica.Close()
	if _, port, err := net.SplitHostPort(replica.LocalAddr()); err != nil || port == "0" {
		t.Fatal(replica.LocalAddr())
	}
}

func TestFourReplicasOverTCP(t *testing.T) {
	var keys [4]*hotstuff.KeyPair
	var validators []hotstuff.Validator
	peers := make(map[hotstuff.Address]string)
	for i := range keys {
		keys[i] = mustKey(t, byte(i+1))
		l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free, most likely
		check(t, err)
		peers[keys[i].Address()] = l.Addr().String()
		l.Close()
		validators = append(validators, hotstuff.Validator{Address: keys[i].Address(), Power: 1})
	}
	directory := t.TempDir()
	// The second block removes the fourth validator.
	app := appFuncs{}
	app.propose = func(r *hotstuff.ProposeRequest, u *hotstuff.Updates) error {
		if r.View < 2 {
			return u.SetData([]byte("first"))
		}
		set, err := r.Snapshot.Validators()
		if err != nil || len(set.Members) < 4 {
			return hotstuff.ErrDefer
		}
		if err := u.SetValidator(keys[3].Address(), 0); err != nil {
			return err
		}
		return u.SetData([]byte("remove"))
	}
	app.validate = func(r *hotstuff.ValidateRequest, u *hotstuff.Updates) error {
		if string(r.Block.Data) == "remove" {
			return u.SetValidator(keys[3].Address(), 0)
		}
		return nil
	}
	var waiting sync.WaitGroup
	var replicas [4]*hotstuff.Replica
	for i, key := range keys {
		config := hotstuff.Config{
			ChainID: 9, GenesisValidators: validators, KeyPair: key, Create: true, MapBytes: 1 << 28,
			DataDir: filepath.Join(directory, fmt.Sprint(i)), Durability: hotstuff.ProcessCrash,
			CommitRule: hotstuff.TwoChain, MaxIdle: 50e6, ViewTimeout: 300e6,
		}
		replica, err := hotstuff.OpenTCP(config, app,
			hotstuff.TCP{Listen: peers[key.Address()], Peers: peers})
		check(t, err)
		defer replica.Close()
		check(t, replica.Start())
		replicas[i] = replica
	}
	for i, replica := range replicas {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			height := uint64(0)
			for {
				block, err := replica.NextCommitted(patient(t), height)
				if err != nil {
					t.Errorf("replica %d: %v", i, err)
					return
				}
				if height = block.Height; block.Epoch == 1 {
					return
				}
			}
		}()
	}
	waiting.Wait()
	info, err := replicas[0].Info()
	check(t, err)
	if info.Role != hotstuff.ValidatorRole || info.Epoch != 1 || info.Halted || info.Silenced {
		t.Fatalf("%+v", info)
	}
	snapshot, err := replicas[0].Snapshot()
	check(t, err)
	defer snapshot.Close()
	qc, err := snapshot.CommitQCOf(1)
	if err != nil || len(qc) == 0 {
		t.Fatal(err)
	}
	metrics, err := replicas[0].Metrics()
	check(t, err)
	if metrics.MessagesIn == 0 || metrics.BytesOut == 0 || metrics.Votes == 0 {
		t.Fatalf("%+v", metrics)
	}
}
