"""Prints a tor's circuits: `python -m overlays.tor.circuits SOCKET` (control-spec: GETINFO circuit-status).

The control socket stands in the node's own /run, so that its file permissions are all the authentication it needs.
"""

from __future__ import annotations

import socket
import sys

_TIMEOUT_S = 5.0


def main(path: str) -> None:
    """Ask, print the answer, end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(_TIMEOUT_S)
        control.connect(path)
        control.sendall(b"AUTHENTICATE\r\nGETINFO circuit-status\r\nQUIT\r\n")
        said = b""
        while part := control.recv(65536):
            said += part
    print(said.decode(errors="replace").replace("\r\n", "\n"), end="")


if __name__ == "__main__":
    main(sys.argv[1])
