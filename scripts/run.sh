#!/usr/bin/env bash
# Starts a node with the sample services and keeps it until Ctrl-C.
#
# WHARF_LISTEN and WHARF_API_LISTEN choose other addresses than the defaults.
set -euo pipefail
cd "$(dirname "$0")/.."

wharf=target/release/wharf
data=${WHARF_DATA_DIR:-.wharf}
listen=${WHARF_LISTEN:-127.0.0.1:8080}
api=${WHARF_API_LISTEN:-127.0.0.1:7300}
ready=$data/ready.json

mkdir -p "$data"
rm -f "$ready"
"$wharf" serve --listen "$listen" --api-listen "$api" --data-dir "$data" --ready-file "$ready" &
node=$!
# Ctrl-C reaches script and node, and a second signal would keep the node from finishing what it
# has: so nobody is told twice. The node is waited for until it has ended, whatever interrupts that.
told=
await_node() { while kill -0 $node 2>/dev/null; do wait $node 2>/dev/null || true; done; }
trap '[ -n "$told" ] || kill -TERM $node 2>/dev/null || true; await_node' EXIT
trap 'told=1; exit 0' INT
trap 'exit 0' TERM

for _ in $(seq 100); do
	[ -e "$ready" ] && break
	kill -0 $node 2>/dev/null || { wait $node; exit 1; }
	sleep 0.1
done
[ -e "$ready" ] || { echo "run: the node did not become ready" >&2; exit 1; }
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$ready"; }
http=$(field http)
export WHARF_API="http://$(field api)"

for task in hello echo env; do
	"$wharf" push "wasm-tasks/target/wasm32-wasip2/release/$task.wasm" "$task:1"
done
"$wharf" apply -f wasm-tasks/wharf.toml --wait

port=${http##*:}
for service in hello echo env; do
	answer() { # one request, by whatever this machine has
		if command -v curl >/dev/null; then
			curl -sS -o /dev/null -w '%{http_code}' -H "host: $service.localhost" "http://$http/"
		else
			exec 3<>"/dev/tcp/${http%:*}/$port"
			printf 'GET / HTTP/1.1\r\nhost: %s.localhost\r\nconnection: close\r\n\r\n' "$service" >&3
			head -n 1 <&3 | cut -d ' ' -f 2
		fi
	}
	status=$(answer)
	[ "$status" = 200 ] || { echo "run: $service answered $status" >&2; exit 1; }
done

cat <<END

The services answer:

  http://hello.localhost:$port/
  http://echo.localhost:$port/
  http://env.localhost:$port/

Try, in another terminal:

  curl http://hello.localhost:$port/
  curl --data-binary @README.md http://echo.localhost:$port/
  export WHARF_API=$WHARF_API
  $wharf ps
  $wharf describe hello
  $wharf logs -f env &  curl "http://env.localhost:$port/?log=hi"
  $wharf scale hello --min 1

Ctrl-C stops the node. What it keeps is in $data.
END
wait $node
