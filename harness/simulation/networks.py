"""Networks over time, side by side, into churn.csv: each is on the disk when it has ended, and a run goes on there."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from harness.errors import OverlaybenchError
from harness.simulation.churn import as_csv, moments
from harness.simulation.load import LoadedPopulation
from harness.simulation.population import Churn
from harness.simulation.processes import in_processes
from harness.simulation.remote import networks_from
from harness.simulation.workers import Progress
from harness.simulation.working import network_lines


class NetworksMissing(OverlaybenchError):
    """Networks over time were not all run."""


def write_churn(
    loaded: LoadedPopulation, path: Path, jobs: int, progress: Progress, *, hosts: str | None = None
) -> None:
    """Run the networks that a population's `churn` asks for and that have not ended before, here or by a scheduler's.

    Until the last has, the file has `.part` at its end.

    Raises:
        NetworksMissing: the processes or hosts have given back fewer than there are.
    """
    churn = loaded.population.churn
    if churn is None or path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    done = _kept(part, churn)
    progress.advance(done)
    numbers = range(done, churn.networks)
    with part.open("a", encoding="ascii") as file, _networks(loaded, numbers, jobs, hosts) as texts:
        for text in texts:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            progress.advance(1)
            done += 1
    if done != churn.networks:
        raise NetworksMissing(f"{part} has {done} of {churn.networks} networks; continue with --resume")
    part.replace(path)


def _kept(part: Path, churn: Churn) -> int:
    """Leave whole networks alone in a file, begun where it is not there, and return how many it has."""
    head = as_csv([], head=True)
    lines = part.read_text("ascii").splitlines(keepends=True) if part.exists() else []
    whole = max(0, sum(line.endswith("\n") for line in lines) - 1) // len(moments(churn))
    part.write_text("".join([head, *lines[1 : 1 + whole * len(moments(churn))]]), encoding="ascii")
    return whole


@contextmanager
def _networks(loaded: LoadedPopulation, numbers: range, jobs: int, hosts: str | None) -> Iterator[Iterator[str]]:
    """Yield the lines of these networks, in this order, whatever processes or hosts run them."""
    if hosts is not None and numbers:
        with closing(networks_from(hosts, loaded, numbers, f"simulate-{loaded.name}")) as found:
            yield found
        return
    if jobs == 1 or len(numbers) < 2:
        yield map(partial(network_lines, loaded.population), numbers)
        return
    with in_processes(partial(network_lines, loaded.population), numbers, min(jobs, len(numbers)), gc.freeze) as found:
        yield found
