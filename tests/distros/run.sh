#!/bin/sh
# Proves this checkout, uncommitted changes included, on another Debian or Ubuntu release.
#
#     tests/distros/run.sh NAME              the same as `full`
#     tests/distros/run.sh NAME smoke        packages cached: smoke as root and as a user, part of `calibrate nat`, three contracts
#     tests/distros/run.sh NAME prepare      make and cache what `smoke` needs
#     tests/distros/run.sh NAME full         from a bare system: `make demo`, `make test` as root, smoke as a user
#     tests/distros/run.sh NAME COMMAND...   a command in the cached system, in the checkout, as root
#
# The release comes from the archive that this machine's apt uses (or DISTROS_MIRROR) and is kept below the user's cache
# folder. It runs on this machine's kernel in mount, PID and IPC namespaces of its own, which end with this script.
# Exit: 0 all passed, 1 something did not, 3 this machine cannot have that release and was told why, 4 it could not be made.
set -eu
umask 022
cd "$(dirname "$0")/../.."
here=tests/distros

say() { printf 'distros: %s\n' "$*" >&2; }
skip() { say "SKIPPED ${release:-}: $*"; exit 3; }
broken() { say "$*"; exit 4; }

release=${1:-}
case "$release" in
    "" | *[!a-z0-9.-]*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
shift
[ $# -gt 0 ] || set -- full

[ "$(id -u)" = 0 ] || skip "making a release needs root; run: sudo $0 $release $*"
command -v apt-get >/dev/null || skip "this is not a Debian or Ubuntu machine, so there is no archive to take it from"
grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || skip "this kernel has no overlayfs (modprobe overlay)"
unshare --mount --pid --ipc --fork true 2>/dev/null || skip "no new mount and PID namespaces here; containers need --privileged"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/overlaybench/distros/$release
mkdir -p "$cache/stage" "$cache/debs"
exec 9>"$cache/lock"
flock -n 9 || { say "another run on $release holds the cache; waiting for it"; flock 9; }
# What an earlier run that was killed has left.
rm -rf "$cache"/*.new "$cache/full"

# In namespaces that die with this script, also when it is killed: enter.sh KIND ROOT COMMAND...
enter() { setpriv --pdeathsig KILL -- unshare --mount --pid --ipc --fork --kill-child --propagation private -- \
    sh "$here/enter.sh" "$cache/stage" "$@" 9>&-; }

mirror() {
    [ -z "${DISTROS_MIRROR:-}" ] || { echo "$DISTROS_MIRROR"; return; }
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
        awk '($2 == "Debian" || $2 == "Ubuntu") && $2 == $3 { print $1; exit }'
}

make_base() {
    from=$(mirror)
    [ -n "$from" ] || skip "apt knows no archive of Debian or Ubuntu; run apt-get update, or name one in DISTROS_MIRROR"
    /usr/lib/apt/apt-helper download-file "${from%/}/dists/$release/Release" "$cache/Release" >/dev/null 2>&1 ||
        skip "this machine's archive has no release of that name; name one that has it in DISTROS_MIRROR"
    if ! command -v debootstrap >/dev/null; then
        say "installing debootstrap"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } >&2 ||
            skip "debootstrap cannot be installed: apt-get install -y debootstrap"
    fi
    # A release younger than debootstrap is made as its distribution's newest.
    script=/usr/share/debootstrap/scripts/$release
    origin=$(sed -n 's/^Origin: //p' "$cache/Release")
    [ -e "$script" ] || { [ "$origin" = Ubuntu ] && script=${script%/*}/gutsy || script=${script%/*}/sid; }
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ "$origin" != Ubuntu ] || keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    [ -e "$keyring" ] || skip "no keyring to check $origin's packages with: $keyring"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    export http_proxy="${http_proxy:-}"
    say "making a bare $release in $cache"
    setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --propagation private -- \
        debootstrap --variant=minbase --include=make,ca-certificates --cache-dir="$cache/debs" --keyring="$keyring" \
        "$release" "$cache/base.new" "$from" "$script" >"$cache/debootstrap.log" 2>&1 9>&- ||
        broken "debootstrap failed: $(tail -n 3 "$cache/debootstrap.log")"
    rm -f "$cache/base.new"/var/cache/apt/archives/*.deb
    # The machine's own way to the archive: proxies, time-outs.
    apt-config dump | grep '^Acquire::' >"$cache/base.new/etc/apt/apt.conf.d/90machine" || true
    mv "$cache/base.new" "$cache/base"
}

# The checkout as it is, without what git ignores; of an earlier one nothing stays but what git ignores (.venv, helpers).
put_checkout() {
    root=$1/srv/overlaybench
    mkdir -p "$root"
    [ ! -e "$root/../files" ] || (cd "$root" && xargs -0 rm -f <../files)
    git ls-files -z --cached --others --exclude-standard |
        xargs -0 sh -c 'for file; do [ ! -e "$file" ] && [ ! -L "$file" ] || printf "%s\0" "$file"; done' sh >"$root/../files"
    tar -c --null -T "$root/../files" --owner=0 --group=0 -f - | tar -x -C "$root" -f -
}

[ -d "$cache/base" ] || make_base

if [ "$1" = full ]; then
    say "copying the bare system"
    cp -a "$cache/base" "$cache/full"
    put_checkout "$cache/full"
    status=0
    enter kept "$cache/full" sh $here/inside.sh full || status=$?
    rm -rf "$cache/full"
    exit $status
fi

# Smoke needs no browser, no sshd and no Dask; a command may.
case "$1" in smoke | prepare) extent="" ;; *) extent=test ;; esac
wanted=$(./setup.sh fingerprint)
had=$(cat "$cache/ready/srv/wanted" 2>/dev/null || true)
if [ "$had" != "$wanted test" ] && [ "$had" != "$wanted $extent" ]; then
    say "installing what the tests need"
    # On top of what an earlier checkout needed; a run that is killed meanwhile leaves nothing that looks ready.
    if [ -d "$cache/ready" ]; then mv "$cache/ready" "$cache/ready.new"; else cp -a "$cache/base" "$cache/ready.new"; fi
    put_checkout "$cache/ready.new"
    enter kept "$cache/ready.new" ./setup.sh $extent || broken "setup.sh failed in $release"
    [ -e "$cache/ready.new/srv/overlaybench/.venv/.setup-$wanted${extent:+-$extent}" ] ||
        broken "some packages of $release could not be installed now; another call tries again"
    echo "$wanted $extent" >"$cache/ready.new/srv/wanted"
    mv "$cache/ready.new" "$cache/ready"
fi
[ "$1" != prepare ] || exit 0
put_checkout "$cache/ready"
if [ "$1" = smoke ]; then set -- sh $here/inside.sh smoke; fi
enter passing "$cache/ready" "$@"
