"""The links' helper: its lateness, its privileges, its life and death."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.unshare import sandbox_argv
from tests.lab.link_lab import PREAMBLE, in_sandbox
from tests.lab.running import unprivileged_uid, without_privileges

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("scratch")]


def test_a_busy_helper_that_is_late_says_so() -> None:
    # The Python helper under a load that it cannot carry: the account must call the trial invalid, with the figure.
    code = """
with rig({"delay_ms": 1}, "userlink-python") as made:
    stream(made, Stream(30_000, 10, 100))
    out(made.links.accounting().violation())
"""
    violation = in_sandbox(PREAMBLE + code)
    assert violation is not None
    assert "late" in violation or "dropped" in violation


def test_the_helper_dies_with_its_lab_even_after_sigkill(tmp_path: Path) -> None:
    code = """
made = rig({"delay_ms": 10})
Path(os.environ["SCRATCH"], "alive").touch()
out("up")
sys.stdout.flush()
time.sleep(100)
"""
    process = subprocess.Popen(
        sandbox_argv([sys.executable, "-c", PREAMBLE + code]), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == '"up"'
    # Seen from outside, the helper's log is open in it: found by that rather than by name.
    log = tmp_path / "userlink.log"
    helpers = _having_open(log)
    assert helpers, "no helper runs"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for pid in helpers:
        _wait_for_end(pid)


def _having_open(path: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(link.readlink() == path for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _wait_for_end(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ended, f"process {pid} outlived its lab"


def test_a_helper_that_dies_is_reported_with_its_log() -> None:
    code = """
from harness.errors import CommandFailed
with rig({"delay_ms": 10}) as made:
    os.kill(made.links.helper_pid, 9)
    try:
        made.links.accounting()
        out("no error")
    except CommandFailed as error:
        out(error.status)
"""
    assert in_sandbox(PREAMBLE + code) == -9


def test_an_ordinary_helper_has_a_process_a_processor_that_wakes_beside_it_and_ends_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OVERLAYBENCH_NO_REALTIME", "1")
    code = """
import select
def children(of):
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == of:
                found[int(place.name)] = sorted(os.sched_getaffinity(int(place.name)))
        except OSError:
            continue
    return found
processors = sorted(os.sched_getaffinity(0))
wanted = [[one] for one in processors] if len(processors) <= 16 else []
with rig({"delay_ms": 1}) as made:
    helper, end = made.links.helper_pid, time.monotonic() + 5
    while sorted((found := children(helper)).values()) != wanted and time.monotonic() < end:
        time.sleep(0.01)
    sessions = {os.getsid(pid) for pid in (helper, *found)}
    descriptors = [os.pidfd_open(pid) for pid in found]
    os.kill(helper, 9)
    ended = [bool(select.select([one], [], [], 5)[0]) for one in descriptors]
    out([sorted(found.values()) == wanted, len(sessions) == 1 + len(wanted), all(ended)])
"""
    assert in_sandbox(PREAMBLE + code) == [True, True, True]


@pytest.mark.parametrize("highest_realtime_priority", [0, 1])
def test_an_unprivileged_user_has_links_too(highest_realtime_priority: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests are unprivileged then")
    code = (
        "import tempfile\nSCRATCH = tempfile.TemporaryDirectory()\n"  # of that user; it goes with its program
        + PREAMBLE.replace('os.environ["SCRATCH"]', "SCRATCH.name")
        + """
with rig({"delay_ms": 5, "loss_percent": 5}) as made:
    seen = stream(made, Stream(400, 500, 500))
    helper = made.links.helper_pid
    account = made.links.accounting()
    priority = [account.realtime, os.getsid(helper) == helper, account.as_dict()["kickers"]]
    who = [os.geteuid(), open("/proc/self/uid_map").read().split()[1]]
    out([who, len(seen.arrived), min(seen.delays_ms), priority])
"""
    )
    # What an administrator grants in limits.conf: the helper must find it out and use it.
    limit = ["prlimit", f"--rtprio={highest_realtime_priority}"]
    if subprocess.run([*limit, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this root may not raise RLIMIT_RTPRIO")
    user = [*limit, *without_privileges()]
    spaces = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--"]
    project = Path(__file__).parents[2]
    done = subprocess.run(
        [*user, *spaces, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
        env={**os.environ, "TMPDIR": "/tmp"},
    )
    assert done.returncode == 0, done.stderr
    who, arrived, fastest_ms, (realtime, own_session, kickers) = json.loads(done.stdout)
    assert who == [0, str(unprivileged_uid())]
    assert realtime == (highest_realtime_priority > 0)
    assert own_session
    processors = len(os.sched_getaffinity(0))
    if realtime:
        assert kickers == "0 of 0: real-time priority needs none"
    elif processors <= 16:
        assert kickers == f"{processors} of {processors}"
    else:
        assert kickers == f"0 of {processors}: of more than 16 processors one is idle"
    assert 340 < arrived < 400
    assert fastest_ms >= 5
