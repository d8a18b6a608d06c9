"""Mininet classes of the zoo that a lab must carry: built, and pinged across."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.ping_answers import answered
from tests.lab.running import overlaybench, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]
HERE = Path(__file__).parent


def pinged(tmp_path: Path, name: str, *commands: str) -> str:
    """Run commands in the lab of a class: of the zoo, where it names no module."""
    script = tmp_path / "commands.mn"
    script.write_text("\n".join(commands) + "\n")
    named = name if ":" in name else f"mininet_zoo:{name}"
    done = overlaybench("shell", named, "--commands", str(script), cwd=HERE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("Ovs", "h1 ping -c1 -W2 10.0.0.2"),
        ("Own", "h1 ping -c1 -W2 10.0.0.2"),
        ("AddressOnLink", "h2 ping -c1 -W2 10.0.0.77"),
        ("RouteByInterface", "h1 ping -c1 -W2 10.0.0.2"),
        ("V6", "h1 ping -c1 -W2 2001:db8::2"),
        ("LongNames", "h-2 ping -c1 -W2 10.0.0.1"),
        ("Homes", "h1 ping -c1 -W2 45.45.0.10"),
        ("mininet_rings:RingWithTree", "h1 ping -c1 -W2 10.0.0.3"),
        ("mininet_rings:RingWithADarkPort", "h1 ping -c1 -W2 10.0.0.3"),
        ("SecondCable", "h1 ping -c1 -W2 10.9.0.2"),
        ("ParsesInBuild", "h1 ping -c1 -W2 10.0.0.2"),
        ("PrivateRun", "h1 ping -c1 -W2 10.0.0.2"),
        ("mininet_names:Dotted", "h2 ping -c1 -W2 10.0.0.1"),
        ("mininet_names:Renamed", "h2 ping -c1 -W2 10.0.0.1"),
    ],
)
def test_a_class_is_built_as_it_says(name: str, command: str, tmp_path: Path) -> None:
    assert "1 received" in pinged(tmp_path, name, command)


def test_a_users_own_config_runs_with_its_parameters(tmp_path: Path) -> None:
    said = pinged(tmp_path, "Own", "h1 cat /run/mark /proc/sys/net/ipv4/ip_default_ttl")
    assert "here" in said and "33" in said


def test_who_is_given_no_ipv6_has_none_whose_packets_nobody_would_count(tmp_path: Path) -> None:
    """Products that find neighbours by link-local multicast took a way that the lab's counters do not know."""
    for name, off in (("Ovs", "off 1"), ("V6", "off 0")):
        assert off in pinged(tmp_path, name, "h1 echo off $(cat /proc/sys/net/ipv6/conf/h1-eth0/disable_ipv6)")


def test_private_folders_are_there(tmp_path: Path) -> None:
    assert "yes" in pinged(tmp_path, "PrivateRun", "h1 touch /run/mine/deep/x /var/log/x && echo yes")


TREE = (
    "sh for p in /sys/class/net/s?-eth*/brport/state; do echo state $(cat $p); done",
    "sh for b in s1 s2 s3; do echo $b $(cat /sys/class/net/$b/bridge/root_id); done",
)


@pytest.mark.parametrize(("name", "root"), [("SlowRing", "0064.020000000001"), ("Prio", "0001.020000000003")])
def test_switches_in_a_ring_have_found_their_root_and_blocked_a_port_before_anything_is_sent(
    name: str, root: str, tmp_path: Path
) -> None:
    said = pinged(tmp_path, f"mininet_rings:{name}", *TREE, "h1 ping -c9 -i0.2 -W2 10.0.0.3")
    words = said.split()
    assert [words[place + 1] for place, word in enumerate(words) if word == "state"].count("4") == 1
    assert [words[place + 1] for place, word in enumerate(words) if word in {"s1", "s2", "s3"}] == [root] * 3
    assert answered(said, 3) == 3


