"""One BitTorrent node in the foreground: `python -m overlays.bittorrent.node SETTINGS.json`.

A member takes commands at a unix socket (`overlays.bittorrent.command`). The introducer takes torrent files over TCP,
as a site that lists torrents does, and is a peer of all of them: it tells members of each other (BEP 11), and to dial
at the same time if need be (BEP 55). One that carries wants the content too as soon as somebody does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from overlays.bittorrent.messages import receive, send
from overlays.bittorrent.swarm import Introduced, Swarm, describe, info_hash

SOCKET = "/run/bittorrent.sock"
PEER_PORT = 6881
LIST_PORT = 6880
_LISTING_S = 20.0
# No torrent begins like this: a torrent is a dictionary, and so begins with a `d` (BEP 3).
_WANTED = b"wanted "


@dataclass(frozen=True)
class Settings:
    """Who this node is, and whether it speaks TCP too. `carries` is about the introducer: whether it wants content."""

    address: str
    introducer: str
    carries: bool = False
    tcp: bool = True

    @property
    def introduces(self) -> bool:
        """Whether this is the introducer itself."""
        return self.address == self.introducer

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Back from `text`."""
        return cls(**json.loads(text))


class Member:
    """What publishes and fetches."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ports = itertools.count(PEER_PORT)
        self._introducer = (settings.introducer, PEER_PORT)
        # What is shared goes on being shared.
        self._swarms: list[Swarm] = []

    def tell(self, message: bytes) -> None:
        """Tell the introducer of a torrent, or of a content that is wanted; empty: ask whether it is there.

        Raises:
            OSError: it cannot be reached.
            RuntimeError: it refused.
        """
        with socket.create_connection((self._settings.introducer, LIST_PORT), _LISTING_S) as channel:
            send(channel, message)
            if said := receive(channel).decode():
                raise RuntimeError(f"the introducer: {said}")

    def obey(self, channel: socket.socket) -> None:
        """Do one command and answer it: the info-hash of what was published, nothing for what was fetched."""
        verb, *words = receive(channel).decode().split("\n")
        if verb == "publish":
            send(channel, self._publish(Path(words[0])).encode())
        else:
            self._fetch(words[0], Path(words[1]))
            send(channel, b"")

    def _publish(self, path: Path) -> str:
        content, encoded = describe(path)
        self.tell(encoded)
        self._swarm().seed(path, encoded, self._introducer)
        return content

    def _fetch(self, content: str, path: Path) -> None:
        self.tell(_WANTED + content.encode())
        got, sources = self._swarm().get(content, _folder(content), self._introducer)
        for source in sources:
            print(source.line(content), flush=True)
        shutil.copyfile(got, path)

    def _swarm(self) -> Swarm:
        swarm = Swarm(self._settings.address, next(self._ports), tcp=self._settings.tcp)
        self._swarms.append(swarm)
        return swarm

    def close(self) -> None:
        """Share no more."""
        for swarm in self._swarms:
            swarm.close()


class Introducer:
    """What takes torrents and is a peer of them."""

    def __init__(self, settings: Settings) -> None:
        self._carries = settings.carries
        self._swarm = Swarm(settings.address, PEER_PORT, tcp=settings.tcp)
        self._introduced: dict[str, Introduced] = {}

    def listen_to(self, channel: socket.socket) -> None:
        """Take a torrent; or want its content from now on as well, as one peer more, if this one carries."""
        message = receive(channel)
        if message.startswith(_WANTED):
            content = message.removeprefix(_WANTED).decode()
            if content not in self._introduced:
                raise ValueError(f"no node has published {content}")
            if self._carries:
                self._introduced[content].want()
        elif message:
            content = info_hash(message)
            self._introduced[content] = self._swarm.introduce(message, _folder(content))
        send(channel, b"")

    def close(self) -> None:
        """End the session."""
        self._swarm.close()


def _folder(content: str) -> Path:
    folder = Path("downloads").absolute() / content
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _serve(listener: socket.socket, act: Callable[[socket.socket], None]) -> None:
    """One thread a connection. The answer to what failed is a line that begins with a `!`."""

    def attend(channel: socket.socket) -> None:
        with channel:
            try:
                act(channel)
            except (OSError, RuntimeError, ValueError) as error:
                print(f"bittorrent: {error}", flush=True)
                with contextlib.suppress(OSError):
                    send(channel, f"!{error}".encode())

    while True:
        channel, _ = listener.accept()
        threading.Thread(target=attend, args=(channel,), daemon=True).start()


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    settings = Settings.parse(Path(arguments[0]).read_text())
    node: Introducer | Member
    if settings.introduces:
        node = Introducer(settings)
        listener, act = socket.create_server((settings.address, LIST_PORT)), node.listen_to
    else:
        node = Member(settings)
        node.tell(b"")
        listener, act = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), node.obey
        listener.bind(SOCKET)
        listener.listen()
    threading.Thread(target=_serve, args=(listener, act), daemon=True).start()
    print("bittorrent: ready", flush=True)
    ended.wait()
    node.close()


if __name__ == "__main__":
    main(sys.argv[1:])
