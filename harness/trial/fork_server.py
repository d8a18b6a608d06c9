"""The fork server, which starts workers without loading the program again: everything is imported once, then forked.

It talks over its stdin, a Unix socket of datagrams that keep their borders: `{"start": ID, "folder": F}` with three
file descriptors, answered by nothing; `{"kill": ID}`; and it says `{"ended": ID, "status": N}` when a worker is gone.
It ends, and the kernel ends all workers, when the orchestrator closes the socket or dies.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import harness.probes.contentpath  # a probe loads them late, and their time would count
import harness.probes.seek  # noqa: F401
from harness.model.probes import settings_model
from harness.probes.registry import probes
from harness.sandbox import syscalls
from harness.sandbox.birth import fork_into_sandbox
from harness.sandbox.unshare import is_privileged
from harness.trial.worker import work

_LARGEST = 65536


class ForkServer:
    """The forking side. Single-threaded: a forked child would inherit other threads' locks, never to be released."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._privileged = is_privileged()
        self._workers: dict[int, str] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serve until the orchestrator is gone."""
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if self._wake_read in ready:
                os.read(self._wake_read, 512)
                self._reap()
            if self._channel.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._channel, _LARGEST, 3)
        if not data:
            return False
        message = json.loads(data)
        if "kill" in message:
            for pid, name in self._workers.items():
                if name == message["kill"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return True
        folder, spawned = Path(message["folder"]), time.time()
        pid = fork_into_sandbox(lambda: work(folder, spawned), (fds[0], fds[1], fds[2]), self._privileged)
        self._workers[pid] = message["start"]
        for fd in fds:
            os.close(fd)
        return True

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._workers.pop(pid, None)
            if name is not None:
                ended = {"ended": name, "status": os.waitstatus_to_exitcode(status)}
                # The orchestrator may be gone by now, which `_obey` finds out: nobody is left to be told.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._channel.send(json.dumps(ended).encode())


def main() -> None:
    """Run `python -m harness.trial.fork_server`, with the socket as stdin."""
    syscalls.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    probes()  # found and loaded once, for all workers
    settings_model()
    gc.freeze()  # the children share these objects' pages until a reference count is written
    ForkServer(socket.socket(fileno=sys.stdin.fileno())).run()


if __name__ == "__main__":
    main()
