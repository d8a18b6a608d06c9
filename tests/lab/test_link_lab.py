"""Links in real namespaces: the backends of this machine, the in-trial check, their lives and deaths."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.link.choose import netem_missing
from harness.sandbox.unshare import sandbox_argv
from tests.lab.running import unprivileged_uid, without_privileges

pytestmark = pytest.mark.lab


def in_sandbox(code: str, *words: str, timeout_s: float = 100) -> Any:
    """Run Python `code` in fresh namespaces, with `sys.argv[1:]` = words; returns the JSON that it prints last."""
    done = subprocess.run(
        sandbox_argv([sys.executable, "-c", code, *words]),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PREAMBLE = """
import json, os, sys, time
from pathlib import Path
from harness.link.backend import Cable
from harness.link.check import PathToCheck, check_paths, require_paths
from harness.link.choose import choose_backend
from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig, run
from harness.calibration.link_traffic import Stream, run_stream
from harness.model.link import parse_link

def rig(spec, backend="userlink", seed=1):
    folder = Path(os.environ["SCRATCH"])
    return Rig(choose_backend(backend), parse_link(spec), seed=seed, workdir=folder)

def stream(made, stream):
    return run_stream(stream, made.udp_socket(made.a, A_ADDRESS), made.udp_socket(made.b, B_ADDRESS), patience_s=1)

def out(value):
    print(json.dumps(value))
"""


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))


@pytest.mark.parametrize("backend", ["userlink", "userlink-python"])
def test_the_same_seed_loses_the_same_packets_on_a_real_link(backend: str) -> None:
    code = """
lost = []
for seed in (5, 5, 6):
    with rig({"delay_ms": 2, "loss_percent": 20}, sys.argv[1], seed) as made:
        seen = stream(made, Stream(400, 500, 200))
        lost.append(sorted(set(range(400)) - {number for number, _ in seen.arrived}))
out(lost)
"""
    first, second, other = in_sandbox(PREAMBLE + code, backend)
    assert first == second != other
    # 400 draws at 20 %: 80, and 48 is four deviations away.
    assert 48 < len(first) < 112


def test_a_link_changes_while_it_runs_and_counts_what_it_did() -> None:
    code = """
with rig({"delay_ms": 5, "up": {"loss_percent": 1}}) as made:
    def rtt():
        return check_paths([PathToCheck("x", made.a, B_ADDRESS, (parse_link("ideal"),))])[0]
    before = rtt()
    account = made.links.accounting()
    made.links.change("a-b", parse_link({"delay_ms": 40}))
    after = rtt()
    made.links.change("a-b", parse_link({"delay_ms": 5, "up": {"loss_percent": 100}}))
    cut = rtt()
    change = made.links.accounting().since(account)
    out([before.rtt_ms, after.rtt_ms, cut.answered, change.counts["a-b"]["up"].lost, change.violation()])
"""
    before_ms, after_ms, answered, lost, violation = in_sandbox(PREAMBLE + code)
    assert 10 <= before_ms < 13
    assert 80 <= after_ms < 84
    assert answered == 0
    assert lost == 9, "one echo to wake the path and eight that count"
    assert violation is None or "late" in violation


def test_the_check_finds_links_that_are_not_what_they_say() -> None:
    code = """
told = {"delay_ms": 20}
answers = {}
real = {"as told": told, "not impaired": "ideal", "twice": {"delay_ms": 40}, "one way": {"up": told}}
for name, spec in real.items():
    with rig(spec) as made:
        begin = time.monotonic()
        seen = check_paths([PathToCheck("a to b", made.a, B_ADDRESS, (parse_link(told),))])[0]
        answers[name] = [seen.problem, time.monotonic() - begin]
out(answers)
"""
    answers = in_sandbox(PREAMBLE + code)
    assert answers["as told"][0] is None
    for name in ("not impaired", "twice", "one way"):
        assert "declared links add up to 40.01 ms" in answers[name][0] or "40.00 ms" in answers[name][0], name
    assert all(seconds < 0.5 for _, seconds in answers.values())


def test_require_paths_makes_a_trial_invalid() -> None:
    code = """
