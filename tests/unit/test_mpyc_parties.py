"""Parties of a computation that wait for each other: the end of one is told at once, and with its reason."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import OverlayError
from harness.lab.process import Daemon
from harness.probes import gathering, mpyc_parties
from harness.probes.mpyc_log import Ran, not_done
from harness.probes.mpyc_parties import run_program
from harness.probes.readiness import why_not_ready

NODE: Any = SimpleNamespace(name="x", enter=lambda argv: argv)
# A party: its first line is what the others wait for, and it begins when it is told.
CONNECTED = """\
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print('{"connected_unix_s": 1}', flush=True)
signal.sigwait([signal.SIGUSR1])
"""
WAITING = "import signal; signal.pause()"
DEAD = "import sys; print('{}'); sys.exit('first\\nModuleNotFoundError: no gmpy2')"
SAYS = """print('{{"elapsed_s": 1, "bytes_sent": 5}}\\n{{"all_bytes_sent": {}}}')"""
DONE = f"{CONNECTED}{SAYS.format(70)}\nopen('done', 'w').close()"
# Is still there when the other one has ended.
LAST = f"{CONNECTED}import os, time\nwhile not os.path.exists('done'): time.sleep(0.01)\n{SAYS.format(60)}"


def ran(folder: Path, monkeypatch: pytest.MonkeyPatch, *scripts: str, deadline_s: float = 600.0) -> Ran:
    """Return what comes of a program whose parties, in order, are these scripts."""
    kinds = folder / "party.py"
    kinds.write_text(
        "import sys\n"
        "hosts = [word for flag, word in zip(sys.argv, sys.argv[1:]) if flag == '-P']\n"
        "own = next(number for number, host in enumerate(hosts) if host.startswith(':'))\n"
        f"exec({scripts!r}[own])\n"
    )
    monkeypatch.setattr(mpyc_parties, "_PARTY", str(kinds))
    names = [f"p{number}" for number in range(len(scripts))]
    topology = SimpleNamespace(mininet=True, members=names, server=None)
    lab = SimpleNamespace(nodes=dict.fromkeys(names, NODE), topology=topology)
    address: Any = SimpleNamespace(version=4)
    targets: list[Any] = [
        SimpleNamespace(
            src=a, dst=b, pair=(a, b), source=address, destination=address, lab=lab, folder=folder, label="x"
        )
        for number, a in enumerate(names)
        for b in names[number + 1 :]
    ]
    carried = SimpleNamespace(backend="x", counts={}, model_dump=dict)
    trial: Any = SimpleNamespace(usage=dict, carried=lambda: carried)
    monkeypatch.setattr(mpyc_parties, "readings_text", lambda _: "")
    return run_program(targets, "dense", ("1", "1", "1", "0.1"), deadline_s, trial)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_party_that_dies_early_ends_the_program_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    scripts = [WAITING, CONNECTED, WAITING]
    scripts[place] = DEAD
    began = time.monotonic()
    found = ran(tmp_path, monkeypatch, *scripts)
    assert time.monotonic() - began < 120, "not when its time is over"
    assert found.why_not == f"p{place} ended with status 1: ModuleNotFoundError: no gmpy2"
    assert found.spent is None and not found.killed


def test_one_that_dies_later_does_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(tmp_path, monkeypatch, CONNECTED + WAITING, CONNECTED + "sys.exit(4)")
    assert found.why_not == 'p1 ended with status 4: {"connected_unix_s": 1}' and found.spent is not None


def test_parties_that_only_wait_are_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpyc_parties, "START_S", 0.0)
    found = ran(tmp_path, monkeypatch, WAITING, WAITING, deadline_s=0.5)
    assert (found.why_not, found.spent) == (not_done(0.5), None)


def test_what_a_party_says_last_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log is copied by a thread, which may be later than the process's end."""
    keep, wait, waited_for = Daemon._keep, Daemon.wait, threading.Event()

    def late(daemon: Daemon, chunk: bytes) -> None:
        deadline = time.monotonic() + 10
        while b"70}" in chunk and not waited_for.is_set() and time.monotonic() < deadline:
            daemon._changed.wait(0.01)  # others may read what it has said so far
        keep(daemon, chunk)

    def asked(daemon: Daemon, timeout_s: float) -> int | None:
        if "p1" in daemon.log.name and daemon.status is not None:
            waited_for.set()
        return wait(daemon, timeout_s)

    monkeypatch.setattr(Daemon, "_keep", late)
    monkeypatch.setattr(Daemon, "wait", asked)
    found = ran(tmp_path, monkeypatch, LAST, DONE)
    assert found.why_not is None and found.spent is not None
    assert found.spent.window.moved_bytes == 130


def party(folder: Path, name: str, script: str) -> Daemon:
    return Daemon(NODE, ["sh", "-c", script], log=folder / f"{name}.log", cwd=folder, env={})


def test_a_party_of_rounds_that_dies_early_is_named_with_its_reason(tmp_path: Path) -> None:
    """And not the first one that waits for it."""
    parties = gathering.Gathering.__new__(gathering.Gathering)
    parties.daemons = {
        "p1": party(tmp_path, "p1", "exec sleep 600"),
        "p2": party(tmp_path, "p2", "echo cannot listen >&2; exit 3"),
    }
    try:
        with pytest.raises(OverlayError, match=r"^p2 ended with status 3: cannot listen$"):
            parties.wait_until_connected()
    finally:
        parties.stop()


def test_who_is_late_is_named(tmp_path: Path) -> None:
    says = {"p1": "echo here; ", "p2": ""}
    parties = {name: party(tmp_path, name, f"{first}exec sleep 600") for name, first in says.items()}
    try:
        assert parties["p1"].wait_for_line("here", 60)
        assert why_not_ready(parties, "here", time.monotonic(), "{} is late".format) == "p2 is late"
    finally:
        for one in parties.values():
            one.stop()
