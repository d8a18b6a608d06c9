#!/bin/sh
# enter.sh STAGE kept|passing ROOT COMMAND...: run a command in a system below ROOT, as root, in its /srv/overlaybench.
# Called by run.sh in fresh mount and PID namespaces, which take every mount and process along when they end. What the
# command writes stays in ROOT (kept) or is in memory only (passing). STAGE is an empty folder to mount things at.
#
# pivot_root, not chroot: the kernel makes no user namespace for a process in a chroot, and ordinary users need one.
set -eu
stage=$1 kind=$2 lower=$3
shift 3

mount -t tmpfs -o mode=755,size=60% tmpfs "$stage"
mkdir "$stage/upper" "$stage/work" "$stage/root"
root=$stage/root
if [ "$kind" = kept ]; then
    mount --bind "$lower" "$root"
else
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$stage/upper,workdir=$stage/work" "$root"
fi

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
# Nodes of its own: setup.sh changes the mode of one, and programs have been known to delete another.
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "net/tun 10 200"; do
    name=${node%% *}
    if ! mknod -m 666 "$root/dev/$name" c ${node#* } 2>/dev/null; then
        : >"$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    fi
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "$root/dev/${n#*:}"; done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777,size=50% tmpfs "$root/tmp"

# The machine's way out, and what it has fetched before.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
[ ! -e /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/pip.conf"
within() { mkdir -p "$root/$2" && mount --bind "$1" "$root/$2"; }
debs=$(dirname "$lower")/debs
mkdir -p "$debs/partial"
within "$debs" /var/cache/apt/archives
pip=${PIP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pip}
mkdir -p "$pip"
within "$pip" /root/.cache/pip
go=${GOMODCACHE:-${GOPATH:-$HOME/go}/pkg/mod}
[ ! -d "$go" ] || within "$go" /root/go/pkg/mod
programs=${XDG_CACHE_HOME:-$HOME/.cache}/overlaybench/programs
# Overlays built with Go are static, so one release's serve all; `full` builds its own.
[ "$kind" = kept ] || [ ! -d "$programs" ] || within "$programs" /root/.cache/overlaybench/programs
for place in ${PIP_FIND_LINKS:-}; do [ ! -d "$place" ] || within "$place" "$place"; done
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -e $certificates ]; then
    # Not in the system's own place: installing ca-certificates writes that anew.
    cp -L $certificates "$root/etc/ssl/machine.crt"
    certificates=/etc/ssl/machine.crt
fi

cd "$root"
mkdir -p .before
pivot_root . .before
cd /srv/overlaybench
umount -l /.before
rmdir /.before 2>/dev/null || true

for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\|GO[A-Z]*\|https\{0,1\}_proxy\|no_proxy\|HTTPS\{0,1\}_PROXY\|NO_PROXY\)=.*/\1/p'); do
    case "$name" in PIP_CERT | PIP_CACHE_DIR | GOROOT | GOPATH | GOMODCACHE | GOBIN | GOTOOLCHAIN) ;; *)
        eval "value=\$$name"
        set -- "$name=$value" "$@" ;;
    esac
done
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    DEBIAN_FRONTEND=noninteractive PIP_CERT=$certificates SSL_CERT_FILE=$certificates "$@"
