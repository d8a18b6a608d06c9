"""The MTU probe: what an overlay says it carries, what it does carry, and whether the difference vanishes in silence.

A packet with the don't-fragment bit that is too large must be answered by an ICMP error (RFC 1191, RFC 8201) or refused
by the sender's own interface; one that simply vanishes is a PMTU black hole (RFC 2923, RFC 8899 section 1.2).
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import CommandFailed, OverlayError
from harness.model.family import Address
from harness.model.probes import MtuProbe
from harness.probes.measurement import Measurement, Target

# IP and ICMP headers; what ping calls a size is the payload behind them.
_HEADERS = {4: 28, 6: 48}
# Every IPv4 host takes this much (RFC 791), every IPv6 path carries more; below it nothing is worth a search.
_SMALLEST = 576

# iputils: the first from a router, the second from the own interface or from what it has learned.
_TOO_LARGE = re.compile(r"frag(mentation)? needed|packet too big|message too long", re.IGNORECASE)

Fate = Literal["arrived", "refused", "lost"]


@dataclass(frozen=True)
class PathMtu:
    """One direction, in bytes of IP packet.

    `offered` is the MTU of the interface that leads to the peer, `carried` the largest packet that arrived unfragmented
    (None: not even the smallest), `black_hole` whether some size that the interface takes is lost without an error.
    """

    offered: int
    carried: int | None
    black_hole: bool


def search(offered: int, fate_of: Callable[[int], Fate]) -> PathMtu:
    """Bisect for the largest packet that arrives. Pure but for `fate_of`, which tells of one size what became of it."""
    silent = False

    def arrives(size: int) -> bool:
        nonlocal silent
        fate = fate_of(size)
        silent |= fate == "lost"
        return fate == "arrived"

    if arrives(offered):
        return PathMtu(offered, offered, False)
    low, high = _SMALLEST, offered
    if offered <= low or not arrives(low):
        return PathMtu(offered, None, silent)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if arrives(middle) else (low, middle)
    return PathMtu(offered, low, silent)


def measure_mtu(target: Target, probe: MtuProbe) -> list[Measurement]:
    """The figures of both directions; what every ping said is kept.

    A size counts as carried when its echo came back, so the smaller of the two ways decides where they differ.

    Raises:
        OverlayError: there is no route to the peer.
    """
    figures = []
    for src, dst, address in (
        (target.src, target.dst, target.dst_address),
        (target.dst, target.src, target.src_address),
    ):
        way = _Way(target, probe, src, address)
        found = search(way.offered(), way.fate_of)
        figures += [
            Measurement(probe="mtu", metric=metric, unit=unit, value=value, src=src, dst=dst, evidence=str(way.log))
            for metric, unit, value in (
                ("offered_mtu_bytes", "B", found.offered),
                ("path_mtu_bytes", "B", found.carried),
                ("pmtu_black_hole", "1", float(found.black_hole)),
            )
        ]
    return figures


@dataclass(frozen=True)
class _Way:
    """One direction of a pair, as `search` wants it."""

    target: Target
    probe: MtuProbe
    src: str
    address: Address

    @property
    def log(self) -> Path:
        return self.target.evidence(f"mtu-{self.src}.log")

    def offered(self) -> int:
        """The MTU of the interface that leads to the address."""
        node = self.target.lab.nodes[self.src]
        try:
            (route,) = json.loads(node.check_output(["ip", "-j", "route", "get", str(self.address)]))
            (link,) = json.loads(node.check_output(["ip", "-j", "link", "show", "dev", route["dev"]]))
        except CommandFailed as error:
            raise OverlayError(f"{self.src} has no route to {self.address}: {error}") from error
        return int(link["mtu"])

    def fate_of(self, size: int) -> Fate:
        """What became of packets of this size; an error message is believed before silence."""
        node = self.target.lab.nodes[self.src]
        payload = str(size - _HEADERS[self.address.version])
        argv = ["ping", "-n", "-M", "do", "-c", "1", "-W", f"{self.probe.timeout_s:g}", "-s", payload]
        for _ in range(self.probe.attempts):
            done = subprocess.run(node.enter([*argv, str(self.address)]), capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            with self.log.open("a") as file:
                file.write(f"## {size} bytes, exit {done.returncode}\n{said}")
            if done.returncode == 0:
                return "arrived"
            if _TOO_LARGE.search(said):
                return "refused"
        return "lost"
