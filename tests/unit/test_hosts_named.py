"""What `--hosts` may be: files of hosts, schedulers that nobody else can reach, and the TLS files for them."""

from __future__ import annotations

import datetime
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path
from socket import socketpair
from unittest.mock import MagicMock

import pytest
from click import Command
from click.testing import CliRunner

from harness.commands.hosts import hosts_group
from harness.commands.run import run_command
from harness.commands.simulate import simulate_command
from harness.errors import MissingPrerequisite, ScenarioError, StorageError
from harness.hosts import fleet as fleets
from harness.hosts.certificates import make_files, tls_files
from harness.hosts.fleet import load_fleet, slurm_options
from harness.hosts.registry import kind_of
from harness.hosts.scheduler import check_address, require_clusters

SLURM = "slurm: {hosts: 1, slots: 2, cpus: 2, memory: 1GB, walltime: '1:00:00'}"
KEPT_HERE = "--dashboard-address 127.0.0.1:0 "
NOW = datetime.datetime.now(datetime.UTC)


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tcp://localhost:8786", "tls://rack:8786", "tls://10.0.0.1:1"],
)
def test_tls_and_loopback_are_taken(address: str) -> None:
    check_address(address)
    assert kind_of(address).name == "dask"


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://10.0.0.1:8786", "tcp://0.0.0.0:8786", "tcp://rack:8786", "tcp://[2001:db8::1]:8786"),
        *("tcp://localhost.evil.example:8786", "tcp://127.0.0.1.evil.example:8786"),
    ],
)
def test_a_scheduler_without_tls_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(ScenarioError, match="only one on loopback is taken; make files with `overlaybench hosts init`"):
        kind_of(address).open(address, label="x", jobs=1, overlays={})
    with pytest.raises(ScenarioError, match=r"started with `--host 127\.0\.0\.1`: ssh -L 8786:localhost:8786"):
        check_address(address)  # one behind a tunnel that listens for others is refused as well


