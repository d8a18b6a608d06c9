"""A file from one host to another by HTTP (RFC 9110), without any overlay; needs nothing but Python.

    python http_file.py publish FILE ADDRESS
    python http_file.py fetch URL FILE

`publish` prints the URL once somebody answers there; that goes on in the background until the file has been fetched.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from urllib.parse import urlsplit

_PIECE = 1 << 20
_NOBODY_CAME_S = 600.0


class _Sender(BaseHTTPRequestHandler):
    file: str
    done = False

    def do_GET(self) -> None:
        """Send the file, whatever the path."""
        with open(self.file, "rb") as content:  # noqa: PTH123  # starts without pathlib
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(content.fileno()).st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(content)
        type(self).done = True


class _Server(TCPServer):  # not HTTPServer, which asks the name service what its own address is called
    def handle_timeout(self) -> None:
        """Stop waiting: no client came in time."""
        _Sender.done = True


def publish(file: str, address: str) -> None:
    """Serve a file once, in the background, and print where."""
    if ":" in address:
        _Server.address_family = socket.AF_INET6
    _Sender.file = file
    server = _Server((address, 0), _Sender)
    server.timeout = _NOBODY_CAME_S
    host = f"[{address}]" if ":" in address else address
    print(f"http://{host}:{server.server_address[1]}/", flush=True)
    if os.fork():
        os._exit(0)
    quiet = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(quiet, fd)
    while not _Sender.done:
        server.handle_request()


def fetch(url: str, file: str) -> None:
    """Get what is there into a file."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    if answer.status != 200:
        sys.exit(f"{answer.status} {answer.reason}")
    left = answer.length
    buffer = memoryview(bytearray(_PIECE))
    with open(file, "wb", buffering=0) as out:  # noqa: PTH123
        while count := answer.readinto(buffer):
            out.write(buffer[:count])
            left = None if left is None else left - count
    if left:
        sys.exit(f"{left} bytes are missing")


if __name__ == "__main__":
    {"publish": publish, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
