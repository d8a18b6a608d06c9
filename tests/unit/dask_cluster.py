"""A scheduler and workers as the documentation starts them, with TLS, on loopback; they pretend to measure."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from held_port import hold_port

from harness.hosts.certificates import VARIABLE, make_files

PRELOAD = Path(__file__).with_name("fake_worker.py")


class Cluster:
    """Processes by name: `scheduler`, and each worker's."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.tls = folder, folder / "tls"
        make_files(self.tls, datetime.datetime.now(datetime.UTC))
        os.environ[VARIABLE] = str(self.tls)
        self.environment = {**os.environ, "FAKE_STATION": str(PRELOAD.with_name("fake_station.py")), **environment}
        # Held as long as the cluster is: while no scheduler listens nobody else is given it.
        self.held, self.port = hold_port()
        self.address = f"tls://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_scheduler(self) -> None:
        self._start("scheduler", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", str(self.port))
        self.until(lambda: "Scheduler at" in self.said("scheduler"))

    def start_worker(self, name: str, *more: str) -> None:
        words = (
            "--name",
            name,
            "--nworkers",
            "1",
            "--nthreads",
            "4",
            "--preload",
            str(PRELOAD),
            "--local-directory",
            ".",
            *more,
        )
        self._start(name, "worker", self.address, *words, "--local-directory", ".")

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and, where it has one, to the process that its nanny watches over."""
        os.killpg(self.processes[name].pid, number)

    def freeze(self, name: str) -> None:
        """Stop a machine: the worker, its nanny, and its stations, which have sessions of their own."""
        for pid in descendants(self.processes[name].pid):
            os.kill(pid, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a machine that was frozen go on."""
        for pid in descendants(self.processes[name].pid):
            os.kill(pid, signal.SIGCONT)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until(self, holds: Callable[[], bool], patience_s: float = 60.0) -> None:
        deadline = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < deadline, "it does not come to pass"
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.held.close()

    def _start(self, name: str, *words: str) -> None:
        files = {"ca-file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        tls = [word for option, file in files.items() for word in (f"--tls-{option}", str(self.tls / file))]
        program = str(Path(sys.executable).with_name("dask"))
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [program, *words, "--no-dashboard", *tls],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                cwd=self.folder,
            )


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, and those in turn, as far as they live."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found
