"""What a running trial shows of itself every second (`run --live`): rates, the paths of the moment, events."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Final, Protocol

from harness.errors import OverlaybenchError
from harness.lab import counters
from harness.probes.contract import Happened, Measurement, Timeline
from harness.probes.verdict import member_addresses, path_of_burst
from harness.trial.messages import NOW

_EVERY_S: Final = 1.0
_QUIET_MBIT: Final = 0.01
# What is judged within a second; less is no traffic of anybody's.
_LEAST_BYTES: Final = 100
_MOST_PAIRS: Final = 10


class _Lab(Protocol):
    topology: Any

    @property
    def beside(self) -> Mapping[str, Sequence[str]]: ...

    def port_of(self, node: str) -> str:
        """Return the interface that faces a node."""


@dataclass(frozen=True)
class Rate:
    """What a member sent and got within a second, in Mbit/s of whole frames."""

    up: float
    down: float

    def __str__(self) -> str:
        return f"up {self.up:.2f} down {self.down:.2f}"


Readings = Mapping[str, tuple[int, int]]


def rates_between(before: Readings, after: Readings, s: float) -> dict[str, Rate]:
    """Return each member's rates from two readings of bytes that it sent and got, `s` seconds apart."""
    return {
        name: Rate(*((now - then) * 8e-6 / s for now, then in zip(after[name], before[name], strict=True)))
        for name in after
        if name in before
    }


def line_of(rates: Mapping[str, Rate], paths: Mapping[tuple[str, str], str]) -> str | None:
    """Return the moment in a line; None where nothing moves."""
    moving = {name: rate for name, rate in rates.items() if max(rate.up, rate.down) >= _QUIET_MBIT}
    if not moving:
        return None
    said = ", ".join(f"{name} {rate}" for name, rate in moving.items())
    ways = ", ".join(f"{src}-{dst} {path}" for (src, dst), path in paths.items() if path != "none")
    return f"{NOW}: {said} Mbit/s{f'; {ways}' if ways else ''}"


def event_line(event: Happened) -> str:
    """Return an event in a line."""
    return f"event: {event.do} {event.to}{' undone' if event.undone else ''}"


def figure_lines(figures: Sequence[Measurement], telling: str) -> list[str]:
    """Return the figures of a probe that people look for first, one line each."""
    return [
        f"{one.probe}: {f'{one.src}-{one.dst} ' if one.src and one.dst else ''}{one.metric} {one.value:.4g} {one.unit}"
        f"{f', {one.path}' if one.path else ''}"
        for one in figures
        if one.metric == telling and one.value is not None
    ]


class PathsNow:
    """The paths of a lab's first pairs of members since the last look, told by what its counters grew by."""

    def __init__(self, lab: _Lab) -> None:
        self._lab, self._counted = lab, _counted()
        self._pairs = list(islice(combinations(lab.topology.members, 2), _MOST_PAIRS))

    def look(self) -> dict[tuple[str, str], str]:
        """Return the path of each pair; empty where the counters could not be read now or then, or began again."""
        before, now = self._counted, _counted()
        self._counted = now
        if before is None or now is None or any(now.get(flow, 0) < total for flow, total in before.items()):
            return {}
        # Events change them.
        members = {name for pair in self._pairs for name in pair}
        addresses = {name: member_addresses(self._lab.topology, name) for name in members}
        grown = counters.since(before, now)
        return {(a, b): path_of_burst(grown, addresses[a], addresses[b], _LEAST_BYTES) for a, b in self._pairs}


def _counted() -> counters.Counts | None:
    with contextlib.suppress(OverlaybenchError):
        return counters.read()
    return None


class LiveView:
    """Looks at a lab from a thread of its own until `close`; what it costs is the price of looking."""

    def __init__(self, lab: _Lab, timeline: Timeline, say: Callable[[str], None]) -> None:
        self._lab, self._timeline, self._say = lab, timeline, say
        self._over = threading.Event()
        self._told = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()
        self._events()

    def _watch(self) -> None:
        before, paths, at = self._bytes(), PathsNow(self._lab), time.monotonic()
        while not self._over.wait(_EVERY_S):
            self._events()
            after, ways, now = self._bytes(), paths.look(), time.monotonic()
            line = line_of(rates_between(before, after, now - at), ways)
            if line is not None:
                self._say(line)
            before, at = after, now

    def _events(self) -> None:
        happened = self._timeline.happened[self._told :]
        self._told += len(happened)
        for event in happened:
            self._say(event_line(event))

    def _bytes(self) -> dict[str, tuple[int, int]]:
        """Return what each member sent and got so far; a port that an event has just taken away is left out."""
        found = {}
        for name in self._lab.topology.members:
            with contextlib.suppress(OSError, OverlaybenchError, AttributeError):
                first = self._lab.port_of(name)
                ports = [
                    Path("/sys/class/net", port, "statistics") for port in (first, *self._lab.beside.get(first, ()))
                ]
                sent, got = (sum(int((one / kind).read_text()) for one in ports) for kind in ("rx_bytes", "tx_bytes"))
                found[name] = (sent, got)
        return found
