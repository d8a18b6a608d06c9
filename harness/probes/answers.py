"""What became of a steady traffic: which questions were answered, when, and what an event did to them. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.probes.carriage import Carried, first_certain

if TYPE_CHECKING:
    from harness.model.words import Verdict

# A path is what nearly all of the last questions before a moment took.
_LAST: Final = 10
_MOST_OF: Final = 0.9
_SILENT_S: Final = 2.0
# An answer that is later than usual by this is missing: what a gap must be longer by to matter.
_TELLING_S: Final = 0.2


@dataclass(frozen=True)
class Asked:
    """One question: Unix seconds at which it was sent and answered, None where it never was, and the way that it took.

    `way` is empty where it cannot be told: of streams, and of what was never answered.
    """

    sent_s: float
    answered_s: float | None
    way: Carried | Literal[""] = ""


def answered_s(asked: Iterable[Asked]) -> list[float]:
    """Return the moments of all answers, in the order of the questions."""
    return [one.answered_s for one in asked if one.answered_s is not None]


def between(asked: Iterable[Asked], begin_s: float, end_s: float) -> list[Asked]:
    """Return the questions that were sent from one moment until before another."""
    return [one for one in asked if begin_s <= one.sent_s < end_s]


def reordered(asked: Sequence[Asked]) -> int:
    """Count the answers the answer of a later question overtook (RFC 4737, section 3)."""
    late, latest = 0, -1
    arrived = sorted((one.answered_s, number) for number, one in enumerate(asked) if one.answered_s is not None)
    for _, number in arrived:
        late += number < latest
        latest = max(latest, number)
    return late


@dataclass(frozen=True)
class Gap:
    """The longest time without an answer in a window; `is_open`: it was not over when the window was."""

    lasted_s: float
    is_open: bool = False

    @property
    def value_s(self) -> float | None:
        """How long it was; None: censored, as it had not ended."""
        return None if self.is_open else self.lasted_s


def longest_gap(asked: Sequence[Asked], begin_s: float, end_s: float) -> Gap | None:
    """Return the longest time without an answer from the beginning of a window on; None: the window was too short.

    A gap that reaches the window's end is cut off by what comes next, another event for example, so its length is not
    known. It counts as open if a packet sent before the end had waited longer than answers usually take. An open gap is
    returned only once it is longer than every gap that ended; until then the longest gap is one of known length.
    """
    moments = answered_s(asked)
    inside = [begin_s, *sorted(moment for moment in moments if begin_s < moment < end_s)]
    closed_s = max((later - earlier for earlier, later in itertools.pairwise(inside)), default=None)
    heard_s = max((one.sent_s for one in asked if one.answered_s is not None and one.answered_s < end_s), default=-1.0)
    silent_s = min((max(one.sent_s, begin_s) for one in asked if heard_s < one.sent_s < end_s), default=end_s)
    usual_s = statistics.median([one.answered_s - one.sent_s for one in asked if one.answered_s is not None] or [0.0])
    left_s = end_s - inside[-1]
    if end_s - silent_s > usual_s + _TELLING_S and left_s > (closed_s or 0.0):
        return Gap(left_s, is_open=True)
    return None if closed_s is None else Gap(closed_s)


def recovery_s(asked: Iterable[Asked], effective_s: float, end_s: float) -> float | None:
    """Return the time from an event to the first answer of a question sent after it; None: not before `end_s`.

    A question that was under way when the event took effect tells of the time before it.
    """
    came = answered_s(one for one in asked if one.sent_s >= effective_s)
    return min(came) - effective_s if came and min(came) <= end_s else None


def path_recovery_s(asked: Iterable[Asked], right: Carried, effective_s: float, end_s: float) -> float | None:
    """Return the time to the answer of the first later question that went the right way; None: not before `end_s`."""
    after = [one for one in asked if one.sent_s >= effective_s and one.answered_s is not None]
    first = first_certain([one.way for one in after], right)
    if first is None:
        return None
    came = after[first].answered_s
    return None if came is None or came > end_s else came - effective_s


def path_at(asked: Sequence[Asked], begin_s: float, end_s: float) -> Verdict | None:
    """Return the path at the end of a window, by the last questions asked and answered in it; `none`: none lately.

    None: the window is empty, or it cannot be told.
    """
    inside = between(asked, begin_s, end_s)
    last = [one for one in inside if one.answered_s is not None and one.answered_s < end_s][-_LAST:]
    if not inside:
        return None
    if not last or last[-1].sent_s < inside[-1].sent_s - _SILENT_S:
        return "none"
    told = Counter(one.way for one in last)
    ways: tuple[Literal["direct", "relayed", "asymmetric"], ...] = ("direct", "relayed", "asymmetric")
    for way in ways:
        if told[way] >= _MOST_OF * len(last):
            return way
    return "mixed" if sum(told[way] for way in ways) >= _MOST_OF * len(last) else None
