package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

// A configuration file is lines of `key = value`, comments after '#': the same file as for the kv
// of the other languages.
const (
	configTextMax    = 1024 // a line, with its end
	configPeersMax   = 128
	configOptionsMax = 64
	dayMs            = 24 * 60 * 60 * 1000
)

// peer is a replica of the chain, oneself included.
type peer struct {
	address  hotstuff.Address
	power    uint64 // in the genesis; 0: no validator at first
	hostPort string
	line     int
}

type config struct {
	chainID                                       uint64
	keyFile, dataDir, listen, clientListen        string
	create                                        uint64 // 0 or 1
	viewTimeoutMs, maxViewTimeoutMs, maxIdleMs    uint64
	commitRule, voteTo                            uint64
	mapBytes                                      uint64 // 0: the library's own choice
	blockBytesMax, blockCommandsMax               uint64
	poolCommandsMax, poolBytesMax                 uint64
	commitTimeoutMs, connectionsMax, clientIdleMs uint64
	maxListeners                                  uint64
	peers                                         []peer
	options                                       map[string]string
}

// setting is a key of the file: a text, a number within bounds, or one of some choices, whose
// values are their places.
type setting struct {
	name     string
	text     *string
	number   *uint64
	min, max uint64
	choices  []string
	initial  string // "": it is required
	meaning  string
}

func (c *config) settings() []setting {
	return []setting{
		{name: "chain_id", number: &c.chainID, max: 1<<64 - 1,
			meaning: "the same for all replicas of a chain, different for each chain"},
		{name: "key_file", text: &c.keyFile, meaning: "made by `kv keygen`; mode 0600"},
		{name: "data_dir", text: &c.dataDir, meaning: "of this replica alone"},
		{name: "create", number: &c.create, choices: []string{"false", "true"}, initial: "false",
			meaning: "make data_dir if it is missing: for the first start only"},
		{name: "listen", text: &c.listen, meaning: "host:port for the other replicas"},
		{name: "client_listen", text: &c.clientListen,
			meaning: "[host:]port for clients; host is 127.0.0.1 unless named, port 0 takes any"},
		{name: "view_timeout_ms", number: &c.viewTimeoutMs, min: 1, max: dayMs, initial: "1000",
			meaning: "how long a view may take at first"},
		{name: "max_view_timeout_ms", number: &c.maxViewTimeoutMs, min: 1, max: dayMs,
			initial: "8000", meaning: "and at most; at least view_timeout_ms"},
		{name: "max_idle_ms", number: &c.maxIdleMs, min: 1, max: dayMs, initial: "10000",
			meaning: "an idle chain makes an empty block this often; one value for the whole chain"},
		{name: "commit_rule", number: &c.commitRule, choices: []string{"three_chain", "two_chain"},
			initial: "three_chain", meaning: "one value for the whole chain"},
		{name: "vote_to", number: &c.voteTo, choices: []string{"auto", "all", "next_leader"},
			initial: "auto", meaning: "who collects votes"},
		{name: "map_bytes", number: &c.mapBytes, max: 1 << 46, initial: "0",
			meaning: "the most the database may hold; 0: the library's choice"},
		{name: "block_bytes_max", number: &c.blockBytesMax, min: blockBytesMin, max: 64 << 20,
			initial: "262144", meaning: "one value for the whole chain"},
		{name: "block_commands_max", number: &c.blockCommandsMax, min: 1, max: blockCommandsMax,
			initial: "1000", meaning: "in blocks that this replica proposes"},
		{name: "pool_commands_max", number: &c.poolCommandsMax, min: 1, max: 2 * blockCommandsMax,
			initial: "4096", meaning: "commands waiting here; more are answered ERR busy"},
		{name: "pool_bytes_max", number: &c.poolBytesMax, min: keyMax + valueMax, max: 1 << 30,
			initial: "16777216", meaning: "and their keys and values"},
		{name: "commit_timeout_ms", number: &c.commitTimeoutMs, min: 1, max: dayMs,
			initial: "10000", meaning: "a command that waits longer is answered ERR timeout"},
		{name: "connections_max", number: &c.connectionsMax, min: 1, max: 1024, initial: "64",
			meaning: "clients at a time"},
		{name: "max_listeners", number: &c.maxListeners, max: 1024, initial: "0",
			meaning: "replicas of unknown keys that may follow the chain from here"},
		{name: "client_idle_ms", number: &c.clientIdleMs, min: 1, max: dayMs, initial: "300000",
			meaning: "a client that says nothing for so long is sent away"},
	}
}

