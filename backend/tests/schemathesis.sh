#!/bin/sh
# Fuzzes the API from its own document: no answer may be a 5xx or differ from what the document says.
# Exits 0 when all hold, 1 when one does not, 77 when schemathesis cannot be had.
# Uses the binaries of `cargo build --workspace --bins`. May be set: TARGET_DIR; SEED (1); EXAMPLES of each
# operation (10); TIME_MAX_S, after which the run is cut and counts as failed (900).
set -eu

target=${TARGET_DIR:-${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}}/debug
work=$(mktemp -d)
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

for binary in harness allegiant-backend; do
    if [ ! -x "$target/$binary" ]; then
        echo "schemathesis.sh: $target/$binary is not there: run cargo build --workspace --bins" >&2
        exit 2
    fi
done
if ! { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet schemathesis==4.32.5; } >"$work/pip.log" 2>&1; then
    echo "schemathesis.sh: skipped: python3 with venv and PyPI are needed ($(tail -n 1 "$work/pip.log"))" >&2
    exit 77
fi

# Waits for a line in a file that a child writes.
await() {
    tries=0
    until grep -q "$1" "$2"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "schemathesis.sh: no \"$1\" in 60 s:" >&2
            tail -n 20 "$2" >&2
            exit 2
        fi
        sleep 0.2
    done
}

HARNESS_PROVIDER=${HARNESS_PROVIDER:-native} "$target/harness" up --free-ports --no-env-file >"$work/stack" 2>"$work/stack.log" &
pids="$pids $!"
await '^# run' "$work/stack"
# shellcheck source=/dev/null
. "$work/stack"
# Nothing works here: what is fuzzed is the API, and generations stay queued. So streams of events never end
# by themselves, and each costs the time of a request.
export OPENAI_API_KEY=none OPENAI_BASE_URL=http://127.0.0.1:9/v1 LISTEN_ADDR=127.0.0.1:0 \
    ARGON2_MEMORY_KIB=64 ARGON2_ITERATIONS=1 RATE_LIMIT_SESSION=off RATE_LIMIT_GENERATIONS=off \
    RATE_LIMIT_LOGIN_ADDRESS=off RATE_LIMIT_REGISTER_ADDRESS=off
"$target/allegiant-backend" migrate >"$work/migrate.log"
"$target/allegiant-backend" serve --role api >"$work/backend.log" 2>&1 &
pids="$pids $!"
await '"listening"' "$work/backend.log"
address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$work/backend.log" | head -n 1)

token=$("$work/venv/bin/python" - "$address" <<'PYTHON'
import json, sys, urllib.request

body = json.dumps({"email": "fuzz@example.com", "password": "correct horse battery"}).encode()
request = urllib.request.Request(f"http://{sys.argv[1]}/api/v1/auth/register", body, {"Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request))["token"])
PYTHON
)

# Logout is left out: it would end the session that all other requests come with.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks=$checks,response_headers_conformance,unsupported_method,ignored_auth
cd "$work"
if timeout "${TIME_MAX_S:-900}" "$work/venv/bin/schemathesis" run "http://$address/openapi.json" \
    --header "Authorization: Bearer $token" --exclude-operation-id logout \
    --checks "$checks" --max-examples "${EXAMPLES:-10}" --seed "${SEED:-1}" --request-timeout 10; then
    exit 0
fi
grep '"level":"ERROR"' "$work/backend.log" >&2 || true
exit 1
