#!/usr/bin/env bash
# Installs what is missing for `build`, `test` or `bench`, and says what. Needs rustup, and for Debian's
# packages root or sudo.
set -euo pipefail

packages=()
need() { # program, package
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || packages+=("$2")
}

case "${1:?build, test or bench}" in
build)
	need cc gcc
	need make make
	command -v cargo >/dev/null || {
		echo "setup: cargo is missing: install Rust from https://rustup.rs" >&2
		exit 1
	}
	if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx wasm32-wasip2; then
		echo "setup: adding the Rust target wasm32-wasip2"
		rustup target add wasm32-wasip2
	fi
	;;
test)
	need skopeo skopeo
	need docker-registry docker-registry
	need curl curl
	need node nodejs
	need npm npm
	need python3 python3
	python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
	;;
bench)
	need nginx nginx-light
	need haproxy haproxy
	;;
esac

if [ "${#packages[@]}" -gt 0 ]; then
	echo "setup: installing ${packages[*]}"
	sudo=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "setup: as root, run: apt-get install ${packages[*]}" >&2
			exit 1
		}
		sudo=(sudo)
	fi
	"${sudo[@]}" apt-get update -qq
	# Packages of servers must not start them: the tests start their own.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
		"${sudo[@]}" chmod +x "$policy"
		trap '"${sudo[@]}" rm -f "$policy"' EXIT
	fi
	DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends \
		"${packages[@]}" >/dev/null
fi
