"""Clusters that a run brings up itself: by ssh, as jobs of SLURM. They end with it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

import dask.config
from distributed import SpecCluster
from distributed.deploy import ssh
from distributed.security import Security

from harness.errors import MissingPrerequisite
from harness.hosts.dask_pickles import keep_closed, open_again


@dataclass(frozen=True)
class SshHost:
    """A host that ssh leads to; `connect` are options of asyncssh: user name, port."""

    name: str
    address: str
    slots: int
    python: str
    connect: Mapping[str, Any] = field(default_factory=dict)


# Without pages there is a web server still, plain HTTP at the address of the rest; it is to stay on the machine.
_PAGES: Final[dict[str, Any]] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def ssh_cluster(
    hosts: Sequence[SshHost], tls: Mapping[str, str], silence_s: float, *, there: Mapping[str, str] | None = None
) -> Any:
    """Bring up a scheduler on the first host and a worker on each, by the parts of dask's own SSHCluster.

    `tls` are the files that this process opens, `there` how they are called on the hosts, where that is otherwise.
    Everything ends when the campaign does, or is idle for minutes. Until `end_ssh_cluster` this process opens no pickle
    in messages of Dask's, since a scheduler elsewhere writes them.

    Raises:
        MissingPrerequisite: one of them cannot be reached, or cannot start.
    """
    _configure(there or tls, silence_s, idle_timeout="3 minutes")
    first = hosts[0]
    options = {"protocol": "tls", "port": 0, **_reached_at(first, alone=len(hosts) == 1), **_PAGES}
    scheduler = {"address": first.address, "connect_options": dict(first.connect), "remote_python": first.python}
    workers = {
        host.name: {
            "cls": ssh.Worker,
            "options": {
                "address": host.address,
                "connect_options": dict(host.connect),
                "remote_python": host.python,
                "kwargs": {
                    "name": host.name,
                    "nthreads": host.slots,
                    **_reached_at(host, alone=len(hosts) == 1),
                    **_PAGES,
                },
            },
        }
        for host in hosts
    }
    keep_closed()
    try:
        spec = {"cls": ssh.Scheduler, "options": {**scheduler, "kwargs": options}}
        return SpecCluster(workers, spec, name="overlaybench", security=Security(**tls, require_encryption=True))
    except BaseException as error:
        open_again()
        if not isinstance(error, Exception):  # else it is asyncssh's, dask's or the system's
            raise
        names = ", ".join(host.name for host in hosts)
        remedy = "try `ssh` to each, with overlaybench[dask] and the TLS files on it (docs/many-machines.md)"
        raise MissingPrerequisite(f"a worker by ssh on {names} ({error or type(error).__name__})", remedy) from None


def end_ssh_cluster(cluster: Any) -> None:
    """End what `ssh_cluster` brought up."""
    try:
        cluster.close()
    finally:
        open_again()


def _reached_at(host: SshHost, *, alone: bool) -> dict[str, str]:
    """Return the address on which its programs are to listen: the one by which ssh reaches it.

    By default they listen on the address of the route to the Internet, which is loopback where there is no such route.
    It is left at that for names that only ssh's configuration knows, and where the name stands for this machine itself
    (127.0.1.1 on Debian): other hosts could not connect to loopback.
    """
    try:
        found = socket.gethostbyname(host.address)
    except OSError:
        return {}
    return {} if ip_address(found).is_loopback and not alone else {"host": found}


def slurm_job(options: Mapping[str, Any], tls: Mapping[str, str], scheduler: str = "tls://CAMPAIGN:PORT") -> str:
    """Return the script of a job that is one host, as it will be submitted."""
    from dask_jobqueue.slurm import SLURMJob  # noqa: PLC0415  # slow, and for SLURM alone

    return str(SLURMJob(scheduler, name="overlaybench-0", security=Security(**tls), **options).job_script())


def slurm_cluster(options: Mapping[str, Any], hosts: int, tls: Mapping[str, str], silence_s: float) -> Any:
    """Submit a job for each host; the scheduler runs here, and the jobs end with it.

    Raises:
        MissingPrerequisite: SLURM does not take each of them; those that it took are cancelled.
    """
    from dask_jobqueue import SLURMCluster  # noqa: PLC0415

    # Jobs may wait for hours in the queue, and no task changes meanwhile: that is no idleness.
    _configure(tls, silence_s, idle_timeout=None)
    try:
        security = Security(**tls, require_encryption=True)
        cluster = SLURMCluster(protocol="tls://", security=security, scheduler_options=_PAGES, **options)
        with contextlib.ExitStack() as undone:
            undone.callback(_close, cluster)
            cluster.sync(_submit, cluster, hosts)
            undone.pop_all()
    except Exception as error:
        why = " ".join(str(error).split())
        raise MissingPrerequisite(f"jobs of SLURM ({why})", "try `sbatch` with the script of `hosts script`") from None
    return cluster


async def _submit(cluster: Any, jobs: int) -> None:
    """Submit the jobs and wait until SLURM has taken or refused them; after `scale` alone an error would be lost."""
    cluster.scale(jobs=jobs)
    await cluster._correct_state()


def _close(cluster: Any) -> None:
    with contextlib.suppress(Exception):
        cluster.close()


def _configure(tls: Mapping[str, str], silence_s: float, *, idle_timeout: str | None) -> None:
    """Configure the schedulers and workers that this process starts, here or by ssh.

    A scheduler ends itself when it has had no task for `idle_timeout`; None: only when this process ends.
    """
    files = {
        f"distributed.comm.tls.{role}.{kind}": tls[f"tls_{role}_{kind}"]
        for role in ("scheduler", "worker", "client")
        for kind in ("cert", "key")
    }
    dask.config.set(
        {
            **files,
            "distributed.comm.tls.ca-file": tls["tls_ca_file"],
            "distributed.comm.require-encryption": True,
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.worker-ttl": f"{silence_s:g} s",
            "distributed.scheduler.idle-timeout": idle_timeout,
        }
    )
