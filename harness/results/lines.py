"""Reading records.jsonl: tolerant of what a killed run or a bad disk leaves behind, and never silent about it.

The rule of the file: a trial's records are written together, and the last of them is its *terminating record* (probe
`trial`, metric `duration_s`). Lines that no terminating record of their own trial follows belong to a trial that was
cut short; it runs again on `--resume`, so they are not counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from harness.results.record import FIELDS, SCHEMA_VERSION, Kind, RecordField, fields_of

_SEED_LIMIT = 2**64
_FIELDS_OF = {version: {item.name: item for item in fields_of(version)} for version in range(1, SCHEMA_VERSION + 1)}


class OtherSchema(ValueError):
    """A line that is a record of another version of this program."""


@dataclass(frozen=True)
class LineProblem:
    """A line that does not count; `line` counts from 1."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"records.jsonl:{self.line}: {self.text}"


@dataclass
class Lines:
    """What a records.jsonl holds: the records of finished trials in file order, and what was wrong."""

    records: list[dict[str, Any]] = field(default_factory=list)
    problems: list[LineProblem] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)


def is_terminating(record: Mapping[str, Any]) -> bool:
    """Tell whether this is the record that ends its trial."""
    return (record["probe"], record["metric"]) == ("trial", "duration_s")


def read_lines(lines: Iterable[bytes]) -> Lines:
    """Read records.jsonl line by line; skip and report what cannot be a record."""
    result = Lines()
    blocks = {str(trial[0]["trial"]): trial for trial in read_trials(lines, result.problems)}
    result.records = [record for block in blocks.values() for record in block]
    result.finished = set(blocks)
    return result


def read_trials(
    lines: Iterable[bytes], problems: list[LineProblem], repeated: set[str] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of each finished trial, in file order, keeping no more than one trial's.

    A trial that finished twice is yielded twice: the later one counts. What does not count is added to `problems`, and
    the names of trials that finished twice to `repeated`.
    """
    seen: set[str] = set()
    pending: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_line(line)
        except ValueError as error:
            problems.append(LineProblem(number, f"skipped: {error}"))
            continue
        pending.append((number, record))
        if not is_terminating(record):
            continue
        trial = record["trial"]
        if trial in seen:
            problems.append(LineProblem(number, f"trial {trial} finished before; the later one counts"))
            if repeated is not None:
                repeated.add(trial)
        seen.add(trial)
        yield [entry for _, entry in pending if entry["trial"] == trial]
        problems.extend(_unfinished([item for item in pending if item[1]["trial"] != trial]))
        pending = []
    problems.extend(_unfinished(pending))


def parse_line(line: bytes) -> dict[str, Any]:
    """Return one line's record with all fields of this version; those that its own version lacks are filled in.

    Raises:
        OtherSchema: it was written by a later version of this program.
        ValueError: it is no record; the text says why.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        where = "truncated" if not line.endswith(b"\n") or error.pos >= len(line.rstrip()) else "corrupt"
        raise ValueError(f"{where} line ({error.msg} at byte {error.pos})") from None
    except UnicodeDecodeError:
        raise ValueError("corrupt line (not UTF-8)") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    version = record.get("schema")
    known = _FIELDS_OF.get(version) if type(version) is int else None
    if known is None:
        raise OtherSchema(f"schema {version!r}; this program reads 1 to {SCHEMA_VERSION}")
    if unknown := record.keys() - known.keys():
        raise ValueError(f"unknown field {min(unknown)!r}")
    if missing := known.keys() - record.keys():
        raise ValueError(f"field {min(missing)!r} is missing")
    for name, item in known.items():
        _check(item, record[name])
    return {item.name: record[item.name] if item.name in known else deepcopy(item.before) for item in FIELDS}


_IS: Mapping[Kind, tuple[Callable[[Any], bool], str]] = {
    "version": (lambda value: type(value) is int, "a whole number"),
    "count": (lambda value: type(value) is int, "a whole number"),
    "seed": (lambda value: type(value) is int and 0 <= value < _SEED_LIMIT, "a whole number below 2**64"),
    "number": (lambda value: type(value) in (int, float), "a number"),
    "label": (lambda value: type(value) is str, "text"),
    "text": (lambda value: type(value) is str, "text"),
    "object": (lambda value: type(value) is dict, "an object"),
}


def _check(item: RecordField, value: Any) -> None:
    if value is None and item.null:
        return
    holds, what = _IS[item.kind]
    if not holds(value):
        raise ValueError(f"{item.name} must be {what}{' or null' if item.null else ''}")
    if item.words and value not in item.words:
        raise ValueError(f"{item.name} {value!r} is none of {', '.join(item.words)}")


def _unfinished(pending: list[tuple[int, dict[str, Any]]]) -> list[LineProblem]:
    counts = Counter(record["trial"] for _, record in pending)
    first = {record["trial"]: number for number, record in reversed(pending)}
    return [
        LineProblem(first[trial], f"{count} record(s) of trial {trial}, which has not finished, do not count")
        for trial, count in counts.items()
    ]
