# libhotstuff: `make help` lists what there is.

CARGO ?= cargo
PYTHON ?= python3
CC ?= cc
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
C_STRICT = -std=c11 -Wall -Wextra -Werror -pedantic
CXX_STRICT = -std=c++17 -Wall -Wextra -Wconversion -Wshadow -Werror -pedantic
LIB = target/release/libhotstuff.so
EXAMPLES = target/examples-c
C_LINK = -Iinclude -Ltarget/release -lhotstuff -Wl,-rpath,'$$ORIGIN/../release' -lpthread

.PHONY: help demo test test-c test-cluster build examples header sim schedules bugs coverage \
	twins exhaust build-go test-go bench-languages test-python wheel bench bench-micro bench-peers \
	bench-cluster bench-growth bench-plot \
	crash fuzz lint clean package install uninstall dist deb third-party abi docs \
	check-binary check-abi check-install check-dist FORCE

help:
	@echo 'make demo              four replicas agree, lose one, get it back; one joins, one leaves, one lies (under a minute)'
	@echo 'make test              every test: Rust, C, Go, Python; what CI runs'
	@echo 'make test-cluster      five replicas under faults, clients whose history must be linearizable; SECONDS=600 SEED=n'
	@echo 'make test-c            the C door misused in every way: plain, valgrind, sanitizers; counts by group'
	@echo 'make test-go           the Go package and its kv, with the race detector; make build-go only builds'
	@echo 'make bench-languages   the same kv in each language: commands a second, as a ratio to the one in C'
	@echo 'make test-python       the Python package, its tool, its kv, its wheel'
	@echo 'make wheel             dist/hotstuff-*.whl, with the library inside'
	@echo 'make build             target/release/libhotstuff.so and .a, and the examples in $(EXAMPLES)'
	@echo 'make sim SEED=n        replays one simulated case, with a transcript'
	@echo 'make sim SECONDS=60    runs new simulated cases for so long'
	@echo 'make schedules         1,000 random schedules of validator-set changes'
	@echo 'make twins             validators with two instances each: SECONDS=60, or SCENARIO="..." to replay one'
	@echo 'make exhaust           everything that three replicas and a liar can do in a few views; SECONDS=60'
	@echo 'make bugs              seeds one bug after the other, and shows which tests find it'
	@echo 'make coverage          which lines of src/algorithm the tests run; at least 92 %'
	@echo 'make crash KILLS=600   kills real replicas at random instants, on disks that forget'
	@echo 'make fuzz SECONDS=60   libFuzzer for all that reads foreign bytes, so long together'
	@echo 'make bench             speed against the floor of this machine, load, faults; JSON in target/bench'
	@echo 'make bench-cluster     4 to 31 replicas, empty blocks to 1 MiB; SECONDS=5 of each'
	@echo 'make bench-growth      memory while COMMANDS=10000000 are committed; 20 GB of disk'
	@echo 'make bench-plot        draws what is in target/bench, as PNG'
	@echo 'make bench-micro       instructions of the small things; fails if one has become dearer'
	@echo 'make bench-peers       beside hotstuff_rs 0.4 on the same work, in one run'
	@echo 'make header            writes include/hotstuff.h from the source'
	@echo 'make install           the library, its header, pkg-config, CMake: DESTDIR= PREFIX= LIBDIR= INCLUDEDIR='
	@echo 'make uninstall         removes what the same variables installed'
	@echo 'make deb               two Debian packages in target/deb'
	@echo 'make dist              a source tarball with all crates in it, that builds without a network'
	@echo 'make docs              the header as HTML: target/docs/html/index.html'
	@echo 'make check-binary      no surprise in the binary: symbols, soname, silence, signals, the archive'
	@echo 'make check-abi         the ABI is the one that is recorded in abi; make abi records it anew'
	@echo 'make check-install     installs, and builds the examples against it by pkg-config and CMake'
	@echo 'make check-dist        builds the tarball offline, from nothing, and its Debian packages'
	@echo 'make third-party       writes THIRD-PARTY, the licences of what is inside, from Cargo.lock'
	@echo 'make lint              rustfmt and clippy'
	@echo 'make clean             removes target'

build: $(LIB) examples

