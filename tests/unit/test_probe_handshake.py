"""What joining costs, from what passed the members' ports by the time at which each was connected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import ScenarioError
from harness.lab.tap import Passing
from harness.probes.contract import Found
from harness.probes.handshake import HandshakeProbe, HandshakeSettings, Watched
from harness.probes.pings import Ping, to_csv
from harness.scenario.planned import plan_trials

A, B, C, S, S2, FAR = (
    ip_address(one) for one in ("10.0.1.2", "10.0.2.2", "10.0.3.2", "45.45.0.10", "45.45.0.11", "45.45.2.1")
)
SEEN = {
    "a": [
        Passing(1.0, A, S, 100),
        Passing(1.1, S, A, 200),
        Passing(2.0, A, FAR, 300),
        Passing(2.5, FAR, A, 50),
        Passing(9.0, A, S, 9999),
    ],
    "b": [Passing(1.2, B, S2, 400), Passing(2.0, FAR, B, 300), Passing(2.2, C, S, 7777), Passing(3.0, B, FAR, 60)],
}


def watched(folder: Path, pings: Sequence[Ping]) -> tuple[Any, Watched]:
    """Return what the probe reads in a lab of two members, a server and a helper."""
    hosts = {
        name: SimpleNamespace(addresses=(address,)) for name, address in (("a", A), ("b", B), ("s", S), ("s2", S2))
    }
    topology = SimpleNamespace(server="s", helpers=("s2",), hosts=hosts)
    lab = SimpleNamespace(topology=topology, port_of=lambda name: name)
    target = SimpleNamespace(lab=lab, folder=folder, pair=("a", "b"), evidence=lambda name: folder / name)
    (folder / "pings.csv").write_text(to_csv(pings))
    trial = SimpleNamespace(tap=SimpleNamespace(seen=lambda port: SEEN[port]))
    return target, HandshakeProbe().measure(cast(Any, target), HandshakeSettings(), cast(Any, trial))


def figures(folder: Path, connected_s: float | None, pings: Sequence[Ping] = ()) -> dict[str, float | None]:
    target, raw = watched(folder, pings)
    found = Found(target, raw, earlier={"path": SimpleNamespace(connected_s=connected_s)})
    return {one.metric: one.value for one in HandshakeProbe().summarise_trial([found], HandshakeSettings())}


def test_all_that_passed_a_members_port_until_it_was_connected_counts(tmp_path: Path) -> None:
    found = figures(tmp_path, 2.6)
    assert found == {
        "handshake_bytes": ((100 + 200 + 300 + 50) + (400 + 300)) / 2,  # what is of C passes b's port, and is not b's
        "handshake_packets": (4 + 2) / 2,
        "handshake_server_bytes": 100 + 200 + 400,
        "handshake_ping_bytes": 0,
    }
    assert found.keys() == {metric.name for metric in HandshakeProbe.metrics}
    kept = json.loads((tmp_path / "handshake.json").read_text())
    assert [[t, size, bool(server)] for t, size, server in kept["b"]] == [
        [1.2, 400, True],
        [2.0, 300, False],
        [3.0, 60, False],
    ]


def test_pings_that_may_be_in_it_are_counted_beside_it(tmp_path: Path) -> None:
    pings = [Ping(0, 500, 2.0, None), Ping(1, 700, 2.1, 2.6), Ping(2, 300, 2.55, 2.7), Ping(3, 1000, 2.8, 2.9)]
    assert figures(tmp_path, 2.6, pings)["handshake_ping_bytes"] == 500 + 2 * 700 + 2 * 300


def test_a_pair_that_never_connected_has_no_handshake(tmp_path: Path) -> None:
    assert figures(tmp_path, None) == {}


def test_it_is_refused_without_the_probe_that_tells_when(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("description: x\ntopology: two-sites\noverlays: {underlay: }\nprobes:\n  latency:\n  handshake:\n")
    with pytest.raises(ScenarioError) as caught:
        plan_trials(str(file))
    assert str(caught.value.problems[0]).endswith(
        "s.yaml:6: probes.handshake: measures nothing without the probe path: add that probe as well"
    )
