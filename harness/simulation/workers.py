"""Worlds side by side: each process runs worlds by their numbers, and what they come to is put in order again."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Protocol

from harness.simulation.contract import overlay_version
from harness.simulation.load import LoadedPopulation
from harness.simulation.processes import in_processes
from harness.simulation.remote import results_from
from harness.simulation.working import Worker


class Progress(Protocol):
    """Where a run says how far it is."""

    def advance(self, worlds: int) -> None:
        """So many more worlds, or networks over time, are on the disk."""


@contextmanager
def worlds(
    run: str, loaded: LoadedPopulation, left: Sequence[int], jobs: int, hosts: str | None
) -> Iterator[Iterator[str]]:
    """Yield the lines of the worlds with these numbers, in this order, whatever processes or hosts run them."""
    if hosts is not None:
        with closing(results_from(hosts, run, loaded, left, f"simulate-{run}")) as found:
            yield found
        return
    if jobs == 1:
        with _garbage_kept():
            yield map(_worker_of(run, loaded), left)
        return
    with in_processes(_work, left, jobs, partial(_begin, run, loaded), together=8) as found:
        yield found


_worker: Worker


def _worker_of(run: str, loaded: LoadedPopulation) -> Worker:
    return Worker(run, loaded, overlay_version(loaded.population.engine))


def _begin(run: str, loaded: LoadedPopulation) -> None:
    global _worker  # noqa: PLW0603  # how multiprocessing gives a process its state
    _worker = _worker_of(run, loaded)
    gc.collect()
    gc.freeze()
    gc.disable()


def _work(number: int) -> str:
    return _worker(number)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Leave it to the worker when to look for garbage: looking in the middle of a world takes a quarter of the time."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
