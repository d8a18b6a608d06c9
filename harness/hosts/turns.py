"""Turns, by which trials share a machine: waiting with waiting, shared with shared, exclusive alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.trial.messages import Turn

# When no turn is held, load goes first: trials that only wait would otherwise hold up those that are nearly done.
_PRIORITY: tuple[Turn, ...] = ("exclusive", "shared", "waiting")


@dataclass
class Turns:
    """The queue that gives turns to trials.

    A trial is *live* from its first turn until `leave`; at most `jobs` are. Live trials hold one turn at a time or wait
    for one. No turn of one kind is given while one of another kind is held.
    """

    jobs: int
    _held: dict[str, Turn] = field(default_factory=dict)
    _wanted: dict[str, Turn] = field(default_factory=dict)

    def want(self, trial: str, turn: Turn) -> None:
        """Give back whatever `trial` holds and queue it for `turn`."""
        self._held.pop(trial, None)
        self._wanted[trial] = turn

    def leave(self, trial: str) -> None:
        """Note that the trial has ended."""
        self._held.pop(trial, None)
        self._wanted.pop(trial, None)

    @property
    def live(self) -> int:
        """Trials that hold or want a turn."""
        return len(self._held) + len(self._wanted)

    @property
    def may_admit(self) -> bool:
        """Tell whether a new trial may start now: a place is free, and no trial measures or waits to."""
        measuring = {*self._held.values(), *self._wanted.values()} & {"shared", "exclusive"}
        return self.live < self.jobs and (not measuring or "waiting" in self._held.values())

    def grant(self) -> list[str]:
        """Return the trials that get their turn now, in the order in which they asked."""
        kinds = set(self._held.values())
        if "exclusive" in kinds:
            return []
        kind = kinds.pop() if kinds else next((one for one in _PRIORITY if one in self._wanted.values()), None)
        if kind is None:
            return []
        granted = [trial for trial, turn in self._wanted.items() if turn == kind]
        if kind == "exclusive":
            granted = granted[:1]
        for trial in granted:
            self._held[trial] = self._wanted.pop(trial)
        return granted
