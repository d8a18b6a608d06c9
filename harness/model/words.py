"""The words in which trials are written and judged, each said once. It imports nothing: every room can use them."""

from __future__ import annotations

from typing import Final, Literal, get_args

# *failed* is the overlay's fault, *error* ours; *unsupported*: it has no such mode; *invalid*: the lab was not what it
# said.
Outcome = Literal["ok", "failed", "unsupported", "invalid", "error"]
# What the lab's counters saw of one pair of members. *asymmetric*: one way direct, the other relayed.
Verdict = Literal["direct", "relayed", "asymmetric", "mixed", "none"]

# What an overlay is asked for; `underlay` is the baseline without one.
Mode = Literal["underlay", "mesh", "direct", "relay", "hub"]
# What a scenario may say of its links. `userlink-python` carries them where `auto` finds nothing better.
LinkChoice = Literal["auto", "netem", "userlink"]
LinkBackendName = Literal["netem", "userlink", "userlink-python"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
# Those in which an overlay looks for a direct path, the one that falls back to a relay first.
SEEKING_DIRECT: Final[tuple[Mode, ...]] = ("mesh", "direct")
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
