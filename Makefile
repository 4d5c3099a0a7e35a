# The one entry to everything: people, the README and CI call these targets and nothing else.
# Each can be run again; each installs what it lacks and says what it does.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run run-check build test lint bench setup setup-build setup-test setup-bench clean

include wasm-tasks/tasks.mk

CARGO ?= cargo
# One profile for the build, the tests and the benches: wasmtime is built once.
PROFILE := --release

help: ## Show this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

run: setup-build wasm-tasks ## Build, start a node with the sample services, print their URLs
	@echo "make: building wharf (the first time takes some minutes, most of them for wasmtime)"
	$(CARGO) build $(PROFILE)
	@scripts/run.sh

build: setup-build ## Build the binary: target/release/wharf
	$(CARGO) build $(PROFILE)

test: setup-build setup-test wasm-tasks wasm-tasks-js wasm-tasks-python ## Run every test
	$(CARGO) test $(PROFILE) --workspace --lib --bins --tests
	$(MAKE) run-check

run-check: setup-build setup-test wasm-tasks ## Check that `make run` starts, answers, stops and starts again
	$(CARGO) build $(PROFILE)
	@scripts/run-check.sh

lint: setup-build ## Check format, clippy, documentation and, if cargo-deny is there, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(PROFILE) --workspace --no-deps
	@if command -v cargo-deny >/dev/null; then \
		$(CARGO) deny check bans licenses sources; \
	else \
		echo "make: cargo-deny is not installed, its checks are left out"; \
	fi
	$(MAKE) wasm-tasks-lint

bench: bench-peers bench-p1 bench-p2 bench-p4 bench-p5 bench-p9 bench-p13 bench-p14 ## Measure every figure (see docs/benchmarks.md)

bench-peers: setup-build ## Build the programs that figures are compared with
	$(CARGO) install wasmtime-cli@48.0.8 --locked --root target/peers

bench-p4: setup-bench

bench-p1 bench-p2 bench-p4 bench-p5 bench-p9 bench-p13 bench-p14: setup-build wasm-tasks
	$(CARGO) build $(PROFILE)
	$(CARGO) bench --profile release --bench $(@:bench-%=%) -- $(BENCH_ARGS)

setup: setup-build setup-test ## Install everything that building and testing needs

setup-build:
	@scripts/setup.sh build

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

clean: ## Remove what was built
	$(CARGO) clean
	$(CARGO) clean --manifest-path wasm-tasks/Cargo.toml
