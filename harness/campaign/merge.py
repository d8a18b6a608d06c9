"""The parts of a run, put together again: as if one machine had run it, but for hosts and times."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import Problem, ScenarioError, storage_errors
from harness.results.lines import LineProblem
from harness.results.record import Record
from harness.results.store import ResultFolderError, RunFolder

# What must be the same in all parts: they would be parts of different experiments otherwise.
_SAME = (
    "schema",
    "scenario",
    "scenario_sha256",
    "topology_sha256",
    "seed",
    "repeats",
    "only",
    "overlaybench_commit",
    "labels",
)
_SAME_VERSIONS = ("overlay_versions", "tool_versions")


# What is joined over all parts: by name, and one after the other.
_OF_ALL = ("hosts", "overlay_versions", "tool_versions", "traces")
_WHERE_THERE = ("adapters", "busy", "hosts_refused", "lab_sysctls")
_LISTS = ("hosts_lost", "accepted_changes")


@dataclass(frozen=True)
class _Part:
    path: Path
    manifest: dict[str, Any]
    plan: list[dict[str, Any]]
    by_trial: dict[str, list[dict[str, Any]]]
    damage: Sequence[LineProblem]

    @property
    def shard(self) -> Mapping[str, Any]:
        return dict(self.manifest["shard"])


def merge(folders: Sequence[Path], out: Path) -> int:
    """Merge the shards of a run into a new folder; return the number of trials.

    Raises:
        ScenarioError: they are not the whole of one run, each part once; says what is missing, twice, or different.
        ResultFolderError: one of them is no result folder, or `out` is one already.
        StorageError: `out` cannot be written; nothing of the merged run is left there.
    """
    parts = [_read(folder) for folder in folders]
    problems = [Problem(str(path), 0, "merge", text) for path, text in _problems(parts)]
    if problems:
        raise ScenarioError(problems)
    parts.sort(key=lambda part: int(part.shard["number"]))
    placed = sorted(
        (place, entry, part) for part in parts for place, entry in zip(part.shard["places"], part.plan, strict=True)
    )
    folder = RunFolder(out)
    if folder.manifest_path.exists() or folder.records_path.exists():
        raise ResultFolderError(f"{out}: already holds results; choose another folder, or delete it and merge again")
    with storage_errors(out), _whole_or_nothing(out):
        manifest = _manifest(parts)
        folder.create(manifest, [entry for _, entry, _ in placed])
        for _, entry, part in placed:
            rows = part.by_trial[str(entry["id"])]
            folder.append([Record(**{**row, "run": manifest["run"]}) for row in rows])
            source = part.path / "trials" / str(entry["id"])
            if source.is_dir():
                shutil.copytree(source, out / "trials" / source.name)
        for part in parts:
            for kept in ("traces", "adapters"):
                if (part.path / kept).is_dir():
                    shutil.copytree(part.path / kept, out / kept, dirs_exist_ok=True)
        folder.finish()
    folder.close()
    return len(placed)


@contextlib.contextmanager
def _whole_or_nothing(out: Path) -> Iterator[None]:
    """Take away what the block has put into a folder, and the folder if it made it, when the block fails."""
    before = set(out.iterdir()) if out.is_dir() else None
    try:
        yield
    except BaseException:
        made = [out] if before is None else [path for path in out.iterdir() if path not in before]
        for path in made:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> _Part:
    folder = RunFolder(path)
    by_trial: dict[str, list[dict[str, Any]]] = {}
    lines = folder.read()
    for row in lines.records:
        by_trial.setdefault(str(row["trial"]), []).append(row)
    return _Part(path, folder.manifest(), folder.plan(), by_trial, lines.problems)


def _problems(parts: Sequence[_Part]) -> Iterator[tuple[Path, str]]:
    first = parts[0]
    whole = [part for part in parts if "shard" not in part.manifest]
    if whole:
        yield from ((part.path, "is not a shard: it was run without --shard") for part in whole)
        return
    for part in parts[1:]:
        yield from ((part.path, text) for text in _different(first, part))
    seen: dict[int, _Part] = {}
    for part in parts:
        number = int(part.shard["number"])
        if number in seen:
            yield part.path, f"shard {number} is {seen[number].path} already"
        seen[number] = part
        unfinished = [str(entry["id"]) for entry in part.plan if str(entry["id"]) not in part.by_trial]
        if unfinished:
            more = f" and {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
            yield part.path, f"trial {unfinished[0]}{more} has not finished; continue with --resume"
        elif part.damage:
            more = f" and {len(part.damage) - 1} more" if len(part.damage) > 1 else ""
            yield part.path, f"{part.damage[0]}{more}: copy this shard again from where it ran, or run it again"
    missing = [str(number) for number in range(1, int(first.shard["of"]) + 1) if number not in seen]
    if missing:
        yield first.path, f"of {first.shard['of']} shards these are missing: {', '.join(missing)}"


def _different(first: _Part, part: _Part) -> Iterator[str]:
    skipped = [one.manifest.get("skipped") or {} for one in (part, first)]
    for name in sorted(skipped[0].keys() ^ skipped[1].keys()):
        without, why = (part, skipped[0][name]) if name in skipped[0] else (first, skipped[1][name])
        yield f"{name} was skipped in {without.path} alone ({why}): get it there, or leave it out of all"
    for key in ("of", "planned", "plan_sha256"):
        if first.shard[key] != part.shard[key]:
            yield f"belongs to another plan than {first.path} ({key} {part.shard[key]}, not {first.shard[key]})"
    for key in _SAME:
        if first.manifest.get(key) != part.manifest.get(key):
            yield f"{key} is {part.manifest.get(key)}, and {first.manifest.get(key)} in {first.path}"
    for name, theirs, ours in _instruments(first, part):
        if theirs != ours:
            yield f"{name} is {theirs}, and {ours} in {first.path}"
    for name, file in (part.manifest.get("adapters") or {}).items():
        theirs = (first.manifest.get("adapters") or {}).get(name)
        if theirs is not None and theirs["sha256"] != file["sha256"]:
            yield f"the overlay {name} is another {file['file']} than in {first.path}"
    for key in _SAME_VERSIONS:
        ours, theirs = first.manifest.get(key) or {}, part.manifest.get(key) or {}
        for name in sorted(ours.keys() & theirs.keys()):
            if ours[name] != theirs[name]:
                yield f"{key.removesuffix('_versions')} {name} is {theirs[name]}, and {ours[name]} in {first.path}"


def _instruments(first: _Part, part: _Part) -> Iterator[tuple[str, Any, Any]]:
    """Yield what a shard was measured with besides programs, what it was there and in the first."""
    ours, theirs = first.manifest, part.manifest

    def both(of: Callable[[Mapping[str, Any]], Any]) -> tuple[Any, Any]:
        return of(theirs), of(ours)

    yield "Python", *both(lambda one: (one.get("machine") or {}).get("python"))
    yield "root", *both(lambda one: one.get("privileged"))
    if theirs.get("link_backend_wanted") == "auto":  # any other choice is carried by what it names, or refused
        yield "what carries the links", *both(lambda one: one.get("link_backend"))
    code = both(lambda one: next((host.get("code") for host in (one.get("hosts") or {}).values()), None))
    yield "the digest of overlaybench's files, changed and not committed,", *code


def _manifest(parts: Sequence[_Part]) -> dict[str, Any]:
    first = parts[0]
    merged = {key: value for key, value in first.manifest.items() if key not in ("shard", "processors")}
    for key in (*_OF_ALL, *(key for key in _WHERE_THERE if any(part.manifest.get(key) for part in parts))):
        merged[key] = {name: value for part in parts for name, value in (part.manifest.get(key) or {}).items()}
    for key in _LISTS:
        if joined := [one for part in parts for one in part.manifest.get(key) or ()]:
            merged[key] = joined
    merged["link_backends"] = sorted({name for part in parts for name in part.manifest.get("link_backends", ())})
    merged["started_at"] = min(str(part.manifest["started_at"]) for part in parts)
    merged["ended_at"] = max(str(part.manifest.get("ended_at", part.manifest["started_at"])) for part in parts)
    merged["merged"] = [
        {
            "shard": f"{part.shard['number']}/{part.shard['of']}",
            "run": part.manifest["run"],
            "command": part.manifest.get("command"),
            "processors": part.manifest.get("processors"),
        }
        for part in parts
    ]
    return json.loads(json.dumps(merged))  # type: ignore[no-any-return]  # a copy that shares nothing with the parts
