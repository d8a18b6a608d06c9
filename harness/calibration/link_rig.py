"""The smallest lab that has a link: two network namespaces and one impaired cable between them.

For measuring links themselves (`calibrate link`, benchmarks, tests), so that no node, NAT or overlay is in the way.
Runs inside a sandbox of its own; the sandbox's network namespace is where the cable's middle ends lie.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.errors import CommandFailed
from harness.link.backend import Cable, LinkBackend, RunningLinks
from harness.link.hoststack import ALLOWED_CONGESTION_CONTROL, node_sysctls, path_of, pick_congestion_control
from harness.link.offload import prepare_outer_end
from harness.model.link import LinkProfile
from harness.sandbox.namespace import inside_network_of
from harness.sandbox.pairs import pair_number

A_ADDRESS: Final = "10.255.0.1"
B_ADDRESS: Final = "10.255.0.2"
_A_MAC: Final = "02:00:00:00:00:0a"
_B_MAC: Final = "02:00:00:00:00:0b"


class Rig:
    """Hosts a and b, `10.255.0.1` and `.2`, and one cable: *up* is from a to b. A context manager.

    Neighbour entries are fixed and IPv6 is off: nothing travels but what the user of the rig sends.
    """

    def __init__(self, backend: LinkBackend, profile: LinkProfile, *, seed: int, workdir: Path) -> None:
        self._holders = [_hold_namespace() for _ in "ab"]
        self.a, self.b = (holder.pid for holder in self._holders)
        self.links: RunningLinks | None = None
        try:
            # Without impairment nothing stands between the two: that is what an ideal link costs.
            if profile.impaired:
                self._plug(self.a, "near")
                self._plug(self.b, "far")
                for port in ("near", "far"):
                    run("ip", "link", "set", port, "up")
            else:
                near = f"name eth0 index {pair_number()} netns {self.a}"
                run(*f"ip link add {near} type veth peer name eth0 netns {self.b}".split())
            for pid, own, other in (
                (self.a, (A_ADDRESS, _A_MAC), (B_ADDRESS, _B_MAC)),
                (self.b, (B_ADDRESS, _B_MAC), (A_ADDRESS, _A_MAC)),
            ):
                self._configure(pid, own, other)
                if profile.impaired:
                    with inside_network_of(pid):
                        prepare_outer_end(backend.name, "eth0")
            if profile.impaired:
                cable = Cable("a-b", profile, "near", "far")
                self.links = backend.start([cable], netns_pid=os.getpid(), seed=seed, workdir=workdir)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _plug(pid: int, port: str) -> None:
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        run(*f"ip link add name {port} index {pair_number()} type veth peer name eth0 netns {pid}".split())

    @staticmethod
    def _configure(pid: int, own: tuple[str, str], other: tuple[str, str]) -> None:
        with inside_network_of(pid):
            allowed = Path(path_of(ALLOWED_CONGESTION_CONTROL)).read_text()
            for name, value in node_sysctls(pick_congestion_control(allowed)).items():
                Path(path_of(name)).write_text(value)
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
            run(*f"ip link set eth0 address {own[1]} up".split())
            run(*f"ip address add {own[0]}/24 dev eth0".split())
            run(*f"ip neighbour add {other[0]} lladdr {other[1]} dev eth0 nud permanent".split())

    def udp_socket(self, pid: int, address: str, port: int = 0) -> socket.socket:
        """Return a bound UDP socket in the namespace of `pid`."""
        with inside_network_of(pid):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, port))
        return made

    def close(self) -> None:
        """End the links and the hosts; safe to call twice."""
        if self.links is not None:
            self.links.close()
        for port in ("near", "far"):
            # The kernel takes interfaces of a dead namespace away only by and by; the next rig wants the names now.
            subprocess.run(["ip", "link", "delete", port], capture_output=True, check=False)
        for holder in self._holders:
            holder.kill()
            holder.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run(*argv: str) -> str:
    """Run a program to its end; raises CommandFailed on another status than 0."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(argv, done.returncode, done.stderr)
    return done.stdout


def _hold_namespace() -> subprocess.Popen[bytes]:
    argv = ["unshare", "--net", "--", "sh", "-c", "ip link set lo up; echo; exec sleep infinity"]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stderr is not None
    if not holder.stdout.readline():
        raise CommandFailed(argv, holder.wait(), holder.stderr.read().decode(errors="replace"))
    return holder


def python(module: str, *words: str) -> list[str]:
    """Return the argv that runs a module of this package with this interpreter."""
    return [sys.executable, "-m", module, *words]
