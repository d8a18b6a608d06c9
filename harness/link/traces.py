"""Trace files: time-varying rate in Mahimahi's format, loss, jitter. Errors name the file, the line and the field."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Literal

from harness.errors import Problem, ScenarioError
from harness.model.link import Direction, LinkProfile

TraceKind = Literal["rate", "loss", "jitter"]
FIELD_KINDS: Final[dict[str, TraceKind]] = {"rate_file": "rate", "loss.file": "loss", "jitter.file": "jitter"}
# A trace is held in memory and copied into the helper.
MAX_VALUES: Final = 10_000_000
MAX_BYTES: Final = 100_000_000


def load_trace(path: Path, kind: TraceKind, field: str = "file") -> tuple[int, ...]:
    """Return the trace's values: ns for `rate` (opportunities) and `jitter` (offsets), 0 or 1 for `loss`.

    Raises ScenarioError with the line where the file is missing or malformed.
    """
    try:
        if (not path.is_file() and path.exists()) or path.stat().st_size > MAX_BYTES:
            raise _wrong(path, 0, field, f"a trace is a plain file of at most {MAX_BYTES} bytes")
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise _wrong(path, 0, field, f"no {kind} trace there: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, 0, field, "not a text file") from error
    return parse_trace(text, kind, str(path), field)


def parse_trace(text: str, kind: TraceKind, file: str, field: str = "file") -> tuple[int, ...]:
    """Parse text as `load_trace` does; blank lines and lines that begin with # do not count."""
    values: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        try:
            values.extend(_LINE[kind](content))
        except ValueError as error:
            raise _wrong(Path(file), number, field, str(error)) from error
        if kind == "rate" and len(values) > 1 and values[-1] < values[-2]:
            raise _wrong(Path(file), number, field, "a rate trace never goes back in time")
        if len(values) > MAX_VALUES:
            raise _wrong(Path(file), number, field, f"more than {MAX_VALUES} values")
    if not values:
        raise _wrong(Path(file), 0, field, f"an empty {kind} trace")
    if kind == "rate" and values[-1] == 0:
        raise _wrong(Path(file), 0, field, "a rate trace must last longer than 0 ms")
    return tuple(values)


def rate_of_trace_mbit(values: tuple[int, ...]) -> float:
    """Return the mean rate in Mbit/s of a rate trace (1500-byte packets, no Ethernet header)."""
    return len(values) * 1500 * 8 / values[-1] * 1000


def load_direction(direction: Direction, base: Path) -> dict[str, tuple[int, ...]]:
    """Load every trace that a direction needs, by field; relative paths start at `base`. Raises ScenarioError."""
    return {field: load_trace(base / path, FIELD_KINDS[field], field) for field, path in direction.files}


def trace_problems(profile: LinkProfile, base: Path) -> list[Problem]:
    """Return what is wrong with the profile's trace files; empty where all can be played."""
    found: list[Problem] = []
    for direction in (profile.up, profile.down):
        for field, path in direction.files:
            try:
                load_trace(base / path, FIELD_KINDS[field], field)
            except ScenarioError as error:
                found.extend(problem for problem in error.problems if problem not in found)
    return found


def _rate_line(content: str) -> list[int]:
    if not content.isdigit():
        raise ValueError(f"a whole number of milliseconds, not {content[:40]!r}")
    milliseconds = int(content)
    # Nine digits are eleven days; beyond that it is no trace of a link.
    if milliseconds > 999_999_999:
        raise ValueError(f"{milliseconds} ms is too late for a trace")
    return [milliseconds * 1_000_000]


def _loss_line(content: str) -> list[int]:
    if set(content) - {"0", "1"}:
        raise ValueError(f"only 0 (delivered) and 1 (lost), not {content[:40]!r}")
    return [int(mark) for mark in content]


def _jitter_line(content: str) -> list[int]:
    try:
        value = float(content)
    except ValueError:
        value = math.nan
    if not abs(value) <= 60_000:
        raise ValueError(f"an offset in milliseconds, at most a minute, not {content[:40]!r}")
    return [round(value * 1_000_000)]


_LINE: Final = {"rate": _rate_line, "loss": _loss_line, "jitter": _jitter_line}


def _wrong(path: Path, line: int, field: str, text: str) -> ScenarioError:
    return ScenarioError([Problem(str(path), line, field, text)])
