"""A host behind a real sshd, with address, keys and configuration of its own: a run brings its cluster up there."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.running import machine_state, processes_naming, records

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces that outlive a command"),
    pytest.mark.skipif(SSHD is None, reason="no sshd: apt-get install -y openssh-server"),
]
BIN = Path(sys.executable).parent
PORT = 2222
HERE, THERE = "10.213.78.1", "10.213.78.2"
PRIVILEGE_SEPARATION = Path("/run/sshd")
SCENARIO = """\
description: one host behind ssh
topology: two-sites
params: {nat_a: full-cone, nat_b: port-restricted}
overlays: {underlay: , refmesh: mesh}
probes: {path: {deadline_s: 6}}
repeats: 1
"""
CONFIG = """\
ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
SetEnv DASK_TEMPORARY_DIRECTORY={folder}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def second_machine() -> Iterator[str]:
    """Make a namespace that stands for a machine, one link away; its name."""
    name = f"obs{os.getpid() % 100_000}"
    made = not PRIVILEGE_SEPARATION.exists()
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    try:
        ip("netns", "add", name)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{HERE}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{THERE}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)
        if made:
            PRIVILEGE_SEPARATION.rmdir()


@contextlib.contextmanager
def sshd(namespace: str, folder: Path) -> Iterator[None]:
    """Run an sshd of its own there, which lets nobody in but who has the key in `home`."""
    keys = folder / "home" / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    for path in (folder / "host_key", keys / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    (keys / "known_hosts").write_text(f"[{THERE}]:{PORT} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(CONFIG.format(address=THERE, port=PORT, folder=folder))
    argv = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "ip",
        "netns",
        "exec",
        namespace,
        str(SSHD),
        "-D",
        "-e",
        "-f",
        str(folder / "sshd_config"),
    ]
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while "Server listening" not in (folder / "sshd.log").read_text():
            assert server.poll() is None and time.monotonic() < deadline, (folder / "sshd.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


@pytest.mark.timeout(280)
def test_a_run_brings_its_cluster_up_through_an_sshd_and_measures_there(second_machine: str, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
    pytest.importorskip("asyncssh", reason="pip install -e '.[dask]'")
    before = machine_state()
    out, tls = tmp_path / "run", tmp_path / "tls"
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "OVERLAYBENCH_TLS": str(tls)}
    subprocess.run([str(BIN / "overlaybench"), "hosts", "init", "--dir", str(tls)], check=True, capture_output=True)
    (tmp_path / "one.yaml").write_text(SCENARIO)
    entry = f"{{name: rack1, ssh: {THERE}, port: {PORT}, user: {getpass.getuser()}, slots: 2}}"
    (tmp_path / "hosts.yaml").write_text(f"hosts:\n  - {entry}\n")
    with sshd(second_machine, tmp_path):
        argv = [str(BIN / "overlaybench"), "run", "one.yaml", "--hosts", "hosts.yaml", "--out", str(out)]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr + (tmp_path / "sshd.log").read_text()
        deadline = time.monotonic() + 30
        while processes_naming("distributed.cli.dask_spec") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not processes_naming("distributed.cli.dask_spec")
    assert "Accepted publickey" in (tmp_path / "sshd.log").read_text()
    ends = [line for line in records(out) if (line["probe"], line["metric"]) == ("trial", "duration_s")]
    assert len(ends) == 2 and {line["outcome"] for line in ends} == {"ok"}
    hosts = json.loads((out / "manifest.json").read_text())["hosts"]
    assert [one["name"] for one in hosts.values()] == ["rack1"] and {line["host"] for line in ends} == set(hosts)
    assert machine_state() == before
