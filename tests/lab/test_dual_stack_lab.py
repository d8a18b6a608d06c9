"""IPv6 beside IPv4 and alone, with real packets: verdicts, firewalls, and routers that are not what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.nat_sandbox import each_in_sandbox
from tests.lab.running import overlaybench, records

# A run of nine trials: beside other busy programs it takes more than the usual limit.
# One worker, so that what its fixture runs is run once.
pytestmark = [pytest.mark.lab, pytest.mark.waits, pytest.mark.timeout(240)]


def outcomes(folder: Path) -> dict[str, str]:
    """Trial -> its path, or what it came to where it has none."""
    found = {line["trial"]: line["outcome"] for line in records(folder) if line["probe"] == "trial"}
    return found | {line["trial"]: line["path"] for line in records(folder) if line["metric"] == "connect_success"}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dual") / "run"
    done = overlaybench("run", "dual-stack", "--out", str(out), "--no-report", "--jobs", "3", timeout_s=200)
    assert done.returncode == 0, done.stderr
    return out


def test_symmetric_nats_relay_and_ipv6_beside_them_is_direct(bundled: Path) -> None:
    assert outcomes(bundled) == {
        **{f"underlay_{ip}_r1": "direct" for ip in ("v4", "dual", "v6")},
        **{f"refmesh_relay_{ip}_r1": "relayed" for ip in ("v4", "dual", "v6")},
        "refmesh_mesh_v4_r1": "relayed",
        "refmesh_mesh_dual_r1": "direct",
        "refmesh_mesh_v6_r1": "direct",
    }
    flows = (bundled / "trials" / "refmesh_mesh_dual_r1" / "overlay-a-b-burst-flows.txt").read_text()
    assert "lan_a 2a0e:45:1::2 > 2a0e:45:2::2" in flows


def test_routers_are_observed_in_the_ip_versions_that_they_have(bundled: Path) -> None:
    seen = {line["params"]["ip"]: (line["nat_a_observed"], line["nat_b_observed"]) for line in records(bundled)}
    both = "APDM/APDF/random"
    assert seen == {"v4": (both,) * 2, "dual": (f"{both}/ipv6=APDF",) * 2, "v6": ("ipv6=APDF",) * 2}


def test_latency_is_measured_over_an_underlay_without_ipv4(bundled: Path) -> None:
    metrics = {line["metric"] for line in records(bundled) if line["trial"] == "refmesh_mesh_v6_r1"}
    assert {"rtt_p50_ms", "underlay_rtt_p50_ms", "added_rtt_p50_ms"} <= metrics


OTHERS = """\
description: what else may stand in the way
topology: {topology}
params: {{{params}}}
overlays: {{refmesh: mesh, openvpn: hub}}
probes: {{path: {{deadline_s: 12}}}}
"""


@pytest.mark.parametrize(
    ("topology", "params", "expected"),
    [
        # Routers that forward no IPv6: the same addresses are of no use, and IPv4 must do.
        ("two-sites", "ip: dual, nat_a: symmetric, nat_b: symmetric", ("relayed", "relayed")),
        ("two-sites", "ip: dual, nat_a: ipv6-firewall, nat_b: dual-stack", ("direct", "unsupported")),
        ("two-sites", "ip: v6, nat_a: ipv6-firewall, nat_b: ipv6-only, link_a: fibre", ("direct", "unsupported")),
        ("cgnat", "ip: dual, nat_a: dual-stack, nat_b: dual-stack, nat_carrier: dual-stack", ("direct", "relayed")),
        ("same-site", "ip: v6, nat: dual-stack", ("direct", "unsupported")),
        ("regions", "n: 2, ip: v6, nat: ipv6-firewall, server: as", ("direct", "unsupported")),
        ("two-sites", "nat_a: firewall, nat_b: firewall", ("direct", "relayed")),
    ],
)
def test_what_else_may_stand_in_the_way(tmp_path: Path, topology: str, params: str, expected: tuple[str, str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OTHERS.format(topology=topology, params=params))
    done = overlaybench("run", str(file), "--out", str(tmp_path / "run"), "--no-report", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    found = outcomes(tmp_path / "run")
    assert (found["refmesh_mesh_r1"], found["openvpn_hub_r1"]) == expected


def test_an_ipv6_firewall_drops_what_nobody_inside_asked_for(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("s ping -c 1 -W 1 2a0e:45:1::2\ns ping -c 1 -W 1 2a0e:45:2::2\na ping -c 1 -W 1 2a0e:45::10\n")
    settings = ("--set", "ip=v6", "--set", "nat_a=ipv6-firewall", "--set", "nat_b=ipv6-only")
    done = overlaybench("shell", "two-sites", *settings, "--commands", str(commands))
    assert done.returncode == 0, done.stderr
    answered = [line.split(",")[1].strip() for line in done.stdout.splitlines() if "packets transmitted" in line]
    assert answered == ["0 received", "1 received", "1 received"]


ROUTERS: list[tuple[Any, Any, str, str]] = [
    ("dual-stack", "dual-stack", "ipv6=APDF", ""),
    ("ipv6-only", "ipv6-only", "ipv6=none", ""),
    ("port-restricted", "port-restricted", "", ""),
    ("ipv6-only", "ipv6-firewall", "ipv6=none", "ipv6_filtering: declared APDF, observed none"),
    ({"ipv6_filtering": "EIF"}, "dual-stack", "ipv6=EIF", "ipv6_filtering: declared APDF, observed EIF"),
    ("port-restricted", "dual-stack", "", "ipv6: declared True, observed False"),
    ("dual-stack", "port-restricted", "", "ipv6: declared False, observed True"),
    (
        {"ipv6_filtering": "APDF", "egress": "tcp-443"},
        {"ipv6_filtering": "APDF", "egress": "no-udp"},
        "egress=tcp-443",
        "egress: declared no-udp, observed tcp-443",
    ),
]


def test_a_trial_refuses_a_router_whose_ipv6_is_not_what_it_says() -> None:
    found = each_in_sandbox(("checked_ipv6_in_a_trial", actual, declared) for actual, declared, *_ in ROUTERS)
    for (actual, declared, label, wrong), said in zip(ROUTERS, found, strict=True):
        assert (said["label"], said["left"]) == (label, []), (actual, declared)
        assert said["refused"].endswith(wrong) and bool(said["refused"]) == bool(wrong), (actual, declared, said)


def test_ipv4_that_a_router_ought_not_to_forward_is_seen() -> None:
    assert each_in_sandbox([("passes_ipv4", "ipv6-only"), ("passes_ipv4", "none")]) == [False, True]
