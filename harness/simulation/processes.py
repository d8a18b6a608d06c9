"""Work dealt to processes of this machine, its results in order; one that is killed ends the run and hangs nothing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from harness.errors import OverlaybenchError


class ProcessKilled(OverlaybenchError):
    """A process of a simulation ended before its work did."""


@contextmanager
def in_processes(
    work: Callable[[int], str], numbers: Sequence[int], jobs: int, begin: Callable[[], None], *, together: int = 1
) -> Iterator[Iterator[str]]:
    """Yield what `work` returns for each number, in this order.

    Args:
        begin: what each process does first.
        together: how many numbers a process is given at a time.

    Raises:
        ProcessKilled: while results are awaited: one was killed, as the kernel does where memory ends.
    """
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), begin)
    before = set(multiprocessing.active_children())
    try:
        found = executor.map(work, numbers, chunksize=together)
        ours = set(multiprocessing.active_children()) - before
        yield _unbroken(found)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in ours:
            process.kill()  # what it works at may take minutes more
        raise
    executor.shutdown()


def _unbroken(found: Iterator[str]) -> Iterator[str]:
    try:
        yield from found
    except BrokenProcessPool:
        raise ProcessKilled(
            "a process of the simulation was killed, perhaps because memory ran out; what was done is kept: continue "
            "with --resume and fewer --jobs"
        ) from None
    except RuntimeError as error:
        if not isinstance(error.__cause__, StopIteration):
            raise
        # Work that ends so ends the numbers, as it does for `map`: whoever counts the results finds some missing.
