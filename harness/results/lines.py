"""Reading records.jsonl: tolerant of what a killed run or a bad disk leaves behind, and never silent about it.

The rule of the file: a trial's records are written together, and the last of them is its *terminating record* (probe
`trial`, metric `duration_s`). Lines that no terminating record of their own trial follows belong to a trial that was
cut short; it runs again on `--resume`, so they are not counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.results.record import SCHEMA_VERSION, Record

FIELDS = tuple(item.name for item in fields(Record))
_REQUIRED_TEXT = ("run", "scenario", "trial", "overlay", "mode", "topology", "probe", "metric", "unit", "started_at")
_OPTIONAL_TEXT = (
    *("overlay_version", "nat_a", "nat_b", "link", "src", "dst", "path", "path_claimed"),
    *("nat_a_observed", "nat_b_observed", "link_backend", "evidence", "error"),
)
_OUTCOMES = frozenset({"ok", "failed", "unsupported", "invalid", "error"})
_PATHS = frozenset({"direct", "relayed", "mixed", "none", None})
_SEED_LIMIT = 2**64


class OtherSchema(ValueError):
    """The line is a record of another version of this program."""


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
    """Whether this is the record that ends its trial."""
    return (record["probe"], record["metric"]) == ("trial", "duration_s")


def read_lines(lines: Iterable[bytes]) -> Lines:
    """Reads records.jsonl line by line; skips and reports what cannot be a record."""
    result = Lines()
    blocks: dict[str, list[dict[str, Any]]] = {}
    pending: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_line(line)
        except ValueError as error:
            result.problems.append(LineProblem(number, f"skipped: {error}"))
            continue
        pending.append((number, record))
        if not is_terminating(record):
            continue
        trial = record["trial"]
        if trial in blocks:
            result.problems.append(LineProblem(number, f"trial {trial} finished before; the later one counts"))
        blocks[trial] = [entry for _, entry in pending if entry["trial"] == trial]
        result.problems.extend(_unfinished([item for item in pending if item[1]["trial"] != trial]))
        pending = []
    result.problems.extend(_unfinished(pending))
    result.records = [record for block in blocks.values() for record in block]
    result.finished = set(blocks)
    return result


def parse_line(line: bytes) -> dict[str, Any]:
    """One line as a record's fields. Raises ValueError with what is wrong with it."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        where = "truncated" if not line.endswith(b"\n") or error.pos >= len(line.rstrip()) else "corrupt"
        raise ValueError(f"{where} line ({error.msg} at byte {error.pos})") from None
    except UnicodeDecodeError:
        raise ValueError("corrupt line (not UTF-8)") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if record.get("schema") != SCHEMA_VERSION:
        raise OtherSchema(f"schema {record.get('schema')!r}; this program reads {SCHEMA_VERSION}")
    if unknown := record.keys() - set(FIELDS):
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
    if missing := set(FIELDS) - record.keys():
        raise ValueError(f"field {sorted(missing)[0]!r} is missing")
    _check_types(record)
    return record


def _check_types(record: Mapping[str, Any]) -> None:
    for name in _REQUIRED_TEXT:
        if type(record[name]) is not str:
            raise ValueError(f"{name} must be text")
    for name in _OPTIONAL_TEXT:
        if record[name] is not None and type(record[name]) is not str:
            raise ValueError(f"{name} must be text or null")
    if type(record["repeat"]) is not int:
        raise ValueError("repeat must be a whole number")
    if type(record["seed"]) is not int or not 0 <= record["seed"] < _SEED_LIMIT:
        raise ValueError("seed must be a whole number below 2**64")
    if record["value"] is not None and type(record["value"]) not in (int, float):
        raise ValueError("value must be a number or null")
    if type(record["params"]) is not dict:
        raise ValueError("params must be an object")
    if record["outcome"] not in _OUTCOMES:
        raise ValueError(f"outcome {record['outcome']!r} is none of {', '.join(sorted(_OUTCOMES))}")
    if record["path"] not in _PATHS or record["path_claimed"] not in _PATHS:
        raise ValueError("path and path_claimed must be direct, relayed, mixed, none or null")


def _unfinished(pending: list[tuple[int, dict[str, Any]]]) -> list[LineProblem]:
    counts = Counter(record["trial"] for _, record in pending)
    first = {record["trial"]: number for number, record in reversed(pending)}
    return [
        LineProblem(first[trial], f"{count} record(s) of trial {trial}, which has not finished, do not count")
        for trial, count in counts.items()
    ]
