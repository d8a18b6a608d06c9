"""Shards of a plan, run apart and merged, are the run that one machine would have made; anything else is refused."""

from __future__ import annotations

import errno
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_host import FACTS, FakeHost, Heard

from harness.campaign.campaign import Campaign
from harness.campaign.manifest import new_manifest
from harness.campaign.merge import merge
from harness.campaign.shards import Shard, description, parse_shard, trials_of
from harness.commands.merge import merge_command
from harness.errors import ScenarioError, StorageError
from harness.report import html
from harness.results.store import ResultFolderError, RunFolder
from harness.scenario.planned import Planned, plan_trials
from harness.trial.messages import Done, Job

SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric, port-restricted]}
overlays: {underlay: , refmesh: [mesh, relay]}
probes: [path]
repeats: 2
"""
# What must differ between machines, and what the moment decides.
PASSING = ("started_at", "host", "run")


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    return plan_trials(str(tmp_path / "mine.yaml"))


def measured(job: Job) -> Done:
    figure = {"probe": "path", "metric": "time_to_connect_s", "unit": "s", "value": float(job.trial.seed % 1000)}
    return Done(outcome="ok", measurements=[{**figure, "src": "a", "dst": "b"}])


def run(planned: Planned, out: Path, shard: Shard | None = None, kernel: str = "6") -> Path:
    """Run a plan, or a part of it, on a host that needs no time."""
    facts = FACTS.model_copy(update={"machine": {**FACTS.machine, "kernel": kernel}})
    manifest = new_manifest(planned.loaded, facts, started_at="now", run=out.name, command=["x"], version="1")
    trials = planned.trials
    if shard is not None:
        trials, places = trials_of(planned.trials, shard)
        manifest["shard"] = description(planned.trials, shard, places)
    folder = RunFolder(out)
    folder.create(manifest, [trial.model_dump(mode="json", exclude={"topology"}) for trial in trials])
    Campaign(
        folder=folder, run=out.name, overlays=planned.overlays, host=FakeHost(measured), facts=facts, progress=Heard()
    ).run(trials)
    folder.close()
    return out


def shards(planned: Planned, tmp_path: Path, of: int) -> list[Path]:
    return [run(planned, tmp_path / f"part{k}", Shard(k, of), kernel=f"6.{k}") for k in range(1, of + 1)]


def lasting(folder: Path) -> list[dict[str, Any]]:
    """Return the records without what differs between machines, in the order of the plan."""
    order = {entry["id"]: place for place, entry in enumerate(RunFolder(folder).plan())}
    rows = sorted(RunFolder(folder).read().records, key=lambda row: order[row["trial"]])
    return [
        {key: value for key, value in row.items() if key not in PASSING}
        for row in rows
        if row["metric"] != "duration_s"
    ]


@pytest.mark.parametrize("of", [1, 2, 4, 6])
def test_all_overlays_of_a_condition_and_repeat_stay_together(planned: Planned, of: int) -> None:
    parts = [trials_of(planned.trials, Shard(k, of)) for k in range(1, of + 1)]
    assert sorted(place for _, places in parts for place in places) == list(range(len(planned.trials)))
    seeds = [{trial.seed for trial in trials} for trials, _ in parts]
    assert sum(len(part) for part in seeds) == len(set().union(*seeds)) == 6
    for trials, places in parts:
        assert [planned.trials[place] for place in places] == trials and places == sorted(places)


@pytest.mark.parametrize(("repeats", "of"), [(2, 2), (3, 2), (2, 3), (4, 4), (5, 3)])
def test_the_repeats_of_a_condition_go_to_as_many_shards_as_they_can(repeats: int, of: int) -> None:
    """In whichever order the plan has them: what one machine alone saw tells nothing of the machine."""
    trials = plan_trials("nat-matrix", repeat=repeats).trials
    seen = defaultdict(set)
    for number in range(1, of + 1):
        for trial in trials_of(trials, Shard(number, of))[0]:
            seen[trial.cell["nat_a"], trial.cell["nat_b"]].add(number)
    assert len(seen) == 21 and {len(shards) for shards in seen.values()} == {min(repeats, of)}


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"K/N|there is no part"):
        parse_shard(text)
    assert parse_shard("2/8") == Shard(2, 8)


def test_merged_shards_are_the_whole_run(planned: Planned, tmp_path: Path) -> None:
    whole = run(planned, tmp_path / "whole")
    parts = shards(planned, tmp_path, 3)
    for number, part in enumerate(parts):
        folder = RunFolder(part)
        folder.write_manifest({**folder.manifest(), "busy": {f"t{number}": {"share": 0.1 * number}}})
    assert merge([parts[2], parts[0], parts[1]], tmp_path / "merged") == 18
    assert lasting(tmp_path / "merged") == lasting(whole)
    assert RunFolder(tmp_path / "merged").plan() == RunFolder(whole).plan()
    manifest = RunFolder(tmp_path / "merged").manifest()
    assert {name: found["share"] for name, found in manifest["busy"].items()} == {"t0": 0, "t1": 0.1, "t2": 0.2}
    assert len(manifest["hosts"]) == 3 and [one["shard"] for one in manifest["merged"]] == ["1/3", "2/3", "3/3"]
    assert "shard" not in manifest
    records = RunFolder(tmp_path / "merged").read().records
    assert {row["host"] for row in records} == set(manifest["hosts"])
    assert {row["run"] for row in records} == {manifest["run"]}
    assert (tmp_path / "merged" / "summary.csv").stat().st_size > 100


def test_what_happened_to_any_part_is_in_the_merged_manifest(planned: Planned, tmp_path: Path) -> None:
    """Hosts that were lost or refused, accepted changes, and nodes' sysctls: of every shard, not of the first alone."""
    parts = shards(planned, tmp_path, 2)
    lost = [{"host": f"h{number}", "trial": "t", "at": "now", "why": "x"} for number in (1, 2)]
    told: list[dict[str, Any]] = [
        {"hosts_lost": lost[:1]},
        {
            "hosts_lost": lost[1:],
            "hosts_refused": {"h3": "why"},
            "accepted_changes": [{"at": "now", "host": "h2", "changed": ["machine"]}],
            "lab_sysctls": {"net.ipv4.tcp_rmem": "1"},
            "adapters": {},
        },
    ]
    for part, more in zip(parts, told, strict=True):
        RunFolder(part).write_manifest(RunFolder(part).manifest() | more)
    merge(parts, tmp_path / "merged")
    manifest = RunFolder(tmp_path / "merged").manifest()
    assert manifest["hosts_lost"] == lost
    assert {key: manifest[key] for key in ("hosts_refused", "accepted_changes", "lab_sysctls")} == {
        key: told[1][key] for key in ("hosts_refused", "accepted_changes", "lab_sysctls")
    }


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a file of somebody's"])
def test_a_merge_for_which_there_is_no_room_can_be_tried_again(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    parts, out = shards(planned, tmp_path, 2), tmp_path / "merged"
    if there != "nothing":
        out.mkdir()
    if there.startswith("a file"):
        (out / "notes.txt").write_text("mine")
    append, times = RunFolder.append, iter(range(100))

    def full(folder: RunFolder, records: Any) -> None:
        if next(times) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(folder, records)

    monkeypatch.setattr(RunFolder, "append", full)
    with pytest.raises(StorageError, match=r"merged: no space left on device; make room there"):
        merge(parts, out)
    left = {"nothing": None, "an empty folder": [], "a file of somebody's": ["notes.txt"]}[there]
    assert (sorted(path.name for path in out.iterdir()) if out.exists() else None) == left
    assert merge(parts, out) == 18
    with pytest.raises(ResultFolderError, match="choose another folder, or delete it and merge again"):
        merge(parts, out)


def test_a_page_for_which_there_is_no_room_is_made_later(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(html, "write_report", full)
    out = tmp_path / "merged"
    done = CliRunner().invoke(merge_command, [*map(str, shards(planned, tmp_path, 2)), "--out", str(out)])
    assert isinstance(done.exception, StorageError)
    assert f"The merged results are whole: then overlaybench report {out}" in str(done.exception)
    assert len(RunFolder(out).finished_trials()) == 18


def refused(folders: list[Path], out: Path) -> str:
    with pytest.raises(ScenarioError) as error:
        merge(folders, out)
    assert not out.exists()
    return str(error.value)


def test_missing_doubled_and_whole_runs_are_refused(planned: Planned, tmp_path: Path) -> None:
    parts, out = shards(planned, tmp_path, 3), tmp_path / "merged"
    assert "of 3 shards these are missing: 2" in refused([parts[0], parts[2]], out)
    copy = tmp_path / "copy"
    shutil.copytree(parts[0], copy)
    assert f"{copy}:0: merge: shard 1 is {parts[0]} already" in refused([*parts, copy], out)
    whole = run(planned, tmp_path / "whole")
    assert f"{whole}:0: merge: is not a shard" in refused([*parts, whole], out)
    with pytest.raises(ResultFolderError):
        merge([tmp_path], out)


def test_a_shard_of_another_plan_or_with_other_programs_is_refused(planned: Planned, tmp_path: Path) -> None:
    parts, out = shards(planned, tmp_path, 2), tmp_path / "merged"
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("repeats: 2", "repeats: 4"))
    other = run(plan_trials(str(tmp_path / "mine.yaml")), tmp_path / "other", Shard(2, 2))
    assert "belongs to another plan" in refused([parts[0], other], out)
    manifest = RunFolder(parts[1]).manifest()
    manifest["tool_versions"] = {"nft": "1.1.3"}
    manifest["overlaybench_commit"] = "def"
    RunFolder(parts[1]).write_manifest(manifest)
    first = RunFolder(parts[0]).manifest()
    first["tool_versions"] = {"nft": "1.0.6"}
    RunFolder(parts[0]).write_manifest(first)
    said = refused(parts, out)
    assert "tool nft is 1.1.3, and 1.0.6 in" in said and "overlaybench_commit is def, and abc in" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"machine": {"python": "3.12.1"}}, "Python is 3.12.1, and 3.11.2 in"),
        ({"privileged": False}, "root is False, and True in"),
        ({"link_backend": "helper"}, "what carries the links is helper, and netem in"),
        (
            {"hosts": {"x": {"code": "1f"}}},
            "the digest of overlaybench's files, changed and not committed, is 1f, and 0e",
        ),
        ({"skipped": {"tinc": "no tincd"}}, "tinc was skipped in {part} alone (no tincd): get it there"),
    ],
)
def test_shards_that_were_measured_with_other_instruments_are_refused(
    planned: Planned, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    parts = shards(planned, tmp_path, 2)
    same = {"machine": {"python": "3.11.2"}, "hosts": {"y": {"code": "0e"}}}
    same |= {"link_backend_wanted": "auto", "link_backend": "netem"}
    for part in parts:
        RunFolder(part).write_manifest(RunFolder(part).manifest() | same)
    RunFolder(parts[1]).write_manifest(RunFolder(parts[1]).manifest() | changed)
    assert said.format(part=parts[1]) in refused(parts, tmp_path / "merged")
    RunFolder(parts[0]).write_manifest(RunFolder(parts[0]).manifest() | changed)
    assert merge(parts, tmp_path / "merged") == 18


@pytest.mark.parametrize("damage", ["a torn line", "a trial twice"])
def test_a_damaged_shard_is_refused_since_the_whole_would_not_show_it(
    planned: Planned, tmp_path: Path, damage: str
) -> None:
    parts = shards(planned, tmp_path, 2)
    path = parts[1] / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    torn = [lines[0][:40] + "\n", *lines[1:]]
    path.write_text("".join(torn if damage == "a torn line" else [*lines, *lines[:2]]))
    said = refused(parts, tmp_path / "merged")
    why = "records.jsonl:1: skipped: " if damage == "a torn line" else f"records.jsonl:{len(lines) + 2}: trial "
    assert f"{parts[1]}:0: merge: {why}" in said and "copy this shard again from where it ran" in said


def test_a_shard_with_unfinished_trials_is_refused(planned: Planned, tmp_path: Path) -> None:
    parts = shards(planned, tmp_path, 2)
    path = parts[1] / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["trial"] != json.loads(lines[0])["trial"]]
    path.write_text("".join(kept))
    assert "has not finished; continue with --resume" in refused(parts, tmp_path / "merged")
