#!/bin/sh
# Sets up everything that `make demo` and `make test` need; safe to call again, and then returns at once.
# Exit 0: ready. Exit 3: the machine lacks something that needs root; the exact command is printed.
# `setup.sh fingerprint` prints what it depends on as a hash, and does nothing.
set -eu
cd "$(dirname "$0")"

# What the harness itself needs. gcc builds the link helper; mininet brings mnexec.
required="nftables iproute2 iputils-ping iperf3 irtt mininet util-linux ethtool python3 python3-venv gcc libc6-dev make"
# The subjects of the bundled scenarios; a distribution without one of them still gets the rest.
subjects="openvpn wireguard-go wireguard-tools strongswan-charon strongswan-swanctl \
libstrongswan-standard-plugins libcharon-extra-plugins tinc n2n nebula openssh-client coturn miniupnpd-nftables tayga tor"
# For Pythons so young that a package has no wheel for them yet and is compiled; others do without.
subjects="$subjects python3-dev"
# What `setup.sh test` gets besides: programs that only tests and benchmarks use.
testing="bridge-utils chromium openssh-server wireguard-go wireguard-tools vde2"

# All that a setup is made of: when any of it changes there must be another.
made_of=$(cat setup.sh pyproject.toml constraints.txt setup.py harness/link/userlink/*.[ch] harness/probes/party/*.[ch] 2>/dev/null | sha256sum | cut -c1-16)
[ "${1:-}" != fingerprint ] || { echo "$made_of"; exit 0; }
stamp=".venv/.setup-$made_of"
plain="$stamp"
extras=dev
if [ "${1:-}" = test ]; then subjects="$subjects $testing"; stamp="$plain-test"; extras=dev,analysis,dask,docs,mpc,pages; fi

say() { printf 'setup: %s\n' "$*" >&2; }

# Labs see the checkout read-only, so what is not compiled before is compiled again by every daemon of every trial.
compile() { .venv/bin/python -m compileall -q harness overlays || say "cannot write compiled modules here: trials start slower"; }

[ -e "$stamp" ] && [ -x .venv/bin/overlaybench ] && { compile; exit 0; }

missing_of() {
    for package in "$@"; do
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" in
            *" installed") ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

# A package's service is not started for that: an sshd that anybody can reach is the owner's to want, and what tests need
# they start in namespaces. The file is Debian's way to say so; where there is one, it stays and decides.
policy=/usr/sbin/policy-rc.d
policy_made=""
start_nothing() {
    [ ! -e "$policy" ] || return 0
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    policy_made=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
}
start_as_before() {
    case "$want" in *openssh-server*)
        $as_root systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || $as_root update-rc.d ssh disable >/dev/null 2>&1 || true ;;
    esac
    [ -z "$policy_made" ] || { $as_root rm -f "$policy"; trap - EXIT INT TERM; }
}

command -v dpkg-query >/dev/null || { say "this is not a Debian or Ubuntu machine; install by hand: $required $subjects"; exit 3; }
failed=""
need=$(missing_of $required)
want=$(missing_of $subjects)
if [ -n "$need$want" ]; then
    if [ "$(id -u)" = 0 ]; then as_root=""
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root="sudo"
    else
        if [ -n "$need" ]; then
            say "these Debian packages are missing: $need$want"
            say "run this as root, then call me again:"
            echo "apt-get update && apt-get install -y --no-install-recommends $need$want" >&2
            exit 3
        fi
        say "going on without: $want(to have it: apt-get install -y --no-install-recommends $want)"
        want=""
        as_root=none
    fi
    if [ "$as_root" != none ]; then
        say "installing Debian packages: $need$want"
        $as_root apt-get update -qq
        [ -z "$need" ] || $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >&2
        start_nothing
        # At once where the distribution has all of them; else one by one, and those that it lacks are named.
        [ -z "$want" ] || $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >&2 ||
            for package in $want; do
                $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2 && continue
                if apt-cache show "$package" >/dev/null 2>&1; then
                    failed="$failed $package"
                else
                    say "no package $package here; \`overlaybench doctor\` says how else to get it"
                fi
            done
        start_as_before
    fi
fi

# systemd's udev rules make this device 0666; a machine without udev may not, and then only root has tunnels.
if [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
    say "making /dev/net/tun usable by everybody, as udev does"
    chmod 0666 /dev/net/tun
fi

# The distribution's own Python first: unlike one below /root it can be run by every user.
for python in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3 ""; do
    [ -n "$python" ] || { say "no Python of version 3.11 or later with venv; run as root: apt-get install -y python3-venv"; exit 3; }
    "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done

say "making .venv with $python and installing the Python packages"
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; "$python" -m venv .venv; }
rm -f .venv/.setup-*
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
[ -x harness/link/userlink/overlaybench-userlink ] ||
    say "NO LINK HELPER: there is no C compiler; links will be carried by slow Python. As root: apt-get install -y gcc libc6-dev"
compile
# What the archive has and did not give now is asked for again by the next call.
if [ -n "$failed" ]; then say "going on without, as they could not be installed now:$failed"; else touch "$plain" "$stamp"; fi
say "ready: .venv/bin/overlaybench"
