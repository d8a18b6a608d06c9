"""Datagrams over TLS, for networks that block UDP: a length (u16, big-endian) before each.

TLS only makes the traffic pass; the certificate is the server's own and not checked. Who the server is, and that
nothing is read or changed on the way, is proved by the WireGuard session inside, to the key that the node's
configuration names.
"""

from __future__ import annotations

import datetime
import errno
import math
import os
import select
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from overlays.refmesh.config import Address
from overlays.refmesh.driver import clock
from overlays.refmesh.driver.udp import set_mark
from overlays.refmesh.errors import MachineError
from overlays.refmesh.wire.control import Endpoint

_LENGTH = struct.Struct(">H")
READS_PER_ROUND = 16
"""So many records at a time before others have their turn; epoll tells of the rest."""
ACKNOWLEDGED_MS = 10_000
"""So long what a node has sent may be unacknowledged (tcp(7): TCP_USER_TIMEOUT); the kernel's own limit is 15 min."""
MAX_PENDING = 1 << 18
"""Octets that may wait to be sent; what comes on top is dropped, as a full queue of a network would."""


def client_context() -> ssl.SSLContext:
    """For nodes; see the module's text for why nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def server_context() -> ssl.SSLContext:
    """For servers, with a certificate made for this run."""
    # Here, as nodes do not need it, and it takes long to import.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "refmesh")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The module takes certificates from files only.
    with tempfile.TemporaryDirectory(prefix="refmesh-") as folder:
        path = Path(folder, "tls.pem")
        path.touch(mode=0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)
    return context


class Stream:
    """One TLS connection as a datagram socket; `events` is what to wait for."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        on_open: Callable[[float], None],
        on_datagram: Callable[[bytes, float], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._raw, self._context, self._server_side = sock, context, server_side
        self._tls: ssl.SSLSocket | None = None
        self._on_open, self._on_datagram = on_open, on_datagram
        self._received = bytearray()
        self._pending = bytearray()
        self.open = self.closed = False
        self.stuck_since_s = math.inf
        """Since when nothing of what waits to be sent could be sent."""
        self.events = select.EPOLLIN | select.EPOLLOUT

    @classmethod
    def connect(
        cls,
        address: Address,
        on_open: Callable[[float], None],
        on_datagram: Callable[[bytes, float], None],
        mark: int = 0,
    ) -> Stream:
        """Begins to connect; MachineError when that is not possible at all."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ACKNOWLEDGED_MS)
        if mark:
            set_mark(sock, mark)
        status = sock.connect_ex((address.host, address.port))
        if status not in (0, errno.EINPROGRESS):
            sock.close()
            raise MachineError(f"cannot connect to {address}: {os.strerror(status)}")
        return cls(sock, client_context(), server_side=False, on_open=on_open, on_datagram=on_datagram)

    def fileno(self) -> int:
        """For epoll; the same descriptor before and after TLS took over."""
        return self._tls.fileno() if self._tls is not None else self._raw.fileno()

    def local_host(self) -> str:
        """Return the address of ours that the connection has; empty when it is over."""
        try:
            return str((self._tls or self._raw).getsockname()[0])
        except OSError:
            return ""

    def on_ready(self, now: float) -> None:
        """Goes on with whatever can go on; `closed` is set when the connection is over."""
        try:
            if not self.open and not self._shake(now):
                return
            self._read(now)
            self._write()
            if not self._pending:
                self.stuck_since_s = math.inf
        except (OSError, ValueError):
            self.closed = True

    def send(self, datagram: bytes, _endpoint: Endpoint | None = None) -> None:
        """Send a datagram, now or as soon as the connection takes it."""
        self.send_run((datagram,))

    def send_run(self, datagrams: Sequence[bytes], _endpoint: Endpoint | None = None) -> None:
        """Send datagrams in order."""
        for datagram in datagrams:
            if not self._pending and self.stuck_since_s == math.inf:
                self.stuck_since_s = clock.now()
            if len(self._pending) < MAX_PENDING:
                self._pending += _LENGTH.pack(len(datagram)) + datagram
        if self.open:
            try:
                self._write()
            except OSError:
                self.closed = True

    def send_segmented(self, data: memoryview, size: int, endpoint: Endpoint | None = None) -> None:
        """Send `data` as datagrams of `size` octets, the last one perhaps shorter."""
        self.send_run([bytes(data[i : i + size]) for i in range(0, len(data), size)], endpoint)

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        (self._tls or self._raw).close()

    def _shake(self, now: float) -> bool:
        if self._tls is None:
            status = self._raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, os.strerror(status))
            self._tls = self._context.wrap_socket(
                self._raw, server_side=self._server_side, do_handshake_on_connect=False
            )
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.events = select.EPOLLIN
            return False
        except ssl.SSLWantWriteError:
            self.events = select.EPOLLOUT
            return False
        self.open, self.events = True, select.EPOLLIN
        self._on_open(now)
        return True

    def _read(self, now: float) -> None:
        assert self._tls is not None
        try:
            for _ in range(READS_PER_ROUND):
                chunk = self._tls.recv(65536)
                if not chunk:
                    self.closed = True
                    return
                self._received += chunk
                self._frames(now)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def _frames(self, now: float) -> None:
        data, position = self._received, 0
        while position + _LENGTH.size <= len(data):
            length = _LENGTH.unpack_from(data, position)[0]
            if position + _LENGTH.size + length > len(data):
                break
            position += _LENGTH.size
            self._on_datagram(bytes(data[position : position + length]), now)
            position += length
        del data[:position]

    def _write(self) -> None:
        assert self._tls is not None
        try:
            while self._pending:
                sent = self._tls.send(self._pending)
                del self._pending[:sent]
                self.stuck_since_s = math.inf
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        self.events = select.EPOLLIN | (select.EPOLLOUT if self._pending else 0)
