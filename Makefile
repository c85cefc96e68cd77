# libhotstuff: `make help` lists what there is.

CARGO ?= cargo
PYTHON ?= python3
CC ?= cc
CFLAGS ?= -O2 -g
C_STRICT = -std=c11 -Wall -Wextra -Werror -pedantic
LIB = target/release/libhotstuff.so
EXAMPLES = target/examples-c
C_LINK = -Iinclude -Ltarget/release -lhotstuff -Wl,-rpath,'$$ORIGIN/../release' -lpthread

.PHONY: help demo test build examples header sim schedules bugs coverage twins exhaust \
	bench bench-micro bench-peers crash fuzz lint clean FORCE

help:
	@echo 'make demo              four replicas agree, lose one, get it back; one joins, one leaves, one lies (under a minute)'
	@echo 'make test              every test: Rust, C, Python; what CI runs'
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
	@echo 'make bench             speed against the floor of this machine; JSON in target/bench'
	@echo 'make bench-micro       instructions of the small things; fails if one has become dearer'
	@echo 'make bench-peers       beside hotstuff_rs 0.4 on the same work, in one run'
	@echo 'make header            writes include/hotstuff.h from the source'
	@echo 'make lint              rustfmt and clippy'
	@echo 'make clean             removes target'

build: $(LIB) examples

$(LIB): FORCE
	$(CARGO) build --release --locked --lib
	@ln -sf libhotstuff.so target/release/libhotstuff.so.0

examples: $(EXAMPLES)/counter $(EXAMPLES)/kv $(EXAMPLES)/equivocator

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
	$(PYTHON) examples-c/test_kv.py --kv $(EXAMPLES)/kv

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
	$(CARGO) bench --locked --bench replicas

# On its own and in CI. REWRITE=1 writes the baseline anew.
bench-micro:
	@tests/setup.sh test
	$(CARGO) bench --locked --bench micro

bench-peers:
	@tests/setup.sh demo
	$(CARGO) run --release --locked --target-dir target/peers \
	    --manifest-path tests/bench/peers/hotstuff_rs/Cargo.toml -- $(SECONDS)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

clean:
	$(CARGO) clean

FORCE:
