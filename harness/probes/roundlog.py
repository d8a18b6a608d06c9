"""What the parties of a computation in rounds wrote down, and the rounds that come of it. Pure.

A round is over when the last party has finished it, which is the moment at which all can have begun the next: so the
rounds' durations add up to the time of the whole.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_RECORD = struct.Struct("=qq")
_BEGAN = re.compile(r"^began (\d+)$", re.MULTILINE)
_LOST = re.compile(r"^lost (\d+) (\d+)$", re.MULTILINE)
_END = re.compile(r"^rounds (\d+) user_us (\d+) system_us (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Finished:
    """A party's end of one round: Unix time in seconds, and whose data came last (its own: it did not wait)."""

    at_s: float
    last: str


@dataclass(frozen=True)
class PartyLog:
    """One party: when it began, Unix time in seconds; None: it never did.

    `lost` are the parties to which its connection broke. CPU times in microseconds, None of one that was killed.
    """

    name: str
    began_s: float | None
    finished: tuple[Finished, ...]
    lost: tuple[str, ...]
    user_us: int | None
    system_us: int | None


@dataclass(frozen=True)
class Round:
    """A round that all parties finished: when, after how long, who was the last, and whose data it had waited for.

    Unix time and duration in seconds. `waited_for` is the last party itself where it had not waited.
    """

    finished_s: float
    duration_s: float
    party: str
    waited_for: str


def read_party(name: str, names: Sequence[str], said: str, log: bytes) -> PartyLog:
    """Read a party's output and its log, which ends with the first empty record."""
    finished = []
    for at_ns, last in _RECORD.iter_unpack(log[: len(log) - len(log) % _RECORD.size]):
        if not at_ns:
            break
        finished.append(Finished(at_ns / 1e9, names[last]))
    began, end = _BEGAN.search(said), _END.search(said)
    return PartyLog(
        name,
        int(began[1]) / 1e9 if began else None,
        tuple(finished),
        tuple(names[int(index)] for index, _ in _LOST.findall(said)),
        int(end[2]) if end else None,
        int(end[3]) if end else None,
    )


def begin_of(parties: Sequence[PartyLog]) -> float | None:
    """Return when the last party had begun; None where one never did."""
    began = [party.began_s for party in parties]
    return None if None in began else max(moment for moment in began if moment is not None)


def rounds_of(parties: Sequence[PartyLog]) -> list[Round]:
    """Return the rounds that all parties finished, in their order."""
    begin_s = begin_of(parties)
    if begin_s is None:
        return []
    rounds, before_s = [], begin_s
    for ends in zip(*(party.finished for party in parties), strict=False):
        at, slowest = max(enumerate(ends), key=lambda one: one[1].at_s)
        rounds.append(Round(slowest.at_s, slowest.at_s - before_s, parties[at].name, slowest.last))
        before_s = slowest.at_s
    return rounds


def rounds_text(begin_s: float | None, rounds: Iterable[Round]) -> str:
    """Return the rounds as CSV, the evidence that is kept; `begun` and `finished` are Unix seconds."""
    lines = ["round,begun_s,finished_s,party,waited_for"]
    before_s = begin_s
    for number, one in enumerate(rounds, 1):
        lines.append(f"{number},{before_s:.7f},{one.finished_s:.7f},{one.party},{one.waited_for}")
        before_s = one.finished_s
    return "\n".join(lines) + "\n"
