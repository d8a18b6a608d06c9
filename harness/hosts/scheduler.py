"""A Dask scheduler's address: `run --hosts tls://scheduler:8786`, or tcp:// on this very machine."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.errors import MissingPrerequisite, Problem, ScenarioError
from harness.hosts.certificates import tls_files
from harness.hosts.contract import Host
from harness.hosts.patience import silence_s
from harness.hosts.pool import Pool
from harness.overlay.contract import Overlay

_ADDRESS = re.compile(r"(?P<scheme>tcp|tls)://(\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>\d{1,5})")


class SchedulerKind:
    """A scheduler that somebody has started."""

    name = "dask"
    order = 30
    addresses = "a Dask scheduler (tls://NAME:8786)"

    def takes(self, address: str | None) -> bool:
        """Tell whether it begins as an address of a scheduler does."""
        return address is not None and address.startswith(("tcp://", "tls://"))

    def slots_said(self, address: str | None) -> str:
        """By each worker."""
        return f"`--nthreads` of the workers of {address} decides"

    def open(self, address: str | None, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> Host:
        """Make one host of the scheduler's workers."""
        del jobs, overlays
        assert address is not None
        check_address(address)
        tls = tls_files() if address.startswith("tls://") else None
        return pool_at(address, tls, label, lambda: None)


def pool_at(
    address: str,
    tls: Mapping[str, str] | None,
    label: str,
    released: Callable[[], None],
    *,
    slots: Mapping[str, int] | None = None,
    count: int = 1,
    patience_s: float = 30.0,
    own: bool = False,
    install: bool = False,
) -> Pool:
    """Return a scheduler's workers as one host; `released` is called when it is let go, or cannot be had.

    `own`: the scheduler runs in this process. `install` is as of `Pool`.

    Raises:
        MissingPrerequisite: Dask is not installed, or nothing answers there.
    """
    dask = require_dask()
    link = dask.Link(address, tls, re.sub(r"[^A-Za-z0-9._-]", "-", label), silence_s(), own=own)

    def release() -> None:
        link.close()
        released()

    try:
        return Pool(dask.members_at(link, slots, count, patience_s), released=release, install=install)
    except BaseException:
        release()
        raise


@contextlib.contextmanager
def connected(address: str, label: str) -> Iterator[Any]:
    """Give a `harness.hosts.dask.Link` to a scheduler that has a worker.

    Raises:
        ScenarioError: see `check_address`.
        MissingPrerequisite: Dask is not installed, or nothing answers there.
    """
    check_address(address)
    dask = require_dask()
    link = dask.Link(address, tls_files() if address.startswith("tls://") else None, label, silence_s())
    try:
        dask.members_at(link)
        yield link
    finally:
        link.close()


def require_scheduler(address: str) -> None:
    """Check that there is a scheduler with a worker. Raises as `connected`."""
    with connected(address, "looking"):
        pass


def check_address(address: str) -> None:
    """Check an address's form, and that it has TLS or is on loopback: who reaches a scheduler can run anything there.

    Raises:
        ScenarioError: it is no such address, or one that is not safe.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ScenarioError([Problem(address, 0, "--hosts", "a scheduler is called tls://NAME:PORT")])
    host = found["v6"] or found["host"]
    if found["scheme"] == "tcp" and not is_loopback(host):
        text = (
            "a scheduler without TLS runs whatever anybody sends it, so only one on loopback is taken; make files with "
            "`overlaybench hosts init` and use tls://, or a tunnel to a scheduler that is started with "
            f"`--host 127.0.0.1`: ssh -L {found['port']}:localhost:{found['port']}"
        )
        raise ScenarioError([Problem(address, 0, "--hosts", text)])


def is_loopback(host: str) -> bool:
    """Tell whether a host is `localhost` or a loopback address, to which no other machine can connect."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_dask() -> Any:
    """Return the module that speaks with Dask.

    Raises:
        MissingPrerequisite: it is not installed.
    """
    return _loaded("harness.hosts.dask")


def require_clusters() -> Any:
    """Return the module that brings clusters up. Raises as `require_dask`."""
    return _loaded("harness.hosts.dask_clusters")


def _loaded(module: str) -> Any:
    try:
        return importlib.import_module(module)  # slow, and an extra
    except ImportError as error:
        missing = f"the Python package {(error.name or 'distributed').partition('.')[0]}"
        raise MissingPrerequisite(missing, "pip install 'overlaybench[dask]'") from None
