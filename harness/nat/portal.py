"""A captive portal's web server, as a program of its own: every request is sent elsewhere, to where one signs in.

python portal.py PORT
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

_ANSWER = b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_PATIENCE_S = 5.0


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_PATIENCE_S)
        connection.recv(4096)
        connection.sendall(_ANSWER)


def main() -> None:
    """Serve until killed; prints `listening` once it does."""
    with socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
