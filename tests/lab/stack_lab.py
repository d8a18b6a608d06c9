"""Stacked routers in a sandbox: one sequence of datagrams through nftables and through the simulated Internet.

Two customers of one carrier (topology `cgnat`), two sockets each, and two public hosts with two ports each.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from typing import Any

from harness.calibration.nat_worker import SCRATCH
from harness.lab.network import Lab
from harness.model.nat import parse_nat
from harness.model.template import render
from harness.sandbox.mounts import make_private
from harness.sandbox.namespace import inside_network_of
from harness.sandbox.unshare import sandbox_argv
from harness.scenario.load import load_topology
from harness.simulation.internet import Internet

PORTS = (5001, 5002)
REMOTE_PORTS = (7001, 7002)
SILENCE_S = 0.03
# For a datagram that is to come: on a busy machine it may take longer than any silence.
PATIENCE_S = 5.0
Step = tuple[str, int, int]
"""out: socket, remote; in: remote, mapping; cross: socket, mapping."""
Answer = str | None


def differing_steps(cases: list[tuple[dict[str, Any], list[Step]]]) -> list[list[str]]:
    """Run every case in a sandbox of its own lab; the steps at which the two differ."""
    argv = [sys.executable, "-m", "tests.lab.stack_lab", json.dumps(cases)]
    done = subprocess.run(sandbox_argv(argv), capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


class Names:
    """The carrier's external endpoints by the order in which they first show: ports are drawn by two generators."""

    def __init__(self) -> None:
        self.known: list[tuple[str, int]] = []
        self.owner: dict[tuple[str, int], int] = {}

    def name(self, endpoint: tuple[str, int]) -> str:
        if endpoint not in self.known:
            self.known.append(endpoint)
        return f"external {self.known.index(endpoint)}"


class Side:
    """What both have in common: four sockets inside (two of a, two of b), four outside."""

    def __init__(self) -> None:
        self.names = Names()
        self.got: list[tuple[str, int, tuple[str, int]]] = []
        # How many datagrams each wait of the last step brought.
        self.came: list[int] = []

    def send(self, where: str, index: int, to: tuple[str, int]) -> None:
        raise NotImplementedError

    def remote(self, index: int) -> tuple[str, int]:
        raise NotImplementedError

    def receive(self) -> None:
        raise NotImplementedError

    def wait(self) -> None:
        self.receive()
        self.came.append(len(self.got))

    def step(self, what: str, first: int, second: int) -> Answer:
        self.got.clear()
        self.came.clear()
        if what == "out":
            return self._out(first, second)
        if not self.names.known:
            return None
        self.send("outside" if what == "in" else "inside", first, self.names.known[second % len(self.names.known)])
        self.wait()
        inside = [(index, source) for where, index, source in self.got if where == "inside"]
        if not inside:
            return None
        index, source = inside[0]
        if what == "in":
            return f"socket {index}"
        if not source[0].startswith("45."):
            return f"socket {index} from an inside address"
        self.names.owner.setdefault(source, first)
        return f"socket {index} from {self.names.name(source)}"

    def _out(self, inside: int, remote: int) -> Answer:
        """Return a question and its answer."""
        self.send("inside", inside, self.remote(remote))
        self.wait()
        arrived = [source for where, _, source in self.got if where == "outside"]
        if not arrived:
            return None
        self.names.owner.setdefault(arrived[0], inside)
        self.got.clear()
        self.send("outside", remote, arrived[0])
        self.wait()
        return f"{self.names.name(arrived[0])}, answered at {[i for where, i, _ in self.got if where == 'inside']}"

    def same_host(self, first: int, second: int) -> bool:
        """Whether a crossing would end where it began: Linux drops martians whatever the NAT did."""
        if not self.names.known:
            return True
        return self.names.owner[self.names.known[second % len(self.names.known)]] // 2 == first // 2


