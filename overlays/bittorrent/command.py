"""Tells the node on this host what to do: `publish FILE` prints the content's info-hash, `fetch HASH FILE` gets it.

`python -m overlays.bittorrent.command publish|fetch ...`; ends with 0 once it is done.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from overlays.bittorrent.messages import receive, send

# The node's; not imported from there, because that would load libtorrent for a few bytes.
_SOCKET = "/run/bittorrent.sock"


def main(arguments: Sequence[str]) -> None:
    """Do one command."""
    verb, *words = arguments
    words[-1] = str(Path(words[-1]).absolute())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(_SOCKET)
        send(channel, "\n".join((verb, *words)).encode())
        said = receive(channel).decode()
    if said.startswith("!"):
        sys.exit(said[1:])
    if said:
        print(said)


if __name__ == "__main__":
    main(sys.argv[1:])