from harness.errors import LabNotAsDeclared
with rig("ideal") as made:
    try:
        require_paths([PathToCheck("a to b", made.a, B_ADDRESS, (parse_link("dsl"),))])
        out("no error")
    except LabNotAsDeclared as error:
        out([error.outcome, str(error)])
"""
    outcome, text = in_sandbox(PREAMBLE + code)
    assert outcome == "invalid"
    assert text.startswith("path a to b: round trips take")


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


def test_bundles_cross_as_the_frames_that_they_are_and_every_byte_arrives() -> None:
    # Bundles from the nodes, cut; each frame lost, doubled, spoilt and overtaken alone; neighbours joined again.
    code = """
import hashlib, socket, threading
from harness.sandbox.namespace import inside_network_of
spec = {"delay_ms": 3, "jitter_ms": 0.2, "loss_percent": 0.6, "duplicate_percent": 0.6, "corrupt_percent": 0.6,
        "reorder_percent": 0.6}
data = os.urandom(1 << 20) * 12
answers = []
for family, there, everywhere in ((socket.AF_INET, B_ADDRESS, "0.0.0.0"), (socket.AF_INET6, "fd00::b", "::")):
    with rig(spec) as made:
        for pid, own, other, mac in ((made.a, "fd00::a", "fd00::b", "0b"), (made.b, "fd00::b", "fd00::a", "0a")):
            with inside_network_of(pid):
                Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
                Path("/proc/sys/net/ipv6/conf/eth0/accept_dad").write_text("0")
                run(*f"ip address add {own}/64 dev eth0 nodad".split())
                run(*f"ip neighbour add {other} lladdr 02:00:00:00:00:{mac} dev eth0 nud permanent".split())
        with inside_network_of(made.b):
            listener = socket.create_server((everywhere, 5000), family=family)
        with inside_network_of(made.a):
            sender = socket.create_connection((there, 5000))
        receiver, _ = listener.accept()
        thread = threading.Thread(target=lambda: (sender.sendall(data), sender.close()))
        thread.start()
        seen, count = hashlib.sha256(), 0
        while part := receiver.recv(1 << 20):
            seen.update(part)
            count += len(part)
        thread.join()
        up = made.links.accounting().counts["a-b"]["up"]
        same = seen.digest() == hashlib.sha256(data).digest()
        counts = [up.lost, up.corrupted, up.duplicated]
        answers.append([same, up.received, up.sent_bytes / up.sent, counts, up.ingress_drops])
out(answers)
"""
    for same, received, bytes_a_frame, counts, ingress_drops in in_sandbox(PREAMBLE + code):
        assert same
        # 12.6 MB in segments of 1428 to 1448 bytes, and none longer than a frame of 1514.
        assert received > 8_600
        assert bytes_a_frame < 1515
        # 0.6 % of 8,600 and more: 52 and more; 23 is four deviations below.
        assert min(counts) > 23
        assert ingress_drops == 0


def test_bundles_of_datagrams_are_cut_where_the_kernel_tells_of_them_and_by_the_node_elsewhere() -> None:
    code = """
import socket
spec = {"delay_ms": 2, "loss_percent": 10}
with rig(spec) as made:
    sender, receiver = made.udp_socket(made.a, A_ADDRESS), made.udp_socket(made.b, B_ADDRESS, 5000)
    receiver.settimeout(0.5)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sender.setsockopt(17, 103, 1000)  # UDP_SEGMENT
    sent = [number.to_bytes(2, "big") * 500 for number in range(400)]
    for first in range(0, 400, 40):
        sender.sendto(b"".join(sent[first : first + 40]), (B_ADDRESS, 5000))
    arrived = []
    try:
        while True:
            arrived.append(receiver.recv(65536))
    except TimeoutError:
        pass
    up = made.links.accounting().counts["a-b"]["up"]
    out([up.received, up.lost, len(arrived), sorted(arrived) == sorted(set(arrived) & set(sent))])
"""
    received, lost, arrived, genuine = in_sandbox(PREAMBLE + code)
    assert received == 400
    assert arrived == 400 - lost
    # 400 draws at 10 %: 40, and 16 is four deviations away.
    assert 16 < lost < 64
    assert genuine


@pytest.mark.parametrize("backend", ["userlink", "userlink-python"])
def test_vlan_tags_cross(backend: str) -> None:
    code = """
