"""libp2p's adapter: identities by the specification, configurations by mode, what its events say. Pure."""

from __future__ import annotations

import base64
import json

import pytest

from harness.model.words import Mode
from harness.overlay.contract import Deployment
from overlays.json_events import events_of
from overlays.libp2p.adapter import LibP2p, LibP2pTcp
from overlays.libp2p.identity import PeerIdentity, base58
from tests.unit.test_overlays import trial_of

# The specification's own example (libp2p specs, peer-ids, "Test vectors", Ed25519): private and public key.
_PRIVATE = (
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
    "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
)


def test_keys_are_the_specifications() -> None:
    key = PeerIdentity(seed=bytes.fromhex(_PRIVATE)[4:36])
    assert base64.b64decode(key.private_key).hex() == _PRIVATE
    assert key.public.hex() == _PRIVATE[-64:]
    assert key.peer_id.startswith("12D3KooW"), "what every Ed25519 peer ID begins with"


@pytest.mark.parametrize(("data", "text"), [(b"Hello World!", "2NEpo7TZRRrLZSi2U"), (b"\0\0\1", "112"), (b"", "")])
def test_base58(data: bytes, text: str) -> None:
    assert base58(data) == text


def configs(deployment: Deployment) -> dict[str, dict[str, object]]:
    return {file.node: json.loads(file.text) for file in deployment.files}


@pytest.mark.parametrize(
    ("mode", "punch", "relayed"), [("mesh", True, True), ("direct", True, False), ("relay", False, True)]
)
def test_modes_differ_by_what_streams_may_use(mode: Mode, punch: bool, relayed: bool) -> None:
    made = configs(LibP2p().render(trial_of("libp2p", mode)))
    assert (made["a"]["punch"], made["a"]["relayed"]) == (punch, relayed)
    assert "relays" not in made["s"]


def test_over_tcp_alone_nobody_is_told_of_quic() -> None:
    """A member that knew the relay's QUIC address would dial that, and never learn its own address over TCP."""
    text = "".join(file.text for file in LibP2pTcp().render(trial_of("libp2p-tcp", "mesh")).files)
    assert "/tcp/443" in text
    assert "udp" not in text


def test_the_claim_is_the_last_streams() -> None:
    lines = [
        {"event": "stream", "peer": "b", "path": "relayed"},
        {"event": "stream", "peer": "b", "path": "direct"},
        {"event": "stream", "peer": "c", "path": "relayed"},
    ]
    log = "a warning\n" + "\n".join(json.dumps(line) for line in lines) + '\n{"event": "str'
    assert len(list(events_of(log))) == 3
    assert LibP2p().claimed_path("a", "b", {"libp2p-a": log}) == "direct"
    assert LibP2p().claimed_path("a", "d", {"libp2p-a": log}) is None
