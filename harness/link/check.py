"""The short check of a trial's links: do round trips take what the declared profiles add up to?

One echo after another through every path at once, so that the whole takes little more than the longest round trip. It
catches the link that silently runs unimpaired, is impaired twice or in one direction only; `calibrate link` does the
rest.
"""

from __future__ import annotations

import math
import os
import select
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.errors import LabNotAsDeclared
from harness.link.echo import family_for, frame_bytes, open_echo_socket, read_answer, send_echo
from harness.link.stamps import STAMP_SPACE, ask_for_stamps, stamp_ns
from harness.model.link import Direction, LinkProfile
from harness.sandbox.namespace import inside_network_of

ECHOES: Final = 8
GAP_S: Final = 0.01
# What hosts, bridges and a waking process add: the bound of lateness in both directions.
SLACK_MS: Final = 2.0


@dataclass(frozen=True)
class PathToCheck:
    """From a node (a process in its namespace) to an address, over `links`: those of both ends, in any order.

    The round trip passes each link up and down once, so that directions need not be told apart.
    """

    name: str
    from_pid: int
    to_address: str
    links: tuple[LinkProfile, ...]


@dataclass(frozen=True)
class PathObserved:
    """What was declared for a path and what was seen, in ms; `rtt_ms` is the median, None without any answer."""

    name: str
    declared_rtt_ms: float
    low_ms: float
    high_ms: float
    rtt_ms: float | None
    sent: int
    answered: int

    @property
    def problem(self) -> str | None:
        """Why the path is not as declared, in words; None where it is."""
        if self.rtt_ms is None:
            return f"path {self.name}: none of {self.sent} echoes was answered"
        if self.low_ms <= self.rtt_ms <= self.high_ms:
            return None
        return (
            f"path {self.name}: round trips take {self.rtt_ms:.2f} ms, the declared links add up to "
            f"{self.declared_rtt_ms:.2f} ms ({self.low_ms:.2f} to {self.high_ms:.2f})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {**asdict(self), "problem": self.problem}


def rtt_bounds_ms(
    links: Sequence[LinkProfile], echo_bytes: int = frame_bytes(socket.AF_INET)
) -> tuple[float, float, float]:
    """Return the declared RTT of an echo over empty links, and the bounds of the median of a few, in ms (pure)."""
    ways = [way for link in links for way in (link.up, link.down)]
    declared = sum(way.delay_ms + _serialisation_ms(way, echo_bytes) for way in ways)
    below, above = (math.hypot(*parts) for parts in zip((0.0, 0.0), *map(_jitter_reach_ms, ways), strict=True))
    # An echo may have to wait for a rate trace's next opportunity, however long that is; a second is generous.
    above += 1000.0 * sum(way.rate_file is not None for way in ways)
    return declared, max(0.0, 0.95 * declared - below - 0.1), declared + above + max(SLACK_MS, 0.05 * declared)


def check_paths(paths: Sequence[PathToCheck]) -> list[PathObserved]:
    """Send echoes over all paths at once; return what was seen, in the order of `paths`.

    Needs CAP_NET_RAW in the nodes' namespaces. Lost echoes are no problem as long as some come back.
    """
    families = [family_for(path.to_address) for path in paths]
    bounds = [rtt_bounds_ms(path.links, frame_bytes(family)) for path, family in zip(paths, families, strict=True)]
    sockets: list[socket.socket] = []
    rtts: list[list[float]] = [[] for _ in paths]
    # Late answers to an earlier check must not count as answers to this one.
    identifiers = [int.from_bytes(os.urandom(2), "big") for _ in paths]
    try:
        for path, family in zip(paths, families, strict=True):
            with inside_network_of(path.from_pid):
                sockets.append(open_echo_socket(family))
            ask_for_stamps(sockets[-1])
        longest_s = max((high for _, _, high in bounds), default=0.0) / 1000
        for round_ in range(ECHOES + 1):
            for number, path in enumerate(paths):
                send_echo(sockets[number], path.to_address, identifiers[number], round_)
            # The first echo of a path also waits for address resolution: it goes ahead and does not count.
            pause_s = GAP_S if round_ else longest_s / 2 + 0.02
            _collect(sockets, identifiers, rtts, until=time.monotonic() + pause_s, enough=ECHOES)
        _collect(sockets, identifiers, rtts, until=time.monotonic() + longest_s + 0.05, enough=ECHOES)
    finally:
        for sock in sockets:
            sock.close()
    return [
        PathObserved(path.name, *bound, statistics.median(seen) if seen else None, ECHOES, len(seen))
        for path, bound, seen in zip(paths, bounds, rtts, strict=True)
    ]


def require_paths(paths: Sequence[PathToCheck]) -> list[PathObserved]:
    """Check as `check_paths` does, twice for those that seemed wrong; raise LabNotAsDeclared if they still are."""
    seen = check_paths(paths)
    for index, observed in enumerate(seen):
        if observed.problem is not None:
            seen[index] = check_paths([paths[index]])[0]
    problems = [observed.problem for observed in seen if observed.problem is not None]
    if problems:
        raise LabNotAsDeclared("; ".join(problems))
    return seen


def _serialisation_ms(way: Direction, frame: int) -> float:
    return 0.0 if way.rate_mbit is None else frame * 8 / way.rate_mbit / 1000


def _jitter_reach_ms(way: Direction) -> tuple[float, float]:
    """Return how far below and above its delay the median of a few frames of a direction may lie."""
    jitter = way.jitter
    if jitter is None:
        return 0.0, 0.0
    if jitter.kind == "trace":
        return way.delay_ms, way.delay_ms
    # The median of eight draws lies within two deviations; of draws that repeat each other it is hardly more than one
    # draw. Order is kept, so that frames a few ms apart push each other back, never forth.
    deviations = 3.3 if jitter.correlation else 2.0
    below = {"uniform": 1.0, "normal": deviations, "pareto": 0.6}[jitter.kind]
    return below * jitter.jitter_ms, (deviations + 1) * jitter.jitter_ms


def _collect(
    sockets: Sequence[socket.socket],
    identifiers: Sequence[int],
    rtts: list[list[float]],
    *,
    until: float,
    enough: int,
) -> None:
    # Once more after the end, without waiting: what has come by then was in time, however late it is read.
    over = False
    while not over and not all(len(seen) >= enough for seen in rtts):
        left = until - time.monotonic()
        over = left <= 0
        for sock in select.select(sockets, [], [], max(0.0, left))[0]:
            packet, ancillary, _, _ = sock.recvmsg(2048, STAMP_SPACE)
            # The kernel's stamp: on a busy machine we may come to read the answer much later.
            now = stamp_ns(ancillary)
            path = sockets.index(sock)
            answer = read_answer(sock, packet)
            if now is None or answer is None:
                continue
            if answer.identifier == identifiers[path] and answer.number > 0:
                rtts[path].append((now - answer.sent_ns) / 1e6)
