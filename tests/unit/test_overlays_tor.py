"""Tor's pure half: names that follow from keys, torrc texts, what is refused, what a circuit claims."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import CommandSays, Deployment
from harness.scenario.load import load_topology
from overlays.tor.adapter import Tor, TorSingle
from overlays.tor.identity import onion, rsa_identity
from overlays.tor.network import RELAYS


def trial_of(name: str, helpers: int = RELAYS, n: int = 3) -> Trial:
    source = load_topology("parties")
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay=name,
        mode="relay",
        topology=source.resolve(source.complete({"n": n, "helpers": helpers})),
        probes=Probes.model_validate({"path": {}}),
    )


@pytest.fixture(scope="module")
def tor() -> Deployment:
    return Tor().render(trial_of("tor", helpers=RELAYS + 2))


@pytest.fixture(scope="module")
def single() -> Deployment:
    return TorSingle().render(trial_of("tor-single"))


def torrc_of(deployment: Deployment, node: str, path: str = "torrc") -> list[str]:
    return next(file.text for file in deployment.files if (file.node, file.path) == (node, path)).splitlines()


def test_an_onion_address_is_what_tor_0_4_9_makes_of_the_same_key() -> None:
    made = onion(bytes(range(32)))
    assert made.address == "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4bqead.onion"
    assert len(base64.b64decode(made.secret)) == 32 + 64


def test_a_fingerprint_is_that_of_the_public_key() -> None:
    identity = rsa_identity(1024)
    public = load_pem_private_key(identity.pem.encode(), None).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert identity.fingerprint == hashlib.sha1(encoded, usedforsecurity=False).hexdigest().upper()
    assert identity.pem.startswith("-----BEGIN RSA PRIVATE KEY-----"), "tor reads PKCS#1 alone"


def test_every_torrc_knows_the_one_authority_and_no_other(tor: Deployment) -> None:
    lines = {
        line
        for file in tor.files
        if file.path.endswith("torrc")
        for line in file.text.splitlines()
        if line.startswith("DirAuthority")
    }
    assert len(lines) == 1
    assert " 45.45.0.10:7000 " in next(iter(lines))


def test_relays_stand_on_nodes_of_their_own_and_members_relay_for_nobody(tor: Deployment) -> None:
    trial = trial_of("tor", helpers=RELAYS + 2)
    serving = {file.node for file in tor.files if "ORPort" in file.text}
    assert serving == {"s", *trial.topology.helpers[:RELAYS]}
    assert {stream.src for stream in tor.streams} == set(trial.topology.members)


def test_members_start_when_the_consensus_knows_all_relays(tor: Deployment, single: Deployment) -> None:
    for deployment in (tor, single):
        services = {service.name: service for service in deployment.services}
        (complete,) = [ready for ready in services["tor-s"].ready if isinstance(ready, CommandSays)]
        assert re.search(complete.pattern, f"{RELAYS + 1}\n")
        assert not re.search(complete.pattern, f"{RELAYS}\n")
        for service in deployment.services:
            if service.name.startswith(("tor-p", "tor-service-p")):
                assert {"tor-s", "tor-s2", "tor-s6"} < set(service.after)


def test_a_single_hop_service_is_no_client(tor: Deployment, single: Deployment) -> None:
    """Tor refuses to be both in one process."""
    client, service = torrc_of(single, "p1"), torrc_of(single, "p1", "service-torrc")
    assert "HiddenServiceSingleHopMode 1" in service and "SocksPort 0" in service
    assert not any(line.startswith("HiddenService") for line in client)
    assert {line for line in client + service if line.startswith("DataDirectory")} == {
        "DataDirectory data",
        "DataDirectory service-data",
    }
    assert "HiddenServiceSingleHopMode 1" not in torrc_of(tor, "p1")


def test_a_forwarder_waits_for_every_members_service(single: Deployment) -> None:
    forwarder = next(service for service in single.services if service.name == "socks-p1")
    assert {f"tor-service-p{number}" for number in (1, 2, 3)} < set(forwarder.after)


def test_too_few_relays_are_refused() -> None:
    with pytest.raises(ValueError, match="5 helpers as relays, and the topology has 4"):
        Tor().render(trial_of("tor", helpers=RELAYS - 1))


def test_a_joined_circuit_claims_a_relay() -> None:
    joined = "7 BUILT $A~s5,$B~s6,$C~s3 PURPOSE=HS_CLIENT_REND HS_STATE=HSCR_JOINED REND_QUERY=x"
    assert Tor().claimed_path("a", "b", {"circuits-a": joined}) == "relayed"
    assert Tor().claimed_path("a", "b", {"circuits-a": joined.replace("JOINED", "CONNECTING")}) is None
    assert Tor().claimed_path("a", "b", {}) is None
