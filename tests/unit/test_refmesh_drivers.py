"""No datagram, file or failing handler ends a daemon: the drivers, at real sockets and with real files."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from refmesh_daemon import HOST, WAIT_S, free_ports, serving

from overlays.refmesh import config_file
from overlays.refmesh.driver import loop as loop_module
from overlays.refmesh.driver import members as members_module
from overlays.refmesh.driver.loop import Loop
from overlays.refmesh.driver.members import MembersFile
from overlays.refmesh.driver.memory import Memory
from overlays.refmesh.driver.server import NOTHING_TO_RELOAD, ServerDriver
from overlays.refmesh.errors import ConfigError, CredentialError, MachineError, MalformedMessage, RefmeshError
from overlays.refmesh.network import Network, Site, make_network, to_yaml
from overlays.refmesh.simulation.world import World
from overlays.refmesh.wire import messages


def test_empty_and_cut_datagrams_do_not_end_a_server(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for port in (daemon.site.stun_port, daemon.site.port):
            for datagram in (b"", b"\0", b"\6\0\0\0", bytes(20), b"\4\0\0\0", b""):
                sock.sendto(datagram, (HOST, port))
        assert daemon.ask_stun()
        assert daemon.ask_stun(daemon.site.port)
        assert "fault" not in daemon.log.read_text()


@pytest.fixture
def signals() -> Iterator[None]:
    """Put the test's signal handlers back: a loop takes them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def server_config(folder: Path, network: Network | None = None, **options: Any) -> Path:
    network = network or network_of("a")
    port = network.sites[0].port
    config = network.server_config("s", listen=f"{HOST}:{port}", **options)
    (folder / "s.yaml").write_text(to_yaml(config))
    return folder / "s.yaml"


def network_of(*members: str) -> Network:
    port, stun_port = free_ports(2)
    return make_network(members, [Site("s", HOST, port, stun_port)])


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"{}", b"nonsense.nonsense", b"x" * 300_000])
def test_a_policy_file_of_nonsense_is_said_and_the_old_one_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    driver = ServerDriver(config_file.load_server(server_config(tmp_path, policy_file="policy")))
    try:
        before = driver.engine.policy
        (tmp_path / "policy").write_bytes(content)
        driver._reload_policy(10.0)
        assert driver.engine.policy is before
        assert not content or "policy: no network document" in caplog.text
        (tmp_path / "policy").unlink()
        (tmp_path / "policy").mkdir()
        driver._reload_policy(20.0)
        assert driver.engine.policy is before
    finally:
        driver.close()


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"7", b'[7, {"certificate": 1, "endpoint": [1e999, 2]}]'])
def test_a_servers_memory_of_nonsense_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/known.json").write_bytes(content)
    driver = ServerDriver(config_file.load_server(server_config(tmp_path, state_dir="state")))
    driver.close()
    assert driver.engine.registry.by_key == {}


@pytest.mark.usefixtures("signals")
def test_a_member_that_was_at_an_address_of_a_family_that_we_have_no_more_takes_nobody_the_restart(
    tmp_path: Path,
) -> None:
    network = network_of("a", "b")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
        b.bind((HOST, 0))
        b.settimeout(WAIT_S)
        places = {"a": ["2001:db8::1", 7], "b": list(b.getsockname())}
        stored = [{"certificate": network.certificates[name], "endpoint": place} for name, place in places.items()]
        (tmp_path / "state").mkdir()
        (tmp_path / "state/known.json").write_text(json.dumps(stored))
        driver = ServerDriver(config_file.load_server(server_config(tmp_path, network, state_dir="state")))
        try:
            driver._flush()
            assert b.recv(2048)[0] == messages.INITIATION
        finally:
            driver.close()


@pytest.mark.usefixtures("signals")
def test_a_servers_sockets_know_where_members_are(tmp_path: Path) -> None:
    driver, member = ServerDriver(config_file.load_server(server_config(tmp_path))), object()
    try:
        driver.engine.registry.by_endpoint["192.0.2.1", 7] = member  # type: ignore[assignment]
        for sock in driver.sockets.values():
            assert sock.keeps(("192.0.2.1", 7))
            assert not sock.keeps(("192.0.2.1", 8))
    finally:
        driver.close()


@pytest.mark.usefixtures("signals")
def test_a_policy_or_state_of_nonsense_at_the_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="policy_file"):
        ServerDriver(config_file.load_server(server_config(tmp_path, policy_file="policy")))
    (tmp_path / "state").mkdir()
    for content in (b"\xff", b"[]", b'{"a": 7}', b"[" * 100_000):
        (tmp_path / "state/joined.json").write_bytes(content)
        with pytest.raises(MachineError, match=r"joined\.json: cannot be read"):
            ServerDriver(config_file.load_server(server_config(tmp_path, state_dir="state")))