/* ---- the reader ---- */

type configReader struct {
	path        string
	line        int
	config      *config
	settings    []setting
	seen        map[string]int // the line that set it
	optionLines map[string]int
}

// loadConfig says what is wrong as "FILE:LINE: KEY: expected ..., got ...".
func loadConfig(path string) (*config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &config{options: make(map[string]string)}
	r := &configReader{path: path, config: c, settings: c.settings(), seen: make(map[string]int),
		optionLines: make(map[string]int)}
	if err := r.readLines(file); err != nil {
		return nil, err
	}
	if err := r.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *configReader) complain(key, format string, arguments ...any) error {
	text := fmt.Sprintf(format, arguments...)
	if key != "" {
		text = key + ": " + text
	}
	return fmt.Errorf("%s:%d: %s", r.path, r.line, text)
}

func (r *configReader) readLines(file io.Reader) error {
	lines := bufio.NewReaderSize(file, configTextMax)
	for {
		r.line++
		line, err := lines.ReadSlice('\n')
		text := strings.TrimSuffix(string(line), "\n")
		switch {
		case strings.ContainsRune(text, 0):
			return r.complain("", "expected text, got a NUL byte")
		case errors.Is(err, bufio.ErrBufferFull) || len(text) >= configTextMax:
			return r.complain("", "expected a line of less than %d bytes", configTextMax)
		case err != nil && err != io.EOF:
			return r.complain("", "%v", err)
		}
		if wrong := r.readLine(text); wrong != nil {
			return wrong
		}
		if err == io.EOF {
			return nil
		}
	}
}

const blanks = " \t\r\n"

func (r *configReader) readLine(line string) error {
	line, _, _ = strings.Cut(line, "#")
	line = strings.Trim(line, blanks)
	if line == "" {
		return nil
	}
	key, value, found := strings.Cut(line, "=")
	if !found || key == "" {
		return r.complain("", "expected `key = value`, got \"%s\"", line)
	}
	return r.assign(strings.Trim(key, blanks), strings.Trim(value, blanks))
}

func (r *configReader) assign(key, value string) error {
	if value == "" {
		return r.complain(key, "expected a value after '='")
	}
	if key == "validator" || key == "peer" {
		return r.addPeer(key, value)
	}
	if name, found := strings.CutPrefix(key, "option."); found {
		return r.addOption(key, name, value)
	}
	for i := range r.settings {
		if key != r.settings[i].name {
			continue
		}
		if line, again := r.seen[key]; again {
			return r.complain(key, "already set on line %d", line)
		}
		r.seen[key] = r.line
		return r.set(&r.settings[i], value)
	}
	return r.complain(key, "unknown key; `kv --help` lists those that exist")
}

func (r *configReader) set(s *setting, value string) error {
	if s.text != nil {
		*s.text = value
		return nil
	}
	if s.choices != nil {
		place := slices.Index(s.choices, value)
		if place < 0 {
			expected := strings.Join(s.choices, " or ")
			return r.complain(s.name, "expected %s, got \"%s\"", expected, value)
		}
		*s.number = uint64(place)
		return nil
	}
	n, ok := parseNumber(value)
	if !ok || n < s.min || n > s.max {
		return r.complain(s.name, "expected a whole number from %d to %d, got \"%s\"", s.min,
			s.max, value)
	}
	*s.number = n
	return nil
}

// parseNumber takes decimal digits and nothing else.
func parseNumber(text string) (uint64, bool) {
	if text == "" || text[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// addPeer reads `validator = ADDRESS POWER HOST:PORT`, or `peer = ADDRESS HOST:PORT`.
func (r *configReader) addPeer(key, value string) error {
	expected := "expected `address host:port`, the address being 64 hexadecimal digits"
	words := strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == '\t' })
	wanted := 2
	if key == "validator" {
		expected = "expected `address power host:port`, the address being 64 hexadecimal " +
			"digits and the power a whole number from 1"
		wanted = 3
	}
	if len(r.config.peers) == configPeersMax {
		return r.complain(key, "at most %d of them", configPeersMax)
	}
	if len(words) != wanted {
		return r.complain(key, "%s", expected)
	}
	p := peer{hostPort: words[wanted-1], line: r.line}
	var err error
	if p.address, err = hotstuff.ParseAddress(words[0]); err != nil {
		return r.complain(key, "%s; the address is \"%s\"", expected, words[0])
	}
	if key == "validator" {
		if p.power, _ = parseNumber(words[1]); p.power == 0 {
			return r.complain(key, "%s; the power is \"%s\"", expected, words[1])
		}
	}
	if !strings.Contains(p.hostPort, ":") {
		return r.complain(key, "%s; instead of host:port is \"%s\"", expected, p.hostPort)
	}
	for _, other := range r.config.peers {
		if other.address == p.address {
			return r.complain(key, "this address is already on line %d", other.line)
		}
	}
	r.config.peers = append(r.config.peers, p)
	return nil
}

