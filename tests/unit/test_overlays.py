"""What holds of every adapter's rendering, and the pure parts of single adapters. Nothing is started here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from harness.conformance.rendering import rendering_complaints, requirement_complaints
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import helpers_of, kinds_of
from harness.scenario.load import load_topology
from overlays.addressing import addresses_of, options_of
from overlays.n2n import N2n
from overlays.nebula import Nebula
from overlays.tailscale.adapter import Tailscale
from overlays.tinc import Tinc, _name
from overlays.wireguard.adapter import WireGuard, WireGuardOptions

BY_HAND = {"zerotier-one", "ziti"}  # carried by no package registry

# Adapters from outside this repository may be installed with ours.
OURS = [name for name in overlay_names() if type(load_overlay(name)).__module__.startswith("overlays.")]
CASES = [(name, mode) for name in overlay_names() for mode in sorted(load_overlay(name).modes)]


def trial_of(name: str, mode: Mode, topology: str = "two-sites", **more: object) -> Trial:
    source = load_topology(topology)
    params = source.complete({"helpers": helpers_of(load_overlay(name), mode)})
    fields = {"id": "t", "scenario": "s", "repeat": 1, "seed": 1, "probes": Probes.model_validate({"path": {}})}
    return Trial.model_validate(
        {**fields, "overlay": name, "mode": mode, "topology": source.resolve(params), "params": params, **more}
    )


@pytest.mark.parametrize(("name", "mode"), CASES, ids=[f"{name}-{mode}" for name, mode in CASES])
def test_every_adapter_renders_as_the_contract_says(name: str, mode: Mode) -> None:
    assert rendering_complaints(load_overlay(name), mode) == []


@pytest.mark.parametrize("name", [name for name in overlay_names() if load_overlay(name).requirements()])
def test_requirements_say_how_to_get_them(name: str) -> None:
    assert requirement_complaints(load_overlay(name)) == []
    for requirement in load_overlay(name).requirements():
        assert requirement.is_installable or requirement.program in BY_HAND
        carried_by = requirement.debian or (requirement.wheel and requirement.wheel.package) or name
        assert carried_by in requirement.install


@pytest.mark.parametrize("name", ["openvpn", "wireguard", "tinc", "ipsec", "n2n"])
def test_keys_are_fresh_for_every_trial(name: str) -> None:
    overlay = load_overlay(name)
    trial = trial_of(name, min(overlay.modes))
    assert overlay.render(trial) != overlay.render(trial)


def test_an_adapter_is_loaded_without_the_lab() -> None:
    """A plan needs no privileges and no Mininet: adapters must not pull it in."""
    code = (
        "import sys, harness.overlay.registry as r; [r.load_overlay(n) for n in r.overlay_names()]; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "mininet" not in loaded


def test_too_many_members_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        addresses_of(trial_of("wireguard", "hub", "parties"), IPv4Network("10.0.0.0/30"))


def test_options_that_exist_are_named() -> None:
    trial = trial_of("wireguard", "hub", options={"implementaton": "kernel"})
    with pytest.raises(ValueError, match=r"takes the options implementation: implementaton"):
        options_of(trial, WireGuardOptions)


@pytest.mark.parametrize("name", ["wireguard", "tinc", "refmesh", "openvpn", "nebula", "n2n", "easytier", "tailscale"])
def test_members_may_have_any_name_that_mininet_takes(name: str) -> None:
    overlay = load_overlay(name)
    longest = ["a-host-whose-name-is-as-long-as-anybody-would-ever-type-64-chars"[:63] + end for end in "12"]
    trial = trial_of(name, min(overlay.modes))
    hosts = dict(zip([*longest, "s"], trial.topology.hosts.values(), strict=False))
    topology = trial.topology.model_copy(
        update={"hosts": hosts | {"s": trial.topology.hosts["s"]}, "members": tuple(longest)}
    )
    deployment = overlay.render(trial.model_copy(update={"topology": topology}))
    names = [end.interface or "" for end in deployment.endpoints.values()]
    assert len(set(names)) == 2 and all(0 < len(one) <= 15 for one in names)
    if name == "tinc":
        told = [file.text for file in deployment.files if file.path == "tinc.conf"]
        assert all(re.search(r"^Name = \w+$", text, re.MULTILINE) for text in told)


def test_wireguards_files_say_what_wg_understands() -> None:
    # wg(8), CONFIGURATION FILE FORMAT
    known = {"PrivateKey", "ListenPort", "FwMark", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint"}
    deployment = load_overlay("wireguard").render(trial_of("wireguard", "hub"))
    files = {file.node: file.text for file in deployment.files if file.path == "wg.conf"}
    keys = {
        node: {line.partition(" = ")[0] for line in text.splitlines() if "=" in line} for node, text in files.items()
    }
    assert "Endpoint" in keys["a"] and "Endpoint" not in keys["s"]
    assert set().union(*keys.values()) <= known | {"PersistentKeepalive"}


def test_wireguard_forwards_in_the_hub_unless_asked_for_direct() -> None:
    forwarding = {
        mode: any(
            "net.ipv4.ip_forward=1" in argv
            for s in WireGuard().render(trial_of("wireguard", mode)).services
            for argv in s.configure
        )
        for mode in ("hub", "mesh", "direct")
    }
    assert forwarding == {"hub": True, "mesh": True, "direct": False}


def test_tinc_claims_direct_only_where_udp_was_probed() -> None:
    line = " b at 45.45.2.1 port 655 cipher 427 digest 672 maclength 4 compression 0 options c status 001a nexthop s"
    for tail, claim in (
        (" via b pmtu 1518 (min 0 max 1518)", "relayed"),
        (" via b pmtu 1451 (min 1451 max 1451)", "direct"),
    ):
        assert Tinc().claimed_path("a", "b", {"tinc-a": line + tail}) == claim
    assert Tinc().claimed_path("a", "b", {}) is None


def test_tincs_names_are_mapped_on_both_sides_of_a_claim_and_no_two_are_one() -> None:
    names = [_name(node) for node in ("h-1", "h_1", "h.1", "x" * 64)]
    assert len(set(names)) == 4 and all(re.fullmatch(r"\w+", name) for name in names)
    told = f" {names[0]} at 45.45.1.1 port 655 options 1000c nexthop s via {names[0]} pmtu 1451 (min 1451 max 1451)"
    assert Tinc().claimed_path("a", "h-1", {"tinc-a": told}) == "direct"
    assert Tinc().claimed_path("a", "h_1", {"tinc-a": told}) is None


@pytest.mark.parametrize(
    ("remote", "claim"),
    [
        ({"ip": "45.45.2.1", "port": 4242}, "direct"),  # 1.6
        (None, "relayed"),
        ("45.45.2.1:4242", "direct"),  # 1.11
        ("", "relayed"),
    ],
)
def test_nebula_claims_what_its_host_map_says(remote: object, claim: str) -> None:
    entry = {"cert": {"details": {"name": "b"}}, "currentRemote": remote, "currentRelaysToMe": ["10.10.0.1"]}
    assert Nebula().claimed_path("a", "b", {"nebula-a": json.dumps([entry])}) == claim
    assert Nebula().claimed_path("a", "c", {"nebula-a": json.dumps([entry])}) is None
    assert Nebula().claimed_path("a", "b", {"nebula-a": ""}) is None


def test_tailscale_claims_what_its_status_says() -> None:
    def status(**peer: str) -> dict[str, str]:
        return {"status-a": json.dumps({"Peer": {"nodekey:1": {"HostName": "b", **peer}}})}

    assert Tailscale().claimed_path("a", "b", status(CurAddr="45.45.2.1:1", Relay="lab")) == "direct"
    assert Tailscale().claimed_path("a", "b", status(CurAddr="", Relay="lab")) == "relayed"
    assert Tailscale().claimed_path("a", "b", status(CurAddr="", Relay="")) == "none"
    assert Tailscale().claimed_path("a", "b", {"status-a": ""}) is None


@pytest.mark.parametrize(
    ("lines", "claim"),
    [
        ("Ready", "relayed"),
        ("Operational peers list size=1", None),  # of two: it does not say which
        ("Operational peers list size=1\nOperational peers list size=2", "direct"),
        ("Operational peers list size=2\nOperational peers list size=0", "relayed"),
    ],
)
def test_n2n_claims_what_its_list_of_peers_allows(lines: str, claim: str | None) -> None:
    assert N2n().claimed_path("a", "b", {"edge-a": lines, "edge-b": "", "edge-c": ""}) == claim
    assert N2n().claimed_path("a", "b", {"edge-a": ""}) is None


def test_setup_installs_every_subject_that_debian_carries() -> None:
    """`make test` runs the contract test, which fails where a program of Debian's is missing."""
    root = Path(__file__).resolve().parents[2]
    subjects = re.search(r'^subjects="([^"]*)"', (root / "setup.sh").read_text(), re.MULTILINE)
    assert subjects is not None
    needed = {one.debian for name in OURS for one in load_overlay(name).requirements() if one.debian}
    assert needed <= set(subjects.group(1).replace("\\\n", "").split())


def rows_of_page(heading: str) -> dict[str, list[str]]:
    """Return the cells of each overlay's row in the first table below a heading of docs/overlays.md."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "overlays.md").read_text()
    part = page.partition(f"# {heading}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]
    return {name: row for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def test_the_page_tells_every_overlays_modes_and_layer() -> None:
    told = {
        name: (
            frozenset(re.split(r",\s*", row[1].replace("baseline", "underlay"))),
            row[2],
            frozenset(row[3].split(", ")),
        )
        for name, row in rows_of_page("Overlays").items()
    }
    ours = {name: load_overlay(name) for name in OURS}
    assert told == {name: (one.modes, one.layer, kinds_of(one)) for name, one in ours.items()}
