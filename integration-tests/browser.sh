#!/bin/sh
# The page in a real browser, against the real server with the zoo as its hub.
set -eu
cd "$(dirname "$0")/.."
log="$(mktemp)"
"${CARGO_TARGET_DIR:-target}/release/control-plane" --listen 127.0.0.1:0 --hub zoo/hub --workers cpu >"$log" 2>&1 &
pid=$!
trap 'kill -TERM $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -f "$log"' EXIT

url=""
tries=0
while [ -z "$url" ] || ! curl -s -o /dev/null --fail --max-time 2 "$url/readyz"; do
    kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -gt 300 ] && { cat "$log" >&2; echo 'browser.sh: the server did not become ready' >&2; exit 1; }
    url="$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$log" | head -n 1)"
    sleep 0.1
done
ANYMODEL_URL="$url" npm --prefix frontend run e2e
