"""An SSH server on loopback that runs what it is told, for one key: `python ssh_server.py FOLDER`.

FOLDER gets `.ssh` as a client's home has it, and `port`, when it listens. Signals reach the command's whole session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import asyncssh


async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
    pipe = asyncio.subprocess.PIPE
    command = await asyncio.create_subprocess_shell(
        process.command or "true", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        await process.redirect(stdin=command.stdin, stdout=command.stdout, stderr=command.stderr)
        ended = asyncio.create_task(command.wait())
        gone = asyncio.create_task(process.channel.wait_closed())
        await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            process.exit(ended.result())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)


async def main(folder: Path) -> None:
    home = folder / ".ssh"
    home.mkdir(mode=0o700)
    host, user = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    user.write_private_key(home / "id_ed25519")
    user.write_public_key(folder / "authorized")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=handle,
        encoding=None,
    )
    port = server.get_port()
    public = host.export_public_key().decode().strip()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    (folder / "port.part").write_text(str(port))
    (folder / "port.part").rename(folder / "port")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
