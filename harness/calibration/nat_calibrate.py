"""`calibrate nat`: every NAT behaviour proved on this machine, many cases over sandboxes that run side by side."""

from __future__ import annotations

import fnmatch
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from harness.calibration.nat_cases import Case, all_cases
from harness.errors import LabError, Problem, ScenarioError
from harness.sandbox.program import require_enough
from harness.sandbox.unshare import sandbox_argv, why_no_user_namespaces

# A worker that says nothing for so long is stuck; the longest case takes about four seconds.
STUCK_S = 60.0


@dataclass(frozen=True)
class CaseResult:
    """One behaviour, declared against observed; `error` says why it could not be observed at all."""

    name: str
    declared: str
    observed: dict[str, object]
    differences: tuple[str, ...]
    error: str | None
    duration_s: float
    seed: int

    @property
    def passed(self) -> bool:
        """True if the router is what it was declared to be."""
        return not self.differences and self.error is None

    def as_dict(self) -> dict[str, object]:
        """Return it ready for JSON."""
        return {**asdict(self), "differences": list(self.differences), "passed": self.passed}


def select_cases(only: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases whose name or label one of the patterns matches; all where there is no pattern.

    Raises:
        ScenarioError: a pattern matches none.
    """
    cases = all_cases()
    chosen = []
    for pattern in only:
        hits = [c for c in cases if fnmatch.fnmatch(c.name, pattern) or fnmatch.fnmatch(c.behaviour.label, pattern)]
        if not hits:
            raise ScenarioError([Problem("--only", 0, pattern, "no case has such a name; `*` stands for anything")])
        chosen += hits
    return tuple(dict.fromkeys(chosen)) if only else cases


def calibrate_nat(*, jobs: int, only: Sequence[str] = (), seed: int = 0) -> Iterable[CaseResult]:
    """Try the cases, `jobs` at a time; yield results as they come, in no order.

    Args:
        seed: decides the arbitrary: how early or late first packets come, where sequences start.

    Raises:
        MissingPrerequisite: the machine cannot make sandboxes.
        LabError: a worker died.
        ScenarioError: a pattern in `only` matches nothing.
    """
    missing = why_no_user_namespaces()
    if missing is not None:
        raise missing
    cases = select_cases(only)
    return _run(cases, min(jobs, len(cases)), seed)


def _run(cases: Sequence[Case], jobs: int, seed: int) -> Iterator[CaseResult]:
    # The waiting cases first: the others fill the time in which they do nothing.
    order = sorted(enumerate(cases), key=lambda pair: pair[1].kind != "lifetimes")
    todo: queue.SimpleQueue[tuple[int, Case]] = queue.SimpleQueue()
    for numbered in order:
        todo.put(numbered)
    done: queue.SimpleQueue[CaseResult | Exception | None] = queue.SimpleQueue()
    workers = [_Worker(seed + n) for n in range(jobs)]
    threads = [threading.Thread(target=_serve, args=(worker, todo, done, seed), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        ended = 0
        while ended < jobs:
            said = done.get()
            if said is None:
                ended += 1
            elif isinstance(said, Exception):
                raise said
            else:
                yield said
    finally:
        for worker in workers:
            worker.kill()


def _serve(
    worker: _Worker,
    todo: queue.SimpleQueue[tuple[int, Case]],
    done: queue.SimpleQueue[CaseResult | Exception | None],
    seed: int,
) -> None:
    try:
        while True:
            try:
                number, case = todo.get_nowait()
            except queue.Empty:
                break
            done.put(worker.try_case(case, seed * 100_003 + number))
    except Exception as error:  # the consumer's to raise
        done.put(error)
    done.put(None)


class _Worker:
    """A calibration worker in its sandbox, reached over its stdin and stdout."""

    def __init__(self, number: int) -> None:
        argv = [sys.executable, "-m", "harness.calibration.nat_worker", str(number)]
        self._process = subprocess.Popen(
            sandbox_argv(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def try_case(self, case: Case, seed: int) -> CaseResult:
        """Have one case tried.

        Raises:
            LabError: the worker died or is stuck.
            StorageError: the machine ran out of disk or descriptors.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {
            "name": case.name,
            "kind": case.kind,
            "seed": seed,
            "behaviour": case.behaviour.model_dump(mode="json"),
        }
        watchdog = threading.Timer(STUCK_S, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            assert self._process.stderr is not None
            status, said_last = self._ended(), self._process.stderr.read()
            require_enough(status, said_last)
            raise LabError(f"the worker died on case {case.name}: {said_last[-2000:].strip()}")
        said = json.loads(line)
        return CaseResult(
            name=case.name,
            declared=case.behaviour.axes_label,
            observed=said["observed"],
            differences=tuple(said["differences"]),
            error=said["error"],
            duration_s=said["duration_s"],
            seed=seed,
        )

    def _ended(self) -> int:
        try:
            return self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:  # it is stuck, not dead
            self._process.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End the worker and with it its lab."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
