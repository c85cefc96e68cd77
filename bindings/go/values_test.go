package hotstuff_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	hotstuff "libhotstuff/bindings/go"
)

func TestKeys(t *testing.T) {
	key, err := hotstuff.GenerateKeyPair()
	check(t, err)
	der, err := key.PKCS8()
	check(t, err)
	same, err := hotstuff.ParseKeyPair(der)
	check(t, err)
	if same.Address() != key.Address() {
		t.Fatal("another key")
	}
	check(t, same.Close())
	check(t, same.Close())
	_, err = same.PKCS8()
	expect(t, err, hotstuff.ErrClosed)
	if same.Address() != key.Address() {
		t.Fatal("the address is gone")
	}
	check(t, key.Close())
	_, err = hotstuff.ParseKeyPair([]byte("no key"))
	expect(t, err, hotstuff.ErrDecode)
	_, err = hotstuff.KeyPairFromSeed([]byte("short"))
	expect(t, err, hotstuff.ErrInvalidArgument)
	_, err = hotstuff.KeyPairFromSeed(nil)
	if err == nil {
		t.Fatal("a key of no seed")
	}
}

func TestAddressesAndHashesAsText(t *testing.T) {
	text := strings.Repeat("0a", 32)
	address, err := hotstuff.ParseAddress(text)
	if err != nil || address.String() != text {
		t.Fatal(address, err)
	}
	for _, wrong := range []string{"", text[1:], text + "00", strings.Repeat("x", 64)} {
		_, err := hotstuff.ParseAddress(wrong)
		expect(t, err, hotstuff.ErrDecode)
	}
	type both struct {
		A hotstuff.Address
		H hotstuff.Hash
	}
	in := both{address, hotstuff.Hash{1}}
	encoded, err := json.Marshal(in)
	check(t, err)
	var out both
	check(t, json.Unmarshal(encoded, &out))
	if in != out {
		t.Fatalf("%s", encoded)
	}
}

func TestValidatorSets(t *testing.T) {
	a, b := hotstuff.Address{1}, hotstuff.Address{2}
	set, err := hotstuff.NewValidatorSet(hotstuff.Validator{Address: b, Power: 2},
		hotstuff.Validator{Address: a, Power: 9}, hotstuff.Validator{Address: a, Power: 2})
	check(t, err)
	if len(set.Members) != 2 || set.Members[0].Address != a || set.TotalPower() != 4 ||
		set.QuorumPower() != 3 || set.Power(a) != 2 || set.Power(hotstuff.Address{}) != 0 {
		t.Fatalf("%+v", set)
	}
	if (hotstuff.ValidatorSet{}).QuorumPower() != 0 {
		t.Fatal("a quorum of nobody")
	}
	_, err = hotstuff.NewValidatorSet(hotstuff.Validator{Address: a, Power: 1 << 63},
		hotstuff.Validator{Address: b, Power: 1 << 63})
	expect(t, err, hotstuff.ErrTooLarge)
}

func TestErrorsSayWhatHappened(t *testing.T) {
	err := error(&hotstuff.Error{Op: "open", Status: hotstuff.ErrLocked})
	expect(t, err, hotstuff.ErrLocked)
	if errors.Is(err, hotstuff.ErrClosed) {
		t.Fatal("everything is everything")
	}
	if text := err.Error(); !strings.HasPrefix(text, "hotstuff: open: ") || len(text) < 20 {
		t.Fatal(text)
	}
	if name := hotstuff.ErrLocked.Name(); name != "HOTSTUFF_E_LOCKED" {
		t.Fatal(name)
	}
	if text := hotstuff.ErrTimeout.Error(); text != "hotstuff: timed out" {
		t.Fatal(text)
	}
}

func TestTheLogGoesToSlog(t *testing.T) {
	var text bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&text, nil))
	hotstuff.SlogFunc(logger)(hotstuff.LogWarn, "transport", "something")
	if !strings.Contains(text.String(), `level=WARN msg=something target=transport`) {
		t.Fatal(text.String())
	}
	expect(t, hotstuff.SetLogger(nil, 99), hotstuff.ErrInvalidArgument)
}

func TestVersions(t *testing.T) {
	check(t, hotstuff.CheckVersion())
	if hotstuff.Version() == "" || !hotstuff.HasTCP() {
		t.Fatal(hotstuff.Version())
	}
	check(t, hotstuff.CompareVersions(0, 1000, 0, 1001)) // newer, of the same ABI
	for _, library := range [][2]uint32{{1, 1000}, {0, 999}} {
		err := hotstuff.CompareVersions(0, 1000, library[0], library[1])
		if err == nil || !strings.Contains(err.Error(), "compiled for libhotstuff 0.1.0 (ABI 0)") {
			t.Fatal(err)
		}
	}
}