class Real(Side):
    """The lab; `expected` is how many datagrams each wait of the next step brings if all is well."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.expected: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._remotes: list[tuple[str, int]] = []
        for number, node in enumerate(("a", "b")):
            for offset, port in enumerate(PORTS):
                self._open("inside", number * 2 + offset, lab.nodes[node].pid, port)
        for number, node in enumerate(("s", "s2")):
            for offset, port in enumerate(REMOTE_PORTS):
                self._open("outside", number * 2 + offset, lab.nodes[node].pid, port)
                self._remotes.append((str(lab.topology.address(node)), port))

    def _open(self, where: str, index: int, pid: int, port: int) -> None:
        with inside_network_of(pid):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", port))
        made.setblocking(False)
        self._sockets[where, index] = made
        self._selector.register(made, selectors.EVENT_READ, (where, index))

    def remote(self, index: int) -> tuple[str, int]:
        return self._remotes[index]

    def send(self, where: str, index: int, to: tuple[str, int]) -> None:
        self._sockets[where, index].sendto(b"x", to)

    def receive(self) -> None:
        number = len(self.came)
        wanted = self.expected[number] if number < len(self.expected) else 0
        end = time.monotonic() + PATIENCE_S
        while len(self.got) < wanted and (left := end - time.monotonic()) > 0:
            self._take(left)
        # And no more than that. It may have come while another process ran: a look after the time is a part of it.
        while self._take(SILENCE_S) or self._take(0.0):
            pass

    def _take(self, timeout_s: float) -> bool:
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            _, source = key.fileobj.recvfrom(100)  # type: ignore[union-attr]
            self.got.append((*key.data, source))
        return bool(ready)

    def close(self) -> None:
        for made in self._sockets.values():
            made.close()


class Simulated(Side):
    """The same networks in memory."""

    def __init__(self, axes: dict[str, Any]) -> None:
        super().__init__()
        self._internet = Internet(random.Random(1))
        carrier = self._internet.router(parse_nat(axes["nat_carrier"]), carrier=True)
        self._hosts = {
            "inside": [
                self._internet.host(self._internet.router(parse_nat(axes[nat]), carrier), self._receive("inside", n))
                for n, nat in enumerate(("nat_a", "nat_b"))
            ],
            "outside": [self._internet.host(None, self._receive("outside", n)) for n in range(2)],
        }

    def _receive(self, where: str, host: int) -> Any:
        ports = PORTS if where == "inside" else REMOTE_PORTS

        def receive(_: bytes, source: tuple[str, int], port: int) -> None:
            if port in ports:
                self.got.append((where, host * 2 + ports.index(port), source))

        return receive

    def remote(self, index: int) -> tuple[str, int]:
        return self._hosts["outside"][index // 2].address, REMOTE_PORTS[index % 2]

    def send(self, where: str, index: int, to: tuple[str, int]) -> None:
        ports = PORTS if where == "inside" else REMOTE_PORTS
        self._hosts[where][index // 2].send(b"x", ports[index % 2], to)

    def receive(self) -> None:
        self._internet.events.run(SILENCE_S)


def differences(axes: dict[str, Any], steps: list[Step], number: int) -> list[str]:
    """Send one sequence both ways."""
    topology = render(load_topology("cgnat").template, {**axes, "helpers": 1})
    workdir = SCRATCH / str(number)
    workdir.mkdir()
    lab = Lab(topology, seed=1, link_choice="auto", workdir=workdir)
    lab.start()
    real, simulated = Real(lab), Simulated(axes)
    wrong = []
    for at, (what, first, second) in enumerate(steps):
        if what == "cross" and simulated.same_host(first, second):
            continue
        wanted = simulated.step(what, first, second)
        real.expected = list(simulated.came)
        got = real.step(what, first, second)
        if got != wanted:
            wrong.append(f"step {at} {what} {first} {second}: routers {got}, simulated {wanted}")
    real.close()
    lab.stop()
    return wrong


def main() -> None:
    """Run the cases given on the command line."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    make_private(SCRATCH)
    cases = json.loads(sys.argv[1])
    print(json.dumps([differences(axes, steps, number) for number, (axes, steps) in enumerate(cases)]))


if __name__ == "__main__":
    main()