@pytest.mark.parametrize("address", ["tls://rack", "tls://:8786", "tls://rack:0", "tls://rack:99999", "tls://a b:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ScenarioError, match="a scheduler is called tls://NAME:PORT"):
        check_address(address)


def test_tls_files_let_their_owners_speak_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    make_files(ours, NOW)
    make_files(theirs, NOW)
    assert stat.S_IMODE((ours / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in ours.iterdir()) == ["ca.pem", "cert.pem", "key.pem"], "no key of the authority"
    assert shaken(ours, ours) == []
    said = " ".join(shaken(ours, theirs)).lower()
    assert "verify failed" in said or "unknown ca" in said, "who does not say so sees the connection end"
    with pytest.raises(StorageError, match="exists already"):
        make_files(ours, NOW)
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(ours))
    assert tls_files()["tls_client_key"] == str(ours / "key.pem")
    (ours / "key.pem").chmod(0o644)
    with pytest.raises(MissingPrerequisite, match="chmod 600"):
        tls_files()
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(tmp_path / "nothing"))
    with pytest.raises(MissingPrerequisite, match="overlaybench hosts init"):
        tls_files()


def shaken(server: Path, client: Path) -> list[str]:
    """Return why a server and a client do not take each other, with certificates as a scheduler and a worker have."""

    def context(folder: Path, purpose: ssl.Purpose) -> ssl.SSLContext:
        made = ssl.create_default_context(purpose, cafile=str(folder / "ca.pem"))
        made.verify_mode, made.check_hostname = ssl.CERT_REQUIRED, False
        made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        return made

    one, two = socketpair()
    failed: list[str] = []

    def serve() -> None:
        try:
            with context(server, ssl.Purpose.CLIENT_AUTH).wrap_socket(one, server_side=True) as wrapped:
                wrapped.recv(1)
        except ssl.SSLError as error:
            failed.append(str(error))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context(client, ssl.Purpose.SERVER_AUTH).wrap_socket(two) as wrapped:
            wrapped.send(b"x")
    except (ssl.SSLError, OSError) as error:
        failed.append(str(error))
    thread.join()
    return failed


def test_init_prints_commands_that_name_its_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(hosts_group, ["init", "--dir", str(tmp_path / "tls")])
    assert done.exit_code == 0
    scheduler, worker = [line for line in done.stdout.splitlines() if line.startswith("dask ")]
    for line in (scheduler, worker):
        assert all(f"{tmp_path}/tls/{name}.pem" in line for name in ("ca", "cert", "key"))
        assert KEPT_HERE in line
    assert scheduler.startswith("dask scheduler --protocol tls ") and "--nworkers 1" in worker


def test_documented_commands_keep_dasks_pages_on_their_machine() -> None:
    """They are plain HTTP, and by default at the address at which TLS keeps strangers out."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "many-machines.md").read_text()
    commands = [line for line in page.splitlines() if line.startswith("    dask ")]
    assert len(commands) == 3 and all(KEPT_HERE in line for line in commands)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: []", "1: (document): give hosts, or slurm"),
        ("hosts:\n  - {name: a}\n  - {name: b}\n  - {name: a}", "4: hosts[2]: a is listed twice"),
        ("hosts:\n  - {name: a, slot: 3}", "2: hosts[0].slot: unknown key (did you mean slots?)"),
        ("hosts:\n  - {slots: 3}", "2: hosts[0]: a host without ssh needs a name"),
        ("hosts:\n  - {ssh: a, through: [ssh, a]}", "2: hosts[0]: either ssh or through leads there, not both"),
        ("hosts:\n  - {ssh: a}\n  - {name: b}", "1: hosts: hosts with ssh and hosts without do not go together"),
        ("hosts:\n  - {name: a, user: me}", "2: hosts[0]: user and port go with ssh"),
        ("hosts:\n  - {ssh: '-oProxyCommand=id'}", "2: hosts[0].ssh: string should match pattern"),
        ("hosts:\n  - {name: a, through: [ssh, a]}\ntls: /tls", "3: tls: goes with hosts that ssh leads to"),
        (f"{SLURM}\ntls: /tls", "2: tls: goes with hosts that ssh leads to"),
        ("hosts: [{name: a}]\ninstall: apt", "2: install: input should be a valid boolean"),
        ("slurm: {hosts: 1, slots: 1, cpus: 1, memory: much, walltime: '1:00:00'}", "1: slurm.memory: string should"),
    ],
)
def test_a_file_of_hosts_is_refused_with_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        load_fleet(path)
    assert f"{path}:{said}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "install"),
    [
        (f"{way}{more}", more.endswith("true"))
        for way in ("hosts: [{name: a}]", "hosts: [{ssh: a}]", SLURM)
        for more in ("", "\ninstall: false", "\ninstall: true")
    ],
)
def test_hosts_install_only_where_their_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, install: bool
) -> None:
    """By whichever way they are reached."""
    taken: list[bool] = []

    def pool(*_: object, install: bool = False, **__: object) -> None:
        taken.append(install)

    for name in ("Pool", "pool_at"):
        monkeypatch.setattr(fleets, name, pool)
    monkeypatch.setattr(fleets, "tls_files", dict)
    monkeypatch.setattr(fleets, "require_clusters", MagicMock)
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    kind_of(str(path)).open(str(path), label="x", jobs=1, overlays={})
    assert taken == [install]


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        (SLURM, True),
        ("hosts: [{name: a, slots: 3}, {name: b, slots: 2}]", True),
        ("hosts: [{name: a, slots: 3}, {name: b}]", False),
    ],
)
def test_jobs_that_nobody_would_heed_are_refused(tmp_path: Path, text: str, ignored: bool) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    done = CliRunner().invoke(run_command, ["nothing-of-that-name", "--hosts", str(path), "--jobs", "4"])
    assert done.exit_code != 0
    assert (f"--jobs would be ignored: {path} says it: slots" in done.output) == ignored


@pytest.mark.parametrize("command", [run_command, simulate_command])
def test_jobs_of_a_schedulers_workers_are_refused(command: Command) -> None:
    done = CliRunner().invoke(command, ["nothing-of-that-name", "--hosts", "tls://rack:8786", "--jobs", "4"])
    assert done.exit_code == 2
    assert "--jobs would be ignored: `--nthreads` of the workers of tls://rack:8786 decides" in done.output


def test_the_scheduler_of_slurms_jobs_listens_for_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages are plain HTTP, and by default on all interfaces; without a job it needs no SLURM."""
    pytest.importorskip("dask_jobqueue", reason="pip install -e '.[dask]'")
    make_files(tmp_path / "tls", NOW)
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(tmp_path / "tls"))
    path = tmp_path / "hosts.yaml"
    path.write_text(SLURM)
    fleet, _ = load_fleet(path)
    assert fleet.slurm is not None
    before = listening()
    cluster = require_clusters().slurm_cluster(slurm_options(fleet, fleet.slurm), 0, tls_files(), 5.0)
    try:
        opened = listening() - before
        scheduler = int(cluster.scheduler_address.rpartition(":")[2])
        assert {port for host, port in opened if host not in ("127.0.0.1", "::1")} == {scheduler}
        assert cluster.scheduler.idle_timeout is None, "jobs may wait in the queue for longer than any such time"
    finally:
        cluster.close()


