"""Ethereum's pure half: names that follow from keys, who runs what, and what logs and peers say."""

from __future__ import annotations

import json
import tomllib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.model.nat_words import Egress
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import Deployment
from harness.scenario.load import load_topology
from overlays.ethereum.adapter import Ethereum, Reached, reached
from overlays.ethereum.keys import new_key


def trial_of(mode: Mode) -> Trial:
    source = load_topology("parties")
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="ethereum",
        mode=mode,
        topology=source.resolve(source.complete({"n": 3})),
        probes=Probes.model_validate({"path": {}}),
    )


def rendered(mode: Mode) -> Deployment:
    return Ethereum().render(trial_of(mode))


def test_an_enode_names_the_point_that_belongs_to_the_private_key() -> None:
    key = new_key()
    point = ec.derive_private_key(int(key.private, 16), ec.SECP256K1()).public_key().public_numbers()
    assert key.public == f"{point.x:064x}{point.y:064x}"
    assert len(key.private) == 64


def test_direct_leaves_the_public_node_to_discovery() -> None:
    """What has no chain carries no transactions, and asks nobody of the public network's."""
    deployment = rendered("direct")
    (first,) = [service for service in deployment.services if service.node == "s"]
    assert first.argv[:3] == ("devp2p", "discv4", "listen")
    bootnodes = first.argv[first.argv.index("--bootnodes") + 1]
    assert bootnodes.endswith("@45.45.0.10:30303")
    assert "s" not in {command.node for command in deployment.prepare}


def test_everybody_is_on_one_chain_and_knows_who_is_who() -> None:
    deployment = rendered("mesh")
    configs = {file.node: json.loads(file.text) for file in deployment.files if file.path == "ethereum.json"}
    assert configs.keys() == {"s", "p1", "p2", "p3"}
    assert len({json.dumps([config["accounts"], config["nodes"]]) for config in configs.values()}) == 1
    assert {node: config["own"] for node, config in configs.items()} == {node: node for node in configs}


def test_a_member_of_a_mesh_is_ready_when_it_has_a_peer() -> None:
    for mode, waits in (("mesh", True), ("direct", False)):
        member = next(service for service in rendered(mode).services if service.node == "p1")
        assert any(getattr(ready, "pattern", "") == '"node":"s"' for ready in member.ready) is waits
        assert member.configure == (("overlaybench-ethereum", "join"),)


def test_the_ordinary_node_of_a_mesh_is_its_members_static_peer() -> None:
    for mode in ("mesh", "direct"):
        deployment = rendered(mode)
        static = {
            file.node: tomllib.loads(file.text)["Node"]["P2P"]["StaticNodes"]
            for file in deployment.files
            if file.path == "geth.toml"
        }
        assert static.keys() == {"p1", "p2", "p3"}
        for member, names in static.items():
            service = next(one for one in deployment.services if one.node == member)
            bootnode = service.argv[service.argv.index("--bootnodes") + 1]
            assert names == ([bootnode] if mode == "mesh" else [])
            assert service.argv[service.argv.index("--config") + 1] == "geth.toml"


def test_without_udp_the_static_peer_is_reached_by_tcp() -> None:
    for mode, egress, promised in (
        ("mesh", Egress.NO_UDP, "relayed"),
        ("mesh", Egress.TCP_443, "none"),
        ("direct", Egress.NO_UDP, "none"),
    ):
        assert Ethereum().paths_behind(egress, trial_of(mode)) == (promised,)


@pytest.mark.parametrize(
    ("peers", "claim"),
    [(["b", "s"], "direct"), (["s"], "relayed"), ([], "none")],
)
def test_a_peer_is_reached_by_itself_and_others_through_peers(peers: list[str], claim: str) -> None:
    said = json.dumps([{"node": peer, "remote": "45.45.0.1:30303", "inbound": False} for peer in peers])
    assert Ethereum().claimed_path("a", "b", {"peers-a": said}) == claim
    assert Ethereum().claimed_path("a", "b", {}) is None


def test_discovery_and_rlpx_are_told_apart() -> None:
    log = "TRACE[11-29|09:05] << PONG/v4  id=6b36f791352f15eb addr=45.45.2.1:30303 err=nil\n"
    nobody, b = "[]", '[{"node": "b"}]'
    assert reached("a", "b", "45.45.2.1", {"geth-a": log, "peers-a": nobody}) == Reached(discovery=True, rlpx=False)
    assert reached("a", "b", "45.45.2.1", {"geth-a": log, "peers-a": b}) == Reached(discovery=True, rlpx=True)
    assert reached("a", "b", "45.45.2.11", {"geth-a": log, "peers-a": nobody}) == Reached(discovery=False, rlpx=False)
    asked = log.replace("<<", ">>")
    assert not reached("a", "b", "45.45.2.1", {"geth-a": asked, "peers-a": nobody}).discovery
