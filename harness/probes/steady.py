"""What a load costs while it is steady: two readings of everything, well inside the load, and the difference.

A rate times a nominal time is not what crossed: slow start, the queue that drains after the end and what is sent again
then were a third of a second's transfer. So what was moved is read from the receiving sockets (TCP_INFO), at the very
moments at which links and processes are read, once slow start is over (RFC 6349's equilibrium).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from harness.probes.measurement import Stream, Target

if TYPE_CHECKING:
    from harness.lab.process import Daemon, Usage
    from harness.link.accounting import Accounting
    from harness.probes.contract import Surroundings

_RECEIVED = re.compile(r"\bbytes_received:(\d+)")
_SENT, _SENT_AGAIN = re.compile(r"\bbytes_sent:(\d+)"), re.compile(r"\bbytes_retrans:(\d+)")
_FLOWS_BYTES: Final = 20_000
_PATIENCE_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.02
# Before the load ends, so that none of its end is in the window.
_MARGIN_S: Final = 0.1


@dataclass(frozen=True)
class Reading:
    """What stood when it was read: Unix time in s, octets of TCP payload received so far, usage by node, the links'.

    `sent_bytes` are the octets of payload sent so far, each once; None where the sender's kernel does not tell.
    """

    at_s: float
    received_bytes: int
    usage: Mapping[str, Usage]
    carried: Accounting
    sent_bytes: int | None = None


@dataclass(frozen=True)
class Window:
    """A load of `what` (a pair and its direction) between two readings."""

    what: str
    before: Reading
    after: Reading

    @property
    def moved_bytes(self) -> int:
        """Octets of TCP payload that were received meanwhile."""
        return self.after.received_bytes - self.before.received_bytes

    @property
    def edge_bytes(self) -> int | None:
        """By how many octets of payload more were under way at its end than at its beginning; None: unknown.

        The links carried these in the window, and the receivers got them after it (or the other way round).
        """
        if self.before.sent_bytes is None or self.after.sent_bytes is None:
            return None
        return self.after.sent_bytes - self.before.sent_bytes - self.moved_bytes

    @property
    def cpu_s(self) -> float:
        """CPU time that the overlay's processes on all nodes spent meanwhile."""
        before = self.before.usage
        return sum(
            used.cpu_s - (before[node].cpu_s if node in before else 0.0) for node, used in self.after.usage.items()
        )

    @property
    def carried(self) -> Accounting:
        """What the links carried meanwhile."""
        return self.after.carried.since(self.before.carried)

    def as_dict(self) -> dict[str, Any]:
        """Return the raw readings, as they are kept."""
        return {
            "what": self.what,
            **{
                when: {
                    "at_s": one.at_s,
                    "received_bytes": one.received_bytes,
                    "sent_bytes": one.sent_bytes,
                    "usage": {node: {"cpu_s": u.cpu_s, "rss_mib": u.rss_mib} for node, u in one.usage.items()},
                    "links": {
                        link: {way: {"sent": c.sent, "sent_bytes": c.sent_bytes} for way, c in ways.items()}
                        for link, ways in one.carried.counts.items()
                    },
                }
                for when, one in (("before", self.before), ("after", self.after))
            },
        }


def readings_text(windows: Iterable[Window]) -> str:
    """Return the raw readings as JSON."""
    return json.dumps([window.as_dict() for window in windows], indent=1)


def watch_load(
    target: Target, trial: Surroundings, load: Daemon, way: str, *, port: int, omit_s: float, duration_s: float
) -> Window | None:
    """Measure the steady part of a load that has just been started; None where it, or one of its ways, ended before.

    On a slow machine a look at the sockets takes a tenth of a second, and the load is that much older when it is first
    seen: the window ends so much earlier. Else one of two ways might be over by then, and what it moved be missing.

    Args:
        way: `forward`, `backward` or `both`: who receives.
        omit_s: how much of its beginning is left out.
        duration_s: how long it goes on then.
    """
    stream = target.stream(port)
    asked = looked = time.monotonic()
    while received_bytes(target, stream, way) < _FLOWS_BYTES:
        if not load.alive or time.monotonic() > asked + _PATIENCE_S:
            return None
        time.sleep(_LOOK_EVERY_S)
        looked = time.monotonic()
    look_s = time.monotonic() - looked
    time.sleep(max(0.0, looked + omit_s - time.monotonic()))
    before = _read(target, stream, trial, way)
    # Begun by as much as a look before the one that saw it; and a reading takes two looks.
    time.sleep(max(0.0, looked + omit_s + duration_s - _MARGIN_S - 3 * look_s - time.monotonic()))
    after = _read(target, stream, trial, way)
    # Of a window that looks have eaten up there is nothing left but its edges.
    long_enough = after.reading.at_s - before.reading.at_s >= duration_s / 2
    whole = load.alive and after.ways == before.ways and long_enough
    return Window(f"{target.label} {target.src} {target.dst} {way}", before.reading, after.reading) if whole else None


class _Look(NamedTuple):
    """A reading, and how many sockets had received something: one that is gone is a way that is over."""

    reading: Reading
    ways: int


def _read(target: Target, stream: Stream, trial: Surroundings, way: str) -> _Look:
    at_s, sent = time.time(), parse_sent(_sockets(target, stream, _OTHER_WAY[way]))
    text = _sockets(target, stream, way)
    return _Look(Reading(at_s, parse_received(text), trial.usage(), trial.carried(), sent), count_of_ways(text))


_OTHER_WAY: Final = {"forward": "backward", "backward": "forward", "both": "both"}


def received_bytes(target: Target, stream: Stream, way: str) -> int:
    """Return the octets of TCP payload that the load's sockets have received so far, at the ends that `way` names."""
    return parse_received(_sockets(target, stream, way))


def _sockets(target: Target, stream: Stream, way: str) -> str:
    """Return what ss(8) says of the load's sockets at the ends that receive what goes that way."""
    ends: Sequence[tuple[str, str]] = {
        "forward": [(target.dst, f"sport = :{stream.listen_port}")],
        "backward": [(target.src, f"dport = :{stream.connect_port}")],
    }.get(way, [(target.dst, f"sport = :{stream.listen_port}"), (target.src, f"dport = :{stream.connect_port}")])
    nodes = target.lab.nodes
    return "\n".join(nodes[node].check_output(["ss", "-tinH", f"( {which} )"]) for node, which in ends)


def parse_received(text: str) -> int:
    """Return the sum over all sockets of what ss(8) says they received."""
    return sum(int(found) for found in _RECEIVED.findall(text))


def count_of_ways(text: str) -> int:
    """Return how many sockets ss(8) says received as much as a load does, not the words that go with it."""
    return sum(int(found) >= _FLOWS_BYTES for found in _RECEIVED.findall(text))


def parse_sent(text: str) -> int | None:
    """Return the sum over all sockets of what ss(8) says they sent, each octet once; None: it does not say."""
    sent = [int(found) for found in _SENT.findall(text)]
    return sum(sent) - sum(int(found) for found in _SENT_AGAIN.findall(text)) if sent else None
