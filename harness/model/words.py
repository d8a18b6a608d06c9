"""The words in which trials are judged, each said once. Imports nothing, so that every room can use them."""

from __future__ import annotations

from typing import Final, Literal, get_args

# *failed* is the overlay's fault, *error* ours; *unsupported*: it has no such mode; *invalid*: the lab was not what it
# said.
Outcome = Literal["ok", "failed", "unsupported", "invalid", "error"]
# What the lab's counters saw of one pair of members. *asymmetric*: one way direct, the other relayed.
Verdict = Literal["direct", "relayed", "asymmetric", "mixed", "none"]

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
