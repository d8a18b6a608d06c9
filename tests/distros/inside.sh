#!/bin/sh
# inside.sh smoke|full: what run.sh runs inside a release, as root, in the checkout. Every step is tried whatever came of
# those before. Prints at the end a row for docs/releases.md. Exit 0: all passed, 1: something did not.
set -u
level=$1
failed=""
bench=.venv/bin/overlaybench

# step NAME COMMAND...: time it, keep what it prints in /tmp/NAME.
step() {
    name=$1
    shift
    begun=$(date +%s)
    printf '\n=== %s: %s\n' "$name" "$*"
    # The exit status of the command, not of tee: sh has no pipefail.
    { "$@" 2>&1; echo $? >"/tmp/$name.status"; } | tee "/tmp/$name"
    status=$(cat "/tmp/$name.status")
    printf '=== %s: exit %s, %s s\n' "$name" "$status" $(($(date +%s) - begun))
    [ "$status" = 0 ] || failed="$failed $name"
}

as_a_user() {
    id somebody >/dev/null 2>&1 || useradd --create-home somebody
    runuser -u somebody -- env HOME=/home/somebody "$@"
}

# Outcomes of the trials below a result folder, as `36 of 36`.
outcomes() {
    .venv/bin/python - "$@" <<'PYTHON'
import glob, json, sys
files = [file for name in sys.argv[1:] for file in glob.glob(name + "/records.jsonl")]
seen = [line["outcome"] for file in files for line in map(json.loads, open(file)) if line["probe"] == "trial"]
print(f"{seen.count('ok')} of {len(seen)}")
PYTHON
}

if [ "$level" = full ]; then
    step demo make demo
    # Whoever wants the subjects that are built with Go has Go; the README's commands do without.
    apt-get install -y -qq --no-install-recommends golang-go >/dev/null 2>&1 || echo "no Go in this release"
    step tests make test
    runs=runs/demo-*
else
    step setup ./setup.sh
    step smoke $bench run smoke --out /tmp/smoke-root
    runs=/tmp/smoke-root
    step contract .venv/bin/python -m pytest -q tests/lab/test_overlay_contract.py -k "refmesh-mesh or openvpn-hub or tinc"
fi
step user as_a_user $bench run smoke --out /tmp/smoke-user
step doctor $bench doctor
# For smoke one mapping and filtering stands for the others: they differ by no rule that nft could read otherwise.
set --
if [ "$level" = smoke ]; then
    for cases in 'behaviour:APDM/APDF/*' 'families:*' 'lifetimes:*' 'limits:*' 'line:*' '*:families' '*:port-mapping' \
        full-cone port-restricted symmetric cgn; do
        set -- "$@" --only "$cases"
    done
fi
step calibrate $bench calibrate nat "$@"
selected=$([ $# = 0 ] || echo " of a selection")

version() { "$@" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }
. /etc/os-release
trials=$(outcomes "$runs")
tests=$(sed -n 's/^\(=* *\)\{0,1\}\([0-9][0-9a-z ,]* in [0-9.]*s\).*/\2/p' /tmp/tests /tmp/contract 2>/dev/null | sed 's/ in .*//' | paste -sd ';' -)
printf '\n| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n' "$PRETTY_NAME" "$(version .venv/bin/python --version)" \
    "$(version nft --version)" "$(version ip -V)" "$(version iperf3 --version)" "$trials" "$(outcomes /tmp/smoke-user)" \
    "$(grep -oE '^[0-9]+ of [0-9]+' /tmp/calibrate)$selected" "$tests"
[ -z "$failed" ] || { echo "failed in $PRETTY_NAME:$failed"; exit 1; }
