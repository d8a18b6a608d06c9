"""Strangers cost a server little and keep nobody out: floods over UDP and TLS, in memory and at real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from refmesh_daemon import HOST, WAIT_S, Client, free_ports, serving
from refmesh_hostility import server_of

from overlays.refmesh import keys
from overlays.refmesh.core import introduction
from overlays.refmesh.core.cookie import Macs
from overlays.refmesh.driver import clock
from overlays.refmesh.driver import listener as listener_module
from overlays.refmesh.driver.listener import StreamListener
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.stream import client_context
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import messages

KNOWS_NO_KEY = [b"\5\0\0\0", b"\1\0\0\0", bytes((5, 0, 0, 0)) + bytes(400), bytes((1, 0, 0, 0)) + bytes(144)]


def by_who_knows_the_key(public: bytes, rng: object) -> list[bytes]:
    """Return what somebody can send who knows the server's public key and nothing else."""
    macs = Macs(public)
    bytes_of = rng if callable(rng) else None
    assert bytes_of is not None
    head = messages.HEADER.pack(messages.INTRODUCTION) + bytes_of(400)
    return [
        head + macs.first(head) + bytes(16),
        introduction.write("nonsense", public, macs, bytes_of, 0.0),
        macs.protect(messages.INITIATION_HEAD.pack(messages.INITIATION, 7) + bytes_of(108), 0.0),
    ]


@pytest.mark.parametrize("knows_key", [False, True])
@pytest.mark.parametrize("per_s", [2000])
def test_a_flood_of_introductions_and_initiations_locks_nobody_out(knows_key: bool, per_s: int) -> None:
    world = World({"a": None, "b": None})
    server = server_of(world)
    flood = by_who_knows_the_key(server.tunnel.static.public, world.rng.randbytes) if knows_key else KNOWS_NO_KEY
    world.start_all()
    for number in range(2 * per_s):
        source = (f"66.{number >> 8 & 255}.{number & 255}.6", 1 + number % 60000)
        server.receive(flood[number % len(flood)], source, world.now)
        server.outlet.datagrams[:] = [(said, to) for said, to in server.outlet.datagrams if not to[0].startswith("66.")]
        world.run(1 / per_s)
    assert all(node.ready for node in world.nodes.values())
    assert server.guard.count == 0


def test_a_member_joins_a_real_server_under_a_flood_of_strangers(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        public = keys.public(daemon.network.private_keys["s"])
        flood = [
            *KNOWS_NO_KEY,
            b"",
            *by_who_knows_the_key(public, lambda n: bytes(range(n % 256)) + bytes(n - n % 256)),
        ]
        for number in range(3000):
            stranger.sendto(flood[number % len(flood)], (HOST, daemon.site.port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            client = Client(daemon, "a")
            for _ in range(500):
                stranger.sendto(flood[5], (HOST, daemon.site.port))
            assert client.joins(sock)
        assert "fault" not in daemon.log.read_text()


# --- TLS


def connected(port: int, *, tls: bool = True, host: str = "") -> socket.socket:
    sock = socket.create_connection((HOST, port), timeout=WAIT_S, source_address=(host, 0))
    return client_context().wrap_socket(sock) if tls else sock


def test_a_tls_connection_that_never_stops_sending_does_not_keep_the_loop(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, connected(daemon.site.tls_port) as sock:
        sock.settimeout(0.0)
        chunk = (b"\x04\x00" + bytes(1024)) * 64
        sent = answers = 0
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        # As much as it takes, all the time; each answer comes while there is more to read.
        while answers < 20:
            with contextlib.suppress(ssl.SSLWantWriteError, BlockingIOError):
                for _ in range(64):
                    sent += sock.send(chunk)
            assert daemon.ask_stun()
            answers += 1
        assert sent > 1 << 20


@pytest.fixture
def loop() -> Iterator[Loop]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Loop()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def listening(loop: Loop) -> Iterator[tuple[StreamListener, int]]:
    (port,) = free_ports(1)
    members: set[object] = set()
    listener = StreamListener(HOST, port, loop, lambda *_: None, members.__contains__)
    listener.members = members  # type: ignore[attr-defined]
    yield listener, port
    listener.close()


def accept_all(listener: StreamListener, now: float) -> None:
    """Do what the loop does while epoll says that there is something; if that never ends, this does not."""
    poll = select.poll()
    poll.register(listener._listener, select.POLLIN)
    while poll.poll(0):
        listener._accept(now)


def test_who_does_not_become_a_member_or_says_nothing_is_shown_out(listening: tuple[StreamListener, int]) -> None:
    listener, port = listening
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(port, tls=False))
        accept_all(listener, 100.0)
        listener.members.add(("tls", 1))  # type: ignore[attr-defined]
        listener.members.add(("tls", 2))  # type: ignore[attr-defined]
        listener.look(100.0 + listener_module.STRANGER_S + 1)
        assert set(listener._streams) == {1, 2}
        listener._streams[1].heard_s += 60.0
        listener.look(100.0 + listener_module.IDLE_S + 1)
        assert set(listener._streams) == {1}
        listener._streams[1].served.stream.stuck_since_s = 100.0
        listener.look(130.0 + listener_module.IDLE_S)
        assert not listener._streams
        assert not listener._hosts


def test_one_address_gets_so_many_connections_and_members_keep_theirs(
    listening: tuple[StreamListener, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, port = listening
    with contextlib.ExitStack() as stack:
        for _ in range(listener_module.MAX_OF_ONE + 10):
            stack.enter_context(connected(port, tls=False))
            accept_all(listener, 100.0)
        assert len(listener._streams) == listener_module.MAX_OF_ONE
        listener.limit = listener_module.MAX_OF_ONE
        listener.members.update(("tls", number) for number in range(1, 60))  # type: ignore[attr-defined]
        monkeypatch.setattr(listener_module, "MAX_OF_ONE", 1000)
        for _ in range(20):
            stack.enter_context(connected(port, tls=False))
            accept_all(listener, 101.0)
        assert len(listener._streams) == listener.limit
        assert set(range(1, 60)) <= set(listener._streams)
        monkeypatch.setattr(listener, "_new", type(listener._new)(0.0, 0))
        before = set(listener._streams)
        stack.enter_context(connected(port, tls=False))
        accept_all(listener, 102.0)
        assert set(listener._streams) <= before


def test_who_connects_all_the_time_uses_up_its_own_share_alone(listening: tuple[StreamListener, int]) -> None:
    listener, port = listening
    seconds, per_s, taken = 4, 150, 0
    for at in range(per_s * seconds):
        now, before = 100.0 + at / per_s, listener._next
        with connected(port, tls=False):
            accept_all(listener, now)
        taken += listener._next - before
        for entry in list(listener._streams.values()):
            listener._end(entry, now)  # it has closed it
    before = listener._next
    with contextlib.ExitStack() as stack:
        for number in range(20):
            stack.enter_context(connected(port, tls=False, host=f"127.0.0.{2 + number}"))
            accept_all(listener, 100.0 + seconds)
        assert listener._next - before == 20
    assert taken <= listener_module.MAX_OF_ONE + seconds * listener_module.STREAMS_OF_ONE_PER_S


def test_many_strangers_leave_room_for_where_members_have_come_from(listening: tuple[StreamListener, int]) -> None:
    listener, port = listening
    with contextlib.ExitStack() as stack:
        stack.enter_context(connected(port, tls=False, host="127.0.0.2"))
        accept_all(listener, 100.0)
        listener.members.add(("tls", 1))  # type: ignore[attr-defined]
        listener.look(102.0)
        listener._end(listener._streams[1], 102.0)
        listener.members.clear()  # type: ignore[attr-defined]
        for number in range(listener_module.STREAMS_BURST):
            stack.enter_context(connected(port, tls=False, host=f"127.0.1.{1 + number}"))
            accept_all(listener, 103.0)
        assert len(listener._streams) == listener_module.STREAMS_BURST - listener_module.KEPT_FOR_MEMBERS
        before = listener._next
        for host in ("127.0.0.3", "127.0.0.2"):
            stack.enter_context(connected(port, tls=False, host=host))
            accept_all(listener, 103.0)
        assert [entry.host for number, entry in listener._streams.items() if number >= before] == ["127.0.0.2"]


def test_who_holds_all_connections_of_an_address_gives_way_to_members_behind_it(
    listening: tuple[StreamListener, int],
) -> None:
    listener, port = listening
    with contextlib.ExitStack() as stack:
        for _ in range(listener_module.MAX_OF_ONE):
            stack.enter_context(connected(port, tls=False))
            accept_all(listener, 100.0)
        listener.members.add(("tls", 1))  # type: ignore[attr-defined]
        stack.enter_context(connected(port, tls=False))
        accept_all(listener, 101.0)
        assert set(listener._streams) == {1, *range(3, listener_module.MAX_OF_ONE + 2)}


def test_at_the_limit_of_descriptors_what_waits_is_refused_and_not_asked_for_again(
    listening: tuple[StreamListener, int],
) -> None:
    listener, port = listening
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(port, tls=False)) for _ in range(8)]
        highest = max(sock.fileno() for sock in clients)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            while True:  # until none is left below the limit
                try:
                    stack.enter_context(socket.socket())
                except OSError:
                    break
            accept_all(listener, 100.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not listener._streams
        for sock in clients:
            sock.settimeout(WAIT_S)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""


def test_a_spare_descriptor_that_is_gone_is_not_closed_again(
    listening: tuple[StreamListener, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, port = listening
    real = os.open

    def none_left(*_: object, **__: object) -> int:
        raise OSError(errno.ENFILE, "too many")

    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(port, tls=False))
        monkeypatch.setattr(listener_module.os, "open", none_left)
        listener._refuse()
        others = real(os.devnull, os.O_RDONLY)
        stack.callback(os.close, others)
        listener._refuse()
        os.fstat(others)  # raises when it is closed
        monkeypatch.undo()
        listener._refuse()
        os.fstat(listener._spare)


def test_how_long_a_connection_has_been_stuck_goes_by_the_daemons_clock(
    listening: tuple[StreamListener, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, port = listening
    with connected(port, tls=False):
        accept_all(listener, 5000.0)
        # The machine has slept: the one clock says 5000 where the other says less.
        monkeypatch.setattr(clock, "now", lambda: 5000.0)
        stream = listener._streams[1].served.stream
        stream.send(b"to be sent")
        assert stream.stuck_since_s == 5000.0


def test_a_server_with_few_descriptors_still_answers_under_a_flood_of_connections(tmp_path: Path) -> None:
    with serving(tmp_path, files=96) as daemon, contextlib.ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((HOST, daemon.site.tls_port))
        assert daemon.ask_stun()
        assert daemon.descriptors() <= 96
        assert "fault" not in daemon.log.read_text()
