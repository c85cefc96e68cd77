package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	hotstuff "libhotstuff/bindings/go"
)

var (
	levelNames  = []string{"off", "error", "warn", "info", "debug", "trace"}
	levelLabels = []string{"", "ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"}
	levelMax    = hotstuff.LogOff
)

// startLog is for this program and for the library. Once, before other goroutines start.
func startLog(name string) error {
	level := slices.Index(levelNames, name)
	if level < 0 {
		return fmt.Errorf("--log-level: expected off, error, warn, info, debug or trace")
	}
	levelMax = hotstuff.LogLevel(level)
	if levelMax == hotstuff.LogOff {
		return nil
	}
	return hotstuff.SetLogger(writeLine, levelMax)
}

func logf(level hotstuff.LogLevel, format string, arguments ...any) {
	if level <= levelMax {
		writeLine(level, "kv", fmt.Sprintf(format, arguments...))
	}
}

// writeLine writes "12:34:56.789 WARN  transport: text", in one piece.
func writeLine(level hotstuff.LogLevel, target, message string) {
	now := time.Now().UTC().Format("15:04:05.000")
	fmt.Fprintf(os.Stderr, "%s %s %s: %s\n", now, levelLabels[level], target, message)
}
