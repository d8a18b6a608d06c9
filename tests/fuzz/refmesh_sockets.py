"""Strangers and members at the real sockets of a server that runs as a process of its own: UDP, STUN and TLS.

    python tests/fuzz/refmesh_sockets.py [--count 1000000] [--seed 1]      exits 1 at the first violation

Every fourth message is a member's, well sealed, over UDP or TLS, to a server that is a hub where `seed` is odd.

What must hold, whatever comes: the server lives and has caught no fault; it answers STUN, and a member who is honest,
all the while and lets another in at the end; memory and descriptors stay bounded; to no stranger it says more than
three times what he said, in all and to a single datagram.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from refmesh_command import command
from refmesh_daemon import HOST, Client, Daemon, serving
from refmesh_joined import Honest, Hostile

from overlays.refmesh import keys
from overlays.refmesh.core import introduction
from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.driver.stream import client_context
from overlays.refmesh.wire import messages, stun

CORPUS = Path(__file__).with_name("corpus")
LOOK_EVERY, ASK_EVERY, MEMBER_EVERY = 2000, 20, 4
MAX_GROWTH, MAX_DESCRIPTORS = 64 << 20, 400
STRANGERS = 8


class Strangers:
    """What they have, and what they have said and heard."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.daemon, self.rng = daemon, random.Random(seed)
        public = keys.public(daemon.network.private_keys["s"])
        macs = Macs(public)
        head = messages.INITIATION_HEAD.pack(messages.INITIATION, 7)
        self.genuine = [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]
        self.genuine += [
            introduction.write(daemon.network.certificates["a"], public, macs, self.rng.randbytes, 0.0),
            introduction.write("nonsense", public, macs, self.rng.randbytes, 0.0),
            macs.protect(head + self.rng.randbytes(108), 0.0),
            stun.request(bytes(12)),
        ]
        self.udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
        self.streams: list[socket.socket] = []
        self.said: Counter[socket.socket] = Counter()
        self.heard: Counter[socket.socket] = Counter()
        for sock in self.udp:
            sock.setblocking(False)

    def datagram(self) -> bytes:
        """Noise, or something genuine, as it is or changed."""
        rng = self.rng
        if not rng.randrange(6):
            return rng.randbytes(rng.choice((0, 0, 1, 4, 20, 60, 148, 1400)))
        datagram = bytearray(rng.choice(self.genuine))
        change = rng.randrange(4)
        if change == 1:
            del datagram[rng.randrange(len(datagram) + 1) :]
        elif change == 2:
            datagram[rng.randrange(len(datagram))] ^= 1 << rng.randrange(8)
        elif change == 3:
            datagram[0] = rng.randrange(9)
        return bytes(datagram)

    def ask(self) -> str | None:
        """Send one datagram and hear all that is said to it; return what is wrong with that."""
        datagram, port = self.datagram(), self.rng.choice((self.daemon.site.port, self.daemon.site.stun_port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(datagram, (HOST, port))
            self.daemon.ask_stun(port)  # it is answered after all that came before it
            heard = _heard(sock)
        if heard > 3 * len(datagram):
            return f"{heard} octets were said to {datagram.hex()}"
        return None

    def send(self) -> None:
        """One datagram to one of the two ports; now and then a whole burst, so that the kernel joins it."""
        sock, datagram = self.rng.choice(self.udp), self.datagram()
        port = self.rng.choice((self.daemon.site.port, self.daemon.site.port, self.daemon.site.stun_port))
        for _ in range(self.rng.choice((1, 1, 1, 1, 8))):
            with contextlib.suppress(OSError):
                sock.sendto(datagram, (HOST, port))
                self.said[sock] += len(datagram)
        if not self.rng.randrange(100):
            self.stream()

    def stream(self) -> None:
        """Something on TCP: no TLS, half of TLS, or TLS with anything in it; and some that are just left open."""
        rng = self.rng
        with contextlib.suppress(OSError, ssl.SSLError):
            # Each from an address of its own, more or less: one alone would soon be refused.
            source = (f"127.0.0.{rng.randrange(2, 250)}", 0)
            sock = socket.create_connection((HOST, self.daemon.site.tls_port), timeout=2.0, source_address=source)
            self.streams.append(sock)
            if not rng.randrange(3):
                sock.sendall(rng.randbytes(rng.randrange(500)))
            elif rng.randrange(2):
                self.streams[-1] = tls = client_context().wrap_socket(sock)
                for _ in range(4):
                    datagram = self.datagram()
                    tls.sendall(rng.choice((len(datagram), rng.randrange(65536))).to_bytes(2, "big") + datagram)
        while len(self.streams) > 40:
            self.streams.pop(rng.randrange(len(self.streams))).close()

    def listen(self) -> None:
        """Hears what the server has said over UDP."""
        for sock in self.udp:
            self.heard[sock] += _heard(sock)

    def close(self) -> None:
        """Leaves."""
        for sock in (*self.udp, *self.streams):
            sock.close()


def _heard(sock: socket.socket) -> int:
    """Read away what a socket has; return how many octets that were."""
    heard = 0
    with contextlib.suppress(OSError):
        while True:
            heard += len(sock.recv(65536))
    return heard


def wrong(  # noqa: PLR0911 - one `return` a violation
    daemon: Daemon, strangers: Strangers, memory: int
) -> str | None:
    """Return what does not hold any more."""
    strangers.listen()
    if daemon.process.poll() is not None:
        return f"the server has ended: {daemon.log.read_text()[-2000:]}"
    if not daemon.ask_stun():
        return "no answer to STUN"
    if "fault" in daemon.log.read_text():
        return daemon.log.read_text()[-3000:]
    for sock, heard in strangers.heard.items():
        if heard > 3 * strangers.said[sock]:
            return f"{heard} octets were said to who had said {strangers.said[sock]}"
    if daemon.descriptors() > MAX_DESCRIPTORS:
        return f"{daemon.descriptors()} descriptors"
    if daemon.resident_octets() > memory + MAX_GROWTH:
        return f"{daemon.resident_octets() - memory} octets more memory"
    return None


def attack(count: int, seed: int) -> str | None:
    """Send `count` datagrams and a hundredth as many streams; return what went wrong, None when nothing did."""
    options: dict[str, Any] = {"log_level": "warning", "hub": bool(seed % 2)}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), members=("a", "b", "c", "d"), **options) as daemon,
    ):
        strangers = Strangers(daemon, seed)
        rng = strangers.rng
        hostile, honest = [Hostile(daemon, name, tls=name == "c") for name in "bc"], Honest(daemon, "d", tls=False)
        try:
            memory = daemon.resident_octets()
            for number in range(count):
                try:
                    found = None
                    if number % MEMBER_EVERY == 1:
                        rng.choice(hostile).say(rng)
                    elif number % ASK_EVERY:
                        strangers.send()
                    else:
                        found = strangers.ask()
                except OSError as error:
                    found = str(error)
                if found:
                    return f"datagram {number}: {found}"
                if number % LOOK_EVERY == LOOK_EVERY - 1 or number == count - 1:
                    found = wrong(daemon, strangers, memory) or honest.ask(rng)
                    if found:
                        return f"after {number + 1} datagrams: {found}"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                if not Client(daemon, "a").joins(sock):
                    return "afterwards a member cannot join"
        finally:
            strangers.close()
            for member in (*hostile, honest):
                member.leave()
    return None


if __name__ == "__main__":
    command(__doc__, lambda count, seed: (attack(count, seed), f"{count} datagrams"))