def ran(tmp_path: Path, name: str, overlays: str, probes: str = "path: {deadline_s: 8}", rest: str = "") -> Path:
    """Run a scenario with the class."""
    scenario = tmp_path / f"{name}.yaml"
    named = f"mininet_zoo:{name}"
    scenario.write_text(f"description: x\ntopology: '{named}'\noverlays: {overlays}\nprobes: {{{probes}}}\n{rest}")
    done = overlaybench("run", scenario.name, "--out", name, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / name


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name in ("mininet_zoo.py", "mininet_names.py"):
        (tmp_path / name).write_text((HERE / name).read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "overlays"),
    [
        ("Homes", "{refmesh: mesh, underlay: }"),
        ("SwappedHomes", "{underlay: }"),
        ("NatThree", "{underlay: }"),
        ("Cabled", "{underlay: }"),
        ("Mapped", "{tinc: mesh}"),
        ("SecondCable", "{underlay: }"),
        ("TwoNetworks", "{underlay: }"),
    ],
)
def test_overlays_run_on_classes_and_what_they_claim_is_what_is_seen(name: str, overlays: str, zoo: Path) -> None:
    found = [one for one in records(ran(zoo, name, overlays)) if one["metric"] == "connect_success"]
    assert found and {one["path"] for one in found} == {"direct"}, found
    assert {one["path_claimed"] for one in found} <= {"direct", None}, found
    if name == "Mapped":
        assert len(found) == 3 and {one["path_claimed"] for one in found} == {"direct"}


def test_a_cable_is_pulled_whatever_its_interface_is_called(zoo: Path) -> None:
    timeline = "timeline: [{at_s: 1, do: link_down, to: h1, for_s: 1}]\n"
    folder = ran(zoo, "PortOne", "{underlay: }", "continuity: {duration_s: 3}", timeline)
    assert {one["outcome"] for one in records(folder) if one["metric"] == "trial"} <= {"ok"}
    assert any(one["metric"] == "event_gap_s" for one in records(folder)), {one["metric"] for one in records(folder)}


def test_a_class_reads_what_stands_beside_it(zoo: Path) -> None:
    (zoo / "hosts.txt").write_text("h1\nh2\n")
    found = [one for one in records(ran(zoo, "ReadsFile", "{underlay: }")) if one["metric"] == "connect_success"]
    assert [one["value"] for one in found] == [1.0]


def test_a_route_names_an_interface_that_the_lab_has_to_call_otherwise(tmp_path: Path) -> None:
    said = pinged(tmp_path, "LongRoute", "a-host-whose-name-is-long ip route show default")
    assert "default dev if1-eth0" in said


def test_what_a_hosts_own_config_raises_is_told_by_check_with_its_line(zoo: Path) -> None:
    said = {
        "mininet_zoo:OwnRaises": r"RuntimeError: config failed with .* \(.*mininet_zoo.py:\d+\)",
        "mininet_names:NeverMade": r"node h1: its class says that it has the interface data.7, but there is none",
    }
    for name, status in (("mininet_zoo:OwnRaises", 2), ("mininet_names:NeverMade", 2), ("mininet_zoo:Own", 0)):
        scenario = zoo / "own.yaml"
        scenario.write_text(f"description: x\ntopology: '{name}'\noverlays: {{underlay: }}\nprobes: [path]\n")
        done = overlaybench("check", str(scenario))
        assert done.returncode == status, done.stderr
        if status:
            told = rf"{name}:0: topology: {said[name]}"
            assert re.search(told, done.stderr), done.stderr


@pytest.mark.nightly
def test_a_lab_of_three_hundred_hosts_is_built(tmp_path: Path) -> None:
    """`tests/unit` resolves it; the counters' chains take so many ports in `test_counters`."""
    assert "1 received" in pinged(tmp_path, "Many", "h1 ping -c1 -W5 10.0.0.44")
