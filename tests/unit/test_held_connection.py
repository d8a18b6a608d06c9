"""The connection that should survive: open before the traffic's time begins, and held until it is told otherwise."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.probes import held_peer, traffic
from harness.probes.continuityfigures import Continued, survived
from harness.probes.traffic import Plan, keep_traffic_up

BEGIN = b"E 8 8\n"


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection on loopback as `talk` says, and wait for its end; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            near, _ = listener.accept()
            near.settimeout(20)
            with near:
                assert near.recv(len(BEGIN), socket.MSG_WAITALL) == BEGIN
                talk(near)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def echo(near: socket.socket) -> None:
    while asked := near.recv(8, socket.MSG_WAITALL):
        near.sendall(asked)


@contextmanager
def client_of(port: int, interval_s: float) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-I", "-S", held_peer.__file__, "127.0.0.1", str(port), str(interval_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, bufsize=0) as client:
        try:
            yield client
            client.wait()
        finally:
            client.kill()


def test_it_says_that_it_holds_once_it_was_answered_and_ends_when_told_with_one_request_more() -> None:
    may_answer = threading.Event()

    def late(near: socket.socket) -> None:
        asked = near.recv(8, socket.MSG_WAITALL)
        may_answer.wait()
        near.sendall(asked)
        echo(near)

    with serving(late) as port, client_of(port, 3600.0) as client:
        assert client.stdout is not None
        assert not select.select([client.stdout], [], [], 0.2)[0], "a connection that nothing came over yet"
        may_answer.set()
        assert client.stdout.readline() == b"holding\n"
        told_s = time.time()
        client.send_signal(signal.SIGUSR1)
        said = json.loads(client.stdout.read())
    assert client.returncode == 0 and said["error"] is None
    assert len(said["asked"]) == len(said["answered"]) == 2
    assert said["asked"][1] >= told_s, "the interval is an hour: what shows that it lives is asked at the end"


def test_told_right_after_the_first_answer_it_asks_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr("builtins.print", lambda *_, **__: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        with serving(echo) as port:
            said: dict[str, Any] = held_peer.hold("127.0.0.1", port, 3600.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert said["error"] is None
    assert (len(said["asked"]), len(said["answered"])) == (2, 2)


def test_an_answer_that_never_comes_is_waited_for_after_the_end_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_peer, "PATIENCE_S", 0.1)
    before = signal.getsignal(signal.SIGUSR1)

    def once(near: socket.socket) -> None:
        near.sendall(near.recv(8, socket.MSG_WAITALL))
        near.recv(8, socket.MSG_WAITALL)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert near.recv(1) == b"", "no more is asked"

    try:
        with serving(once) as port:
            said: dict[str, Any] = held_peer.hold("127.0.0.1", port, 0.001)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert said["error"] == "timed out"
    assert (len(said["asked"]), len(said["answered"])) == (2, 1)


def test_a_connection_that_the_other_side_closes_has_not_survived() -> None:
    with serving(lambda near: near.sendall(near.recv(8, socket.MSG_WAITALL))) as port, client_of(port, 0.01) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"holding\n"
        said = json.loads(client.stdout.read())
    assert said["error"] and len(said["answered"]) == 1


class Client:
    """A client that writes down what it was asked to do, and answers as it is told."""

    def __init__(self, log: list[str], opens: bool) -> None:
        self.log, self.opens, self.told_s = log, opens, 0.0
        self.alive = True
        log.append("started")

    def wait_for_line(self, pattern: str, timeout_s: float) -> bool:
        assert pattern == "holding\n" and 0 <= timeout_s <= 10
        self.log.append("waited for")
        return self.opens

    def send(self, number: signal.Signals) -> None:
        assert number == signal.SIGUSR1
        self.log.append("told")
        self.told_s = time.time()

    def wait(self, timeout_s: float) -> int:
        assert timeout_s > held_peer.PATIENCE_S and "told" in self.log
        return 0

    def stop(self) -> None:
        self.alive = False

    @property
    def text(self) -> str:
        said = {"asked": [self.told_s], "answered": [self.told_s], "error": None}
        return ("holding\n" if self.opens else "") + json.dumps(said) + "\n"


class Watch:
    """Questions of which there are none."""

    def __init__(self, *_: object) -> None:
        self.awaits = self.note_addresses = self.close = lambda *_: None

    def wait_until_it_flows(self, present: dict[Any, bool]) -> dict[Any, float | None]:
        return dict.fromkeys(present, 0.1)

    def end(self) -> dict[Any, Any]:
        return {("a", "b"): ([], [])}


def keep_up(monkeypatch: pytest.MonkeyPatch, folder: Path, *, opens: bool) -> tuple[list[str], Client, Continued]:
    """Keep the traffic of one pair up for a moment; gives what happened in which order, and what was found."""
    log: list[str] = []
    client = Client(log, opens)
    log.clear()
    monkeypatch.setattr(traffic, "_Watch", Watch)
    target: Any = SimpleNamespace(pair=("a", "b"), src="a", dst="b", kinds=frozenset(), lab=None)
    target.stream = lambda _port: SimpleNamespace(connect_address="192.0.2.1", connect_port=1)
    target.start = lambda *_: log.append("started") or client
    target.evidence = lambda name: folder / name
    timeline = SimpleNamespace(happened=[], never=[], poll=lambda: None, awaits=lambda _: False)
    timeline.begin = lambda: log.append("timeline begins")
    trial: Any = SimpleNamespace(absent=frozenset(), timeline=timeline)
    found = keep_traffic_up([target], Plan(0.05, 0.01, 1200, 0), trial)
    return log, client, found["a", "b"]


def test_it_is_open_before_the_timeline_begins_and_is_told_the_end_when_the_traffic_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log, client, found = keep_up(monkeypatch, tmp_path, opens=True)
    assert log == ["started", "waited for", "timeline begins", "told"]
    assert found.end_s - found.begin_s == pytest.approx(0.05) and client.told_s >= found.end_s
    assert found.held is not None and survived(found.held, found.end_s)


def test_one_that_was_not_open_when_the_timeline_began_has_not_survived(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, _, found = keep_up(monkeypatch, tmp_path, opens=False)
    assert found.held is not None and found.held.error is not None and "before the traffic" in found.held.error
    assert not survived(found.held, found.end_s)