import socket
from harness.sandbox.namespace import inside_network_of
with rig({"delay_ms": 1}, sys.argv[1]) as made:
    ports = []
    for pid in (made.a, made.b):
        with inside_network_of(pid):
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            port.bind(("eth0", 3))
            port.setsockopt(263, 8, 1)  # PACKET_AUXDATA
            port.settimeout(2)
            ports.append(port)
    frame = bytes.fromhex("02000000000b 02000000000a") + b"%s" + b"\\x88\\xb5" + b"payload" * 9
    seen = []
    for tags in ("", "81006007", "88a80005", "88a80005 81000007"):
        # The longest frame that a node can send with such a tag; packet(7) allows 802.1Q alone four octets more.
        more = b"payload" * (205 if len(tags) <= 8 and not tags.startswith("88") else 0)
        ports[0].send(frame.replace(b"%s", bytes.fromhex(tags)) + more)
        while b"payload" not in (got := ports[1].recvmsg(2048, 256))[0]:
            pass
        beside = next(data for _, kind, data in got[1] if kind == 8)
        status = int.from_bytes(beside[:4], sys.byteorder)
        tci, tpid = (int.from_bytes(beside[at : at + 2], sys.byteorder) for at in (16, 18))
        outer = f"{tpid:04x}{tci:04x}" if status & 16 else ""
        inner = got[0][12 : got[0].index(b"\\x88\\xb5")].hex()
        seen.append([tags.replace(" ", ""), outer + inner])
    out(seen)
"""
    for sent, arrived in in_sandbox(PREAMBLE + code, backend):
        assert arrived == sent


def test_mtu_drops_what_is_longer_and_counts_it() -> None:
    code = """
with rig({"mtu_bytes": 1000, "delay_ms": 1}) as made:
    seen = [stream(made, Stream(50, 500, size)) for size in (1000, 1001)]
    out([*(len(s.arrived) for s in seen), made.links.accounting().counts["a-b"]["up"].oversize_drops])
"""
    assert in_sandbox(PREAMBLE + code) == [50, 0, 50]


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


@pytest.mark.parametrize("highest_realtime_priority", [0, 1])
def test_an_unprivileged_user_has_links_too(highest_realtime_priority: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests are unprivileged then")
    code = (
        PREAMBLE.replace('Path(os.environ["SCRATCH"])', "Path('/tmp')")
        + """
with rig({"delay_ms": 5, "loss_percent": 5}) as made:
    seen = stream(made, Stream(400, 500, 500))
    helper = made.links.helper_pid
    priority = [made.links.accounting().realtime, os.getsid(helper) == helper]
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
    who, arrived, fastest_ms, (realtime, own_session) = json.loads(done.stdout)
    assert who == [0, str(unprivileged_uid())]
    assert realtime == (highest_realtime_priority > 0)
    assert own_session
    assert 340 < arrived < 400
    assert fastest_ms >= 5


def test_calibrate_proves_the_cases_asked_for_and_refuses_what_it_does_not_know() -> None:
    def calibrate(*words: str) -> subprocess.CompletedProcess[str]:
        code = "from harness.commands.calibrate_link import calibrate_link_command as c; c()"
        argv = [sys.executable, "-c", code, "--json", "--backend", "userlink", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    good = calibrate("--only", "loss-10%", "--only", "duplicate")
    document = json.loads(good.stdout)
    # Whether the machine is idle enough for exact timing is not this test's business; shares do not depend on it.
    shares = [finding for finding in document["findings"] if finding["unit"] in ("%", "packets")]
    assert len(shares) >= 5
    assert all(finding["ok"] for finding in shares), good.stderr
    assert good.returncode == (0 if document["ok"] else 1)
    assert {finding["case"] for finding in document["findings"]} == {"loss-10%", "duplicate-5%"}
    assert calibrate("--only", "no such case").returncode == 2
    if netem_missing() is not None:
        assert calibrate("--backend", "netem").returncode == 2
