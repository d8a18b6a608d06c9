"""`overlaybench trend` on folders: a vendor's three versions, labels, orders, machines, exit codes, files."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from made_histories import MACHINE, folders, history, nothing

from harness.cli import cli
from harness.results.history import history_of, shown_point
from harness.results.series import Axis
from harness.results.store import RunFolder
from harness.results.trend import place_of, trend


def slower_from(version: int, factor: float = 1.3):  # type: ignore[no-untyped-def]  # a Change
    def change(now: int, overlay: str, _nats: tuple[str, str], metric: str) -> float:
        return factor if now >= version and (overlay, metric) == ("refmesh", "rtt_p50_ms") else 1.0

    return change


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["trend", *arguments], catch_exceptions=False)


def labelled(folder: str, **labels: str) -> None:
    path = Path(folder) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "labels": labels}))


def thrice(path: Path, versions: int, change) -> list[str]:  # type: ignore[no-untyped-def]  # a Change
    """Write three folders of each version: fewer do not tell how far runs of one version differ."""
    names = folders(path, 3 * versions, lambda now, *rest: change(now // 3, *rest))
    for number, name in enumerate(names):
        labelled(name, commit=f"c{number // 3}")
    return names


def test_of_three_versions_the_one_regression_is_found_and_none_invented(tmp_path: Path) -> None:
    names = thrice(tmp_path, 3, slower_from(2))
    done = run(*names, "--check", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert said["regressions"] == 1
    (found,) = [one for one in said["findings"] if one["verdict"] in {"regression", "improvement"}]
    assert (found["subject"], found["metric"], found["before"], found["at"]) == (
        "refmesh mesh",
        "rtt_p50_ms",
        "c1",
        "c2",
    )
    assert found["change"] == pytest.approx(13, abs=1.5)
    assert run(*names).exit_code == 0, "without --check it only tells"


def test_of_one_run_each_it_is_said_that_they_are_too_few_to_tell(tmp_path: Path) -> None:
    """Fifty of fifty histories of three runs that differ by 5 % failed, and nothing had changed."""
    names = folders(tmp_path, 3, slower_from(2))
    done = run(*names, "--check")
    assert done.exit_code == 0
    assert "worse, not yet certain (too few runs)" in done.stdout
    assert (
        "1 more change for the worse is uncertain, because there are too few runs: measure each point in several runs"
        in done.stdout
    )
    (found,) = json.loads(run(*names, "--json").stdout)["findings"]
    assert (found["metric"], found["too_few_runs"]) == ("rtt_p50_ms", True)


def test_summary_plots_and_figures_are_written(tmp_path: Path) -> None:
    names = folders(tmp_path, 7, slower_from(4))
    done = run(*names, "--check", "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    text = (tmp_path / "out" / "trend.md").read_text()
    assert "1 regression at alpha = 0.05" in text and "c3 to c4" in text and "Before you rely on a result" in text
    (picture,) = (tmp_path / "out" / "plots").glob("*.svg")
    assert f"](plots/{picture.name})" in text
    assert "port-restricted x port-restricted" in picture.read_text()
    with (tmp_path / "out" / "trend.csv").open() as file:
        rows = [
            row for row in csv.DictReader(file) if (row["subject"], row["metric"]) == ("refmesh mesh", "rtt_p50_ms")
        ]
    assert len(rows) == 7 * 3, "a row per run and pair of NATs"
    assert {row["trials"] for row in rows} == {"5"}
    assert float(rows[-1]["value"]) > 1.2 * float(rows[0]["value"])


def test_what_began_before_a_point_is_told_and_fails_nothing(tmp_path: Path) -> None:
    names = thrice(tmp_path, 3, slower_from(1))
    assert run(*names, "--check").exit_code == 1
    assert run(*names, "--check", "--since", "c0").exit_code == 1
    done = run(*names, "--check", "--since", "c1")
    assert done.exit_code == 0 and "refmesh mesh" in done.stdout
    wrong = run(*names, "--check", "--since", "c7")
    assert wrong.exit_code == 2


def test_a_point_is_known_by_its_name_before_its_beginning_and_by_a_whole_hash() -> None:
    commit = "3f9c2a1b" * 5
    axis = Axis(("x",), ("1.10", "1.1", shown_point(commit)), (0, 1, 2), (0, 1, 2))
    assert [place_of(axis, point) for point in ("1.1", "1.10", "1.", commit, "3f9c", "2")] == [1, 0, 0, 2, 2, -1]


def test_points_are_told_by_label_version_or_run(tmp_path: Path) -> None:
    names = folders(tmp_path, 3, slower_from(2))
    assert "grouped into points by commit" in run(*names).stdout
    assert "3 points, 1.0 to 1.2" in run(*names, "--by", "version").stdout
    assert "3 points, 1: v0 to 3: v2" in run(*names, "--by", "run").stdout
    for name in names:
        labelled(name)
    assert "grouped into points by version" in run(*names).stdout


def test_a_label_that_a_run_lacks_is_named_with_its_file(tmp_path: Path) -> None:
    names = folders(tmp_path, 2)
    labelled(names[1], branch="main")
    done = CliRunner().invoke(cli, ["trend", *names, "--by", "commit"])
    assert done.exception is not None
    assert f"{names[1]}/manifest.json:0: labels.commit: its manifest lacks this label (it has branch)" in str(
        done.exception
    )


def test_points_stand_in_the_order_of_their_runs_unless_told_otherwise(tmp_path: Path) -> None:
    names = folders(tmp_path, 3, slower_from(2))
    assert "c0 to c2" in run(*reversed(names)).stdout
    done = run(*reversed(names), "--as-given", "--check")
    assert "c2 to c0" in done.stdout and done.exit_code == 0, "backwards it is an improvement"


def test_several_runs_of_a_version_are_one_point() -> None:
    runs = history(6, slower_from(4))
    for number, one in enumerate(runs):
        one.manifest["labels"] = {"commit": f"c{number // 2}"}
    found = trend(history_of(runs))
    (axis,) = found.history.axes
    assert axis.points == ("c0", "c1", "c2") and axis.sessions == (0, 0, 1, 1, 2, 2)
    assert [(one.change.metric, one.at) for one in found.regressions] == [("rtt_p50_ms", "c2")]


def test_versions_that_differ_no_more_than_their_runs_do_are_not_yet_certain() -> None:
    """Both runs of a version are off by as much as the versions are: trials alone would call it."""
    shifts = (1.0, 1.2, 1.25, 1.5)
    runs = history(4, lambda now, overlay, _nats, metric: shifts[now] if _is_rtt(overlay, metric) else 1.0)
    for number, one in enumerate(runs):
        one.manifest["labels"] = {"commit": f"c{number // 2}"}
    found = trend(history_of(runs))
    assert found.regressions == []
    assert "worse, not yet certain" in {one.change.verdict for one in found.findings}


def _is_rtt(overlay: str, metric: str) -> bool:
    return (overlay, metric) == ("refmesh", "rtt_p50_ms")


def test_figures_that_depend_on_the_machine_are_followed_on_each_machine_by_itself() -> None:
    """Every second run is on a machine whose absolutes are twice as large: no change of any overlay."""
    bound = {"rtt_p50_ms", "rtt_p99_ms", "time_to_ready_s", "time_to_connect_s", "tcp_throughput_mbit", "cpu_s_per_gb"}
    runs = history(14, lambda now, _overlay, _nats, metric: 2.0 if now % 2 and metric in bound else 1.0)
    for number, one in enumerate(runs):
        one.manifest["machine"] = {**MACHINE, "cpu_model": ("x", "y")[number % 2]}
    found = trend(history_of(runs))
    assert [one for one in found.findings if one.change.verdict in {"regression", "improvement"}] == []
    machines = {one.machine for one in found.series if one.metric == "rtt_p50_ms"}
    assert machines == {"x x 2, arm64", "y x 2, arm64"}
    # The share of the underlay's rate as well: where the processor is the bottleneck, it depends on the machine.
    assert {one.machine for one in found.series if one.metric == "tcp_throughput_ratio"} == machines
    assert {one.machine for one in found.series if one.metric == "connect_success"} == {""}


def test_trials_that_were_dealt_otherwise_to_unlike_hosts_are_followed_by_the_kind_of_each() -> None:
    """Two kinds of hosts in both runs; the one with rates three times as large had most trials first, and few then."""
    runs = history(2, repeats=16)
    for number, one in enumerate(runs):
        kinds = {"aaa": "slow", "bbb": "fast"}
        one.manifest["hosts"] = {key: {"machine": {**MACHINE, "cpu_model": kind}} for key, kind in kinds.items()}
        on_fast = one.records["repeat"] <= (13, 3)[number]
        one.records["host"] = np.where(on_fast, "bbb", "aaa")
        moved = on_fast & one.records["metric"].isin(["tcp_throughput_mbit", "underlay_tcp_throughput_mbit"])
        one.records.loc[moved, "value"] *= 3
    found = trend(history_of(runs))
    rates = [one for one in found.series if one.metric == "tcp_throughput_mbit"]
    assert {one.machine for one in rates} == {"slow x 2, arm64", "fast x 2, arm64"}
    told = [one for one in found.findings if one.change.metric == "tcp_throughput_mbit"]
    assert not {one.change.verdict for one in told} & {"regression", "improvement", "machine moved"}


def test_what_the_machine_moved_is_no_regression() -> None:
    moved = {"rtt_p50_ms", "rtt_p99_ms", "underlay_rtt_p50_ms"}
    runs = history(12, lambda now, _overlay, _nats, metric: 1.3 if now >= 6 and metric in moved else 1.0)
    found = trend(history_of(runs))
    assert found.regressions == []
    assert {one.change.verdict for one in found.findings if one.change.metric == "rtt_p50_ms"} == {"machine moved"}


def test_paths_and_pairs_of_nats_are_never_pooled() -> None:
    """From the sixth version on two of five trials are relayed, at twice the round trip: no path changed."""
    runs = history(12, nothing)
    for number, one in enumerate(runs):
        records = one.records
        relayed = records["trial"].astype(str).str.endswith(("-3", "-4")) & (records["overlay"] == "refmesh")
        relayed &= records["nat_a"] == "full-cone"
        if number >= 6:
            records.loc[relayed & records["path"].notna(), "path"] = "relayed"
            records.loc[relayed & (records["metric"] == "rtt_p50_ms"), "value"] *= 2
    found = trend(history_of(runs))
    assert [one.change.what for one in found.findings if one.change.verdict == "regression"] == []
    rtt = next(one for one in found.series if (one.subject, one.metric) == ("refmesh mesh", "rtt_p50_ms"))
    assert {"full-cone x full-cone, direct", "full-cone x full-cone, relayed"} <= {cell.name for cell in rtt.cells}


def test_a_success_that_is_lost_is_a_regression() -> None:
    found = trend(
        history_of(history(10, success=lambda now, overlay: 0.2 if now >= 5 and overlay == "nebula" else 1.0))
    )
    assert {one.change.metric for one in found.regressions} == {"trial_success", "connect_success"}
    assert {one.at for one in found.regressions} == {"c5"}


def test_one_folder_or_nothing_in_common_is_wrong_input(tmp_path: Path) -> None:
    names = folders(tmp_path, 1)
    assert run(*names).exit_code == 2
    assert run(names[0], names[0], "--since", "c0").exit_code == 2
    done = run(names[0], names[0])
    assert done.exit_code == 2 and "no overlay has two points" in done.stderr
    assert CliRunner().invoke(cli, ["trend", names[0], str(tmp_path / "none")]).exit_code != 0


def test_what_the_recipe_keeps_is_enough(tmp_path: Path) -> None:
    """The branch of docs/ci-history.yml holds three files of a run."""
    names = folders(tmp_path, 7, slower_from(4))
    for name in names:
        RunFolder(Path(name)).finish()
        for path in Path(name).iterdir():
            if path.name not in {"manifest.json", "plan.json", "records.parquet"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run(*names, "--by", "commit", "--check").exit_code == 1


@pytest.mark.parametrize("name", ["ci-daemon.yml", "ci-history.yml", "tutorial-github-actions.yml"])
def test_workflows_call_what_there_is(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / name).read_text()
    (job,) = yaml.safe_load(text)["jobs"].values()
    script = "\n".join(step["run"] for step in job["steps"] if "run" in step).replace("\\\n", " ")
    called = re.findall(r"\.venv/bin/overlaybench (\w+)([^\n|;)]*)", script)
    assert called
    for command, rest in called:
        loaded = cli.get_command(click.Context(cli), command)
        assert loaded is not None, command
        options = {name for param in loaded.params for name in param.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= options, (command, rest)
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
