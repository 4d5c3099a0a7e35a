# The sample tasks. The root Makefile includes this file; `make -f wasm-tasks/tasks.mk TARGET`
# works as well. The .wat fixtures need no build: tests assemble them.

WASM_TASKS := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
WASM_TASKS_CARGO := --locked --manifest-path $(WASM_TASKS)/Cargo.toml
WASM_TASKS_JS := $(WASM_TASKS)/hello-js
WASM_TASKS_PYTHON := $(WASM_TASKS)/hello-python
WASM_TASKS_WIT := $(wildcard $(WASM_TASKS)/wit/*.wit $(WASM_TASKS)/wit/deps/*.wit)

.PHONY: wasm-tasks wasm-tasks-lint wasm-tasks-js wasm-tasks-python

# Every guest in Rust: target/wasm32-wasip2/release/*.wasm. Under wasm32-wasip1 come the core
# modules: p1, and env, of which a node makes the same service as of its component.
wasm-tasks: wasm-tasks-target-wasm32-wasip2 wasm-tasks-target-wasm32-wasip1
	cargo build --release --target wasm32-wasip2 $(WASM_TASKS_CARGO)
	cargo build --release --target wasm32-wasip1 --package p1 --package env $(WASM_TASKS_CARGO)

wasm-tasks-lint: wasm-tasks-target-wasm32-wasip2
	cargo fmt --all --check --manifest-path $(WASM_TASKS)/Cargo.toml
	cargo clippy --release --target wasm32-wasip2 $(WASM_TASKS_CARGO) -- -D warnings
	cargo test --quiet --package support $(WASM_TASKS_CARGO)

wasm-tasks-target-%:
	@rustup target list --installed | grep -qx '$*' || rustup target add '$*'

# The guest in JavaScript: hello-js/hello-js.wasm. Needs node and npm.
wasm-tasks-js: $(WASM_TASKS_JS)/hello-js.wasm
	@echo "ready: $<"

$(WASM_TASKS_JS)/hello-js.wasm: $(WASM_TASKS_JS)/node_modules/.package-lock.json \
    $(WASM_TASKS_JS)/hello.js $(WASM_TASKS_JS)/build.mjs $(WASM_TASKS_WIT)
	@echo "building $@"
	node $(WASM_TASKS_JS)/build.mjs

$(WASM_TASKS_JS)/node_modules/.package-lock.json: $(WASM_TASKS_JS)/package.json \
    $(WASM_TASKS_JS)/package-lock.json
	@echo "installing componentize-js into $(@D)"
	cd $(WASM_TASKS_JS) && npm ci
	@touch $@

# The guest in Python: hello-python/hello-python.wasm. Needs python3 with venv.
wasm-tasks-python: $(WASM_TASKS_PYTHON)/hello-python.wasm
	@echo "ready: $<"

$(WASM_TASKS_PYTHON)/hello-python.wasm: $(WASM_TASKS_PYTHON)/.venv/installed \
    $(WASM_TASKS_PYTHON)/app.py $(WASM_TASKS_WIT)
	@echo "building $@"
	$(WASM_TASKS_PYTHON)/.venv/bin/componentize-py --wit-path $(WASM_TASKS)/wit --world service \
	  componentize --python-path $(WASM_TASKS_PYTHON) --output $@ app

$(WASM_TASKS_PYTHON)/.venv/installed: $(WASM_TASKS_PYTHON)/requirements.txt
	@echo "installing componentize-py into $(@D)"
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
