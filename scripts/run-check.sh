#!/usr/bin/env bash
# Checks `make run`: starts scripts/run.sh twice on one temporary data folder, asks a URL that it
# prints, stops it as Ctrl-C does, and fails on anything that is not as it should be.
set -euo pipefail
cd "$(dirname "$0")/.."

# Bounds a hang; nothing here needs as long.
seconds=120

folder=$(mktemp -d)
run= # the process group of scripts/run.sh
# shellcheck disable=SC2329 # called by the trap
clean() {
	[ -z "$run" ] || kill -KILL -- "-$run" 2>/dev/null || true
	rm -rf "$folder"
}
trap clean EXIT

fail() {
	echo "run-check: $*" >&2
	sed "s/^/  /" "$folder/output" >&2
	exit 1
}

# Waits until a command succeeds, or fails with what never happened.
await() { # what, command...
	local what=$1 end=$((SECONDS + seconds))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || fail "this never happened: $what"
		sleep 0.1
	done
}

says() { grep -q "$1" "$folder/output"; }
is_over() { ! kill -0 "$run" 2>/dev/null; }
answers_or_is_over() { says 'Ctrl-C stops the node' || is_over; }

# One life, from the start to Ctrl-C.
check() {
	: >"$folder/output"
	# A process group of its own, as a terminal's job has: Ctrl-C reaches script and node.
	set -m
	WHARF_LISTEN=127.0.0.1:0 WHARF_API_LISTEN=127.0.0.1:0 WHARF_DATA_DIR=$folder/data \
		scripts/run.sh >"$folder/output" 2>&1 &
	run=$!
	set +m
	await 'the services answer' answers_or_is_over
	says 'Ctrl-C stops the node' || fail "scripts/run.sh ended by itself"
	local node url body
	node=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$folder/data/ready.json")
	url=$(sed -n 's|^  \(http://hello\.localhost:[0-9]*/\)$|\1|p' "$folder/output")
	[ -n "$node" ] && [ -n "$url" ] || fail "no process or no URL of hello was named"
	# Resolvers do not all know names below localhost.
	local port=${url##*:}
	body=$(curl -sS --fail --max-time "$seconds" \
		--resolve "hello.localhost:${port%/}:127.0.0.1" "$url") || fail "$url does not answer"
	[ "$body" = 'Hello from Wharf!' ] || fail "$url answered: $body"
	kill -INT -- "-$run"
	await 'the end of scripts/run.sh' is_over
	local status=0
	wait "$run" || status=$?
	[ "$status" -eq 0 ] || fail "scripts/run.sh ended with $status after Ctrl-C"
	! kill -0 "$node" 2>/dev/null || fail "the node, process $node, is still there"
	run=
}

check
check
echo "run-check: the services answered twice, and nothing was left"