$(LIB): FORCE
	$(CARGO) build --release --locked --lib
	@ln -sf libhotstuff.so target/release/libhotstuff.so.0

examples: $(EXAMPLES)/counter $(EXAMPLES)/kv $(EXAMPLES)/kv_cpp $(EXAMPLES)/custom_network \
	$(EXAMPLES)/light_client $(EXAMPLES)/equivocator

$(EXAMPLES)/equivocator: FORCE
	@mkdir -p $(EXAMPLES)
	$(CARGO) build --release --locked --example equivocator
	@cp target/release/examples/equivocator $@

$(EXAMPLES)/counter: examples-c/counter.c include/hotstuff.h $(LIB)
	@mkdir -p $(EXAMPLES)
	$(CC) $(C_STRICT) $(CFLAGS) $< -o $@ $(C_LINK)

$(EXAMPLES)/kv: $(wildcard examples-c/kv/*.c) $(wildcard examples-c/kv/*.h) include/hotstuff.h $(LIB)
	@mkdir -p $(EXAMPLES)
	$(CC) $(C_STRICT) $(CFLAGS) $(filter %.c,$^) -o $@ $(C_LINK)

LIGHT_CLIENT = $(addprefix examples-c/, light_client.c kv/command.c kv/digest.c)

$(EXAMPLES)/light_client: $(LIGHT_CLIENT) $(wildcard examples-c/kv/*.h) include/hotstuff.h $(LIB)
	@mkdir -p $(EXAMPLES)
	$(CC) $(C_STRICT) $(CFLAGS) $(LIGHT_CLIENT) -o $@ $(C_LINK)

# All of kv but what speaks to the library of blocks, and that in C++.
KV_SHARED = $(filter-out %/app.c %/run.c,$(wildcard examples-c/kv/*.c))
$(EXAMPLES)/kv_cpp: examples-c/kv_cpp.cc bindings/cpp/hotstuff.hpp $(wildcard examples-c/kv/*) \
		include/hotstuff.h $(LIB)
	@rm -rf $@.o && mkdir -p $@.o
	cd $@.o && $(CC) $(C_STRICT) $(CFLAGS) -I$(CURDIR)/include -c $(abspath $(KV_SHARED))
	$(CXX) $(CXX_STRICT) $(CXXFLAGS) -Ibindings/cpp $< $@.o/*.o -o $@ $(C_LINK)

$(EXAMPLES)/custom_network: examples-c/custom_network.c include/hotstuff.h $(LIB)
	@mkdir -p $(EXAMPLES)
	$(CC) $(C_STRICT) $(CFLAGS) $< -o $@ $(C_LINK)

demo:
	@tests/setup.sh demo
	@$(MAKE) --no-print-directory build
	$(PYTHON) examples-c/demo.py --kv $(EXAMPLES)/kv

test:
	@tests/setup.sh test
	@$(MAKE) --no-print-directory build
	$(CARGO) test --locked
	$(PYTHON) tests/bugs/run.py --check
	tests/readme.sh
	$(PYTHON) tests/conformance/check.py
	$(CARGO) bench --locked --bench micro
	$(EXAMPLES)/counter
	$(EXAMPLES)/custom_network
	$(PYTHON) examples-c/test_kv.py --kv $(EXAMPLES)/kv
	$(PYTHON) examples-c/test_kv.py --kv $(EXAMPLES)/kv_cpp --kv $(EXAMPLES)/kv
	$(PYTHON) examples-c/test_light_client.py --kv $(EXAMPLES)/kv
	@$(MAKE) --no-print-directory check-binary check-abi check-install docs
	$(MAKE) --no-print-directory test-go
	$(MAKE) --no-print-directory test-python
	$(MAKE) --no-print-directory test-cluster SECONDS=40

# Where the library lies, for those who build against it without installing it.
PKG_CONFIG_DIR = $(CURDIR)/target/pkgconfig
GO_KV = target/examples-go/kv
# Go does not see by itself that a header has changed.
GO_ENV = GOFLAGS=-buildvcs=false PKG_CONFIG_PATH='$(PKG_CONFIG_DIR)' LIBHOTSTUFF='$(CURDIR)/target/release' \
    CGO_CFLAGS="$(CFLAGS) -DHOTSTUFF_HEADER=$$(cksum < include/hotstuff.h | cut -d ' ' -f 1)"

build-go: build
	@mkdir -p target/pkgconfig
	@sed -e 's|@ROOT@|$(CURDIR)|g' bindings/go/hotstuff.pc.in > target/pkgconfig/hotstuff.pc
	$(GO_ENV) go build -C examples-go -o ../$(GO_KV) ./kv

# cgocheck2 looks at every pointer that goes to C; GOGC=1 collects all the time.
GO_TEST = $(GO_ENV) GOEXPERIMENT=cgocheck2 GOGC=1 go test

GO_KVS = KV='$(CURDIR)/$(GO_KV)' KV_C='$(CURDIR)/$(EXAMPLES)/kv'

# The test of the line protocol waits more than it works: it runs beside the others.
test-go:
	@tests/setup.sh go
	@$(MAKE) --no-print-directory build-go
	test -z "$$(gofmt -l bindings/go examples-go)"
	$(GO_ENV) go vet -C bindings/go ./...
	$(GO_ENV) go vet -C examples-go ./...
	$(PYTHON) examples-c/test_kv.py --kv $(GO_KV) & lines=$$!; \
	    $(GO_TEST) -C bindings/go -race -count=1 ./... && \
	    $(GO_ENV) $(GO_KVS) go test -C examples-go -count=1 ./...; \
	    status=$$?; wait $$lines && exit $$status

LANGUAGES = c=$(EXAMPLES)/kv go=$(GO_KV) 'python=$(PYTHON) examples-python/kv.py'

bench-languages: build-go
	@tests/setup.sh go
	go build -C tests/bench/languages -o ../../../target/bench-languages .
	target/bench-languages -seconds $(or $(SECONDS),10) $(LANGUAGES)

PYTHON_ENV = target/python
PIP = $(PYTHON_ENV)/bin/python -m pip --disable-pip-version-check --quiet

# What the tests and the wheel need, at fixed versions.
$(PYTHON_ENV)/installed: bindings/python/requirements-test.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	rm -rf $(PYTHON_ENV)
	$(PYTHON) -m venv $(PYTHON_ENV)
	$(PIP) install -r $<
	touch $@

wheel: $(LIB) $(PYTHON_ENV)/installed
	rm -rf dist/hotstuff-*.whl
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist bindings/python
	@ls dist/hotstuff-*.whl

test-python:
	@tests/setup.sh python
	@$(MAKE) --no-print-directory build wheel
	bindings/python/check.sh $(PYTHON_ENV)

# Five members; the first four are the validators of the genesis, the fifth joins.
CLUSTER_MEMBERS = -member c=$(EXAMPLES)/kv -member c++=$(EXAMPLES)/kv_cpp -member go=$(GO_KV) \
    -member 'python=$(PYTHON) examples-python/kv.py' -member c=$(EXAMPLES)/kv
CLUSTER = target/cluster-test $(CLUSTER_MEMBERS)

test-cluster:
	@tests/setup.sh go
	@$(MAKE) --no-print-directory build-go
	go vet -C tests/cluster ./...
	go test -C tests/cluster ./...
	go build -C tests/cluster -o ../../target/cluster-test .
	$(CLUSTER) -local-reads -seconds 3
	$(CLUSTER) -seconds $(or $(SECONDS),600) -seed $(or $(SEED),0)

test-c:
	@tests/setup.sh test
	$(CARGO) test --locked --test c_harness -- --nocapture --test-threads=1

header:
	REWRITE=1 $(CARGO) test --locked --test header

sim:
	SEED=$(SEED) SECONDS=$(SECONDS) $(CARGO) test --locked --release --test simulation -- budget --nocapture

schedules:
	SCHEDULES=1000 $(CARGO) test --locked --release --test simulation -- set_change --nocapture

twins:
	SECONDS=$(or $(SECONDS),60) SCENARIO='$(SCENARIO)' \
		$(CARGO) test --locked --release --test twins -- budget --nocapture

exhaust:
	SECONDS=$(or $(SECONDS),60) $(CARGO) test --locked --release --test exhaust -- --nocapture \
		--test-threads=1

bugs:
	@tests/setup.sh demo
	$(PYTHON) tests/bugs/run.py

coverage:
	@tests/setup.sh coverage
	$(PYTHON) tests/coverage.py

crash:
	@tests/setup.sh demo
	KILLS=$(or $(KILLS),600) SEED=$(SEED) $(CARGO) test --locked --test crash -- --nocapture \
	    --test-threads=1

FUZZ_TARGETS = c_functions decode filter records step sync verify
FUZZ_FLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1

# The flags are for the target only: build scripts are not fuzzed.
fuzz: HOST = $(shell rustc -vV | sed -n 's/^host: //p')
fuzz:
	@tests/setup.sh test
	FUZZ_CORPUS=target/fuzz/corpus $(CARGO) test --locked --test fuzz
	RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --release --locked --bins --target $(HOST) \
	    --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
	tests/fuzz.sh target/fuzz/$(HOST)/release $(or $(SECONDS),60) $(FUZZ_TARGETS)

bench:
	@tests/setup.sh demo
	$(CARGO) bench --locked --bench door
	$(CARGO) bench --locked --bench replicas

bench-cluster:
	@tests/setup.sh demo
	$(CARGO) bench --locked --bench replicas -- --only cluster --matrix --seconds $(or $(SECONDS),5)

bench-growth:
	@tests/setup.sh demo
	$(CARGO) bench --locked --bench replicas -- --only growth --commands $(or $(COMMANDS),10000000)

bench-plot: $(PYTHON_ENV)/installed
	$(PYTHON_ENV)/bin/python tests/bench/plot.py target/bench

# On its own and in CI. REWRITE=1 writes the baseline anew.
bench-micro:
	@tests/setup.sh test
	$(CARGO) bench --locked --bench micro

bench-peers:
	@tests/setup.sh demo
	$(CARGO) run --release --locked --target-dir target/peers \
	    --manifest-path tests/bench/peers/hotstuff_rs/Cargo.toml -- $(SECONDS)

# ---- packages: packaging/, abi/, docs/, tests/package/

RELEASE = $(or $(CARGO_TARGET_DIR),target)/$(if $(CARGO_BUILD_TARGET),$(CARGO_BUILD_TARGET)/)release
PACKAGE = target/package
STRIP ?= strip
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DOCDIR ?= $(PREFIX)/share/doc/hotstuff
INSTALL = DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
	INCLUDEDIR='$(INCLUDEDIR)' DOCDIR='$(DOCDIR)' packaging/install.sh

# The libraries as they are shipped: without debug information, and the archive with no symbols
# but the API's.
package: $(PACKAGE)/libhotstuff.so $(PACKAGE)/libhotstuff.a

$(PACKAGE)/libhotstuff.so: $(LIB)
	@mkdir -p $(PACKAGE)
	cp $(RELEASE)/libhotstuff.so $@
	$(STRIP) -g $@

$(PACKAGE)/libhotstuff.a: $(LIB) hotstuff.sym packaging/archive.sh
	packaging/archive.sh $(RELEASE)/libhotstuff.a hotstuff.sym $@

# What `make package` has built, so that root needs no Rust.
install: $(if $(wildcard $(PACKAGE)/libhotstuff.so),,package)
	$(INSTALL) install $(PACKAGE)

uninstall:
	$(INSTALL) uninstall

deb: package
	packaging/deb.sh $(PACKAGE) target/deb

dist:
	packaging/dist.sh target/dist

third-party:
	$(PYTHON) packaging/third_party.py

abi:
	@tests/setup.sh package
	$(PYTHON) abi/abi.py record

docs:
	@tests/setup.sh docs
	docs/build.sh target/docs

check-binary: package
	@tests/setup.sh test
	$(PYTHON) tests/package/test_binary.py

check-abi:
	@tests/setup.sh package
	$(PYTHON) tests/package/test_abi.py

check-install: package
	@tests/setup.sh package
	$(PYTHON) packaging/third_party.py --check
	$(PYTHON) tests/package/test_install.py

check-dist:
	@tests/setup.sh package
	$(PYTHON) tests/package/test_dist.py

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

clean:
	$(CARGO) clean

FORCE:
