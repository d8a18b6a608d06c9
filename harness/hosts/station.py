"""This machine for a campaign elsewhere: `python -m harness.hosts.station`, jobs in, steps, ends and evidence out.

It speaks over stdin and stdout, or to the one client that connects to a Unix socket of its owner alone (`--socket`). It
ends, and with it all sandboxes and their folders, when its client is gone or silent, and however it is ended itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from harness.errors import OverlaybenchError, StorageError
from harness.hosts.patience import silence_s
from harness.hosts.serving import Station
from harness.hosts.station_messages import LONGEST_LINE
from harness.overlay.search_path import search_path
from harness.sandbox.scratch import scratch_folder


async def _serve(options: argparse.Namespace, scratch: Path) -> None:
    settings = {"label": options.label, "jobs": options.jobs, "silence_s": options.silence_s, "scratch": scratch}
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        if options.socket is not None:
            await _serve_socket(options.socket, settings)
            return
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # whatever libraries print goes to stderr
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, out)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await Station(reader, writer, **settings).serve()


async def _serve_socket(path: Path, settings: dict[str, Any]) -> None:
    served: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    taken = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:
            writer.close()
            return
        taken, fault = True, None
        try:
            await Station(reader, writer, **settings).serve()
        except Exception as error:  # raised again below, where it ends the station: nobody hears it here
            fault = error
        finally:
            writer.close()
        if served.done():  # a signal has ended the station meanwhile
            return
        if fault is None:
            served.set_result(None)
        else:
            served.set_exception(fault)

    server = await asyncio.start_unix_server(connected, sock=listening_at(path), limit=LONGEST_LINE)
    try:
        await served
    finally:
        server.close()
        path.unlink(missing_ok=True)


def listening_at(path: Path) -> socket.socket:
    """Return a socket that is at `path` only once it listens: who sees it there may connect at once."""
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    listener, early = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path.with_name(f"{path.name}~")
    early.unlink(missing_ok=True)
    before = os.umask(0o177)  # nobody but its owner may connect
    try:
        listener.bind(os.fspath(early))
    finally:
        os.umask(before)
    listener.listen()
    early.rename(path)
    return listener


def main() -> None:
    """Run `python -m harness.hosts.station`."""
    parser = argparse.ArgumentParser(prog="python -m harness.hosts.station", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1), help="trials side by side")
    parser.add_argument("--label", default="station", help="what its processes show on their command lines")
    parser.add_argument("--silence-s", type=float, help="how long a client may say nothing")
    parser.add_argument("--socket", type=Path, help="a Unix socket to listen on for one client, in place of stdin")
    options = parser.parse_args()
    try:
        options.silence_s = options.silence_s or silence_s()
    except OverlaybenchError as error:
        parser.error(str(error))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the campaign
    os.environ["PATH"] = search_path()
    try:
        asyncio.run(_serve(options, scratch_folder()))
    except OSError as error:
        sys.exit(f"station: {StorageError.of(error)}")


if __name__ == "__main__":
    main()
