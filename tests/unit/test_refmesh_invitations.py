"""A one-time key works once: at one server of all, over restarts, and not at all where that cannot be written down."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from refmesh_hostility import server_of

from overlays.refmesh import credentials, keys
from overlays.refmesh.driver.joined import JoinedFile
from overlays.refmesh.errors import MachineError
from overlays.refmesh.simulation.world import UNIX_S, World

RNG = random.Random(21)


def invited(world: World, *, server: str = "s0") -> tuple[str, list[bytes]]:
    """Return a join key for member `b`, and private keys to use it with."""
    until = int(UNIX_S) + 10**6
    authority = world.network.authority_private
    join_key = credentials.invite(authority, "b", ["10.77.0.2/16"], server=server, not_after=until, rng=RNG.randbytes)
    return join_key, [RNG.randbytes(32) for _ in range(3)]


def joins(world: World, join_key: str, private: bytes) -> bool:
    """Whether a node gets in by the join key."""
    certificate = credentials.redeem(join_key, keys.public(private))
    node = world.start("b", config=world.config("b", private_key=private, certificate=certificate))
    world.run(4.0)
    return node.ready


def test_an_invitation_works_once_over_restarts_and_at_all_servers_together(tmp_path: Path) -> None:
    world = World({"a": None, "b": None}, servers=2)
    file = JoinedFile(tmp_path)
    server_of(world).admission._keep = file.write
    join_key, (first, second, third) = invited(world)
    assert joins(world, join_key, first)
    assert [r.certificate.name for r in server_of(world, "s1").registry.by_key.values() if r.certificate.invited] == []
    assert any("s1: refused" in event and "is for server 's0'" in event for event in world.events)
    assert not joins(world, join_key, second)
    for private, welcome in ((third, False), (second, False), (first, True)):
        world.start_server("s0")
        server = server_of(world)
        server.admission._keep = file.write
        server.joined.update(JoinedFile(tmp_path).stored)
        assert joins(world, join_key, private) is welcome
    assert list(JoinedFile(tmp_path).stored.values()) == [keys.public(first)]


def test_an_invitation_is_written_down_before_it_takes_effect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World({"a": None, "b": None})
    server, file = server_of(world), JoinedFile(tmp_path / "state")
    members_then: list[int] = []

    def keep(joined: Mapping[str, bytes]) -> bool:
        members_then.append(len(server.registry.by_key))
        return file.write(joined)

    server.admission._keep = keep
    join_key, (first, second, _) = invited(world)
    (tmp_path / "state").write_text("in the way")
    assert not joins(world, join_key, first)
    assert "joined.json: not written" in caplog.text
    assert any("cannot write that down" in event for event in world.events)
    assert (server.joined, server.registry.by_key) == ({}, {})
    (tmp_path / "state").unlink()
    assert joins(world, join_key, second)  # it has had no effect yet, so it is whose who comes now
    assert set(members_then) == {0}
    stored = json.loads((tmp_path / "state/joined.json").read_text())
    assert list(stored.values()) == [keys.encode(keys.public(second))]


def test_a_file_of_used_invitations_that_cannot_be_read_stops_the_server(tmp_path: Path) -> None:
    (tmp_path / "joined.json").write_text("[]")
    with pytest.raises(MachineError, match=r"joined\.json: cannot be read"):
        JoinedFile(tmp_path)