def test_jobs_that_slurm_does_not_take_are_told_and_those_it_took_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue", reason="pip install -e '.[dask]'")
    make_files(tmp_path / "tls", NOW)
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(tmp_path / "tls"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    programs = {
        "sbatch": f"mkdir {tmp_path}/first && echo Submitted batch job 7 || {{ echo no such partition >&2; exit 1; }}",
        "scancel": f"echo $@ > {tmp_path}/cancelled",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = tmp_path / "hosts.yaml"
    path.write_text(SLURM)
    fleet, _ = load_fleet(path)
    assert fleet.slurm is not None
    before = listening()
    with pytest.raises(MissingPrerequisite, match=r"jobs of SLURM \(.*no such partition.*try `sbatch`"):
        require_clusters().slurm_cluster(slurm_options(fleet, fleet.slurm), 2, tls_files(), 5.0)
    assert (tmp_path / "cancelled").read_text() == "7\n"
    assert listening() == before, "and the scheduler is closed"


def listening() -> set[tuple[str, int]]:
    """Return where this process listens for TCP."""
    psutil = pytest.importorskip("psutil")
    found = psutil.Process().net_connections("tcp")
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        kind_of(str(tmp_path / "x.yaml")).open(str(tmp_path / "x.yaml"), label="x", jobs=1, overlays={})


def test_the_job_of_slurm_is_printed_as_it_will_be_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue", reason="pip install -e '.[dask]'")
    make_files(tmp_path / "tls", NOW)
    monkeypatch.setenv("OVERLAYBENCH_TLS", str(tmp_path / "tls"))
    path = tmp_path / "hosts.yaml"
    slurm = "hosts: 4, slots: 8, cpus: 16, memory: 32GB, walltime: '08:00:00', queue: compute, prologue: [module x]"
    path.write_text(f"slurm: {{{slurm}}}\npython: /opt/ob/bin/python\n")
    done = CliRunner().invoke(hosts_group, ["script", str(path)])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    for wanted in ("-p compute", "--cpus-per-task=16", "-t 08:00:00", "--exclusive", "-n 1"):
        assert f"#SBATCH {wanted}" in lines
    assert lines.index("module x") < len(lines) - 1
    worker = lines[-1]
    assert worker.startswith("/opt/ob/bin/python -m distributed.cli.dask_worker tls://")
    assert KEPT_HERE in f"{worker} "
    assert "--nthreads 8" in worker and f"--tls-key {tmp_path}/tls/key.pem" in worker and "--nworkers" not in worker
    bash = shutil.which("bash")
    assert bash is not None
    assert subprocess.run([bash, "-n"], input=done.stdout, text=True, check=False).returncode == 0


def test_who_has_no_dask_is_told_what_to_install(tmp_path: Path) -> None:
    """And nothing but its own files loads it: the command line does without."""
    code = (
        "import sys; sys.modules['distributed'] = None; sys.argv = ['overlaybench', 'run', 'smoke', '--out', "
        f"{str(tmp_path / 'run')!r}, '--hosts', 'tcp://127.0.0.1:8786']; from harness.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "the Python package distributed; to get it: pip install 'overlaybench[dask]'" in done.stderr
