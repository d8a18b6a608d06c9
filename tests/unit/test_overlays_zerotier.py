"""ZeroTier's own world, made with a stand-in for its identity tool, and how its word for a path is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from overlays.zerotier.adapter import ZeroTier
from overlays.zerotier.planet import Plan, local_conf, make, planet

# Stands for `zerotier-one -i`: the identity is the folder's name in ten digits, the "signed" planet its definition.
IDTOOL = """\
#!/bin/sh
id=$(basename "$PWD" | od -An -tx1 | tr -d ' \\n' | sed 's/0a$//'); id=$(printf '%010d' "$id")
case "$2" in
    generate) echo "$id:0:public" >"$4"; echo "$id:0:public:secret" >"$3" ;;
    initmoon) echo '{"worldType": "moon", "id": "'$id'", "signingKey_SECRET": "k",'
              echo ' "roots": [{"identity": "'$(cat "$3")'", "stableEndpoints": []}]}' ;;
    genmoon) cp "$3" 000000000000000b.moon ;;
esac
"""


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "zerotier-one"
    tool.write_text(IDTOOL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "nodes").mkdir()
    return tmp_path / "nodes"


def plan(relay_only: bool) -> Plan:
    return Plan(
        root="s",
        endpoint="45.45.0.10/9993",
        network="10.16.0.0/24",
        members={"a": "10.16.0.2", "b": "10.16.0.3"},
        relay_only=relay_only,
    )


def test_every_node_gets_the_same_planet_with_our_root_alone(nodes: Path) -> None:
    make(plan(relay_only=False), nodes)
    signed = {(nodes / node / "planet").read_text() for node in "sab"}
    assert len(signed) == 1
    world = json.loads(signed.pop())
    assert world["worldType"] == "planet"
    assert [root["stableEndpoints"] for root in world["roots"]] == [["45.45.0.10/9993"]]
    assert world["roots"][0]["identity"].startswith((nodes / "s" / "identity.public").read_text().strip())


def test_members_are_let_in_with_their_addresses_and_join_by_themselves(nodes: Path) -> None:
    make(plan(relay_only=False), nodes)
    (record,) = (nodes / "s" / "controller.d" / "network").glob("*.json")
    network = json.loads(record.read_text())
    assert (network["id"], network["private"]) == (record.stem, True)
    assert network["id"].startswith((nodes / "s" / "identity.public").read_text().split(":")[0])
    members = [json.loads(path.read_text()) for path in (record.parent / record.stem / "member").glob("*.json")]
    assert {tuple(one["ipAssignments"]) for one in members} == {("10.16.0.2",), ("10.16.0.3",)}
    assert all(one["authorized"] for one in members)
    for node in "ab":
        assert (nodes / node / "networks.d" / f"{record.stem}.conf").exists()
        assert (nodes / node / "devicemap").read_text() == f"{record.stem}=zt-{node}\n"


def test_only_relayed_members_may_use_no_path_to_each_other(nodes: Path) -> None:
    make(plan(relay_only=True), nodes)
    addresses = json.loads((nodes / "s" / "addresses.json").read_text())
    forbidden = json.loads((nodes / "a" / "local.conf").read_text())["virtual"]
    assert list(forbidden) == [addresses["b"]]
    assert local_conf(())["virtual"] == {}


def test_a_planets_id_is_not_the_vendors() -> None:
    """Or the program would take the one that it has built in for a newer edition of ours."""
    ours = planet({"id": "0123456789", "worldType": "moon", "roots": [{"identity": "i"}]}, "45.45.0.10/9993")
    assert int(str(ours["id"]), 16) not in (149604618, 227883110)


@pytest.mark.parametrize(
    ("paths", "claim"),
    [
        ([], "relayed"),
        ([{"active": True, "expired": False}], "direct"),
        ([{"active": True, "expired": True}, {"active": False, "expired": False}], "relayed"),
    ],
)
def test_a_peer_with_a_live_path_is_direct(paths: list[dict[str, bool]], claim: str) -> None:
    said = {
        "addresses": '{"b": "00000000bb"}',
        "peers-a": json.dumps([{"address": "00000000aa", "paths": []}, {"address": "00000000bb", "paths": paths}]),
    }
    assert ZeroTier().claimed_path("a", "b", said) == claim
    assert ZeroTier().claimed_path("a", "c", said) is None
    assert ZeroTier().claimed_path("a", "b", {"addresses": "", "peers-a": "[]"}) is None
