package hotstuff

// #include "shim.h"
import "C"

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// LogLevel says how much of the log is wanted.
type LogLevel int32

const (
	// LogOff: nothing. The default.
	LogOff LogLevel = C.HOTSTUFF_LOG_OFF
	// LogError: a replica halts, diverges, or meets a bug; a callback panics.
	LogError LogLevel = C.HOTSTUFF_LOG_ERROR
	// LogWarn: what an operator should look into.
	LogWarn LogLevel = C.HOTSTUFF_LOG_WARN
	// LogInfo: what happens seldom: catching up, views that time out.
	LogInfo LogLevel = C.HOTSTUFF_LOG_INFO
	// LogDebug: each commit.
	LogDebug LogLevel = C.HOTSTUFF_LOG_DEBUG
	// LogTrace: each view, vote and proposal.
	LogTrace LogLevel = C.HOTSTUFF_LOG_TRACE
)

// Slog is the level that log/slog has for it; LogTrace is below slog.LevelDebug.
func (l LogLevel) Slog() slog.Level {
	switch l {
	case LogError:
		return slog.LevelError
	case LogWarn:
		return slog.LevelWarn
	case LogInfo:
		return slog.LevelInfo
	case LogDebug:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

// LogFunc receives a line of the log: its level, the part of the library that speaks, and a text
// without a newline. It is called by any thread, several at once, and must not call this package,
// which would return [ErrReentrant].
type LogFunc func(level LogLevel, target, message string)

// SlogFunc hands the log on to a logger of log/slog.
func SlogFunc(logger *slog.Logger) LogFunc {
	return func(level LogLevel, target, message string) {
		logger.Log(context.Background(), level.Slog(), message, "target", target)
	}
}

type sink struct {
	log   LogFunc
	level LogLevel
}

var (
	settingLogger sync.Mutex
	logger        atomic.Pointer[sink]
)

// SetLogger sets where the log goes, for the whole process: the library prints nothing. nil
// switches it off. When it returns, no call of the function that was set before is running. A
// replica's events go there too, if it is set before the replica starts. [ErrInvalidArgument]:
// there is no such level.
func SetLogger(log LogFunc, level LogLevel) error {
	settingLogger.Lock()
	defer settingLogger.Unlock()
	old := logger.Swap(&sink{log, level})
	status := C.hotstuff_go_set_logger(C.bool(log != nil), C.int32_t(level))
	if status != C.HOTSTUFF_OK {
		logger.Store(old)
	}
	return failure("set logger", status)
}

// logLine gives a line to the logger. One that panics has lost its line.
func logLine(level LogLevel, target, message string) {
	defer func() { _ = recover() }()
	if s := logger.Load(); s != nil && s.log != nil && level <= s.level {
		s.log(level, target, message)
	}
}
