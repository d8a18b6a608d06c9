"""Which host runs which trial: a block goes to one host, and each condition to several. Pure.

A block is all trials of one condition and repeat (they share a seed): the host is never confounded with overlays, and
what is compared in pairs was measured on one machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from harness.model.trial import Trial


class Placement:
    """Hosts by name, each with so many places; one that is down has none."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self._up = set(slots)
        self._held: dict[str, str] = {}
        self._live: Counter[str] = Counter()
        self._blocks: dict[int, str] = {}
        self._seen: Counter[tuple[str, str]] = Counter()

    @property
    def up(self) -> frozenset[str]:
        """The hosts that take trials."""
        return frozenset(self._up)

    def choose(self, waiting: Iterable[Trial]) -> Trial | None:
        """Give the first trial that can run now a place, and return it; None where none can."""
        if not any(self._free(host) for host in self._up):
            return None
        return next((trial for trial in waiting if self.place(trial) is not None), None)

    def place(self, trial: Trial) -> str | None:
        """Give a trial a place, and return its host; None where there is none for it.

        A block stays where it is as long as its host is up. A new one goes where its condition was least often, so that
        each is seen on as many hosts as it has repeats, and among those where most is free.
        """
        host = self._blocks.get(trial.seed)
        if host not in self._up:
            free = [name for name in sorted(self._up) if self._free(name)]
            if not free:
                return None
            condition = _condition(trial)
            host = min(free, key=lambda name: (self._seen[condition, name], self._live[name] / self._slots[name]))
            self._seen[condition, host] += 1
            self._blocks[trial.seed] = host
        elif not self._free(host):
            return None
        self._held[trial.id] = host
        self._live[host] += 1
        return host

    def host_of(self, trial: str) -> str | None:
        """Return the host on which a trial has its place."""
        return self._held.get(trial)

    def leave(self, trial: str) -> None:
        """Note that a trial needs its place no more."""
        host = self._held.pop(trial, None)
        if host is not None:
            self._live[host] -= 1

    def down(self, host: str) -> None:
        """Note that a host takes no trials; what is left of its blocks goes elsewhere."""
        self._up.discard(host)

    def back(self, host: str) -> None:
        """Note that a host takes trials again."""
        self._up.add(host)

    def _free(self, host: str) -> bool:
        return self._live[host] < self._slots[host]


def _condition(trial: Trial) -> str:
    """Return what the repeats of a block share, whatever the overlay."""
    cell = {key: value for key, value in trial.cell.items() if key not in ("overlay", "mode")}
    return json.dumps(cell, sort_keys=True)
