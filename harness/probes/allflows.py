"""Watches the iperf3 runs of several pairs that send at once; reaches into a lab."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import OverlayError
from harness.probes.iperf3 import Server, finish
from harness.probes.measurement import Pair, Target
from harness.probes.tcpflows import parse_iperf3
from harness.probes.together import Reading, Sender, Window, latest_s, received_by_port

if TYPE_CHECKING:
    from harness.lab.process import Daemon

_LOOK_EVERY_S: Final = 0.02
# iperf3's server says so once it has taken the connection that carries data; its client sends from then on.
_TAKEN: Final = " connected to "


@dataclass(frozen=True)
class Flow:
    """A pair's iperf3, its client just started."""

    target: Target
    server: Server
    client: Daemon

    @property
    def has_begun(self) -> bool:
        """Whether its receiver has taken the connection."""
        return _TAKEN in self.server.daemon.text


def watch(flows: Sequence[Flow], omit_s: float, duration_s: float) -> list[Sender]:
    """Read what each receiver got while all send, and wait for their ends.

    The window is that of those which began soon enough; what a later one has got by either moment counts, nothing at
    all until it begins. One that could not connect, or has ended before the second reading, has no second reading, and
    says why.
    """
    began = _beginnings(flows, omit_s, duration_s)
    before: dict[Pair, Reading] = {}
    after: dict[Pair, Reading] = {}
    if began:
        window = Window.of(list(began.values()), omit_s, duration_s)
        _sleep_until(window.from_s)
        before = _so_far(flows)
        _sleep_until(window.to_s)
        after = _so_far([flow for flow in flows if flow.client.alive])
    senders = []
    for flow in flows:
        error, whole = "", None
        try:
            whole = parse_iperf3(finish(flow.target, flow.server, flow.client, omit_s + duration_s))
        except OverlayError as why:
            error = str(why)
        pair = flow.target.pair
        got = None if whole is None else whole.received_bytes
        senders.append(Sender(pair, began.get(pair), before.get(pair), after.get(pair), error, got))
    return senders


def _beginnings(flows: Sequence[Flow], omit_s: float, duration_s: float) -> dict[Pair, float]:
    """Return when each pair began (Unix seconds), as far as it does soon enough after the first."""
    began: dict[Pair, float] = {}
    limit_s = time.time() + omit_s + duration_s
    while len(began) < len(flows) and time.time() < limit_s:
        waiting = [flow for flow in flows if flow.target.pair not in began]
        for flow in waiting:
            if flow.has_begun:
                began[flow.target.pair] = time.time()
                limit_s = latest_s(min(began.values()), duration_s)
        if not any(flow.client.alive for flow in waiting):
            break
        time.sleep(_LOOK_EVERY_S)
    return began


def _so_far(flows: Sequence[Flow]) -> dict[Pair, Reading]:
    """Read what these pairs have got; nothing where there is no connection yet, but a client that tries."""
    waiting = {flow.target.pair: Reading(time.time(), 0) for flow in flows if not flow.has_begun and flow.client.alive}
    return waiting | _read(flows)


def _read(flows: Sequence[Flow]) -> dict[Pair, Reading]:
    """Read what the receivers of these pairs have got, one look at each node; one whose sockets are gone has none."""
    found: dict[Pair, Reading] = {}
    for node in dict.fromkeys(flow.target.dst for flow in flows):
        ports = {
            flow.target.stream(flow.server.port).listen_port: flow.target.pair
            for flow in flows
            if flow.target.dst == node
        }
        which = " or ".join(f"sport = :{port}" for port in ports)
        at_s = time.time()
        said = flows[0].target.lab.nodes[node].check_output(["ss", "-tinH", f"( {which} )"])
        found |= {ports[port]: Reading(at_s, got) for port, got in received_by_port(said).items() if port in ports}
    return found


def _sleep_until(moment_s: float) -> None:
    with contextlib.suppress(ValueError):  # it has passed
        time.sleep(moment_s - time.time())
