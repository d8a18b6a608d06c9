"""Members at the real sockets of a server: hostile ones, over UDP and TLS, who say anything well sealed, and one who
is honest and must be answered all the while."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import time
from typing import Any

from refmesh_daemon import HOST, WAIT_S, Client, Daemon, Datagrams, TlsDatagrams
from refmesh_sayings import odd, payload

from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire import control, messages

RENEW_S = 100.0
"""New keys well before those that there are end."""
HELLO: dict[str, Any] = {"candidates": [], "direct": True, "hub": True, "quiet": False, "have": []}


class Joined:
    """A member that joins over and over, and keeps what the server has told it."""

    def __init__(self, daemon: Daemon, name: str, *, tls: bool) -> None:
        self.daemon, self.name, self.tls = daemon, name, tls
        self.sock: Datagrams | None = None
        self.client = Client(daemon, name)
        self.epoch, self.rev, self.seq, self.numbers = "", 0, 0, {7}
        self.pongs: set[bytes] = set()
        self._renew_s = 0.0

    def joined(self, rng: random.Random) -> Datagrams:
        """Return a socket over which we have joined, a new one if need be; TimeoutError when that is not possible."""
        until_s = time.monotonic() + WAIT_S
        while self.sock is None or time.monotonic() > self._renew_s:
            try:
                self.sock = self.sock or self._socket(rng)
                if self.client.joins(self.sock, tries=3):
                    self._renew_s = time.monotonic() + RENEW_S
                    self.sock.settimeout(WAIT_S)
                    break
            except OSError:
                time.sleep(0.05)  # one that was refused
            self.leave()
            if time.monotonic() > until_s:
                raise TimeoutError(f"{self.name} cannot join")
        return self.sock

    def _socket(self, rng: random.Random) -> Datagrams:
        self.client = Client(self.daemon, self.name)
        if self.tls:
            return TlsDatagrams(self.daemon, f"127.0.1.{rng.randrange(1, 250)}")
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def leave(self) -> None:
        """Close the socket; the next thing to say has us join again."""
        if self.sock is not None:
            self.sock.close()
        self.sock = None

    def hear(self, sock: Datagrams, timeout_s: float = 0.0) -> None:
        """Read what is there, waiting for the first so long."""
        sock.settimeout(timeout_s)
        with contextlib.suppress(TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            while True:
                datagram = sock.recv(65536)
                if messages.message_type(datagram) != messages.RELAY:
                    for inside in self.client.hears(datagram):
                        self._told(inside)
                sock.settimeout(0.0)
        sock.settimeout(WAIT_S)

    def _told(self, inside: bytes) -> None:
        with contextlib.suppress(MalformedMessage):
            kind, body = control.read(inside)
            if kind == control.PONG:
                self.pongs.add(body[: control.TRANSACTION_LEN])
            if kind == control.UPDATE:
                update = json.loads(body)
                self.epoch, self.rev = update["epoch"], update["to"]
                self.numbers |= {entry["relay"] for entry in update["entries"] if "relay" in entry}

    def hello(self, **changes: Any) -> dict[str, Any]:
        """Return the body of a HELLO."""
        self.seq += 1
        return HELLO | {"seq": self.seq, "epoch": self.epoch, "rev": self.rev} | changes


class Hostile(Joined):
    """Says anything."""

    def say(self, rng: random.Random) -> None:
        """Say one thing, or several of one size, which the kernel joins."""
        try:
            sock, many = self.joined(rng), rng.choice((1, 1, 1, 8))
            if not rng.randrange(10):
                number = rng.choice(sorted(self.numbers))
                relayed = messages.RELAY_HEAD.pack(messages.RELAY, number) + rng.randbytes(rng.randrange(80))
                relayed = relayed[: rng.choice((len(relayed), rng.randrange(len(relayed))))]
                for _ in range(many):
                    sock.sendto(relayed, (HOST, self.daemon.site.port))
            inside = self._inside(rng)
            for _ in range(many):
                if not self.client.says(sock, inside, bare=not rng.randrange(3)):
                    self._renew_s = 0.0
            if not rng.randrange(20):
                self.hear(sock)
            if not rng.randrange(2000):
                self.leave()
        except OSError as error:
            if isinstance(error, TimeoutError) and "cannot join" in str(error):
                raise
            self.leave()

    def _inside(self, rng: random.Random) -> bytes:
        if not rng.randrange(4):
            macs = [b"\xff" * 6, b"\2" + rng.randbytes(5), b"\2" + bytes(5)]
            frame = rng.choice(macs) + rng.choice(macs) + rng.choice((b"\x08\x06", b"\x08\x00", rng.randbytes(2)))
            return control.frame(control.ETHERNET, frame + rng.randbytes(rng.randrange(1200)))
        network = self.daemon.network
        return payload(rng, [address.split("/")[0] for address in network.addresses.values()], lambda: self._body(rng))

    def _body(self, rng: random.Random) -> tuple[int, bytes]:
        if rng.randrange(2):
            named = [["host", f"10.9.{rng.randrange(256)}.7", rng.randrange(65536)] for _ in range(rng.randrange(12))]
            rev = max(0, self.rev + rng.randrange(-3, 4))
            hello = self.hello(candidates=named, rev=rev, hub=bool(rng.randrange(4)), quiet=bool(rng.randrange(2)))
            return control.HELLO, odd(rng, hello)
        punch = {"to": rng.choice(sorted(self.numbers)), "n": rng.randrange(6), "ask": True, "dependent": True}
        return control.PUNCH, odd(rng, punch | {"host": rng.choice(("", HOST)), "ports": [rng.randrange(1, 65536)]})


class Honest(Joined):
    """Greets and asks, and is answered."""

    def ask(self, rng: random.Random) -> str | None:
        """Greet and check the server; return what is wrong, None when it answers within 20 s."""
        began_s, transaction = time.monotonic(), rng.randbytes(control.TRANSACTION_LEN)
        while time.monotonic() - began_s < WAIT_S:
            sock = self.joined(rng)
            self.hear(sock)
            self.client.says(sock, control.json_frame(control.HELLO, self.hello()))
            if not self.client.says(sock, control.frame(control.PING, transaction)):
                self._renew_s = 0.0
            for _ in range(50):
                self.hear(sock, 0.1)
                if transaction in self.pongs:
                    self.pongs.clear()
                    return None
        return f"{self.name}, who is honest, has had no answer for {WAIT_S:g} s"
