"""What a mesh spends on connecting: as little as it takes, and no storm where answers are slow."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from overlays.refmesh.core.check import HOST, Path
from overlays.refmesh.core.connectivity import RELAY_CHECK_AFTER_S, PathFinder
from overlays.refmesh.core.coordination import GATHER_PER_MEMBER_S, GATHER_S
from overlays.refmesh.core.pace import MAX_PATIENCE_S
from overlays.refmesh.core.tunnel import CROWD, Tunnel
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import messages

NODES = 12
PAIRS = NODES * (NODES - 1) // 2
DIRECT_CHECK, RELAYED_CHECK, CONFIRMATION = 48, 56, 40
"""Octets of a PING, of one with a relay header, and of a handshake's last message with one."""
RELAY = Path(("9.9.9.9", 7447), 5)


def connected(delay_s: float) -> tuple[World, Counter[tuple[int, int]]]:
    """Return a mesh of public nodes that start 20 ms apart, once all of it is direct; datagrams by type and length."""
    world = World({f"n{number}": None for number in range(NODES)}, delay_s=delay_s)
    sent: Counter[tuple[int, int]] = Counter()
    travel = world._from_node

    def count(name: str, datagram: bytes, endpoint: tuple[str, int], local: int) -> None:
        sent[datagram[0], len(datagram)] += 1
        travel(name, datagram, endpoint, local)

    world._from_node = count  # type: ignore[method-assign]
    world.start_all(apart_s=0.02)
    world.run(10.0)
    assert world.paths() == ["direct"] * 2 * PAIRS
    return world, sent


def test_a_pair_takes_one_handshake_by_relay_and_one_check_each_way() -> None:
    _, sent = connected(0.001)
    initiation, response = messages.INITIATION_LEN + 8, messages.RESPONSE_LEN + 8
    assert sent[messages.RELAY, initiation] == PAIRS
    assert sent[messages.RELAY, response] == PAIRS
    assert sent[messages.RELAY, CONFIRMATION] == PAIRS
    assert sent[messages.TRANSPORT, DIRECT_CHECK] == 2 * PAIRS
    assert sent[messages.RELAY, RELAYED_CHECK] == 0


def test_where_answers_are_slow_nobody_asks_many_times() -> None:
    """Half a second one way: without patience, a check would go out twelve times before its answer can be there."""
    _, sent = connected(0.5)
    checks = sum(count for (_, octets), count in sent.items() if octets in (DIRECT_CHECK, RELAYED_CHECK))
    assert checks <= 2 * 2 * PAIRS
    assert sent[messages.RELAY, messages.INITIATION_LEN + 8] <= 4 * PAIRS


def finder(*, direct: bool = True) -> PathFinder:
    made = PathFinder(random.Random(1).randbytes, direct=direct, relayed=True)
    made.set_relays([RELAY], 0.0)
    return made


def test_a_relay_is_checked_only_where_no_direct_path_comes_up() -> None:
    subject = finder()
    subject.restart(0.0)
    assert subject.deadline() == RELAY_CHECK_AFTER_S
    ((path, _),) = subject.due(RELAY_CHECK_AFTER_S)
    assert path == RELAY

    subject = finder()
    subject.add(("45.0.0.1", 4000), HOST, 0.0)
    subject.restart(0.0)
    ((path, transaction),) = subject.due(0.0)
    subject.on_pong(transaction, path, 0.1)
    subject.on_ping(path, 0.1)
    assert not subject.due(RELAY_CHECK_AFTER_S)
    assert subject.deadline() > 10.0

    subject = finder(direct=False)
    subject.restart(0.0)
    assert [path for path, _ in subject.due(0.0)] == [RELAY]


@pytest.mark.parametrize(("rtt_s", "pause_s"), [(0.0, 0.05), (0.02, 0.05), (0.4, 0.4), (60.0, MAX_PATIENCE_S)])
def test_a_check_is_not_repeated_sooner_than_the_handshake_was_answered(rtt_s: float, pause_s: float) -> None:
    subject = finder()
    subject.add(("45.0.0.1", 4000), HOST, 0.0)
    subject.restart(0.0, rtt_s)
    assert len(subject.due(0.0)) == 1
    assert min(check.due_s for check in subject.checks.values() if check.path.direct) == pytest.approx(pause_s)


def test_many_handshakes_at_once_wait_longer_for_their_answers() -> None:
    rng = random.Random(1).randbytes
    tunnel = Tunnel(rng(32), rng, 0.0)
    sessions = [tunnel.add(rng(32), retry_s=(0.1,)) for _ in range(5 * CROWD)]
    for count, session in enumerate(sessions):
        session.want(0.0)
        tunnel.initiate(session, 0.0)
        wait_s = 0.1 * max(1.0, (count + 1) / CROWD)
        assert wait_s <= session.attempt_due_s <= 1.07 * wait_s


def test_news_of_many_members_is_gathered_longer() -> None:
    world = World({f"n{number}": None for number in range(NODES)})
    world.start_all()
    world.run(5.0)
    server = world.servers["s0"]
    assert server is not None
    first, *others = server.registry.by_key.values()
    for registration in others:
        registration.newest_s = world.now
    first.candidates = [["host", "1.2.3.4", 5]]
    server.herald.publish(first, world.now, tell_itself=False)
    assert {round(other.news_s - world.now, 6) for other in others} == {max(GATHER_S, NODES * GATHER_PER_MEMBER_S)}
    assert NODES * GATHER_PER_MEMBER_S > GATHER_S


@pytest.mark.parametrize("sender", ["a", "b"])
def test_a_newcomer_leaves_the_first_handshake_to_the_other_unless_it_has_something_to_send(sender: str) -> None:
    """The first packet takes a round trip and a half, whoever has it: the sender's is the handshake that counts."""
    world = World({"a": None, "b": None}, delay_s=0.15, server_delay_s=0.075)
    world.start("a")
    world.run(1.0)
    world.start("b")
    assert world.run(5.0, lambda: all(node.ready for node in world.nodes.values()))
    ready_s, receiver = world.now, "ab".replace(sender, "")
    world.send(sender, receiver, b"first")
    assert world.run(5.0, lambda: bool(world.received[receiver]))
    assert world.now - ready_s == pytest.approx(0.45, abs=0.01)