def test_a_node_that_cannot_write_its_memory_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World({"a": None})
    world.start_all()
    (tmp_path / "in-the-way").write_text("")
    memory = Memory(world.nodes["a"], tmp_path / "in-the-way", 0.0)
    memory.look(10.0)
    memory.look(20.0)
    assert caplog.text.count("known.json: not written") == 1
    (tmp_path / "in-the-way").unlink()
    memory.look(30.0)
    assert json.loads((tmp_path / "in-the-way/known.json").read_text())["members"] == []
    (tmp_path / "in-the-way/known.json").write_bytes(b"\xff")
    Memory(world.nodes["a"], tmp_path / "in-the-way", 0.0)
    assert "known.json: not read" in caplog.text


def test_a_server_that_cannot_write_its_members_says_so_once_and_looks_no_further_while_nothing_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World({"a": None})
    world.start_all()
    world.run(2.0)
    (tmp_path / "in-the-way").write_text("")
    file = MembersFile(tmp_path / "in-the-way", world.servers["s0"], 0.0)
    for moment in (10.0, 20.0):
        file.look(moment)
    assert caplog.text.count("known.json: not written") == 1
    (tmp_path / "in-the-way").unlink()
    file.look(30.0)
    stored = tmp_path / "in-the-way/known.json"
    assert len(json.loads(stored.read_text())) == 1
    monkeypatch.setattr(members_module, "known", lambda _server: pytest.fail("nothing has changed"))
    file.look(40.0)
    monkeypatch.undo()
    registry = world.servers["s0"].registry
    (member,) = registry.by_key.values()
    registry.moved(member, ("45.0.0.99", 7))
    file.look(50.0)
    assert json.loads(stored.read_text())[0]["endpoint"] == ["45.0.0.99", 7]


def test_hanging_up_ends_no_server(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + WAIT_S
        while NOTHING_TO_RELOAD not in daemon.log.read_text() and time.monotonic() < end:
            time.sleep(0.01)
        assert NOTHING_TO_RELOAD in daemon.log.read_text()
        assert daemon.ask_stun()


@pytest.mark.usefixtures("signals")
def test_what_fails_when_told_to_read_again_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    reader, writer = os.pipe()
    loop.on_hangup(lambda: 1 / 0)
    rounds = []

    def read(_: float) -> bool:
        rounds.append(os.read(reader, 1))
        loop.stop()
        return False

    loop.add(reader, read)
    os.write(writer, b"x")
    os.kill(os.getpid(), signal.SIGHUP)
    loop.run(lambda: float("inf"), lambda _: None)
    assert rounds == [b"x"] and "ZeroDivisionError" in caplog.text


@pytest.mark.usefixtures("signals")
def test_a_handler_that_fails_is_counted_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "REST_S", 3600.0)  # it rests until the end, however long the rounds take
    loop = Loop()
    (bad_out, bad_in), (good_out, good_in) = os.pipe(), os.pipe()
    os.write(bad_in, b"x")
    os.write(good_in, bytes(40))
    rounds = []

    def bad(_: float) -> bool:
        raise ZeroDivisionError("a fault")

    def good(_: float) -> bool:
        rounds.append(os.read(good_out, 1))
        if len(rounds) == 40:
            loop.stop()
        return False

    loop.add(bad_out, bad)
    loop.add(good_out, good)
    loop.run(lambda: float("inf"), lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert len(rounds) == 40
    # Left alone after so many in a row; the timers' own faults are counted as well.
    assert loop.guard.count == loop_module.FAULTS_IN_A_ROW + 40
    assert caplog.text.count("ZeroDivisionError in bad") == 1


def raising(error: Exception) -> Loop:
    """Return a loop with one handler that raises this whenever it is called, until it has been ten times."""
    loop = Loop()
    reader, writer = os.pipe()
    os.write(writer, b"x")
    count = itertools.count(1)

    def gone(_: float) -> bool:
        if next(count) == 10:
            loop.stop()
        raise error

    loop.add(reader, gone)
    return loop


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("error", [MachineError("the interface is gone"), ConfigError(["it is gone"])])
def test_what_is_meant_for_the_user_still_ends_the_loop(error: RefmeshError) -> None:
    with pytest.raises(type(error), match="gone"):
        raising(error).run(lambda: float("inf"), lambda _: None)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("error", [MalformedMessage("nonsense"), CredentialError("forged"), RefmeshError("any")])
def test_what_a_message_made_a_handler_raise_ends_nothing(error: RefmeshError) -> None:
    loop = raising(error)
    loop.run(lambda: float("inf"), lambda _: None)
    assert loop.guard.count == 10
