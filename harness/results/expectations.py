"""What a scenario expects of a trial, and what of it did not come: by `run`, pytest and the report alike. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.expectation import ExpectedNumber
from harness.model.trial import ExpectedPath, Trial, cell_id_of


@dataclass(frozen=True)
class Expected:
    """What is expected of one planned trial; `cell_id` is what its repeats share of its id.

    `pairs` has the paths of each pair of members where they differ in them, else `paths` says them for all.
    """

    trial: str
    cell_id: str
    paths: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    numbers: tuple[ExpectedNumber, ...] = ()
    pairs: tuple[ExpectedPath, ...] = ()

    @classmethod
    def of(cls, trial: Trial) -> Expected:
        """Read a trial."""
        numbers, pairs = trial.expected_numbers, trial.expected_pairs
        return cls(trial.id, trial.cell_id, trial.expected_path, trial.expected_outcome, numbers, pairs)

    @classmethod
    def planned(cls, entry: Mapping[str, Any]) -> Expected:
        """Read a trial of plan.json; runs of earlier versions expect no numbers."""
        numbers = tuple(ExpectedNumber.model_validate(one) for one in entry.get("expected_numbers") or ())
        name = str(entry["id"])
        cell_id = cell_id_of(name, entry.get("repeat"))
        paths, outcomes = (tuple(entry.get(f"expected_{of}") or ()) for of in ("path", "outcome"))
        pairs = tuple(ExpectedPath.model_validate(one) for one in entry.get("expected_pairs") or ())
        return cls(name, cell_id, paths, outcomes, numbers, pairs)

    @property
    def anything(self) -> bool:
        """Whether anything is expected."""
        return bool(self.some_path or self.outcomes or self.numbers)

    @property
    def some_path(self) -> str:
        """The expected paths as people read them, counted where pairs differ; empty where none is expected."""
        counts = Counter(" or ".join(one.path) or "anything" for one in self.pairs)
        return ", ".join(f"{count} {path}" for path, count in counts.most_common()) or " or ".join(self.paths)

    @property
    def all_paths(self) -> tuple[str, ...]:
        """The paths that are right for any of its pairs; empty where none is expected."""
        return tuple(dict.fromkeys((*self.paths, *(path for one in self.pairs for path in one.path))))

    def paths_of(self, src: str, dst: str) -> tuple[str, ...]:
        """Return the paths that are right for a pair, in either direction; empty where nothing is expected."""
        return next((one.path for one in self.pairs if {one.src, one.dst} == {src, dst}), self.paths)

    @property
    def text(self) -> str:
        """What is expected, for a trial that shows nothing of it."""
        if self.some_path:
            return f"path {self.some_path}"
        return " or ".join(self.outcomes) or ", ".join(dict.fromkeys(number.metric for number in self.numbers))


def unmet(expected: Expected, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what was expected of a trial and is not so in its records, one sentence each; numbers need all repeats.

    Args:
        expected: of this trial.
        rows: all its records in their order, as `Record.as_dict` gives them.
    """
    return list(_unmet(expected, rows)) if expected.anything else []


def _unmet(expected: Expected, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    last, name = rows[-1], expected.trial
    outcome, why = last["outcome"], f": {last['error']}" if last["error"] else ""
    if outcome in {"invalid", "error"}:
        yield f"{name}: expected {expected.text}, but the trial shows nothing, it is {outcome}{why}"
        return
    seen = [row for row in rows if row["metric"] == "connect_success" and _was_measured(row, last)]
    allowed = outcome in expected.outcomes
    if expected.outcomes and not allowed:
        yield f"{name}: expected {' or '.join(expected.outcomes)}, came out {outcome}{why}"
    elif not allowed and (
        outcome == "unsupported" or (outcome == "failed" and not _failed_as_expected(expected, seen))
    ):
        yield f"{name}: expected {expected.text}, but the trial {_OUTCOMES[outcome]}{why}"
    if not expected.some_path or outcome == "unsupported":
        return
    if not seen and outcome == "ok":
        yield f"{name}: expected path {expected.some_path}, it was never measured{why}"
    for row in seen:
        right = expected.paths_of(row["src"], row["dst"])
        # What ended the trial is said already, or allowed.
        ended_it = outcome == "failed" and row["path"] == "none"
        if right and row["path"] not in right and not ended_it:
            said = f" ({row['error']})" if row["error"] else ""
            wanted = f"expected path {' or '.join(right)}"
            yield f"{name}: {row['src']} to {row['dst']}: {wanted}, it was {row['path']}{said}"


_OUTCOMES = {"failed": "failed", "unsupported": "is unsupported"}


def _was_measured(row: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Tell whether a probe found it; what a failed trial never measured has the trial's own evidence."""
    return row["evidence"] is None or row["evidence"] != last["evidence"]


def _failed_as_expected(expected: Expected, seen: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the failure was the expected one: no path, found by the probe and not for want of a daemon."""
    none = [row for row in seen if row["path"] == "none"]
    return bool(none) and all("none" in expected.paths_of(row["src"], row["dst"]) for row in none)
