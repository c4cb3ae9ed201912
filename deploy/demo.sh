#!/bin/sh
# Starts the control plane with one local worker and the zoo as its hub, says how to use it, and stops all at Ctrl-C.
set -eu
cd "$(dirname "$0")/.."
address="${LISTEN:-127.0.0.1:8080}"
server="${CARGO_TARGET_DIR:-target}/release/control-plane"

if curl -s -o /dev/null --max-time 2 "http://$address/healthz"; then
    printf 'demo: something answers on http://%s already; stop it, or choose another: LISTEN=127.0.0.1:8081 make demo\n' "$address" >&2
    exit 1
fi

"$server" --listen "$address" --hub zoo/hub --workers "${WORKERS:-cpu}" &
pid=$!
trap 'kill -TERM $pid 2>/dev/null || true' INT TERM

tries=0
until curl -s -o /dev/null --fail --max-time 2 "http://$address/readyz"; do
    kill -0 "$pid" 2>/dev/null || { wait "$pid"; exit $?; }
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
        printf 'demo: the server did not become ready within 30 seconds; its log stands above\n' >&2
        kill -TERM "$pid"
        wait "$pid"
        exit 1
    fi
    sleep 0.1
done

cat <<TEXT

  The page:   http://$address/
  The API:    http://$address/docs

  A story, token by token:
    curl -N http://$address/api/inference/stream -H 'content-type: application/json' -d '{"model_id": "zoo/storyteller", "inputs": {"messages": [{"role": "user", "content": "tell a story about a small red circle"}]}}'

  How near two sentences are to a third:
    curl http://$address/api/inference -H 'content-type: application/json' -d '{"model_id": "zoo/sentences", "inputs": {"source_sentence": "a small red circle", "sentences": ["a little round red shape", "a big blue square"]}}'

  What a picture shows:
    curl http://$address/api/inference -F 'spec={"model_id": "zoo/shape-classifier", "inputs": {}};type=application/json' -F image=@zoo/example.png

  Ctrl-C stops everything.

TEXT
status=0
wait "$pid" || status=$?
# The first wait ends at the signal; the second when the server has stopped.
wait "$pid" 2>/dev/null || true
[ "$status" -gt 128 ] && status=0
exit "$status"
