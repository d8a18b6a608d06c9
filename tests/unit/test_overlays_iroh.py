"""iroh's adapter: configurations by mode, identities, the relay's certificate, what its events say. Pure."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.model.nat_words import Egress
from harness.model.words import Mode
from harness.overlay.contract import Deployment
from overlays.iroh import Iroh
from tests.unit.test_overlays import trial_of


def configs(deployment: Deployment) -> dict[str, dict[str, Any]]:
    return {file.node: json.loads(file.text) for file in deployment.files if file.path == "iroh.json"}


@pytest.mark.parametrize(
    ("mode", "direct", "relayed"), [("mesh", True, True), ("direct", True, False), ("relay", False, True)]
)
def test_modes_differ_by_what_streams_may_use(mode: Mode, direct: bool, relayed: bool) -> None:
    made = configs(Iroh().render(trial_of("iroh", mode)))
    for member in ("a", "b"):
        assert (made[member]["direct"], made[member]["relayed"]) == (direct, relayed)
    assert "seed" not in made["s"]


def test_members_know_each_other_by_public_key_and_local_port() -> None:
    deployment = Iroh().render(trial_of("iroh", "mesh"))
    made = configs(deployment)
    for stream in deployment.streams:
        target = made[stream.src]["peers"][stream.dst]
        own = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(made[stream.dst]["seed"]))
        assert target["id"] == own.public_key().public_bytes_raw().hex()
        assert target["listen"] == f"127.0.0.1:{stream.listen_port}"
        assert made[stream.dst]["service"] == f"127.0.0.1:{stream.service_port}"


def test_the_relay_is_named_by_its_address_and_certified_for_it() -> None:
    deployment = Iroh().render(trial_of("iroh", "mesh"))
    files = {(file.node, file.path): file.text for file in deployment.files}
    made = configs(deployment)
    certificate = x509.load_pem_x509_certificate(files["s", made["s"]["certificate"]].encode())
    authority = x509.load_pem_x509_certificate(files["a", made["a"]["authority"]].encode())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address(made["s"]["address"])]
    assert made["a"]["relay"] == f"https://{made['s']['address']}"


def test_the_claim_is_the_last_path_of_the_connection() -> None:
    lines = [
        {"event": "stream", "peer": "b", "path": "relayed"},
        {"event": "path", "peer": "b", "path": "direct"},
        {"event": "path", "peer": "c", "path": "relayed"},
        {"event": "accepted", "peer": "b"},
    ]
    log = "\n".join(json.dumps(line) for line in lines) + '\n{"event": "pa'
    assert Iroh().claimed_path("a", "b", {"iroh-a": log}) == "direct"
    assert Iroh().claimed_path("a", "d", {"iroh-a": log}) is None


@pytest.mark.parametrize("egress", [Egress.NO_UDP, Egress.TCP_443])
def test_without_udp_all_goes_by_the_relays_tls(egress: Egress) -> None:
    assert Iroh().paths_behind(egress, trial_of("iroh", "mesh")) == ("relayed",)
    assert Iroh().paths_behind(egress, trial_of("iroh", "direct")) == ("none",)
