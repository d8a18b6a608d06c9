"""Which host runs which trial: a block goes to one host, and each condition to several. Pure.

A block is all trials of one condition and repeat (they share a seed): the host is never confounded with overlays, and
what is compared in pairs was measured on one machine. A condition that one host alone has seen tells nothing of that
host: its last block is kept for a second one, even where that one is slower and the first has nothing left to do.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from harness.model.trial import Trial

# So many hosts are to see each condition, as far as it has repeats, and they are up.
ENOUGH: Final = 2


class Placement:
    """Hosts by name, each with so many places; one that is down has none."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self._up = set(slots)
        self._held: dict[str, str] = {}
        self._live: Counter[str] = Counter()
        self._blocks: dict[int, str] = {}
        self._seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._conditions: dict[int, str] = {}

    def resume(self, ran: Iterable[tuple[Trial, str]]) -> None:
        """Note where trials of an earlier part of the run ran, in order; these hosts may be others than those now.

        A block of which some ran on a host that is here again goes on there.
        """
        told = set[tuple[int, str]]()
        for trial, host in ran:
            if (trial.seed, host) not in told:
                told.add((trial.seed, host))
                self._seen[self._condition_of(trial)][host] += 1
            self._blocks[trial.seed] = host

    @property
    def up(self) -> frozenset[str]:
        """The hosts that take trials."""
        return frozenset(self._up)

    def choose(self, waiting: Iterable[Trial]) -> Trial | None:
        """Give the first trial that can run now a place, and return it; None where none can.

        Blocks whose condition a free host has seen least often go before others, so that a condition is seen by as many
        hosts as it has repeats where hosts are equally quick.
        """
        if not any(self._free(host) for host in self._up):
            return None
        trials = tuple(waiting)
        return self._first(trials, self._rarest) or self._first(trials, self._spared(trials))

    def place(self, trial: Trial) -> str | None:
        """Give a trial a place, and return its host; None where there is none for it.

        A block stays where it is as long as its host is up. A new one goes where its condition was least often, and
        among those where most is free.
        """
        return self._hold(trial, lambda _: list(self._up))

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

    def _first(self, trials: Sequence[Trial], hosts: Callable[[str], Sequence[str]]) -> Trial | None:
        """Give the first trial that can run a place; a new block goes to one of the `hosts` of its condition."""
        full = set[int]()
        for trial in trials:
            if trial.seed not in full:
                if self._hold(trial, hosts) is not None:
                    return trial
                full.add(trial.seed)
        return None

    def _hold(self, trial: Trial, hosts: Callable[[str], Sequence[str]]) -> str | None:
        host = self._blocks.get(trial.seed)
        if host not in self._up:
            condition = self._condition_of(trial)
            free = [name for name in sorted(hosts(condition)) if self._free(name)]
            if not free:
                return None
            host = min(free, key=lambda name: (self._seen[condition][name], self._live[name] / self._slots[name]))
            self._seen[condition][host] += 1
            self._blocks[trial.seed] = host
        elif not self._free(host):
            return None
        self._held[trial.id] = host
        self._live[host] += 1
        return host

    def _rarest(self, condition: str) -> list[str]:
        """Return the hosts that have seen a condition least often."""
        least = min(self._seen[condition][host] for host in self._up)
        return [host for host in self._up if self._seen[condition][host] == least]

    def _spared(self, trials: Sequence[Trial]) -> Callable[[str], Sequence[str]]:
        """Return which hosts a condition may go to such that blocks are left for others that are to see it."""
        begun = self._blocks.keys()
        left = Counter(
            self._condition_of(one) for one in {one.seed: one for one in trials if one.seed not in begun}.values()
        )

        def hosts(condition: str) -> list[str]:
            new = [host for host in self._up if not self._seen[condition][host]]
            known = sum(1 for times in self._seen[condition].values() if times)  # hosts of an earlier part as well
            wanted = min(ENOUGH - known, len(new))
            # A block that has lost its host is none that is left.
            return list(self._up) if not left[condition] or left[condition] > wanted else new

        return hosts

    def _condition_of(self, trial: Trial) -> str:
        if trial.seed not in self._conditions:
            self._conditions[trial.seed] = condition_of(trial)
        return self._conditions[trial.seed]

    def _free(self, host: str) -> bool:
        return self._live[host] < self._slots[host]


def condition_of(trial: Trial) -> str:
    """Return what the repeats of a block share, whatever the overlay."""
    cell = {key: value for key, value in trial.cell.items() if key not in ("overlay", "mode")}
    return json.dumps(cell, sort_keys=True)
