"""A small copy of a run, to be kept: tables, plots, records and the evidence behind them (`overlaybench publish`).

The copy has the manifest, the plan, records.parquet, evidence.tar.xz (what makes the records again, without keys), the
files of adapters and traces, the plots as SVG, and a README.md with verdict, tables, machine and the command that
repeats the run; of a simulated run the figures of its population, and neither plan nor evidence.
`harness.results.load`, `overlaybench compare` and `report` read it; the last makes summary.csv and the plots' CSV anew,
which would double what a repository carries. A run in which parties computed has the tables of its chapter on what a
hub costs as CSV and LaTeX in tables/ as well.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import Problem, ScenarioError
from harness.report.html import write_report
from harness.report.hubcost import HubCost, hub_cost
from harness.report.markup import to_csv, to_latex
from harness.report.population import FILE as POPULATION
from harness.report.published_page import readme_of
from harness.results.loading import load
from harness.results.store import ResultFolderError, RunFolder


def publish(run_dir: Path, out_dir: Path) -> Path:
    """Write the copy and return the path of its README.md; a copy that was there before is replaced.

    Raises:
        ResultFolderError: `run_dir` is no run that can be published.
        ScenarioError: `out_dir` is there and is no copy.
    """
    _require_run(run_dir)
    _require_replaceable(out_dir, run_dir)
    RunFolder(run_dir).finish()
    write_report(run_dir)
    # Next to it until it is whole: what was there before stays until then, whatever happens.
    out_dir = out_dir.resolve()
    made, before = (out_dir.with_name(f".{out_dir.name}-{os.getpid()}-{which}") for which in ("new", "old"))
    try:
        _copy(run_dir, made)
        if out_dir.exists():
            out_dir.rename(before)
        made.rename(out_dir)
    except BaseException:
        if before.exists() and not out_dir.exists():
            before.rename(out_dir)
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if before.exists():
        shutil.rmtree(before)
    return out_dir / "README.md"


def _copy(run_dir: Path, out_dir: Path) -> None:
    (out_dir / "plots").mkdir(parents=True)
    for name in ("manifest.json", "records.parquet", "churn.csv"):
        if (run_dir / name).exists():
            shutil.copyfile(run_dir / name, out_dir / name)
    for name in ("adapters", "traces"):
        if (run_dir / name).is_dir():
            shutil.copytree(run_dir / name, out_dir / name)
    simulated = (run_dir / POPULATION).exists()
    if simulated:
        # Its plan follows from the population, which the manifest has, and it has no evidence but its seed.
        _compact(run_dir / POPULATION, out_dir / POPULATION)
    else:
        keep_evidence(run_dir, out_dir / "evidence.tar.xz")
        _compact(run_dir / "plan.json", out_dir / "plan.json")
    chapter = hub_cost(load(out_dir))
    for path in sorted((run_dir / "plots").iterdir()):
        # Of a sweep, each of whose conditions has plots of its own, those over all of them: `report` makes the others.
        wanted = "hub-" if chapter is not None else "population-" if simulated else ""
        if path.suffix == ".svg" and path.stem.startswith(wanted):
            shutil.copyfile(path, out_dir / "plots" / path.name)
    if chapter is not None:
        (out_dir / "tables").mkdir()
        for name, text in table_files(chapter).items():
            (out_dir / "tables" / name).write_text(text, encoding="utf-8")
    (out_dir / "README.md").write_text(readme_of(load(out_dir)), encoding="utf-8")


def table_files(chapter: HubCost) -> dict[str, str]:
    """Return what a server costs, each table as CSV and LaTeX, by the names of their files."""
    found: dict[str, str] = {}
    for table in chapter.tables:
        stem = re.sub(r"[^a-z]+", "-", table.title.lower())
        found |= {f"{stem}.csv": to_csv(table), f"{stem}.tex": to_latex(table)}
    return found


def _require_run(run_dir: Path) -> None:
    if not (run_dir / "manifest.json").is_file():
        raise ResultFolderError(f"{run_dir} is not a result folder: it has no manifest.json")
    if not (run_dir / "records.jsonl").is_file():
        raise ResultFolderError(f"{run_dir} has no records.jsonl: it is a published copy already, or not a run")


def _require_replaceable(out_dir: Path, run_dir: Path) -> None:
    """Let nothing be lost that is no published copy."""
    if not out_dir.exists():
        return
    inside = out_dir.resolve() in (run_dir.resolve(), *run_dir.resolve().parents)
    is_copy = (out_dir / "manifest.json").is_file() and not (out_dir / "records.jsonl").exists()
    if inside or (any(out_dir.iterdir()) and not is_copy):
        text = "exists and is not a published copy that could be replaced; name another folder"
        raise ScenarioError([Problem(str(out_dir), 0, "DIR", text)])


def _compact(source: Path, target: Path) -> None:
    target.write_text(json.dumps(json.loads(source.read_text()), separators=(",", ":"), ensure_ascii=False))


# What each figure that evidence tells can be made from again (tests/recompute does for most).
_KEPT = (
    "-rtt.csv",
    "-ping.log",
    "-pings.csv",
    "-burst-flows.txt",
    "-cost.json",
    "-forward.json",
    "-backward.json",
    "-both.json",
    "-at-once.json",
    "-mtu-watch.csv",
    "handshake.json",
    "idle.json",
    "idle.pcapng",
    "-continuity.csv",
    "-continuity-tcp.json",
    "-content.json",
    "-fetches.json",
    "-groups.json",
    "-rounds.csv",
    "-rounds.json",
    "-availability.csv",
    "-availability.json",
    "-availability-pings.log",
    "timeline.json",
)
# What every ping of the MTU probe said, transfers over UDP and through streams, what MPyC's parties said of their runs.
_KEPT_PATTERNS = re.compile(
    r"-mtu-[a-z0-9_]+\.log$|-iperf3-udp-[a-z0-9_]+\.json$|-stream-[a-z-]+\.json$|-mpyc-[a-z0-9_-]+\.jsonl?$"
)

LEFT_OUT = {
    "members.pcapng": "all that passed the members' ports: megabytes a trial; times to a path are made from it",
    "-continuity.pcapng": "the same during a timeline; the paths after its events are made from it",
    "-content-publish-": "what an overlay's own program said, which may be a key",
    "-content-fetch-": "the same",
}
"""Evidence of records that a copy lacks, by a part of its name, and why."""


def keep_evidence(run_dir: Path, archive: Path) -> None:
    """Write the evidence behind the records as a compressed archive that is the same for the same run.

    Of job.json the trial alone is kept: the deployment next to it has keys.
    """
    with tarfile.open(archive, "w:xz", preset=9) as kept:
        # Files of one name next to each other: they compress better so.
        for path in sorted(_evidence(run_dir / "trials"), key=lambda path: (path.name, path)):
            if path.name == "job.json":
                data = json.dumps({"trial": json.loads(path.read_text())["trial"]}, sort_keys=True).encode()
            elif path.name.endswith("-irtt.json"):
                data = _fates(path)
            elif is_kept(path.name):
                data = path.read_bytes()
            else:
                continue
            entry = tarfile.TarInfo(str(path.relative_to(run_dir)))
            entry.size = len(data)
            kept.addfile(entry, io.BytesIO(data))


def is_kept(name: str) -> bool:
    """Tell whether a copy keeps a trial's file of that name as it is."""
    return name.endswith(_KEPT) or bool(_KEPT_PATTERNS.search(name))


def _evidence(trials: Path) -> Iterator[Path]:
    """Yield what lies in trials' folders, and what an underlay's has of other hosts; nodes' folders have keys."""
    yield from trials.glob("*/*")
    yield from trials.glob("*/again-*/*")


def _fates(path: Path) -> bytes:
    """Return of irtt's report which packets were lost, and on which way: the rest is in the samples."""
    trips = json.loads(path.read_text()).get("round_trips") or ()
    kept = [{"seqno": trip["seqno"], "lost": trip["lost"]} for trip in trips]
    return json.dumps({"round_trips": kept}, separators=(",", ":")).encode()
