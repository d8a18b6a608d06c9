"""What the parties of an MPyC program said of its runs, and whether it came to a halt. Pure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.probes.steady import Window

Program = Literal["derangement", "dense", "cnn"]


@dataclass(frozen=True)
class Spent:
    """What stood before the first and after the last run; useful are all octets that parties sent each other between.

    `places` are the links at which it is counted what leaves a site (`harness.probes.exits`). 0 useful octets: unknown.
    """

    window: Window
    places: Mapping[str, frozenset[str]]
    members: Sequence[str]
    server: str | None
    evidence: str


@dataclass(frozen=True)
class Ran:
    """One program as party 0 saw it: seconds of each time that it ran through, and octets that the party then sent.

    `why_not` is what ended it early, `killed` that it was a signal to a party, which no network sends. `spent` is what
    all runs together took of nodes and links, None where they never began.
    """

    program: Program
    times_s: tuple[float, ...]
    sent_bytes: tuple[int, ...]
    evidence: str
    why_not: str | None = None
    killed: bool = False
    spent: Spent | None = None

    def why_halted(self, deadline_s: float) -> str | None:
        """Say that it was ended early, or that no run ended in the second half of its deadline; None: it went on."""
        if (
            self.why_not is None
            or self.killed
            or (self.why_not == not_done(deadline_s) and sum(self.times_s) > deadline_s / 2)
        ):
            return None
        return f"carried only {len(self.times_s)} runs of `{self.program}`: {self.why_not}"


def not_done(deadline_s: float) -> str:
    """Say that the deadline ended it."""
    return f"not done after {deadline_s:g} s"


def read_runs(text: str) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the seconds and sent octets of each run in a party's output, whatever else is in it. Pure."""
    found = []
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "elapsed_s" in said:
            found.append((float(said["elapsed_s"]), int(said["bytes_sent"])))
    return tuple(time_s for time_s, _ in found), tuple(sent for _, sent in found)


def useful_bytes(texts: Iterable[str]) -> int:
    """Return the octets that all parties sent in all runs, of what each printed; 0 where one has not said. Pure."""
    sent = [_said(text, "all_bytes_sent") for text in texts]
    return 0 if not all(sent) else sum(one[-1] for one in sent)


def _said(text: str, what: str) -> list[int]:
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and what in said:
                found.append(int(said[what]))
    return found
