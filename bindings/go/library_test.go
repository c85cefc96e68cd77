package hotstuff_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with the library is said at once, and names it. Each case runs another program.

func root(t *testing.T) string {
	path, err := filepath.Abs(filepath.Join("..", ".."))
	check(t, err)
	return path
}

// run returns the exit code and all that was said.
func run(directory string, environment []string, name string, arguments ...string) (int, string) {
	command := exec.Command(name, arguments...)
	command.Dir = directory
	command.Env = append(os.Environ(), environment...)
	output, err := command.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		return -1, err.Error()
	}
	return command.ProcessState.ExitCode(), string(output)
}

// A program that only loads the package is this test itself, asked for no test.
func load(t *testing.T, environment ...string) (int, string) {
	program, err := os.Executable()
	check(t, err)
	return run("", environment, program, "-test.run=^$")
}

func TestAWrongLibraryVersionIsSaidAtTheStart(t *testing.T) {
	if code, text := load(t); code != 0 {
		t.Fatalf("with the right one: %d %s", code, text)
	}
	symbols, err := os.ReadFile(filepath.Join(root(t), "hotstuff.sym"))
	check(t, err)
	var source strings.Builder
	for _, symbol := range strings.Fields(string(symbols)) {
		switch symbol {
		case "hotstuff_abi_version":
			source.WriteString("unsigned hotstuff_abi_version(void) { return 99; }\n")
		default:
			fmt.Fprintf(&source, "int %s(void) { return 0; }\n", symbol)
		}
	}
	directory := t.TempDir()
	file, library := filepath.Join(directory, "l.c"), filepath.Join(directory, "libhotstuff.so.0")
	check(t, os.WriteFile(file, []byte(source.String()), 0o600))
	if code, text := run("", nil, "cc", "-shared", "-fPIC", "-fno-builtin", "-Wl,-soname,libhotstuff.so.0",
		file, "-o", library); code != 0 {
		t.Fatal(text)
	}
	code, text := load(t, "LD_LIBRARY_PATH="+directory)
	if code == 0 || !strings.Contains(text, "compiled for libhotstuff 0.1.0 (ABI 0) and has loaded") ||
		!strings.Contains(text, "(ABI 99)") {
		t.Fatalf("%d %s", code, text)
	}
}

// program is a module that uses the package, and the little that it does. The package is a copy: of
// what Go has built before it does not ask pkg-config again.
func program(t *testing.T) string {
	directory := t.TempDir()
	files, err := filepath.Glob("*.[gchm]*")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(directory, "go"), 0o700))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(directory, "go", file), text, 0o600))
	}
	module := "module m\ngo 1.24\nrequire libhotstuff/bindings/go v0.0.0\n" +
		"replace libhotstuff/bindings/go => ./go\n"
	source := "package main\nimport hotstuff \"libhotstuff/bindings/go\"\nfunc main() { println(hotstuff.Version()) }\n"
	check(t, os.WriteFile(filepath.Join(directory, "go.mod"), []byte(module), 0o600))
	check(t, os.WriteFile(filepath.Join(directory, "main.go"), []byte(source), 0o600))
	return directory
}

func TestAMissingLibrary(t *testing.T) {
	built := os.Getenv("LIBHOTSTUFF")
	if built == "" {
		t.Fatal("LIBHOTSTUFF: expected the folder of libhotstuff.so; `make test-go` sets it")
	}
	directory, plain := program(t), []string{"GOEXPERIMENT=", "GOFLAGS=-buildvcs=false"}

	code, text := run(directory, append(plain, "PKG_CONFIG_PATH=/nowhere", "PKG_CONFIG_LIBDIR=/nowhere"),
		"go", "build", "-o", "m", ".")
	if code == 0 || !strings.Contains(text, "Package hotstuff was not found") {
		t.Fatalf("built without pkg-config: %d %s", code, text)
	}

	// As installed, without a path in the program.
	pc := fmt.Sprintf("Name: hotstuff\nDescription: -\nVersion: 0\nCflags: -I%s\nLibs: -L%s -lhotstuff\n",
		filepath.Join(root(t), "include"), built)
	check(t, os.WriteFile(filepath.Join(directory, "hotstuff.pc"), []byte(pc), 0o600))
	code, text = run(directory, append(plain, "PKG_CONFIG_PATH="+directory), "go", "build", "-o", "m", ".")
	if code != 0 {
		t.Fatal(text)
	}
	m := filepath.Join(directory, "m")
	code, text = run(directory, nil, m)
	if code == 0 || !strings.Contains(text, "libhotstuff.so.0: cannot open shared object file") {
		t.Fatalf("ran without the library: %d %s", code, text)
	}
	if code, text = run(directory, []string{"LD_LIBRARY_PATH=" + built}, m); code != 0 {
		t.Fatal(text)
	}
}
