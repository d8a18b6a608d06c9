"""Whether a run is as its scenario expects: all finished trials of its folder, whenever they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.results.expectations import Expected, unmet

if TYPE_CHECKING:
    from harness.results.judging import Judged


@dataclass
class RunJudgement:
    """What a run's trials are, against what was expected of them.

    `finished` counts trials, `judged` those of which anything was expected; `failed` is how many of the others failed.
    `complaints`, `invalid` and `errors` are sentences; a trial that is invalid stands in one of the first two.
    """

    finished: int = 0
    judged: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    numbers: list[Judged] = field(default_factory=list)

    @property
    def as_expected(self) -> bool:
        """Whether nothing was broken; what is not decided breaks nothing."""
        return not (self.complaints or self.invalid or self.broken)

    @property
    def broken(self) -> list[Judged]:
        """The numbers that are not met, or were never measured."""
        return [one for one in self.numbers if one.is_broken]

    @property
    def text(self) -> str:
        """What was judged, in a sentence; that it was nothing, too."""
        if not self.judged and not self.finished:
            return "nothing was judged: no trial has finished"
        if not self.judged:
            failed = f" ({self.failed} failed)" if self.failed else ""
            return (
                f"nothing was judged: the scenario expects nothing of {_many(self.finished, 'trial')}{failed}; exit "
                "code 0 only means that they ran"
            )
        text = f"judged: {self.judged} of {_many(self.finished, 'trial')}"
        if self.numbers:
            counts = {word: sum(one.judgement == word for one in self.numbers) for word in _WORDS}
            text += (
                f", {_many(len(self.numbers), 'number')}: {', '.join(f'{n} {word}' for word, n in counts.items() if n)}"
            )
        if self.failed:
            text += f"; {_many(self.failed, 'trial')} of which nothing was expected failed"
        return text


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


_WORDS = ("met", "not met", "against it", "not decided", "not measured")


def judge_run(expected: Iterable[Expected], records: Sequence[Mapping[str, Any]]) -> RunJudgement:
    """Judge all trials that have finished.

    Args:
        expected: of every planned trial.
        records: of the folder, a trial's in their order.
    """
    by_trial: dict[str, list[Mapping[str, Any]]] = {}
    for row in records:
        by_trial.setdefault(row["trial"], []).append(row)
    planned = list(expected)
    found = RunJudgement()
    for one in planned:
        if one.trial in by_trial:
            _trial(one, by_trial[one.trial], found)
    if any(one.numbers for one in planned):
        from harness.results.judging import judge_cells  # noqa: PLC0415  # scipy is slow to load

        found.numbers = judge_cells(planned, by_trial)
    return found


def _trial(expected: Expected, rows: Sequence[Mapping[str, Any]], found: RunJudgement) -> None:
    last = rows[-1]
    complaints = unmet(expected, rows)
    found.finished += 1
    found.judged += expected.anything
    found.failed += last["outcome"] == "failed" and not expected.anything
    found.complaints += complaints
    said = f"{expected.trial}: {last['error']}"
    if last["outcome"] == "error":
        found.errors.append(said)
    if last["outcome"] == "invalid" and not complaints:
        found.invalid.append(said)
