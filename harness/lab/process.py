"""Daemons of a lab: started in a node, logged, watched for readiness, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.lab.node import LabNode

TAIL_CHARACTERS = 2000
# Of what says more than that, its log alone has the whole.
KEPT_CHARACTERS = 1 << 20
# What is looked for in a longer log is found if it is no longer than this.
_LONGEST_MATCH_BYTES = 1 << 16
LONGEST_GRACE_S = 20.0


@dataclass(frozen=True)
class Usage:
    """A daemon's usage: CPU seconds (user and system) and the most memory that was resident, in MiB."""

    cpu_s: float
    rss_mib: float


class Daemon:
    """A process of a lab, in the foreground of a node; its stdout and stderr go to one log file.

    A thread copies the log, so that waiting for a line is waiting for an event, not polling a file. Of one that says
    more than KEPT_CHARACTERS the end alone stays in memory; the rest is read where it is.
    """

    def __init__(self, node: LabNode, argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self.argv = tuple(argv)
        self.log = log
        self.where = node.name
        self._changed = threading.Condition()
        self._text = ""  # the end alone, if the log is the only whole
        self._whole = True
        self._said_bytes = 0
        self._ended = False
        # One that is started again goes on in the log that it had.
        self._begin_bytes = log.stat().st_size if log.exists() else 0
        self.outlasted = ""
        """How it stood when it had to be killed, in words; empty: it ended by itself, or still runs."""
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            node.enter(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, "TMPDIR": str(cwd), "HOME": str(cwd), **env},
            # Of its own, to be killed whole; but no session of its own: the kernel's autogroups give every session the
            # same share of a processor, and the links' helper must not be one among many.
            process_group=0,
        )
        assert self._process.stdout is not None
        self._pump = threading.Thread(target=self._copy, args=(self._process.stdout,), daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int:
        """The daemon's pid in the sandbox (mnexec becomes the program)."""
        return self._process.pid

    def _copy(self, pipe: IO[bytes]) -> None:
        with self.log.open("ab", buffering=0) as file:
            while chunk := os.read(pipe.fileno(), 65536):
                file.write(chunk)
                with self._changed:
                    self._keep(chunk)
                    self._changed.notify_all()
        self._process.wait()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _keep(self, chunk: bytes) -> None:
        self._said_bytes += len(chunk)
        self._text += chunk.decode(errors="replace")
        self._whole = self._whole and len(self._text) <= KEPT_CHARACTERS
        if not self._whole:
            self._text = self._text[-TAIL_CHARACTERS:]

    @property
    def tail(self) -> str:
        """The end of its log."""
        with self._changed:
            return self._text[-TAIL_CHARACTERS:]

    @property
    def text(self) -> str:
        """Its whole log so far."""
        with self._changed:
            if self._whole:
                return self._text
        with self.log.open("rb") as file:
            file.seek(self._begin_bytes)
            return file.read().decode(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status (negative: the signal that killed it); None while it runs."""
        return self._process.poll()

    def wait_for_line(self, pattern: str, timeout_s: float) -> bool:
        """Wait until the log holds a match. False: it ended without one, or the time is over.

        In a log that is longer than KEPT_CHARACTERS a match of up to 64 KiB is found.
        """
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        searched_bytes = 0
        while True:
            with self._changed:
                ended, said_bytes, text = self._ended, self._said_bytes, self._text if self._whole else None
            if text is not None:
                found = expression.search(text) is not None
            else:
                found, searched_bytes = self._search_log(expression, searched_bytes)
            if found or ended:
                return found
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._said_bytes == said_bytes and not self._ended:
                    self._changed.wait(left)

    def _search_log(self, expression: re.Pattern[str], from_bytes: int) -> tuple[bool, int]:
        """Look for a match that ends after so many bytes, a part at a time; returns how many have been searched."""
        with self.log.open("rb") as file:
            begin = max(0, from_bytes - _LONGEST_MATCH_BYTES)
            file.seek(self._begin_bytes + begin)
            window = b""
            while part := file.read(KEPT_CHARACTERS):
                window = window[-_LONGEST_MATCH_BYTES:] + part
                # From the second character on, as `^` is to match where the log begins, not where a part does.
                if expression.search(window.decode(errors="replace"), 1 if begin or len(window) > len(part) else 0):
                    return True, from_bytes
            return False, file.tell() - self._begin_bytes

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end and for the last of its log; None: it still runs."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._pump.join(1.0)
        return status

    def send(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, grace_s: float = 3.0) -> None:
        """Send SIGTERM, then SIGKILL to its whole process group; safe to call twice.

        Of `grace_s` that does not count for which it waited for a processor: with fourteen daemons that are stopped at
        once on a busy machine, one that ends as it should took longer.
        """
        if self.alive:
            begun_s, before_s = time.monotonic(), waited_for_processor_s(self.pid)
            self.send(signal.SIGTERM)
            until_s = begun_s + grace_s
            while (left_s := until_s - time.monotonic()) > 0 and self.wait(left_s) is None:
                lost_s = waited_for_processor_s(self.pid) - before_s
                until_s = begun_s + min(grace_s + max(0.0, lost_s), max(grace_s, LONGEST_GRACE_S))
            if self.alive:
                self.outlasted = _standing(self.pid, time.monotonic() - begun_s, before_s)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                self.wait(grace_s)

    def usage(self) -> Usage | None:
        """Return CPU and memory of the daemon and its children so far; None when it is gone."""
        return _usage(self.pid)


def waited_for_processor_s(pid: int) -> float:
    """Return for how long the threads of a process wanted a processor and had none (proc(5), `schedstat`).

    0 where the kernel does not count it, or the process is gone.
    """
    waited_ns = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            waited_ns += int((task / "schedstat").read_text().split()[1])
    return waited_ns / 1e9


def _standing(pid: int, seconds: float, waited_before_s: float) -> str:
    """Say what the threads of a process do that should have ended: R and a long wait is a busy machine's fault."""
    threads = []
    with contextlib.suppress(OSError, IndexError):
        for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
            state = (task / "stat").read_text().rsplit(") ", 1)[1][0]
            threads.append(f"{(task / 'comm').read_text().strip()} {state} {(task / 'wchan').read_text().strip('0')}")
    waited_s = waited_for_processor_s(pid) - waited_before_s
    return f"{seconds:.1f} s after SIGTERM, {waited_s:.1f} of them without a processor: {', '.join(threads)}"


def _usage(pid: int) -> Usage | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        peak = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Fields 14 to 17 of proc_pid_stat(5): utime, stime, and those of waited-for children, in clock ticks.
    ticks = sum(int(field) for field in stat[11:15])
    own = Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak.group(1)) / 1024 if peak else 0.0)
    others = [usage for child in children if (usage := _usage(int(child))) is not None]
    return Usage(own.cpu_s + sum(u.cpu_s for u in others), own.rss_mib + sum(u.rss_mib for u in others))
