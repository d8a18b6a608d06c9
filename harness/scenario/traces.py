"""Trace files of links, found where a scenario names them and copied into the run's folder, where trials read them.

A run is then complete: it is resumed and repeated with the very traces that it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import Problem, ScenarioError
from harness.link.traces import trace_problems
from harness.model.trial import Trial
from harness.topology.trace_files import with_trace_paths

FOLDER = "traces"


def find_traces(trials: Sequence[Trial], folders: Sequence[Path]) -> list[Trial]:
    """Return the trials with absolute paths of traces; a relative one starts at the first of `folders` that has it.

    Raises:
        ScenarioError: a trace is missing or malformed, each with its file, line and field.
    """

    def absolute(name: str) -> str:
        places = [folder / name for folder in folders]
        return str(next((place for place in places if place.exists()), places[0]).resolve())

    found = with_trace_paths(trials, absolute)
    problems: list[Problem] = []
    for link in {link for trial in found for link in trial.topology.impaired_links()}:
        problems += [problem for problem in trace_problems(link, Path()) if problem not in problems]
    if problems:
        raise ScenarioError(problems)
    return found


def keep_traces(
    trials: Sequence[Trial], run_folder: Path, before: Mapping[str, str] | None = None
) -> tuple[list[Trial], dict[str, str]]:
    """Copy the traces into the run's folder; return the trials that use the copies, and file name -> SHA-256 of each
    copy.

    Args:
        before: of a run that is resumed, what it was told when it began.

    Raises:
        ScenarioError: a trace is not what it was then.
    """
    kept: dict[str, str] = {}

    def copied(name: str) -> str:
        content = Path(name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        copy = run_folder.resolve() / FOLDER / f"{digest[:12]}-{Path(name).name}"
        if before is not None and before.get(copy.name) != digest:
            text = f"not the trace with which {run_folder} began; use another --out"
            raise ScenarioError([Problem(name, 0, "--resume", text)])
        if copy.name not in kept:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            kept[copy.name] = digest
        return str(copy)

    return with_trace_paths(trials, copied), kept
