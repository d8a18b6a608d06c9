"""A refmesh server as a process of its own on loopback, for tests at real sockets; needs no privileges."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from refmesh_hostility import sealed

from overlays.refmesh import keys
from overlays.refmesh.core import introduction
from overlays.refmesh.core.tunnel import Tunnel
from overlays.refmesh.driver.stream import client_context
from overlays.refmesh.network import Network, Site, make_network, to_yaml
from overlays.refmesh.wire import stun

HOST = "127.0.0.1"
WAIT_S = 20.0
# Ports that are told to a server before it listens are below those that the kernel gives out (32768 and up,
# ip_local_port_range), a stretch for each worker of pytest-xdist. Where in it a process begins is its own affair: a
# program that a test starts belongs to the same worker, and two runs of the tests may share a machine.
_FIRST, _STRETCH, _STRETCHES = 20_000, 1000, 12
_numbers = itertools.count(os.getpid())


@dataclass
class Daemon:
    """A running server."""

    process: subprocess.Popen[str]
    network: Network
    site: Site
    log: Path

    def ask_stun(self, port: int | None = None) -> bytes:
        """Return the answer to a Binding request; TimeoutError when none comes."""
        transaction = os.urandom(12)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(WAIT_S)
            sock.sendto(stun.request(transaction), (HOST, port or self.site.stun_port))
            return sock.recv(2048)

    def wait_until_ready(self) -> None:
        """Return when it says that it listens; RuntimeError when it has ended instead."""
        while "refmesh: ready" not in self.log.read_text():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                raise RuntimeError(f"the server has ended: {self.log.read_text()}")

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident_octets(self) -> int:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Datagrams(Protocol):
    """A UDP socket, or what is as good as one."""

    def settimeout(self, value: float | None, /) -> None: ...

    def sendto(self, data: bytes, address: tuple[str, int], /) -> int: ...

    def recv(self, bufsize: int, /) -> bytes: ...

    def close(self) -> None: ...


class TlsDatagrams:
    """A server's TLS port as a UDP socket; OSError when the connection is over, or was not taken."""

    def __init__(self, daemon: Daemon, host: str = "") -> None:
        """`host`: the address of ours to come from."""
        sock = socket.create_connection((HOST, daemon.site.tls_port), timeout=WAIT_S, source_address=(host, 0))
        self._tls, self._received = client_context().wrap_socket(sock), b""

    def settimeout(self, value: float | None) -> None:
        self._tls.settimeout(value)

    def sendto(self, data: bytes, _address: tuple[str, int]) -> int:
        self._tls.sendall(len(data).to_bytes(2, "big") + data)
        return len(data)

    def recv(self, _bufsize: int) -> bytes:
        while True:
            end = 2 + int.from_bytes(self._received[:2], "big")
            if len(self._received) >= max(2, end):
                datagram, self._received = self._received[2:end], self._received[end:]
                return datagram
            chunk = self._tls.recv(65536)
            if not chunk:
                raise ConnectionResetError("the server has closed the connection")
            self._received += chunk

    def close(self) -> None:
        self._tls.close()


class Client:
    """A member that does no more than to join, and what it is told to say, at a real socket."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        network = daemon.network
        self.tunnel = Tunnel(network.private_keys[name], os.urandom, 0.0)
        self._certificate, self._public = network.certificates[name], keys.public(network.private_keys["s"])
        self._session = self.tunnel.add(self._public)
        self._server = (HOST, daemon.site.port)

    def says(self, sock: Datagrams, payload: bytes, *, bare: bool = False) -> bool:
        """Send a payload, well sealed but for its padding if `bare`; False when there are no keys any more."""
        datagrams = sealed(self._session, payload, time.time(), bare=bare)
        for datagram in datagrams or ():
            sock.sendto(datagram, self._server)
        return datagrams is not None

    def hears(self, datagram: bytes) -> list[bytes]:
        """Return the payloads of what the server has sent."""
        told = self.tunnel.receive(datagram, self._server, time.time())
        return list(told.payloads) if told is not None and not isinstance(told, bytes) else []

    def joins(self, sock: Datagrams, tries: int = 20) -> bool:
        """Whether a handshake completes."""
        sock.settimeout(1.0)
        for _ in range(tries):
            now = time.time()
            first = introduction.write(self._certificate, self._public, self._session.macs, self.tunnel._rng, now)
            sock.sendto(first, self._server)
            sock.sendto(self.tunnel.initiate(self._session, now), self._server)
            with contextlib.suppress(TimeoutError):
                while not self._session.usable(now):
                    self.tunnel.receive(sock.recv(2048), self._server, now)
            if self._session.usable(now):
                return True
        return False


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses, over UDP and TCP alike, and that this process has not been told lately."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + _STRETCH * (worker % _STRETCHES)
    with contextlib.ExitStack() as stack:
        ports = list[int]()
        while len(ports) < count:
            port = first + next(_numbers) % _STRETCH
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                udp.bind((HOST, port))
                tcp.bind((HOST, port))
                ports.append(port)
        return ports


@contextlib.contextmanager
def serving(folder: Path, *, files: int = 0, members: tuple[str, ...] = ("a", "b"), **options: Any) -> Iterator[Daemon]:
    """Run a server; `files`: its limit of descriptors; `options`: fields of its configuration."""
    port, stun_port, tls_port = free_ports(3)
    site = Site("s", HOST, port, stun_port, tls_port)
    network = make_network(members, [site])
    config = network.server_config("s", listen=f"{HOST}:{port}", **options)
    (folder / "s.yaml").write_text(to_yaml(config))
    command = [sys.executable, "-m", "overlays.refmesh", "server", "--config", str(folder / "s.yaml")]
    if files:
        command = ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    log = folder / "s.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, text=True, cwd=Path(__file__).parents[2])
    daemon = Daemon(process, network, site, log)
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        process.terminate()
        process.wait(WAIT_S)
