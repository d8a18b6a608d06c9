#!/bin/sh
# Boots Debian's kernel in QEMU and runs the netem half of the link tests there: for machines whose own kernel has no netem.
# The guest's root is this machine's, read-only over 9p, so that it runs this very checkout; results come back in
# build/netem/out. Everything is emulated in software unless NETEM_ACCEL=kvm.
#     boot.sh [bench=MODULE,ARGUMENT,...]   the tests, or a benchmark instead
#     boot.sh --changed                     the tests, unless all that they try is as it was when they passed last
#     boot.sh fingerprint                   prints the fingerprint of everything that the tests cover, and does nothing
# tests/netem/passed has the fingerprint of the last pass; commit it. A new kernel of Debian's is no change: `make test-all`
# boots whatever has changed.
# Exit: 0 all tests passed, 1 a test failed, 3 kernel or emulator cannot be had, 4 the guest did not get to the end.
set -eu
cd "$(dirname "$0")/../.."
project=$PWD
work=build/netem
limit_s=${NETEM_LIMIT_S:-600}

say() { printf 'netem-test: %s\n' "$*" >&2; }

# The links, their calibration, the namespaces below both, these tests, and the packages that all of that runs with.
tried=$(find harness/link harness/sandbox harness/model/link*.py harness/model/document.py harness/calibration/link_* tests/netem constraints.txt \
    setup.sh setup.py tests/conftest.py tests/lab/conftest.py tests/lab/running.py \
    tests/lab/test_link_bundles_lab.py tests/lab/link_lab.py -type f \
    ! -name passed ! -name '*.pyc' ! -name overlaybench-userlink | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
passed=tests/netem/passed
case "${1:-}" in
    fingerprint) echo "$tried"; exit 0 ;;
    --changed)
        shift
        [ "$tried" != "$(cat "$passed" 2>/dev/null)" ] || { say "all that is tried is as it was when it passed last ($passed)"; exit 0; } ;;
esac
mkdir -p "$work/out"
# The helper is built anew where its source has changed: the guest runs what is there.
./setup.sh

if ! command -v qemu-system-x86_64 >/dev/null; then
    say "installing qemu-system-x86"
    if [ "$(id -u)" != 0 ]; then
        say "qemu-system-x86_64 is missing; run as root: apt-get install -y --no-install-recommends qemu-system-x86"
        exit 3
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-x86 >&2
fi

# The kernel and busybox are unpacked, not installed: this machine stays as it is.
if [ ! -e "$work/unpacked" ]; then
    kernel=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [ -n "$kernel" ] || { say "no package linux-image-amd64 known; run as root: apt-get update"; exit 3; }
    say "fetching $kernel and busybox-static"
    rm -rf "$work/debs" "$work/root"
    mkdir -p "$work/debs" "$work/root"
    (cd "$work/debs" && apt-get download -qq "$kernel" busybox-static) 2>/dev/null ||
        { say "SKIPPED: cannot fetch $kernel and busybox-static"; exit 3; }
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/root"; done
    rm -rf "$work/debs"
    touch "$work/unpacked"
fi

busybox=$project/$work/root/bin/busybox
vmlinuz=$(echo "$work"/root/boot/vmlinuz-*)
release=${vmlinuz##*/vmlinuz-}
modules=$work/root/lib/modules/$release
wanted="virtio_pci 9pnet_virtio 9p overlay veth tun bridge sch_netem sch_tbf sch_codel sch_ingress cls_matchall act_mirred wireguard"
[ -e "$modules/modules.dep" ] || "$busybox" depmod -b "$work/root" "$release"

# In the order in which the guest must load them: what a module needs comes before it.
rm -rf "$work/initramfs"
mkdir -p "$work/initramfs/bin" "$work/initramfs/modules"
cp "$busybox" "$work/initramfs/bin/"
cp tests/netem/init "$work/initramfs/init"
chmod +x "$work/initramfs/init"
: > "$work/initramfs/modules/order"
for name in $wanted; do
    line=$(grep "/$name\.ko:" "$modules/modules.dep") || { say "no module $name in $release"; exit 4; }
    needed=""
    for file in ${line#*:} ${line%%:*}; do
        # modules.dep names the nearest need first; the farthest must be loaded first.
        [ "$file" = "${line%%:*}" ] && needed="$needed $file" || needed="$file $needed"
    done
    for file in $needed; do
        grep -qx "${file##*/}" "$work/initramfs/modules/order" && continue
        cp "$modules/$file" "$work/initramfs/modules/"
        echo "${file##*/}" >> "$work/initramfs/modules/order"
    done
done
(cd "$work/initramfs" && "$busybox" find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 > "$work/initramfs.gz"

say "booting $release (${NETEM_ACCEL:-software emulation}); log: $work/console.log"
rm -f "$work/out/status"
ended=0
timeout "$limit_s" qemu-system-x86_64 \
    -accel "${NETEM_ACCEL:-tcg,thread=multi}" -cpu "${NETEM_CPU:-max}" -smp 2 -m 1024 \
    -kernel "$vmlinuz" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1 project=$project $*" \
    -no-reboot -nodefaults -display none -monitor none -serial "file:$work/console.log" \
    -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$work/out,mount_tag=out,security_model=none" </dev/null || ended=$?

if [ ! -s "$work/out/status" ]; then
    case $ended in
        124) say "the guest did not come to an end within $limit_s s; the end of its log:" ;;
        *) say "the guest ended without running the tests (qemu: $ended); the end of its log:" ;;
    esac
    tail -n 30 "$work/console.log" >&2
    exit 4
fi
cat "$work/out/pytest.log"
# pytest has exit codes of its own, 3 among them, which means something else here.
[ "$(cat "$work/out/status")" = 0 ] || exit 1
# A benchmark says nothing of the tests.
[ $# -gt 0 ] || echo "$tried" >"$passed"
