"""Timelines that cannot be what they say are refused by file, line and field; those that can be are planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ScenarioError
from harness.scenario.planned import plan_trials

SCENARIO = """\
description: x
topology: {topology}
params: {params}
overlays: {overlays}
probes: {probes}
timeline:
"""
TWO = "{nat_a: port-restricted, nat_b: port-restricted, link_a: fibre, link_b: fibre}"


def planned(tmp_path: Path, *items: str, **given: str) -> list[Any]:
    said = {"topology": "two-uplinks", "params": TWO, "overlays": "{underlay: }"}
    said |= {"probes": "{path: {}, continuity: {duration_s: 10}}"} | given
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO.format(**said) + "".join(f"  - {item}\n" for item in items))
    return plan_trials(str(file)).trials


def refused(tmp_path: Path, *items: str, **given: str) -> str:
    with pytest.raises(ScenarioError) as error:
        planned(tmp_path, *items, **given)
    return str(error.value).replace(str(tmp_path), "")


RENEWED = "{at_s: 1, do: renew_ip, to: a, for_s: 2}"
BLOCKED = "{at_s: 1, do: block_udp, to: ra, for_s: 2}"
PARTED = "{at_s: 1, do: partition, to: a, away_from: [b, s], for_s: 2}"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (RENEWED, "{at_s: 2, do: renew_ip, to: a, for_s: 2}", "begins before the end of renew_ip a at 1 s"),
        (RENEWED, "{at_s: 2, do: renew_ip, to: a}", "begins before the end of renew_ip a at 1 s, which lasts 2 s"),
        (RENEWED, "{at_s: 2, do: move, to: a, into: lan_b}", "begins before the end of renew_ip a at 1 s"),
        (BLOCKED, "{at_s: 2, do: block_udp, to: ra, for_s: 0.5}", "begins before the end of block_udp ra at 1 s"),
        (BLOCKED, "{at_s: 3, do: block_udp, to: ra, for_s: 2}", "begins before the end of block_udp ra at 1 s"),
        (PARTED, "{at_s: 2, do: partition, to: a, away_from: [s, b], for_s: 4}", "before the end of partition a"),
        ("{at_s: 1, do: link_down, to: ra}", "{at_s: 2, do: link_down, to: ra, for_s: 1}", "still in force"),
        ("{at_s: 1, do: kill, to: s, for_s: 5}", "{at_s: 2, do: stop, to: s, for_s: 1}", "before the end of kill s"),
        ("{at_s: 1, do: kill, to: a, for_s: 5}", "{at_s: 2, do: remove_member, to: a}", "before the end of kill a"),
        ("{at_s: 1, do: sleep, to: b, for_s: 3}", "{at_s: 2, do: sleep, to: b, for_s: 3}", "the end of sleep b"),
        (
            "{after: ready, do: block_udp, to: ra}",
            "{at_s: 2, do: block_udp, to: ra}",
            "block_udp ra after ready is still in",
        ),
        (
            "{at_s: 1, do: link_change, to: ra, link: lte, over_s: 3}",
            "{at_s: 2, do: link_change, to: ra, link: dsl}",
            "begins while link_change ra at 1 s is under way, which takes 3 s",
        ),
    ],
)
def test_what_begins_while_the_same_lasts_is_refused(tmp_path: Path, first: str, second: str, said: str) -> None:
    field = "timeline[1].at_s"
    text = refused(tmp_path, first, second)
    assert said in text and f"mine.yaml:8: {field}: " in text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{at_s: 1, do: renew_ip, to: a}", "{at_s: 2, do: renew_ip, to: a, for_s: 1}"),
        ("{at_s: 1, do: move, to: a, into: lan_b, for_s: 6}", "{at_s: 2, do: renew_ip, to: a, for_s: 2}"),
        (BLOCKED, "{at_s: 3.5, do: block_udp, to: ra, for_s: 2}"),
        (BLOCKED, "{at_s: 2, do: block_udp, to: rb, for_s: 2}"),
        (PARTED, "{at_s: 2, do: partition, to: a, away_from: b, for_s: 4}"),
        (
            "{at_s: 1, do: firewall, to: ra, deny: udp}",
            "{at_s: 2, do: firewall, to: ra, captive_portal: true, for_s: 1}",
        ),
        ("{at_s: 1, do: reboot, to: ra}", "{at_s: 1, do: reboot, to: ra}"),
        ("{at_s: 1, do: sleep, to: b, for_s: 3}", "{at_s: 2, do: link_down, to: b, for_s: 3}"),
        ("{after: direct, do: block_udp, to: ra, for_s: 2}", "{at_s: 2, do: block_udp, to: ra, for_s: 2}"),
    ],
)
def test_what_goes_together_is_planned(tmp_path: Path, first: str, second: str) -> None:
    assert planned(tmp_path, first, second)


def test_who_was_killed_may_be_killed_again_once_he_was_restarted(tmp_path: Path) -> None:
    kills = "{at_s: 1, do: kill, to: a}", "{at_s: 5, do: kill, to: a}"
    assert planned(tmp_path, kills[0], "{at_s: 3, do: restart, to: a}", kills[1])
    assert "kill a at 1 s is still in force" in refused(tmp_path, kills[0], "{at_s: 3, do: restart, to: b}", kills[1])


@pytest.mark.parametrize(
    ("item", "field", "said"),
    [
        ("{at_s: 60, do: reboot, to: ra}", "at_s", "at 60 s it would never happen: the traffic ends after 10 s"),
        ("{at_s: 10, do: reboot, to: ra}", "at_s", "would never happen"),
        ("{at_s: [1, 60], do: reboot, to: ra}", "at_s", "at 60 s it would never happen"),
        ("{at_s: 1, do: kill, to: s, for_s: 30}", "for_s", "its end at 31 s would never happen"),
        ("{at_s: 1, do: kill, to: s, for_s: [2, 9]}", "for_s", "its end at 10 s would never happen"),
        ("{after: direct, do: kill, to: s, for_s: 10}", "for_s", "would never happen"),
        ("{after: ready, do: link_down, to: ra, for_s: 1}", "for_s", "after `ready` the timing is not exact"),
        ("{after: connected, do: link_down, to: ra, for_s: 1}", "for_s", "after `connected` the timing is not exact"),
        ("{at_s: 8, do: link_change, to: ra, link: lte, over_s: 3}", "", "it would not be complete before 11 s"),
        ("{after: ready, do: link_change, to: ra, link: lte, over_s: 3}", "", "would be late"),
        ("{at_s: [5, 5], do: reboot, to: ra}", "", "`at_s` has 5 twice"),
    ],
)
def test_what_would_never_come_is_refused(tmp_path: Path, item: str, field: str, said: str) -> None:
    text = refused(tmp_path, item)
    assert said in text and f"mine.yaml:7: timeline[0]{'.' * bool(field)}{field}: " in text


AVAILABILITY = "{path: {}, availability: {duration_s: 10}}"


@pytest.mark.parametrize(
    ("item", "given", "field", "said"),
    [
        ("{after: connected, do: reboot, to: ra}", {"probes": "{continuity: {}}"}, "after", "found by the probe path"),
        ("{after: direct, do: reboot, to: ra}", {"probes": AVAILABILITY}, "after", "found by the probe continuity"),
        ("{after: direct, do: reboot, to: ra}", {"overlays": "{refmesh: [hub, relay]}"}, "after", "no overlay here"),
        ("{at_s: 10, do: reboot, to: ra}", {"probes": AVAILABILITY}, "at_s", "would never happen"),
    ],
)
def test_a_moment_that_nothing_tells_is_refused(
    tmp_path: Path, item: str, given: dict[str, str], field: str, said: str
) -> None:
    text = refused(tmp_path, item, **given)
    assert said in text and f"mine.yaml:7: timeline[0].{field}: " in text


def test_who_looks_at_the_first_event_of_the_traffic_wants_one(tmp_path: Path) -> None:
    text = refused(tmp_path, "{after: ready, do: reboot, to: ra}", probes=AVAILABILITY)
    assert "probes.availability: availability measures the first event after its traffic begins" in text


GROUP = {"topology": "parties", "params": "{n: 4, nat: full-cone, link: fibre}"}


def test_nothing_happens_to_who_is_not_there_yet(tmp_path: Path) -> None:
    joins = "{at_s: 4, do: add_member, to: p3}"
    said = refused(tmp_path, "{at_s: 1, do: kill, to: p3, for_s: 1}", joins, **GROUP)
    assert "mine.yaml:7: timeline[0].at_s: kill: p3 has not joined yet: it joins with add_member p3 at 4 s" in said
    said = refused(tmp_path, "{after: ready, do: sleep, to: p3}", joins, **GROUP)
    assert "timeline[0].after: sleep: p3 has not joined yet" in said
    said = refused(tmp_path, joins, "{at_s: 6, do: add_member, to: p3}", **GROUP)
    assert (
        "mine.yaml:8: timeline[1].at_s: add_member: p3 already joins with add_member p3 at 4 s, and cannot join twice"
        in said
    )
    assert planned(tmp_path, joins, "{at_s: 5, do: kill, to: p3, for_s: 1}", **GROUP)


@pytest.mark.parametrize(
    "items",
    [
        ("{at_s: 1, do: move, to: a, into: lan_b}", "{at_s: 3, do: move, to: a, into: ra}"),
        ("{at_s: 1, do: switch_uplink, to: a, via: ra2}", "{at_s: 3, do: switch_uplink, to: a, via: ra}"),
        ("{at_s: 3, do: move, to: a, into: ra}", "{at_s: 1, do: move, to: a, into: lan_b}"),
        ("{after: direct, do: move, to: a, into: lan_b}", "{at_s: 5, do: move, to: a, into: ra}"),
        (
            "{at_s: 1, do: renew_ip, to: a, addresses: [192.168.1.77]}",
            "{at_s: 3, do: renew_ip, to: a, addresses: [192.168.1.88], for_s: 1}",
            "{at_s: 6, do: move, to: b, into: lan_a, addresses: [192.168.1.2]}",
        ),
    ],
)
def test_each_item_is_held_against_what_there_is_when_it_begins(tmp_path: Path, items: tuple[str, ...]) -> None:
    assert planned(tmp_path, *items)


@pytest.mark.parametrize(
    ("items", "line", "said"),
    [
        (
            ("{at_s: 1, do: move, to: a, into: lan_b, for_s: 1}", "{at_s: 3, do: move, to: a, into: ra}"),
            8,
            "a is on lan_",
        ),
        (
            (
                "{at_s: 1, do: change_address, to: ra, addresses: [45.45.9.9]}",
                "{at_s: 2, do: change_address, to: rb, addresses: [45.45.9.9]}",
            ),
            8,
            "45.45.9.9 is ra's",
        ),
        (("{at_s: 1, do: change_address, to: rb, addresses: [45.45.255.255]}",), 7, "broadcast address"),
        (("{at_s: 1, do: renew_ip, to: b, addresses: [192.168.2.0]}",), 7, "the network's own address"),
        (("{at_s: 1, do: change_address, to: rb, addresses: [45.45.2.9, 45.45.2.9]}",), 7, "45.45.2.9 is listed twice"),
    ],
)
def test_what_cannot_be_by_then_is_refused(tmp_path: Path, items: tuple[str, ...], line: int, said: str) -> None:
    text = refused(tmp_path, *items)
    assert said in text and f"mine.yaml:{line}: timeline[{line - 7}]: " in text


@pytest.mark.parametrize(
    ("topology", "parameter", "said", "item"),
    [
        ("roaming", "nat_m", "router rm: 2 subscribers", "{at_s: 1, do: move, to: a, into: rm}"),
        ("roaming", "nat_a", "router ra: 3 subscribers", "{at_s: 1, do: move, to: b, into: ra}"),
        (
            "cgnat",
            "nat_carrier",
            "router rc: 4 subscribers",
            "{at_s: 1, do: change_address, to: ra, addresses: [10.128.1.9, 10.128.1.8]}",
        ),
    ],
)
def test_an_address_for_which_no_block_of_ports_is_left_is_refused(
    tmp_path: Path, topology: str, parameter: str, said: str, item: str
) -> None:
    """Each address inside has one, and so has the observer of the trial's check."""
    needed = int(said.split()[2])
    nat = f"{{alias: cgn, port_block_size: {64512 // needed + 1}}}"
    text = refused(tmp_path, item, topology=topology, params=f"{{{parameter}: {nat}}}")
    assert said in text and "mine.yaml:7: timeline[0]: " in text
    enough = f"{{alias: cgn, port_block_size: {64512 // needed}}}"
    assert planned(tmp_path, item, topology=topology, params=f"{{{parameter}: {enough}}}")


