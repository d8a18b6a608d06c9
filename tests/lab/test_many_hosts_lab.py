"""A scheduler and two workers, started by the documentation's commands in namespaces that stand for hosts, with TLS."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.hosts_runs import ends, scenario
from tests.lab.running import machine_state, processes_naming

pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces that outlive a command"),
]

DOCS = Path(__file__).parents[2] / "docs" / "many-machines.md"
BIN = Path(sys.executable).parent
TRIALS = 12
SILENCE_S = 8


def until(holds: Callable[[], bool], patience_s: float = 90.0) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.1)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Two namespaces on a bridge of this machine, which is the third: name of the namespace by host."""
    tag = f"ob{os.getpid() % 100_000}"
    named = {"rack1": f"{tag}a", "rack2": f"{tag}b"}
    try:
        ip("link", "add", tag, "type", "bridge")
        ip("addr", "add", "10.213.77.1/24", "dev", tag)
        ip("link", "set", tag, "up")
        for number, name in enumerate(named.values(), 2):
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", tag, "up")
            ip("-n", name, "addr", "add", f"10.213.77.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield named
    finally:
        for name in named.values():
            # A namespace takes its interfaces along some time after it was deleted, and the next test makes the same.
            for words in (("link", "del", name), ("netns", "del", name)):
                with contextlib.suppress(subprocess.CalledProcessError):
                    ip(*words)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", tag)


def documented() -> list[str]:
    """Return the commands of the chapter on a scheduler of one's own."""
    text = DOCS.read_text().partition("<!-- commands -->")[2].partition("<!-- end of commands -->")[0]
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.timeout(230)
def test_two_hosts_by_the_documented_commands_and_a_cable_that_is_pulled(hosts: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
    before = machine_state()
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "OVERLAYBENCH_TLS": str(tmp_path / "tls"),
        "OVERLAYBENCH_HOST_SILENCE_S": str(SILENCE_S),
        "SCHEDULER": "10.213.77.1",
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
    }
    (tmp_path / "two.yaml").write_text(scenario(repeats=TRIALS // 2))
    init = [str(BIN / "overlaybench"), "hosts", "init", "--dir", str(tmp_path / "tls")]
    subprocess.run(init, check=True, capture_output=True)
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str, log: str, *prefix: str) -> subprocess.Popen[bytes]:
        with (tmp_path / log).open("wb") as file:
            argv = [*prefix, "sh", "-c", f"exec {line}"]
            process = subprocess.Popen(
                argv, stdout=file, stderr=file, env=environment, cwd=tmp_path, start_new_session=True
            )
        started.append(process)
        return process

    def said(log: str) -> str:
        return (tmp_path / log).read_text(errors="replace")

    def plugged(name: str, how: str) -> None:
        ip("link", "set", hosts[name], how)

    out = tmp_path / "run"
    try:
        scheduler, *workers, run = documented()
        start(scheduler, "scheduler.log")
        until(lambda: "Scheduler at" in said("scheduler.log"))
        for name, line in zip(hosts, workers, strict=True):
            assert f"--name {name} " in line
            start(re.sub(r"--nthreads 8", "--nthreads 2", line), f"{name}.log", "ip", "netns", "exec", hosts[name])
        until(lambda: all("Registered to" in said(f"{name}.log") for name in hosts))
        line = run.replace("vpn-shootout", str(tmp_path / "two.yaml")).replace("runs/cluster", str(out))
        campaign = start(line, "run.log")
        until(lambda: said("run.log").count(" on rack2, ") >= 1 or campaign.poll() is not None)
        plugged("rack2", "down")
        assert campaign.wait(150) == 0, said("run.log")
        plugged("rack2", "up")
    finally:
        for process in reversed(started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    ended = ends(out)
    assert len(ended) == TRIALS and {line["outcome"] for line in ended.values()} == {"ok"}
    manifest = json.loads((out / "manifest.json").read_text())
    names = {key: one["name"] for key, one in manifest["hosts"].items()}
    assert {names[line["host"]] for line in ended.values()} == {"rack1", "rack2"}
    assert all(one["calibration"]["ok"] and one["calibration"]["nat"]["cases"] for one in manifest["hosts"].values())
    lost = manifest["hosts_lost"]
    assert {one["host"] for one in lost} == {"rack2"} and 1 <= len(lost) <= 2, "what was in flight there"
    assert (out / "trials" / next(iter(ended)) / "job.json").exists(), "evidence came back"
    label = re.sub(r"[^A-Za-z0-9._-]", "-", str(out))
    until(lambda: not processes_naming(label))
    assert machine_state() == before
