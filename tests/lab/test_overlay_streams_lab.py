"""Which way streams go through pairs of NATs that are not friendly: what each system can, and what it falls back to.

Run one system's part with `pytest tests/lab/test_overlay_streams_lab.py -k NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import pytest

from harness.conformance.examination import Seen, look
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import Overlay, ReportsPath
from harness.overlay.install import missing
from harness.overlay.registry import load_overlay
from harness.overlay.support import helpers_of, kinds_of
from harness.scenario.load import load_topology
from tests.unit.test_overlays_contributing import examples

DEADLINE_S = 20.0
# What is not to become direct waits for all of it.
OTHERWISE_S = 10.0

P, R, A = "port-restricted", "symmetric", "address-restricted"


class Case(NamedTuple):
    """An overlay in a mode, the routers of a and b, and the path of streams from a to b that begin after a while."""

    overlay: str
    mode: Mode
    nat_a: str
    nat_b: str
    path: Verdict
    options: Mapping[str, object] = MappingProxyType({})

    def __str__(self) -> str:
        return "-".join((*self[:4], *map(str, self.options.values())))


CASES = [
    # One mapping that nobody can know is too many where the other side filters by port.
    Case("libp2p", "mesh", P, R, "relayed"),
    Case("libp2p", "direct", R, R, "none"),
    # Where it filters by address, either side may be the one whose packet gets in.
    Case("libp2p", "direct", R, A, "direct"),
    Case("libp2p", "direct", A, R, "direct"),
    Case("libp2p-tcp", "mesh", R, P, "relayed"),
    # The same holds of iroh's probes over QUIC, and its streams move from the relay when they get in.
    Case("iroh", "mesh", P, R, "relayed"),
    Case("iroh", "direct", R, R, "none"),
    Case("iroh", "direct", R, A, "direct"),
    Case("iroh", "direct", A, R, "direct"),
    Case("frp", "mesh", R, R, "relayed"),
    Case("frp", "direct", R, R, "none"),
    Case("frp", "direct", P, P, "direct", {"protocol": "kcp"}),
    Case("frp", "hub", P, P, "relayed", {"proxy": "stcp"}),
    Case("ipfs", "mesh", R, R, "relayed"),
    Case("ipfs", "direct", R, R, "none"),
]


@pytest.mark.lab
@pytest.mark.waits
@pytest.mark.parametrize("case", CASES, ids=map(str, CASES))
def test_streams_through_nats(case: Case, tmp_path: Path) -> None:
    overlay = load_overlay(case.overlay)
    seen = looked_at(overlay, case, tmp_path, "paths")
    claims = seen.pop("claims", {})
    assert seen == {"stream_connects": case.path != "none", "stream_path": case.path}
    if case.path != "none" and isinstance(overlay, ReportsPath):
        assert overlay.claimed_path("a", "b", claims) == case.path


@pytest.mark.lab
@pytest.mark.waits
@pytest.mark.parametrize("name", ["socat-tls", "http-store"])
def test_the_worked_examples_keep_the_contract(name: str, tmp_path: Path) -> None:
    overlay = examples()[name]
    seen = looked_at(overlay, Case(name, "hub", P, P, "relayed"), tmp_path)
    for kind, facts in {
        "stream": ("stream_connects", "stream_connects_back", "stream_upload", "stream_download"),
        "content": ("content_fetched", "content_intact"),
    }.items():
        if kind in kinds_of(overlay):
            assert all(seen[fact] for fact in facts), seen
            assert seen[f"{kind}_path"] == "relayed"
    assert not seen["outside"]


def looked_at(overlay: Overlay, case: Case, folder: Path, what: Literal["all", "paths"] = "all") -> Seen:
    """Deploy in a sandbox, and give back what its worker saw."""
    if lacking := missing(overlay.requirements()):
        pytest.skip(f"{overlay.name} needs {lacking[0].program}: {lacking[0].install}")
    source = load_topology("two-sites")
    nats: dict[str, object] = {"nat_a": case.nat_a, "nat_b": case.nat_b, "helpers": helpers_of(overlay, case.mode)}
    trial = Trial(
        id="streams",
        scenario="streams",
        repeat=1,
        seed=7,
        overlay=overlay.name,
        mode=case.mode,
        options=dict(case.options),
        topology=source.resolve(source.complete(nats)),
        probes=Probes(path={"deadline_s": DEADLINE_S if case.path == "direct" else OTHERWISE_S}),
    )
    return look(trial, overlay, folder, what=what)
