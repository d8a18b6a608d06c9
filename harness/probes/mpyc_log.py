"""What the parties of an MPyC program said of its runs, and whether it came to a halt. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

Program = Literal["derangement", "dense", "cnn"]


@dataclass(frozen=True)
class Ran:
    """One program as party 0 saw it: seconds of each time that it ran through, and octets that the party then sent.

    `why_not` is what ended it early, `killed` that it was a signal to a party, which no network sends.
    """

    program: Program
    times_s: tuple[float, ...]
    sent_bytes: tuple[int, ...]
    evidence: str
    why_not: str | None = None
    killed: bool = False

    def why_halted(self, deadline_s: float) -> str | None:
        """Say that it was ended early, or that no run ended in the second half of its deadline; None: it went on."""
        if (
            self.why_not is None
            or self.killed
            or (self.why_not == not_done(deadline_s) and sum(self.times_s) > deadline_s / 2)
        ):
            return None
        return f"carried {len(self.times_s)} runs of `{self.program}` and no more: {self.why_not}"


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
