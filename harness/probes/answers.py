"""What became of a steady stream of pings: which were answered, when, and what an event did to them. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*?icmp_seq=(\d+) .*?time=([\d.]+) ms( \(DUP!\))?", re.MULTILINE)

_SILENT = re.compile(r"^\[(\d+\.\d+)\] no answer yet for icmp_seq=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Answers:
    """Answered pings in the order of their answers: Unix seconds at which each was sent, and answered.

    `silent_s` is, for each ping that was never answered, when the next one was sent. `duplicates` came more than once;
    `reordered` were overtaken by the answer of a later one.
    """

    sent_s: tuple[float, ...]
    answered_s: tuple[float, ...]
    silent_s: tuple[float, ...]
    duplicates: int
    reordered: int


def parse_pings(log: str) -> Answers:
    """Parse the log of `ping -D`, whose stamps are the times of the answers."""
    sent: list[float] = []
    answered: list[float] = []
    numbers: set[str] = set()
    duplicates = reordered = latest = 0
    for stamp, number, trip_ms, again in _REPLY.findall(log):
        if again:
            duplicates += 1
            continue
        numbers.add(number)
        reordered += int(number) < latest
        latest = max(latest, int(number))
        sent.append(float(stamp) - float(trip_ms) / 1000)
        answered.append(float(stamp))
    silent = tuple(float(stamp) for stamp, number in _SILENT.findall(log) if number not in numbers)
    return Answers(tuple(sent), tuple(answered), silent, duplicates, reordered)


def longest_gap_s(answered_s: Sequence[float], begin_s: float, end_s: float) -> float:
    """Return the longest time without an answer between two moments, both ends included."""
    inside = [begin_s, *sorted(moment for moment in answered_s if begin_s < moment < end_s), end_s]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def recovery_s(answers: Answers, effective_s: float, end_s: float) -> float | None:
    """Return the seconds from an event to the first answer of a ping sent after it; None where none came in time.

    A ping that was under way when the event took effect tells of the time before it.
    """
    came = [
        answered
        for sent, answered in zip(answers.sent_s, answers.answered_s, strict=True)
        if sent >= effective_s and answered <= end_s
    ]
    return min(came) - effective_s if came else None
