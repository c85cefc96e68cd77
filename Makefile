# libhotstuff: `make help` lists what there is.

CARGO ?= cargo
PYTHON ?= python3
CC ?= cc
CFLAGS ?= -O2 -g
C_STRICT = -std=c11 -Wall -Wextra -Werror -pedantic
LIB = target/release/libhotstuff.so
EXAMPLES = target/examples-c
C_LINK = -Iinclude -Ltarget/release -lhotstuff -Wl,-rpath,'$$ORIGIN/../release' -lpthread

.PHONY: help demo test build examples header sim bench lint clean FORCE

help:
	@echo 'make demo              four replicas agree, lose one, get it back; a fifth joins, one leaves (under a minute)'
	@echo 'make test              every test: Rust, C, Python; what CI runs'
	@echo 'make build             target/release/libhotstuff.so and .a, and the examples in $(EXAMPLES)'
	@echo 'make sim SEED=n        replays one simulated case, with a transcript'
	@echo 'make sim SECONDS=60    runs new simulated cases for so long'
	@echo 'make bench             speed against the floor of this machine; JSON in target/bench'
	@echo 'make header            writes include/hotstuff.h from the source'
	@echo 'make lint              rustfmt and clippy'
	@echo 'make clean             removes target'

build: $(LIB) examples

$(LIB): FORCE
	$(CARGO) build --release --locked --lib
	@ln -sf libhotstuff.so target/release/libhotstuff.so.0

examples: $(EXAMPLES)/counter $(EXAMPLES)/kv

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
	tests/readme.sh
	$(EXAMPLES)/counter
	$(PYTHON) examples-c/test_kv.py --kv $(EXAMPLES)/kv

header:
	REWRITE=1 $(CARGO) test --locked --test header

sim:
	SEED=$(SEED) SECONDS=$(SECONDS) $(CARGO) test --locked --release --test simulation -- budget --nocapture

bench:
	@tests/setup.sh demo
	$(CARGO) bench --locked --bench replicas

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

clean:
	$(CARGO) clean

FORCE:
