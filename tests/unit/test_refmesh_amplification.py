"""Nobody can use a server or a node as a lens: what goes to an address is paid for by what came from there."""

from __future__ import annotations

import random

import pytest
from refmesh_hostility import member_says, peer, registration, server_of, server_says

from overlays.refmesh.core import connectivity, puncher, punching
from overlays.refmesh.core.check import HOST, Path
from overlays.refmesh.core.coordination import UPDATE_RETRY_S, WINDOW
from overlays.refmesh.core.greeting import NEWS_BURST, NEWS_PER_S
from overlays.refmesh.server.registry import HELLOS_BURST, HELLOS_PER_S, PUNCHES_BURST, Registration
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import control, messages
from overlays.refmesh.wire.bodies import Hello

VICTIM = "66.6.6.6"
HELLO = {"seq": 7, "candidates": [], "direct": True, "hub": False, "epoch": "", "rev": 0, "quiet": False}
LARGEST = 1400
PUNCH = {"from": 0, "n": 1, "ask": True, "dependent": True, "host": "", "ports": []}


def world_of(**nats: str | None) -> World:
    world = World(nats)
    world.start_all()
    world.run(3.0)
    return world


def fill_directory(world: World, members: int) -> None:
    log, entry = server_of(world).herald.log, registration(world, "b").entry()
    for number in range(members):
        log.put(f"m{number}", entry | {"relay": number + 1})


def test_a_hello_is_answered_by_a_window_and_more_hellos_by_little_more() -> None:
    world = world_of(a=None, b=None)
    fill_directory(world, 400)
    hello = control.json_frame(control.HELLO, HELLO)
    first = sum(len(datagram) for datagram, _ in member_says(world, "a", hello))
    assert 5 * LARGEST < first <= WINDOW * LARGEST
    again = 0
    for _ in range(20):
        again += sum(len(datagram) for datagram, _ in member_says(world, "a", hello))
    assert again <= 20 * 3 * (len(hello) + messages.TRANSPORT_MIN_LEN)


@pytest.mark.parametrize("forgets", [{"rev": 0}, {"rev": 0, "have": [[1, 100]]}, {"rev": 0, "epoch": ""}])
def test_who_says_over_and_over_that_it_has_started_again_is_not_told_everything_as_often(
    forgets: dict[str, object],
) -> None:
    world = world_of(a=None, b=None)
    fill_directory(world, 400)
    herald = server_of(world).herald
    knows_all = HELLO | {"epoch": herald.epoch, "rev": herald.log.revision, "quiet": True}
    got, seconds = 0, 2.0
    for _ in range(100):
        for body in (knows_all, knows_all | forgets):
            hello = control.json_frame(control.HELLO, body)
            got += sum(len(datagram) for datagram, _ in member_says(world, "a", hello))
        world.now += seconds / 100
    assert got <= (seconds / UPDATE_RETRY_S + 1) * WINDOW * LARGEST


def test_a_server_reads_so_many_hellos_of_a_member_and_the_next_second_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(a=None, b=None)
    server, heard = server_of(world), list[str]()
    monkeypatch.setattr(server.herald, "heard", lambda who, *_: heard.append(who.certificate.name))
    for number in range(1000):
        member_says(world, "a", control.json_frame(control.HELLO, HELLO | {"seq": 100 + number}))
    member_says(world, "b", control.json_frame(control.HELLO, HELLO))
    assert (heard.count("a"), heard.count("b")) == (HELLOS_BURST, 1)
    world.now += 1.0
    for number in range(1000):
        member_says(world, "a", control.json_frame(control.HELLO, HELLO | {"seq": 2000 + number}))
    assert heard.count("a") == HELLOS_BURST + HELLOS_PER_S


def test_a_server_that_tells_of_another_address_each_time_does_not_have_the_others_flooded() -> None:
    world = World({"a": None, "b": None}, servers=2)
    world.start_all()
    world.run(3.0)
    node, other = world.nodes["a"], server_of(world, "s1")
    told: list[str] = []
    heard = other.herald.heard

    def count(who: Registration, hello: Hello, now: float) -> None:
        told.append(who.certificate.name)
        heard(who, hello, now)

    other.herald.heard = count  # type: ignore[method-assign]
    link, rev, seconds = node.servers.links[0], node.servers.links[0].rev, 4.0
    server_of(world).herald.tell = lambda *_, **__: None  # type: ignore[method-assign]  # it says nothing else
    body = {"seq": 0, "epoch": link.epoch, "from": rev, "to": rev, "hub": False, "entries": []}
    for port in range(1, 401):
        server_says(world, "a", control.json_frame(control.UPDATE, body | {"you": ["66.6.6.7", port]}))
        world._settle_node("a")
        world.run(seconds / 400)
    # Each is news to b as well, and what a and b are told they acknowledge.
    assert 1 <= told.count("a") <= 2 * (NEWS_BURST + NEWS_PER_S * seconds + 1)
    world.run(2.0)
    assert link.up
    assert ["server-reflexive", "66.6.6.7", 400] in registration(world, "a", "s1").candidates  # the last one comes


def shots(world: World, name: str, seconds: float) -> list[tuple[str, int]]:
    """Where a node aims at from now on, at addresses that are not of this world or at the other's random ports."""
    node, aimed = world.nodes[name], []
    end = world.now + seconds
    while world.now < end:
        world.now += 0.01
        node.tick(world.now)
        aimed += [to for _, to in node.outbox.main if to[1] not in (7447, 3478, 40000)]
        node.outbox.main.clear()
        node.outbox.fresh.clear()
    return aimed


def hard_pair() -> World:
    world = World({"a": "port-restricted", "b": "symmetric"})
    world.cut_between = {"45.0.0.1", "45.0.1.1"}
    world.start_all()
    world.run(1.0)
    assert world.path("a", "b") == "relayed"
    return world


def punch(world: World, **changes: object) -> None:
    number = peer(world, "a", "b").numbers[0]
    server_says(world, "a", control.json_frame(control.PUNCH, PUNCH | {"from": number} | changes))


def test_a_host_that_no_server_has_seen_is_not_punched_at() -> None:
    world = hard_pair()
    for n in range(10):
        punch(world, host=VICTIM, n=1 + n % punching.ROUNDS)
        punch(world, host=VICTIM, ports=[1, 2, 3], n=1 + n % punching.ROUNDS)
        assert not [to for to in shots(world, "a", 3.0) if to[0] == VICTIM]


def test_punching_at_a_peer_is_capped_however_often_it_asks() -> None:
    world = hard_pair()
    seen = peer(world, "a", "b").seen[0][0]
    state = world.nodes["a"].puncher.round_of(peer(world, "a", "b"))
    aimed = []
    for n in range(12):
        punch(world, host=seen, n=1 + n % punching.ROUNDS)
        aimed += shots(world, "a", 1.5)
    assert aimed
    assert {host for host, _ in aimed} <= {seen, world.network.sites[0].host}
    most = punching.MAX_SHOTS * (1 + 18 / punching.PAUSE_S)
    assert punching.BIRTHDAY_TRIES / 2 < len(aimed) <= most
    assert state.asks.available(world.now) == 0


def test_shots_at_all_peers_together_are_paced() -> None:
    world = hard_pair()
    node = world.nodes["a"]
    state = node.puncher.round_of(peer(world, "a", "b"))
    state.state, state.until_s = punching.FIRING, world.now + 100
    state.shots = [(0.0, 0, (VICTIM, port)) for port in range(5000)]
    assert len(node.puncher.shots(peer(world, "a", "b"), world.now)) == puncher.SHOTS_BURST
    assert world.now < node.puncher.deadline(peer(world, "a", "b")) <= world.now + 1 / puncher.SHOTS_PER_S + 1e-9
    assert 0 < len(node.puncher.shots(peer(world, "a", "b"), world.now + 0.01)) <= 0.01 * puncher.SHOTS_PER_S


def test_a_server_passes_on_few_punches() -> None:
    world = hard_pair()
    number = registration(world, "b").number
    body = {field: value for field, value in PUNCH.items() if field != "from"} | {"to": number}
    passed = sum(len(member_says(world, "a", control.json_frame(control.PUNCH, body))) for _ in range(500))
    assert passed == PUNCHES_BURST


def test_a_member_that_names_a_victim_as_its_candidate_draws_few_checks() -> None:
    world = world_of(a=None, b="symmetric")
    world.cut_between = {"45.0.0.1", "45.0.1.1"}
    checks = 0
    for number in range(600):
        candidates = [["host", VICTIM, 1 + (number * 12 + i) % 65000] for i in range(12)]
        entry = registration(world, "b").entry() | {"candidates": candidates}
        link = world.nodes["a"].servers.links[0]
        update = {"seq": 0, "epoch": link.epoch, "from": link.rev, "to": link.rev + 1, "you": None, "hub": False}
        server_says(world, "a", control.json_frame(control.UPDATE, update | {"entries": [entry]}))
        for _ in range(5):
            world.now += 0.02
            world.nodes["a"].tick(world.now)
            checks += sum(to[0] == VICTIM for _, to in world.nodes["a"].outbox.main)
            world.nodes["a"].outbox.main.clear()
    assert 100 < checks <= connectivity.UNPROVED_BURST + 60 * connectivity.UNPROVED_PER_S


def test_a_member_that_names_other_ports_of_a_victim_for_ever_draws_little_from_each_of_the_others() -> None:
    honest, seconds = ("a", "c", "d"), 600
    world = world_of(b="symmetric", **dict.fromkeys(honest))
    world.cut_between = {f"45.0.{number}.1" for number in range(len(honest) + 1)}  # all by the relay, which draws most
    checks: list[float] = []
    world.internet.host(None, lambda *_: checks.append(world.now), address=VICTIM)
    for second in range(seconds):
        said = [["host", VICTIM, 1 + (second * 12 + i) % 65000] for i in range(12)]
        hello = HELLO | {"seq": 1000 + second, "candidates": said, "quiet": True}
        server_of(world).outlet.datagrams += member_says(world, "b", control.json_frame(control.HELLO, hello))
        world._settle_server("s0")
        world.run(1.0)
    # Most of the burst: the member's real address has its part of it, and all turns later, as it is named last.
    assert 0.8 * len(honest) * connectivity.UNPROVED_BURST < len(checks) <= len(honest) * connectivity.UNPROVED_BURST


def test_new_addresses_of_ours_are_as_good_as_a_new_start_however_much_was_tried_before() -> None:
    finder = connectivity.PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    for port in range(12):
        finder.add((VICTIM, 1 + port), HOST, 0.0)
    spent = sum(len(finder.due(at / 20)) for at in range(20 * 60))
    assert spent >= connectivity.UNPROVED_BURST
    finder.restart(60.0)
    told = [finder.due(60.0 + at / 20) for at in range(20 * 12)]
    # Those who had few turns have theirs now, and none has many.
    assert 4 <= sum(map(len, told)) <= 1 + connectivity.UNPROVED_PER_S * 12
    assert len({path for pings in told for path, _ in pings}) == sum(map(len, told))
    finder.moved(72.0)
    assert sum(len(finder.due(72.0 + at / 20)) for at in range(20)) > 12 * 5


def test_where_a_peer_is_now_is_checked_before_where_it_was_and_punching_waits_for_neither() -> None:
    """A laptop that has moved six times: what it has left is named no more, but known, and takes its turns."""
    finder = connectivity.PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    for port in range(20):
        finder.add((VICTIM, 1 + port), HOST, 0.0)
    for at in range(20 * 120):
        finder.due(at / 20)
    finder.add((VICTIM, 100), HOST, 120.0)
    finder.restart(120.0)
    assert finder.tried(120.0), "five checks of each would take minutes"
    told = [(at, path.endpoint) for at in range(20 * 5) for path, _ in finder.due(120.0 + at / 20)]
    assert told[0][1] == (VICTIM, 100) and told[0][0] <= 20 / connectivity.UNPROVED_PER_S


def test_a_named_address_that_pings_us_is_checked_whatever_was_tried_before() -> None:
    finder = connectivity.PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    for port in range(12):
        finder.add((VICTIM, 1 + port), HOST, 0.0)
    for at in range(20 * 60):
        finder.due(at / 20)
    finder._unproved.take(10)
    for number in range(5):
        finder.on_ping(Path((VICTIM, 1)), 60.0 + number / 10)
        assert [path.endpoint for path, _ in finder.due(60.0 + number / 10)] == [(VICTIM, 1)]


def test_what_is_known_from_a_ping_alone_gets_one_check_for_each_and_is_led_on() -> None:
    there = Path((VICTIM, 5))
    finder = connectivity.PathFinder(random.Random(1).randbytes, direct=True, relayed=True)
    for start in (0.0, 10.0):
        finder.on_ping(there, start)
        # PONG and one check for a PING: 64 and 48 octets for 48.
        assert len([ping for at in range(100) for ping in finder.due(start + at / 10)]) == 1
        assert finder.ways(start) == []  # nor is a handshake sent there
    # Who knows a path from its answers goes on for a while, until the other end has had its check as well.
    other = connectivity.PathFinder(random.Random(2).randbytes, direct=True, relayed=True)
    other.add((VICTIM, 5), HOST, 0.0)
    checks, now = 0, 0.0
    while now < 12.0:
        for path, transaction in other.due(now):
            checks += 1
            other.on_pong(transaction, path, now)
        now += 0.05
    assert checks == connectivity.LEAD + 1
    other.on_ping(there, 12.0)
    assert other.deadline() > 20.0
