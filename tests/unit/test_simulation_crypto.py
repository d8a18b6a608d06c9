"""Cheap crypto: the sizes and the failures of the real one, so that worlds come out alike."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from cryptography.exceptions import InvalidTag

from harness.model.nat import parse_nat
from harness.simulation.contract import Abilities, Crypto, engines
from harness.simulation.internet import Internet, Link
from overlays.refmesh.core.noise import REAL, Suite
from overlays.refmesh.simulation.crypto import CHEAP, cheap_public

PRIVATE = [bytes([number] * 32) for number in (1, 2)]


@pytest.mark.parametrize("suite", [REAL, CHEAP], ids=["real", "cheap"])
def test_a_suite_agrees_on_secrets_and_knows_its_keys(suite: Suite) -> None:
    a, b = (suite.static(private) for private in PRIVATE)
    assert a.exchange(b.public) == b.exchange(a.public) != a.exchange(a.public)
    assert {len(a.public), len(a.exchange(b.public))} == {32}
    assert a.suite is suite
    cipher = suite.aead(a.exchange(b.public))
    sealed = cipher.encrypt(bytes(12), b"plain", None)
    assert len(sealed) == len(b"plain") + 16
    assert cipher.decrypt(bytes(12), sealed, None) == b"plain"
    with pytest.raises(InvalidTag):
        suite.aead(bytes(32)).decrypt(bytes(12), sealed, None)
    room = bytearray(len(sealed))
    cipher.encrypt_into(bytes(12), b"plain", None, room)
    assert bytes(room) == sealed


def test_a_cheap_public_key_is_the_same_wherever_it_is_made() -> None:
    assert cheap_public(PRIVATE[0]) == CHEAP.static(PRIVATE[0]).public


def sizes(crypto: Crypto, nat: str) -> tuple[Counter[int], str]:
    """Datagrams by length that two nodes and their server send in 5 s, and what the one says of its way."""
    rng = random.Random(4)
    internet = Internet(rng, core=Link(0.02))
    hosts = [internet.host(internet.router(parse_nat(nat)), lambda *_: None) for _ in range(2)]
    seen: Counter[int] = Counter()
    network = engines()["refmesh"].network(internet, hosts, rng, Abilities("peer-reflexive"), crypto)
    internet.on_delivery = lambda _sender, _host, packet: seen.update([len(packet.payload)])
    for member in range(2):
        network.start(member)
    internet.events.run(5.0)
    return seen, network.claim(0, 1)


@pytest.mark.parametrize(("nat", "path"), [("port-restricted", "direct"), ("symmetric", "relayed")])
def test_worlds_with_cheap_crypto_come_out_as_with_real(nat: str, path: str) -> None:
    (real, real_path), (cheap, cheap_path) = sizes("real", nat), sizes("cheap", nat)
    assert real_path == cheap_path == path
    assert set(real) == set(cheap)  # each kind of message has its length
    assert abs(real.total() - cheap.total()) <= 0.1 * real.total()
