"""Hosts behind ssh: the cluster is brought up by the run, and ends with it."""

from __future__ import annotations

import datetime
import getpass
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pool_runs import SCENARIO, begun_in, labelled, lasting
from ssh_hosts import hosts_file, require_refused

from harness.errors import MissingPrerequisite
from harness.hosts.certificates import make_files
from harness.results.store import RunFolder

dask = pytest.importorskip("dask", reason="pip install -e '.[dask]'")
pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
pytest.importorskip("asyncssh", reason="pip install -e '.[dask]'")
# Against what hangs; how long it takes is for the machine to say.
pytestmark = pytest.mark.timeout(300)
HERE = Path(__file__).parent


def test_a_run_over_ssh_brings_its_workers_up_and_ends_them(tmp_path: Path) -> None:
    make_files(tmp_path / "tls", datetime.datetime.now(datetime.UTC))
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "OVERLAYBENCH_TLS": str(tmp_path / "tls"),
        "FAKE_STATION": str(HERE / "fake_station.py"),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(HERE / "fake_worker.py")]),
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
    }
    with (tmp_path / "ssh.log").open("wb") as log:
        argv = [sys.executable, str(HERE / "ssh_server.py"), str(tmp_path)]
        server = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "port").exists():
            assert time.monotonic() < deadline, (tmp_path / "ssh.log").read_text()
            time.sleep(0.05)
        port, user = (tmp_path / "port").read_text(), getpass.getuser()
        entry = f"ssh: 127.0.0.1, port: {port}, user: {user}"
        text = f"hosts:\n  - {{{entry}, name: rack1, slots: 2}}\n  - {{{entry}, name: rack2, slots: 3}}\n"
        (tmp_path / "hosts.yaml").write_text(text)
        (tmp_path / "mine.yaml").write_text(SCENARIO.replace("repeats: 4", "repeats: 1"))
        run = [str(Path(sys.executable).with_name("overlaybench")), "run", "mine.yaml", "--hosts", "hosts.yaml"]
        done = subprocess.run(
            [*run, "--out", str(tmp_path / "run")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert " on rack1, " in done.stderr and " on rack2, " in done.stderr
        assert len(lasting(tmp_path / "run")) == 2 * 18
        assert {one["name"] for one in RunFolder(tmp_path / "run").manifest()["hosts"].values()} == {"rack1", "rack2"}
        deadline = time.monotonic() + 30
        while begun_in(tmp_path, "distributed.cli.dask_spec") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not begun_in(tmp_path, "distributed.cli.dask_spec") and not labelled(tmp_path / "run")
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.mark.parametrize(
    ("found", "alone", "listens"),
    [
        ("10.0.0.2", False, {"host": "10.0.0.2"}),
        ("127.0.1.1", True, {"host": "127.0.1.1"}),
        ("127.0.1.1", False, {}),  # what Debian calls a machine on itself: no other host reaches it there
    ],
)
def test_several_hosts_listen_where_each_other_can_reach_them(
    monkeypatch: pytest.MonkeyPatch, found: str, alone: bool, listens: dict[str, str]
) -> None:
    clusters = pytest.importorskip("harness.hosts.dask_clusters")
    monkeypatch.setattr(clusters.socket, "gethostbyname", lambda _: found)
    host = clusters.SshHost(name="rack1", address="rack1", slots=1, python="python3")
    assert clusters._reached_at(host, alone=alone) == listens


def test_each_end_opens_the_tls_files_where_it_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the documentation: the file of hosts says where they are there, and here they are in somebody's home."""
    clusters = pytest.importorskip("harness.hosts.dask_clusters")
    path = hosts_file(tmp_path, monkeypatch, "hosts:\n  - {ssh: rack1}\ntls: /home/bench/tls\n")
    taken: dict[str, Any] = {}

    class Enough(Exception):
        pass

    def brought_up(*_: object, security: Any, **__: object) -> None:
        taken.update(here=security, there=dask.config.get("distributed.comm.tls"))
        raise Enough("seen")

    monkeypatch.setattr(clusters, "SpecCluster", brought_up)
    require_refused(path, r"a worker by ssh on rack1 \(seen\)")
    for role in ("client", "scheduler", "worker"):
        assert getattr(taken["here"], f"tls_{role}_key") == str(tmp_path / "tls" / "key.pem")
        assert taken["there"][role] == {"cert": "/home/bench/tls/cert.pem", "key": "/home/bench/tls/key.pem"}
    assert taken["here"].tls_ca_file == str(tmp_path / "tls" / "ca.pem")
    assert taken["there"]["ca-file"] == "/home/bench/tls/ca.pem"


def test_no_pickle_of_a_scheduler_elsewhere_is_opened_while_it_comes_up_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = pytest.importorskip("harness.hosts.dask_clusters")
    pickles = pytest.importorskip("harness.hosts.dask_pickles")
    path = hosts_file(tmp_path, monkeypatch, "hosts:\n  - {ssh: 127.0.0.1}\n")
    closed: dict[str, bool] = {}

    def look(when: str) -> None:
        closed[when] = pickles.dasks.loads is pickles.plain

    class Standing:
        scheduler_address = "tls://127.0.0.1:1"

        def __init__(self, *_: object, **__: object) -> None:
            look("up")

        def close(self) -> None:
            look("down")

    def nobody(*_: object, **__: object) -> None:
        raise MissingPrerequisite("a worker", "one")

    monkeypatch.setattr(clusters, "SpecCluster", Standing)
    monkeypatch.setattr("harness.hosts.dask.members_at", nobody)
    look("before")
    require_refused(path, "a worker")
    look("after")
    monkeypatch.setattr(clusters, "SpecCluster", nobody)
    require_refused(path, "a worker by ssh on")
    look("after a failure")
    assert closed == {"before": False, "up": True, "down": True, "after": False, "after a failure": False}
