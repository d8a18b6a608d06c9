"""The ways that lead to a station: a shell in between, a disk that fills up there, words of the environment."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_host import Heard
from pool_runs import campaign, lasting, plan

from harness.errors import ScenarioError, StorageError
from harness.hosts.fleet import Fleet, HostEntry, stations
from harness.hosts.member import in_pieces
from harness.hosts.patience import silence_s
from harness.hosts.pool import Pool
from harness.hosts.station_member import StationMember
from harness.hosts.station_messages import Require, Run, line_of
from harness.results.store import RunFolder

HERE = Path(__file__).parent
FAKE = (sys.executable, str(HERE / "fake_station.py"))


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["my runs", "it's", "a;false", "$HOME", "(x)", "*"])
def test_a_run_of_any_name_is_shown_by_a_station_behind_ssh(tmp_path: Path, name: str) -> None:
    """As ssh does, the command makes one line of its words, which a shell there takes apart again."""
    there = executable(tmp_path / "station", f'#!/bin/sh\nshift 2\nexec {FAKE[0]} {FAKE[1]} "$@"\n')
    ssh = executable(tmp_path / "ssh", '#!/bin/sh\nshift\nexec sh -c "$*"\n')
    fleet = Fleet(hosts=(HostEntry(name="one", through=(ssh, "bench@one"), slots=2, python=there),))
    planned = plan(tmp_path, repeats=1)
    tally = campaign(tmp_path, planned, Pool(stations(fleet, f"runs/{name}", 1))).run(planned.trials)
    assert tally.outcomes == {"ok": len(planned.trials)}


def test_a_station_whose_client_takes_nothing_gives_up_in_the_middle_of_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cable that was pulled, a campaign that was stopped: the way is full, and nothing can be sent."""
    monkeypatch.setenv("FAKE_EVIDENCE", str(8 << 20))
    planned, path = plan(tmp_path, repeats=1), tmp_path / "s"
    process = subprocess.Popen([*FAKE, "--socket", str(path), "--silence-s", "20"], stderr=subprocess.PIPE, text=True)
    try:
        while not path.exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))
            questions, said = (*in_pieces(planned.trials), Require()), b""
            for question in questions:
                client.sendall(line_of(question))
            while said.count(b'"answer"') < len(questions):
                piece = client.recv(1 << 16)
                assert piece, "it gave its client up before it was silent"
                said += piece
            client.sendall(line_of(Run(trial=planned.trials[0].id)))
            assert process.wait(60) == 0
            client.settimeout(0)
            said = client.recv(64 << 20)
    finally:
        process.kill()
        process.communicate()
    assert b'"evidence_bytes"' in said and len(said) < 8 << 20, "it ended while it wrote"


def can_mount() -> bool:
    words = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


def on_a_small_disk(folder: Path) -> tuple[str, ...]:
    """Return what leads to a station that keeps its trials on a file system with room for one file or so."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    text = (
        f"#!/bin/sh\nmount -t tmpfs -o size=48k none {disk}\nhead -c 40960 /dev/zero >{disk}/full\n"
        f'exec env TMPDIR={disk} "$@"\n'
    )
    return ("unshare", "--user", "--map-root-user", "--mount", executable(folder / "small", text), *FAKE)


@pytest.mark.skipif(not can_mount(), reason="this user may not mount in a namespace of its own")
def test_what_a_host_with_a_full_disk_cannot_hold_another_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hosts.pool.LONGEST_PAUSE_S", 600.0)  # it is not asked again, however long it takes
    planned, names = plan(tmp_path, repeats=2), ("full", "other")
    full, other = (
        StationMember(name, 4, way, "x") for name, way in zip(names, (on_a_small_disk(tmp_path), FAKE), strict=True)
    )
    pool, heard = Pool([full, other]), Heard()
    tally = campaign(tmp_path, planned, pool, heard).run(planned.trials)
    assert tally.outcomes == {"ok": len(planned.trials)} and len(lasting(tmp_path / "run")) == 2 * len(planned.trials)
    lost = pool.account()["hosts_lost"]
    assert {one["host"] for one in lost} == {"full"} and 1 <= len(lost) <= full.slots, "no more than were in flight"
    assert "no space left on device" in lost[0]["why"]
    alone = tmp_path / "alone"
    alone.mkdir()
    with pytest.raises(StorageError, match=r"host full: .*no space left on device"):
        campaign(alone, planned, Pool([full])).run(planned.trials)
    assert len(RunFolder(alone / "run").finished_trials()) < len(planned.trials)


@pytest.mark.parametrize("said", ["a while", "nan", "inf", "0", "-3"])
def test_a_silence_that_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", said)
    with pytest.raises(ScenarioError, match=f"OVERLAYBENCH_HOST_SILENCE_S: '{said}' is no number of seconds above 0"):
        silence_s()
    module = [sys.executable, "-m", "harness.hosts.station"]
    done = subprocess.run(module, input="", capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert done.returncode == 2 and "is no number of seconds above 0" in done.stderr
    monkeypatch.setenv("OVERLAYBENCH_HOST_SILENCE_S", " 7.5 ")
    assert silence_s() == 7.5
    monkeypatch.delenv("OVERLAYBENCH_HOST_SILENCE_S")
    assert silence_s() == 60.0
