"""Hosts named in a file: `run --hosts hosts.yaml`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import Problem, ScenarioError
from harness.hosts.certificates import tls_files, tls_folder
from harness.hosts.contract import Host
from harness.hosts.patience import silence_s
from harness.hosts.pool import Pool
from harness.hosts.scheduler import pool_at, require_clusters
from harness.hosts.station_member import MODULE, StationMember
from harness.model.document import Document, parse, validate
from harness.overlay.contract import Overlay

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]
Python = Annotated[str, Field(pattern=r"^[/A-Za-z0-9._~-]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HostEntry(_Strict):
    """One host: this machine, or one that `ssh` or a command of yours (`through`) leads to."""

    name: Name | None = None
    ssh: Name | None = None
    user: Name | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    through: tuple[str, ...] = Field(default=(), min_length=0)
    slots: int | None = Field(default=None, ge=1, le=1000)
    python: Python | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HostEntry:
        if self.ssh is not None and self.through:
            raise ValueError("either ssh or through leads there, not both")
        if self.ssh is None and (self.user is not None or self.port is not None):
            raise ValueError("user and port go with ssh")
        if self.ssh is None and self.name is None:
            raise ValueError("a host without ssh needs a name")
        return self

    @property
    def called(self) -> str:
        """The name by which reports call it."""
        return self.name or self.ssh or ""


class Slurm(_Strict):
    """Jobs of SLURM, one a host, which each has for itself; `prologue` are lines of shell before the worker starts."""

    hosts: int = Field(ge=1, le=10_000)
    slots: int = Field(ge=1, le=1000)
    cpus: int = Field(ge=1, le=10_000)
    memory: str = Field(pattern=r"^\d+(\.\d+)?[KMGT]i?B$")
    walltime: str = Field(pattern=r"^(\d+-)?\d{1,2}:\d\d:\d\d$")
    queue: Name | None = None
    account: Name | None = None
    interface: Name | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    wait_s: float = Field(default=3600.0, gt=0)


class Fleet(_Strict):
    """The hosts of a run: named ones, or jobs of SLURM.

    `python` is the interpreter of overlaybench on each, by default the one that runs here; `tls` the folder of the TLS
    files on each host that `ssh` leads to, by default where they are here. `install` allows to get programs of overlays
    that a host lacks, as far as they are built from source or are Python packages, without root; by default nothing is
    installed on any host.
    """

    hosts: tuple[HostEntry, ...] = ()
    slurm: Slurm | None = None
    python: Python | None = None
    tls: Path | None = None
    install: bool = False

    @model_validator(mode="after")
    def _either(self) -> Fleet:
        if bool(self.hosts) == (self.slurm is not None):
            raise ValueError("give hosts, or slurm")
        return self


def load_fleet(path: Path) -> tuple[Fleet, Document]:
    """Read a file of hosts.

    Raises:
        ScenarioError: everything that is wrong with it, with file, line and field.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ScenarioError([Problem(str(path), 0, "--hosts", f"cannot be read: {why}")]) from None
    document = parse(text, str(path))
    fleet = validate(Fleet, document)
    names = [entry.called for entry in fleet.hosts]
    problems = [
        document.problem(("hosts", number), f"{name} is listed twice")
        for number, name in enumerate(names)
        if name in names[:number]
    ]
    if fleet.hosts and len({entry.ssh is None for entry in fleet.hosts}) > 1:
        problems.append(document.problem(("hosts",), "hosts with ssh and hosts without do not go together"))
    if fleet.tls is not None and not any(entry.ssh for entry in fleet.hosts):
        text = "goes with hosts that ssh leads to: no others have TLS files of their own"
        problems.append(document.problem(("tls",), text))
    if problems:
        raise ScenarioError(problems)
    return fleet, document


class FleetKind:
    """A file of hosts."""

    name = "file"
    order = 20
    addresses = "a file of hosts (.yaml)"

    def takes(self, address: str | None) -> bool:
        """Tell whether it is named like such a file."""
        return address is not None and address.endswith((".yaml", ".yml")) and "://" not in address

    def slots_said(self, address: str | None) -> str | None:
        """By the file, unless a host that it names has no `slots`."""
        fleet, _ = load_fleet(Path(str(address)))
        if fleet.slurm is None and any(entry.slots is None for entry in fleet.hosts):
            return None
        return f"{address} says it: slots"

    def open(self, address: str | None, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> Host:
        """Make one host of those that the file names."""
        del overlays
        fleet, _ = load_fleet(Path(str(address)))
        if fleet.slurm is not None:
            return _slurm_pool(fleet, fleet.slurm, label)
        if fleet.hosts[0].ssh is not None:
            return _ssh_pool(fleet, label, jobs)
        return Pool(stations(fleet, label, jobs), install=fleet.install)


def stations(fleet: Fleet, label: str, jobs: int) -> Sequence[StationMember]:
    """Return the members that are reached by commands."""
    # ssh makes one line of its words, which the shell there takes apart again: nothing in them may be the shell's.
    shown = re.sub(r"[^A-Za-z0-9._/-]", "-", label)
    return [
        StationMember(
            entry.called,
            entry.slots or jobs,
            (*entry.through, entry.python or fleet.python or sys.executable, "-m", MODULE),
            f"{shown}/{entry.called}",
        )
        for entry in fleet.hosts
    ]


def slurm_options(fleet: Fleet, slurm: Slurm) -> dict[str, Any]:
    """Return the job of one host as options of dask-jobqueue: the whole node, one worker, as many tasks as slots."""
    return {
        "queue": slurm.queue,
        "account": slurm.account,
        "walltime": slurm.walltime,
        "memory": slurm.memory,
        "cores": slurm.slots,
        "job_cpu": slurm.cpus,
        "processes": 1,
        "interface": slurm.interface,
        "python": fleet.python or sys.executable,
        "job_extra_directives": ["--exclusive", *slurm.directives],
        "job_script_prologue": list(slurm.prologue),
        # Without pages there is a web server still, plain HTTP on all interfaces; it is to stay on the machine.
        "worker_extra_args": ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
    }


def _slurm_pool(fleet: Fleet, slurm: Slurm, label: str) -> Pool:
    tls = tls_files()
    clusters = require_clusters()
    cluster = clusters.slurm_cluster(slurm_options(fleet, slurm), slurm.hosts, tls, silence_s())
    address = str(cluster.scheduler_address)
    options: dict[str, Any] = {"count": slurm.hosts, "patience_s": slurm.wait_s, "own": True}
    return pool_at(address, tls, label, cluster.close, install=fleet.install, **options)


def _ssh_pool(fleet: Fleet, label: str, jobs: int) -> Pool:
    tls = tls_files()
    clusters = require_clusters()
    there = {key: str((fleet.tls or tls_folder()) / Path(path).name) for key, path in tls.items()}
    hosts = [
        clusters.SshHost(
            name=entry.called,
            address=str(entry.ssh),
            slots=entry.slots or jobs,
            python=entry.python or fleet.python or sys.executable,
            connect={key: value for key, value in (("username", entry.user), ("port", entry.port)) if value},
        )
        for entry in fleet.hosts
    ]
    cluster = clusters.ssh_cluster(hosts, tls, silence_s(), there=there)
    slots = {host.name: host.slots for host in hosts}
    address, ended = str(cluster.scheduler_address), partial(clusters.end_ssh_cluster, cluster)
    return pool_at(address, tls, label, ended, slots=slots, count=len(hosts), install=fleet.install)