func (r *configReader) addOption(key, name, value string) error {
	if name == "" {
		return r.complain(key, "expected `option.NAME = value`")
	}
	if line, again := r.optionLines[name]; again {
		return r.complain(key, "already set on line %d", line)
	}
	if len(r.optionLines) == configOptionsMax {
		return r.complain(key, "at most %d options", configOptionsMax)
	}
	r.optionLines[name] = r.line
	r.config.options[name] = value
	return nil
}

// complete sets what was not said, and looks at what only the whole can show.
func (r *configReader) complete() error {
	for i := range r.settings {
		s := &r.settings[i]
		if _, seen := r.seen[s.name]; seen {
			continue
		}
		if s.initial == "" {
			return r.complain(s.name, "missing at the end of the file; expected %s", s.meaning)
		}
		if err := r.set(s, s.initial); err != nil {
			return err
		}
	}
	c := r.config
	if c.validatorCount() == 0 {
		return r.complain("validator", "missing at the end of the file; expected one line each")
	}
	if line, seen := r.seen["max_view_timeout_ms"]; seen {
		r.line = line
	}
	if c.maxViewTimeoutMs < c.viewTimeoutMs {
		return r.complain("max_view_timeout_ms",
			"expected at least view_timeout_ms, which is %d, got \"%d\"", c.viewTimeoutMs, c.maxViewTimeoutMs)
	}
	return nil
}

func (c *config) validatorCount() (count int) {
	for _, p := range c.peers {
		if p.power > 0 {
			count++
		}
	}
	return count
}

/* ---- what the library is told ---- */

func ms(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

// replicaConfig is what the library is told. Without a key it is only good for the genesis hash.
func (c *config) replicaConfig(key *hotstuff.KeyPair) hotstuff.Config {
	var validators []hotstuff.Validator
	for _, p := range c.peers {
		if p.power > 0 {
			validators = append(validators, hotstuff.Validator{Address: p.address, Power: p.power})
		}
	}
	return hotstuff.Config{
		ChainID:           c.chainID,
		GenesisValidators: validators,
		GenesisState:      map[string][]byte{string(summaryKey): genesisSummary.encode()},
		CommitRule:        hotstuff.CommitRule(c.commitRule),
		MaxIdle:           ms(c.maxIdleMs),
		MaxBlockBytes:     c.blockBytesMax,
		KeyPair:           key,
		DataDir:           c.dataDir,
		Create:            c.create != 0,
		MapBytes:          c.mapBytes,
		ViewTimeout:       ms(c.viewTimeoutMs),
		MaxViewTimeout:    ms(c.maxViewTimeoutMs),
		VoteTo:            hotstuff.VoteTo(c.voteTo),
		Options:           c.options,
	}
}

func (c *config) tcp() hotstuff.TCP {
	peers := make(map[hotstuff.Address]string)
	for _, p := range c.peers {
		peers[p.address] = p.hostPort
	}
	return hotstuff.TCP{Listen: c.listen, Peers: peers, MaxListeners: uint32(c.maxListeners)}
}

// describeConfig has one line for each key, for `kv --help`.
func describeConfig(out io.Writer) {
	for _, s := range new(config).settings() {
		fmt.Fprintf(out, "  %-20s %s", s.name, s.meaning)
		if s.choices != nil {
			fmt.Fprintf(out, " (%s)", strings.Join(s.choices, ", "))
		}
		if s.initial == "" {
			fmt.Fprintln(out, "; required")
		} else {
			fmt.Fprintf(out, " [%s]\n", s.initial)
		}
	}
	fmt.Fprintf(out, "  %-20s %s\n", "validator",
		"ADDRESS POWER HOST:PORT; one line for each of the genesis; required")
	fmt.Fprintf(out, "  %-20s %s\n", "peer",
		"ADDRESS HOST:PORT; a replica that is no validator at first")
	fmt.Fprintf(out, "  %-20s %s\n", "option.NAME", "any option of the library, by its name")
}
