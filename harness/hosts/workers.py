"""The orchestrator's side of workers: it starts them through the fork server, talks to them and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from pathlib import Path

from harness.trial.messages import GRANTED


class Worker:
    """One worker: lines from it, turns for it, and its end as a future of its exit status.

    The pipe is read by hand: asyncio's own pipe transport, collected while its end of file is under way, takes the
    reader away from the pipe that has been given the same descriptor since.
    """

    def __init__(self, fork_server: Workers, name: str, stdin: int, stdout: int) -> None:
        self._fork_server = fork_server
        self._name = name
        self._stdin = stdin
        self._stdout: int | None = stdout
        self._partial = b""
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        os.set_blocking(stdout, False)
        self._loop.add_reader(stdout, self._readable)

    async def line(self) -> bytes:
        """Return the next line; empty when the worker has closed its stdout."""
        return await self._lines.get()

    def grant(self) -> None:
        """Let it go on with the turn that it asked for; if it has died meanwhile, its next line will show it."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._stdin, f"{GRANTED}\n".encode())

    async def end(self) -> None:
        """Kill it if it still runs, and wait until it is gone."""
        if not self.ended.done():
            self._fork_server.kill(self._name)
        await self.ended
        self._close_stdout()
        os.close(self._stdin)

    def _readable(self) -> None:
        assert self._stdout is not None
        chunk = os.read(self._stdout, 1 << 20)
        if not chunk:
            self._close_stdout()
            self._lines.put_nowait(b"")
            return
        *whole, self._partial = (self._partial + chunk).split(b"\n")
        for line in whole:
            self._lines.put_nowait(line + b"\n")

    def _close_stdout(self) -> None:
        if self._stdout is not None:
            self._loop.remove_reader(self._stdout)
            os.close(self._stdout)
            self._stdout = None


class Workers:
    """Workers of one campaign. Their processes show `label` on their command lines, for readers of `ps`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._starting = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._alive: dict[str, Worker] = {}

    async def start(self, name: str, folder: Path) -> Worker:
        """Start a worker on `folder`; its stderr goes to worker.log there."""
        async with self._starting:  # the first trials come all at once, and one fork server is for all of them
            if self._socket is None:
                await self._start_fork_server()
        assert self._socket is not None
        stdin_read, stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        worker = self._alive[name] = Worker(self, name, stdin_write, stdout_read)
        request = json.dumps({"start": name, "folder": str(folder.resolve())}).encode()
        try:
            socket.send_fds(self._socket, [request], [stdin_read, stdout_write, log])
        except OSError:
            self._all_gone()
        for fd in (stdin_read, stdout_write, log):
            os.close(fd)
        return worker

    def kill(self, name: str) -> None:
        """Have the fork server kill a worker: only its parent can do so without mistaking it for another process."""
        if self._socket is not None:
            self._socket.send(json.dumps({"kill": name}).encode())

    async def close(self) -> None:
        """End the fork server and with it all workers that are left."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._process is not None:
            await self._process.wait()
            self._process = None

    async def _start_fork_server(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = dict(os.environ)
        if sys.version_info < (3, 12):
            # Mininet wants distutils; setuptools would replace Python's own by a copy that takes longer to load.
            environment["SETUPTOOLS_USE_DISTUTILS"] = "stdlib"
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harness.trial.fork_server", self._label),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the orchestrator
            env=environment,
        )
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._heard)

    def _heard(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._all_gone()
            return
        message = json.loads(data)
        worker = self._alive.pop(message["ended"], None)
        if worker is not None:
            worker.ended.set_result(message["status"])

    def _all_gone(self) -> None:
        """Note that the fork server died, and its workers with it; the next start makes another one."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for worker in self._alive.values():
            worker.ended.set_result(-9)
        self._alive.clear()
