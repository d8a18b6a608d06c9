"""The result folder: written trial by trial, read back whatever a crash left."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from result_samples import Maker

from harness.results.store import ResultFolderError, RunFolder

PAIR = {"overlay": "refmesh", "mode": "mesh", "nat_a": "full-cone", "nat_b": "symmetric"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create({"schema": 1, "scenario": "demo"}, [{"id": "t1"}, {"id": "t2"}])
    return run


def test_a_finished_trial_is_read_back_as_it_was_written(folder: RunFolder) -> None:
    records = Maker().trial("t1", **PAIR)
    folder.append(records)
    assert folder.finished_trials() == {"t1"}
    assert folder.read().records == [record.as_dict() for record in records]
    assert folder.read().problems == []


def test_append_wants_exactly_one_whole_trial(folder: RunFolder) -> None:
    records = Maker().trial("t1", **PAIR)
    with pytest.raises(ValueError, match="record last"):
        folder.append(records[:-1])
    with pytest.raises(ValueError, match="record last"):
        folder.append([*records, *Maker().trial("t2", **PAIR)])
    with pytest.raises(ValueError, match="record last"):
        folder.append([])
    assert folder.finished_trials() == set()


def test_a_number_that_json_lacks_is_refused_and_nothing_is_written(folder: RunFolder) -> None:
    maker = Maker()
    end = maker.one("trial", "duration_s", "s", 1.0)
    with pytest.raises(ValueError, match="JSON"):
        folder.append([maker.one("latency", "rtt_p50_ms", "ms", float("nan")), end])
    assert folder.records_path.read_bytes() == b""


def test_results_are_never_overwritten(folder: RunFolder) -> None:
    with pytest.raises(ResultFolderError, match="--resume"):
        RunFolder(folder.path).create({}, [])


@pytest.mark.parametrize("keep", [1, 100, -2, -20])
def test_a_torn_trial_does_not_count_and_is_cut_off_on_resume(folder: RunFolder, keep: int) -> None:
    folder.append(Maker().trial("t1", **PAIR))
    size = folder.records_path.stat().st_size
    folder.append(Maker().trial("t2", **PAIR))
    folder.close()
    data = folder.records_path.read_bytes()
    folder.records_path.write_bytes(data[: size + keep if keep > 0 else len(data) + keep])

    resumed = RunFolder(folder.path)
    assert resumed.finished_trials() == {"t1"}
    assert len(resumed.read().problems) >= 1
    resumed.append(Maker().trial("t2", **PAIR))
    assert resumed.finished_trials() == {"t1", "t2"}
    assert resumed.records_path.read_bytes() == data
    assert resumed.read().problems == []


def test_a_trial_that_lacks_only_its_newline_is_whole(folder: RunFolder) -> None:
    folder.append(Maker().trial("t1", **PAIR))
    folder.close()
    data = folder.records_path.read_bytes()
    folder.records_path.write_bytes(data[:-1])
    resumed = RunFolder(folder.path)
    assert resumed.finished_trials() == {"t1"}
    resumed.append(Maker().trial("t2", **PAIR))
    assert resumed.finished_trials() == {"t1", "t2"}
    assert resumed.read().problems == []


def test_a_disk_that_fills_half_way_leaves_no_half_of_a_line(folder: RunFolder) -> None:
    folder.append(Maker().trial("t1", **PAIR))
    before = folder.records_path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.append(Maker().trial("t2", **PAIR))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert folder.records_path.read_bytes() == before


def test_corrupt_lines_are_named_and_skipped(folder: RunFolder) -> None:
    first, second = Maker().trial("t1", **PAIR), Maker().trial("t2", **PAIR)
    folder.append(first)
    folder.append(second)
    lines = folder.records_path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00\xff garbage\n"
    lines[4] = lines[4].replace(b'"unit":', b'"units":')
    lines[5] = lines[5].replace(b'"outcome": "ok"', b'"outcome": "fine"')
    lines[6] = b"[1, 2]\n"
    folder.records_path.write_bytes(b"".join(lines))
    result = folder.read()
    assert [problem.line for problem in result.problems] == [3, 5, 6, 7]
    assert "not UTF-8" in result.problems[0].text
    assert "'units'" in result.problems[1].text
    assert "'fine'" in result.problems[2].text
    assert len(result.records) == len(first) + len(second) - 4
    assert result.finished == {"t1", "t2"}


def test_a_trial_whose_end_was_corrupted_runs_again_without_counting_twice(folder: RunFolder) -> None:
    trials = [Maker().trial(name, **PAIR) for name in ("t1", "t2")]
    for trial in trials:
        folder.append(trial)
    folder.close()
    lines = folder.records_path.read_bytes().splitlines(keepends=True)
    lines[len(trials[0]) - 1] = b"#" * 40 + b"\n"
    folder.records_path.write_bytes(b"".join(lines))
    assert folder.finished_trials() == {"t2"}
    again = RunFolder(folder.path)
    again.append(trials[0])
    result = again.read()
    assert result.finished == {"t1", "t2"}
    assert len(result.records) == len(trials[0]) + len(trials[1])
    assert any("t1, which has not finished" in problem.text for problem in result.problems)


def test_records_of_another_schema_are_never_cut_off(folder: RunFolder) -> None:
    folder.append(Maker().trial("t1", **PAIR))
    folder.close()
    data = folder.records_path.read_bytes().replace(b'{"schema": 3,', b'{"schema": 4,')
    folder.records_path.write_bytes(data)
    with pytest.raises(ResultFolderError, match="another version"):
        RunFolder(folder.path).append(Maker().trial("t2", **PAIR))
    assert folder.records_path.read_bytes() == data


def test_one_writer_at_a_time(folder: RunFolder) -> None:
    folder.append(Maker().trial("t1", **PAIR))
    other = RunFolder(folder.path)
    with pytest.raises(ResultFolderError, match="another run"):
        other.append(Maker().trial("t2", **PAIR))
    folder.close()
    other.append(Maker().trial("t2", **PAIR))


def test_a_killed_writer_loses_at_most_its_trial(folder: RunFolder) -> None:
    """The writer says after which append it is; every trial that it said is there after SIGKILL, whole."""
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from result_samples import Maker
from harness.results.store import RunFolder
run, maker, number = RunFolder(Path({str(folder.path)!r})), Maker(), 0
while True:
    number += 1
    run.append(maker.trial(f"t{{number}}", **{PAIR!r}))
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = 0
        while said < 20:
            said = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    said = int(rest[-1]) if rest else said
    resumed = RunFolder(folder.path)
    assert {f"t{number}" for number in range(1, said + 1)} <= resumed.finished_trials()
    per_trial = len(Maker().trial("t", **PAIR))
    assert len(resumed.read().records) == per_trial * len(resumed.finished_trials())
    resumed.append(Maker().trial("last", **PAIR))
    assert resumed.read().problems == []


def test_finish_writes_parquet_and_summary(folder: RunFolder) -> None:
    for trial in Maker().campaign(2):
        folder.append(trial)
    folder.finish()
    frame = pd.read_parquet(folder.parquet_path)
    assert len(frame) == len(folder.read().records)
    assert json.loads(frame.loc[frame["probe"] == "path", "params"].iloc[0]) == {"deadline_s": 15}
    summary = pd.read_csv(folder.summary_path)
    assert {"n", "estimate", "ci_low", "ci_high", "unit", "method"} <= set(summary.columns)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_folder_without_a_readable_manifest_is_named(tmp_path: Path, text: str) -> None:
    if text:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ResultFolderError, match=str(tmp_path)):
        RunFolder(tmp_path).manifest()
