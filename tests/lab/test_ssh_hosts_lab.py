"""Two hosts behind real sshds, with addresses, keys and configurations of their own: a run goes there in both ways."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.hosts_runs import ends, scenario
from tests.lab.running import machine_state, processes_naming

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces that outlive a command"),
    pytest.mark.skipif(SSHD is None, reason="no sshd: apt-get install -y openssh-server"),
]
BIN = Path(sys.executable).parent
PORT = 2222
HERE = "10.213.78.1"
MACHINES = {"rack1": "10.213.78.2", "rack2": "10.213.78.3"}
PRIVILEGE_SEPARATION = Path("/run/sshd")
TRIALS = 4
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
CLIENT = """\
Host {name}
  HostName {address}
  Port {port}
  User {user}
  IdentityFile {folder}/home/.ssh/id_ed25519
  UserKnownHostsFile {folder}/home/.ssh/known_hosts
  BatchMode yes
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[dict[str, str]]:
    """Make namespaces that stand for machines, on a bridge of this one: name of the namespace by host."""
    tag = f"obs{os.getpid() % 100_000}"
    named = {name: f"{tag}{number}" for number, name in enumerate(MACHINES)}
    made = not PRIVILEGE_SEPARATION.exists()
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    try:
        ip("link", "add", tag, "type", "bridge")
        ip("addr", "add", f"{HERE}/24", "dev", tag)
        ip("link", "set", tag, "up")
        for host, name in named.items():
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", tag, "up")
            ip("-n", name, "addr", "add", f"{MACHINES[host]}/24", "dev", "eth0")
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
        if made:
            PRIVILEGE_SEPARATION.rmdir()


def make_keys(folder: Path) -> None:
    """Make the machines' key and the client's, and what the client knows of the machines."""
    keys = folder / "home" / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    for path in (folder / "host_key", keys / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    public = (folder / "host_key.pub").read_text()
    (keys / "known_hosts").write_text("".join(f"[{address}]:{PORT} {public}" for address in MACHINES.values()))
    known = {"folder": folder, "port": PORT, "user": getpass.getuser()}
    named = (CLIENT.format(name=name, address=address, **known) for name, address in MACHINES.items())
    (folder / "ssh_config").write_text("".join(named))


@contextlib.contextmanager
def sshd(host: str, namespace: str, folder: Path) -> Iterator[None]:
    """Run an sshd of its own there, which lets nobody in but who has the key in `home`."""
    config, said = folder / f"{host}.conf", folder / f"{host}.log"
    config.write_text(CONFIG.format(address=MACHINES[host], port=PORT, folder=folder))
    argv = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", namespace]
    with said.open("wb") as log:
        server = subprocess.Popen(
            [*argv, str(SSHD), "-D", "-e", "-f", str(config)], stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 30
        while "Server listening" not in said.read_text():
            assert server.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def by_dask(folder: Path) -> str:
    pytest.importorskip("distributed", reason="pip install -e '.[dask]'")
    pytest.importorskip("asyncssh", reason="pip install -e '.[dask]'")
    init = [str(BIN / "overlaybench"), "hosts", "init", "--dir", str(folder / "tls")]
    subprocess.run(init, check=True, capture_output=True)
    user = getpass.getuser()
    entries = (
        f"  - {{name: {name}, ssh: {address}, port: {PORT}, user: {user}, slots: 2}}\n"
        for name, address in MACHINES.items()
    )
    return f"hosts:\n{''.join(entries)}"


def by_stations(folder: Path) -> str:
    way = f"[ssh, -F, {folder / 'ssh_config'}"
    return "hosts:\n" + "".join(f"  - {{name: {name}, through: {way}, {name}], slots: 2}}\n" for name in MACHINES)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", [by_stations, by_dask])
def test_a_run_goes_to_two_hosts_through_their_sshds_and_leaves_nothing_there(
    machines: dict[str, str], tmp_path: Path, way: Callable[[Path], str]
) -> None:
    before = machine_state()
    out = tmp_path / "run"
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "OVERLAYBENCH_TLS": str(tmp_path / "tls")}
    make_keys(tmp_path)
    (tmp_path / "two.yaml").write_text(scenario(repeats=TRIALS // 2, nat_b="port-restricted"))
    (tmp_path / "hosts.yaml").write_text(way(tmp_path))
    with contextlib.ExitStack() as servers:
        for host, namespace in machines.items():
            servers.enter_context(sshd(host, namespace, tmp_path))
        argv = [str(BIN / "overlaybench"), "run", "two.yaml", "--hosts", "hosts.yaml", "--out", str(out)]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=360, check=False
        )
        said = [(tmp_path / f"{host}.log").read_text() for host in machines]
        assert done.returncode == 0, done.stderr + "".join(said)
        deadline = time.monotonic() + 30
        while left_of(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left_of(tmp_path)
    assert all("Accepted publickey" in one for one in said)
    ended = ends(out).values()
    assert len(ended) == TRIALS and {line["outcome"] for line in ended} == {"ok"}
    hosts = json.loads((out / "manifest.json").read_text())["hosts"]
    assert {one["name"] for one in hosts.values()} == set(MACHINES) and {line["host"] for line in ended} == set(hosts)
    assert machine_state() == before


def left_of(folder: Path) -> list[int]:
    """Return what still runs there: Dask's programs, whose environment names the folder, and stations."""
    label = re.sub(r"[^A-Za-z0-9._-]", "-", str(folder / "run"))
    found = [pid for name in (label, str(folder / "run")) for pid in processes_naming(name)]
    for pid in processes_naming("distributed.cli.dask_spec"):
        with contextlib.suppress(OSError):
            found += [pid] if os.fsencode(folder) in Path(f"/proc/{pid}/environ").read_bytes() else []
    return found
