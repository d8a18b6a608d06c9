#!/bin/sh
# Proves the package outside the checkout: source distribution and, from it, wheel; installed into an environment of its own;
# smoke, a skeleton and the contract test on it, as an ordinary user in an empty folder. Some five minutes.
#
#     tests/package/run.sh             makes a folder for it below /tmp, removed at the end
#     tests/package/run.sh COMMAND     puts something before what runs in a lab, a queue for example
#
# Exit: 0 all passed, else the first that did not.
set -eu
umask 022
cd "$(dirname "$0")/../.."
checkout=$PWD
place=$(mktemp -d /tmp/overlaybench-package-XXXXXX)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
say() { printf 'package: %s\n' "$*" >&2; }

# The distribution's own Python: one below /root could be run by root alone.
for python in /usr/bin/python3 python3; do
    "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done

say "building in $place"
"$python" -m venv "$place/build"
"$place/build/bin/pip" install --quiet --disable-pip-version-check build
"$place/build/bin/python" -m build --outdir "$place/dist" "$checkout" >"$place/build.log" 2>&1 || { tail -n 30 "$place/build.log" >&2; exit 1; }
ls -l "$place"/dist >&2

say "installing the wheel"
"$python" -m venv "$place/installed"
"$place/installed/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt "$place"/dist/*.whl

mkdir "$place/empty"
if [ "$(id -u)" = 0 ]; then
    chown 65534:65534 "$place/empty"
    user="setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- env HOME=$place/empty"
else
    user="env HOME=$place/empty"
fi
cd "$place/empty"
bench="$user $place/installed/bin/overlaybench"

# Not the checkout's: its folder is not even on the way.
$user "$place/installed/bin/python" -I -c "import harness, sys; sys.exit(not harness.__file__.startswith('$place'))"
$bench --version
[ -x "$("$place/installed/bin/python" -I -c 'import harness.link.userlink_backend as b, pathlib; print(pathlib.Path(b.__file__).parent)')/userlink/overlaybench-userlink" ]
$bench check smoke
"$@" $bench run smoke --out run
[ -s run/report.html ]
$bench report run --format md >/dev/null
$bench new overlay mine --yaml
$bench contract --pure ./mine.yaml
if command -v socat >/dev/null; then "$@" $bench contract ./mine.yaml; fi
$bench publish run published
say "passed: $($bench --version)"
