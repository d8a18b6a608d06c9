#!/bin/sh
# `make test`: all tests but those for the night, on two processors in about twenty minutes.
#
# What needs no lab comes first, on all processors, with the builds behind it. Then labs that wait, three at a time: with
# the pure tests behind them, too, helpers of links were late by 40 ms. Labs that measure come last, and have the machine
# for themselves. Each part says how long it took. A part that fails ends the run at its end, not the parts after it.
set -eu
cd "$(dirname "$0")/.."
./setup.sh test
bin=$PWD/.venv/bin
mkdir -p build
# Not where the labs' tests keep theirs: each pytest that starts closes that folder to others, ordinary users among them.
scratch=$(mktemp -d)
# `make test-all` also runs the tests that a faster one stands in for by day.
also=" and not nightly"
[ "${OVERLAYBENCH_NIGHTLY:-}" != 1 ] || also=""
behind=""

say() { printf 'test: %s\n' "$*" >&2; }
took() { say "$1: $(($(date +%s) - $2)) s"; }
ended() {
    for pid in $behind; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Pinned builds, once; a machine without Go (exit 3) goes on without them, and their tests are skipped by name. The large
# ones (LARGE_BUILDS in tests/lab/test_overlay_contract.py) are for `make test-all`; where they are found they are tested.
# Wheels first: they change the Python that the tests run in.
"$bin/overlaybench" install easytier bittorrent
nice -n 10 "$bin/overlaybench" install libp2p frp >build/install.log 2>&1 &
builds=$!
behind=$builds
failed=""

part() {
    name=$1
    shift
    begun=$(date +%s)
    "$@" || failed="$failed; $name"
    took "$name" "$begun"
}

# One more than there are processors: a test in ten waits for somebody's silence.
part "what needs no lab" "$bin/python" -m pytest tests --ignore tests/lab -m "not lab$also" \
    -n $(($(nproc) + 1)) --dist loadscope --no-loadscope-reorder --durations 10 --basetemp "$scratch/pure"

begun=$(date +%s) status=0
wait "$builds" || status=$?
behind=""
cat build/install.log >&2
[ $status = 0 ] || [ $status = 3 ] || exit $status
took "builds, after those" "$begun"

# What else is going on and would be in the way of labs; .ci/run says so.
[ -z "${OVERLAYBENCH_BEFORE_LABS:-}" ] || { begun=$(date +%s); $OVERLAYBENCH_BEFORE_LABS || true; took "waiting for others" "$begun"; }

part "labs that wait" "$bin/python" -m pytest tests/lab -m "lab and waits$also" -n 3 --dist loadgroup --durations 10
part "labs that measure" "$bin/python" -m pytest tests/lab -m "lab and not waits$also" --durations 10
[ -z "$failed" ] || { say "failed: ${failed#; }"; exit 1; }