def test_a_router_that_translates_goes_on_translating(tmp_path: Path) -> None:
    """Nobody outside has a route to the networks behind it."""
    other = {"topology": "two-sites", "params": "{nat_a: dual-stack, nat_b: ds-lite, ip: dual}"}
    for nat in ("none", "firewall", "ds-lite"):
        said = refused(tmp_path, f"{{at_s: 1, do: change_nat, to: ra, nat: {nat}}}", **other)
        assert "ra would not translate: others have no routes to the IPv4 networks behind it" in said
        assert "mine.yaml:7: timeline[0]: " in said
        assert planned(tmp_path, f"{{at_s: 1, do: change_nat, to: rb, nat: {nat}}}", **other)
    assert planned(tmp_path, "{at_s: 1, do: change_nat, to: ra, nat: ipv6-firewall}", **other), "no IPv4 at all"


def test_a_node_that_an_overlay_needs_besides_the_server_may_die(tmp_path: Path) -> None:
    kill = "{at_s: 1, do: kill, to: s2, for_s: 1}"
    assert planned(tmp_path, kill, topology="two-sites", params="{}", overlays="{tor: relay}")
    said = refused(tmp_path, kill, topology="two-sites", params="{}", overlays="{tor: relay, openvpn: hub}")
    assert "timeline[0].to: kill cannot be done to s2" in said, "one of the two has no such node"


def test_a_service_has_another_name_in_each_product(tmp_path: Path) -> None:
    both = {"overlays": "{refmesh: mesh, openvpn: hub}"}
    assert planned(tmp_path, "{at_s: 1, do: kill, to: s, service: [server, openvpn-s], for_s: 1}", **both)
    said = refused(tmp_path, "{at_s: 1, do: kill, to: s, service: [server, sever]}", **both)
    assert "openvpn hub: there is no service server or sever on s (there are openvpn-s)" in said


@pytest.mark.parametrize("do", ["kill, for_s: 1", "restart"])
def test_a_mistyped_service_beside_right_ones_is_refused(tmp_path: Path, do: str) -> None:
    both = {"overlays": "{refmesh: mesh, openvpn: hub}"}
    said = refused(tmp_path, f"{{at_s: 1, do: {do}, to: s, service: [server, 'openvpn-*', sever]}}", **both)
    assert "no overlay here has a service sever on s (there are openvpn-s, server)" in said
    assert "timeline[0]: " in said
