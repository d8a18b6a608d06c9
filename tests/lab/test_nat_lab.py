"""Real routers: nftables against its labels, against the simulated NAT and against an independent client."""

from __future__ import annotations

import itertools
import random
import shutil
from typing import Any

import pytest

from harness.calibration.nat_calibrate import calibrate_nat
from harness.model.nat import ALIASES, Filtering, Hairpinning, Mapping, parse_nat
from tests.lab.nat_sandbox import each_in_sandbox, in_sandbox

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_every_alias_is_what_it_says() -> None:
    results = list(calibrate_nat(jobs=3, only=[*ALIASES], seed=11))
    assert {result.name for result in results} >= {name for name, alias in ALIASES.items() if alias.behaviour.ipv4}
    assert [(result.name, result.differences, result.error) for result in results if not result.passed] == []


def test_what_routers_do_to_packets_whatever_their_mappings() -> None:
    """UDP policed each way, fragments dropped in both IP versions, a narrow line told of by ICMP and in handshakes."""
    only = ["limits:*udp_rate*", "families:*fragments=drop*", "behaviour:*fragments=drop*", "line:EIM*", "line:none*"]
    results = list(calibrate_nat(jobs=3, only=only, seed=11))
    assert {result.name.split(":")[0] for result in results} == {"limits", "families", "behaviour", "line"}
    assert [(result.name, result.differences, result.error) for result in results if not result.passed] == []


WRONG_LABELS = [
    ("port-restricted", "symmetric", "mapping"),
    ("symmetric", "address-symmetric", "mapping"),
    ("full-cone", "address-restricted", "filtering"),
    ("port-restricted", "address-restricted", "filtering"),
    ("symmetric-sequential", "symmetric", "port_allocation"),
    ("port-restricted", "home-router", "hairpinning"),
    ("poisoning-router", "port-restricted", "unsolicited"),
    ("rejecting-router", "port-restricted", "unsolicited"),
    ("udp-blocked", "port-restricted", "egress"),
    ("none", "firewall", "filtering"),
    ("fragment-dropper", "port-restricted", "fragments"),
]


def test_a_wrong_label_is_found_out() -> None:
    found = each_in_sandbox(("mislabelled", actual, declared) for actual, declared, _ in WRONG_LABELS)
    missed = [(case, said) for case, said in zip(WRONG_LABELS, found, strict=True) if case[2] not in " ".join(said)]
    assert missed == []


def test_what_a_router_fails_to_translate_is_found_out() -> None:
    spoils = {
        "icmp type echo-request drop": "icmp_echo: declared True, observed False",
        "icmp code port-unreachable drop": "icmp_error: declared True, observed False",
        "icmp type time-exceeded drop": "hop_error: declared True, observed False",
        "udp length 72 drop": "fragments: declared True, observed False",
    }
    assert in_sandbox("spoilt", list(spoils)) == [[wrong] for wrong in spoils.values()]


def test_a_closed_connection_leaves_its_mapping_for_the_transitory_time() -> None:
    """The last segment is an acknowledgement without FIN, and counts no more than that (RFC 5382 REQ-5)."""
    assert in_sandbox("after_the_last_ack", [0.2, 6.5]) == [True, False]


def test_events_do_what_they_say() -> None:
    seen = in_sandbox("events")
    assert seen == {
        "before": True,
        "after reboot, from outside": False,
        "after reboot, once the inside has sent": True,
        "blocked": False,
        "blocked, from outside": False,
        "unblocked, mapping as before": True,
        "unblocked": True,
        "new address": "45.45.1.9",
        "old address": False,
        "addresses": ["45.45.1.9"],
        "new behaviour": "APDM",
        "new behaviour, old flow": True,
    }


ROUTERS = [
    ("symmetric", "symmetric", "APDM/APDF/random", ""),
    ("poisoning-router", "poisoning-router", "EIM/APDF/preserving", ""),
    ("symmetric", "port-restricted", "APDM/APDF/random", "mapping: declared EIM, observed APDM"),
    ("port-restricted", "poisoning-router", "EIM/APDF/preserving", "unsolicited: declared poisons, observed drop"),
    ("udp-blocked", "port-restricted", "egress=no-udp", "egress: declared any, observed no-udp"),
]


def test_a_trial_refuses_a_router_that_is_not_what_it_says() -> None:
    found = each_in_sandbox(("checked_in_a_trial", actual, declared) for actual, declared, *_ in ROUTERS)
    for (actual, declared, label, wrong), said in zip(ROUTERS, found, strict=True):
        assert (said["label"], said["left"]) == (label, []), (actual, declared)
        assert wrong in said["refused"] and bool(said["refused"]) == bool(wrong), (actual, declared, said)


SEQUENTIAL = {"alias": "port-restricted", "port_allocation": "sequential"}
SIX = {"alias": "port-restricted", "ipv6_filtering": "APDF"}


PACKETS: list[tuple[str, Any, Any, int, str]] = [
    (
        "",
        {**SEQUENTIAL, "port_step": 1},
        {**SEQUENTIAL, "port_step": -1},
        1500,
        "port_step: declared -1, observed 1",
    ),
    (
        "",
        {"alias": "full-cone", "fragments": "drop"},
        "full-cone",
        1500,
        "fragments: declared True, observed False",
    ),
    ("", "none", {"alias": "none", "fragments": "drop"}, 1500, "fragments: declared False, observed True"),
    (
        "",
        {"alias": "full-cone", "mtu_errors": False},
        "full-cone",
        1400,
        "mtu_errors: declared True, observed False",
    ),
    (
        "",
        "symmetric",
        {"alias": "symmetric", "mtu_errors": False},
        1400,
        "mtu_errors: declared False, observed True",
    ),
    ("", {"alias": "full-cone", "mss_clamping": False}, "full-cone", 1400, "mss_clamping: declared True, observed"),
    (
        "",
        {"alias": "full-cone", "udp_rate_mbit": 4},
        {"alias": "full-cone", "udp_rate_mbit": 6},
        1500,
        "udp_rate_mbit",
    ),
    ("", "full-cone", {"alias": "full-cone", "udp_rate_mbit": 4}, 1500, "udp_rate_inward_mbit: declared 4"),
    ("_ipv6", {**SIX, "fragments": "drop"}, SIX, 1500, "ipv6_fragments: declared True, observed False"),
    ("_ipv6", {**SIX, "mtu_errors": False}, SIX, 1400, "ipv6_mtu_errors: declared True, observed False"),
    ("_ipv6", {**SIX, "mss_clamping": False}, SIX, 1400, "ipv6_mss_clamping: declared True, observed False"),
]


def test_a_trial_s_check_knows_what_a_router_does_to_packets() -> None:
    calls = [
        (f"checked{family}_in_a_trial", real, said, mtu_bytes)
        for family, actual, declared, mtu_bytes, _ in PACKETS
        for real, said in ((actual, declared), (actual, actual), (declared, declared))
    ]
    found = iter(each_in_sandbox(calls))
    for *case, wrong in PACKETS:
        lie, *honest = (next(found) for _ in range(3))
        assert wrong in lie["refused"], (case, lie)
        assert [(one["refused"], one["left"]) for one in honest] == [("", [])] * 2, case


@pytest.mark.parametrize("alias", ["full-cone", "port-restricted", "symmetric"])
def test_a_flow_in_use_does_not_bring_its_old_mapping_through_a_change(alias: str) -> None:
    """A packet between new rules and the end of old connections gave the host its old address for minutes."""
    for address, mapped in in_sandbox("reloaded_in_use", alias, 10):
        assert mapped == address


def test_nothing_passes_between_two_policies_that_forbid_it() -> None:
    found = in_sandbox("heard_between_policies", 10)
    assert found == {"during": 0, "after": len("still here"), "ended": 0}


def test_tcp_outlives_a_reboot_where_ports_are_preserved_and_the_inside_sends() -> None:
    """As docs/nat.md says."""
    asked = list(itertools.product(("firewall", "port-restricted", "symmetric", "cgn"), ("inside", "outside")))
    found = each_in_sandbox(("outlives_a_reboot", *each) for each in asked)
    outlived = [each for each, did in zip(asked, found, strict=True) if did]
    assert outlived == [("firewall", "inside"), ("port-restricted", "inside")]


@pytest.mark.parametrize(("nat", "label"), [("symmetric", "APDM/APDF/random"), ("cgn", "EIM/EIF/block")])
def test_no_link_lies_between_a_trial_s_observers_and_the_router(nat: str, label: str) -> None:
    said = in_sandbox("checked_beside_dead_links", nat)
    assert said == {"observed": {"ra": label}, "left": True, "mappings": False}


def test_datagrams_without_checksum_pass() -> None:
    aliases = ("none", "port-restricted", "symmetric", "cgn")
    found = each_in_sandbox(("without_checksum", alias) for alias in aliases)
    assert dict(zip(aliases, found, strict=True)) == {alias: [True, True] for alias in aliases}


def _sequence(seed: int, length: int = 40) -> list[tuple[str, int, int]]:
    rng = random.Random(seed)
    kinds = ["out"] * 3 + ["in"] * 4 + ["hairpin"] * 2
    return [(rng.choice(kinds), rng.randrange(4), rng.randrange(4)) for _ in range(length)]


AXES: list[dict[str, Any]] = [
    {"mapping": m.value, "filtering": f.value, "hairpinning": h.value, "port_allocation": allocation}
    for (m, f, h), allocation in zip(
        (
            (m, f, h)
            for m, f, h in itertools.product(list(Mapping)[1:], list(Filtering)[1:], Hairpinning)
            if not (h is Hairpinning.EXTERNAL_SOURCE and m is not Mapping.EIM and f is not Filtering.EIF)
        ),
        # Not preserving: which port is free depends on the sockets of the test machine.
        itertools.cycle(["random", "block", "sequential"]),
        strict=False,
    )
]


def test_router_and_simulated_nat_give_the_same_answers() -> None:
    cases = [(axes, _sequence(seed)) for axes in AXES for seed in (1, 2, 3)]
    found = in_sandbox("all_same_answers", cases)
    assert len(found) == len(cases) == 69
    assert {parse_nat(axes).axes_label: wrong for (axes, _), wrong in zip(cases, found, strict=True) if wrong} == {}


WORDS = {
    "EIM": "NAT with Endpoint Independent Mapping",
    "ADM": "NAT with Address Dependent Mapping",
    "APDM": "NAT with Address and Port Dependent Mapping",
    "EIF": "NAT with Endpoint Independent Filtering",
    "ADF": "NAT with Address Dependent Filtering",
    "APDF": "NAT with Address and Port Dependent Filtering",
}


@pytest.mark.skipif(shutil.which("turnutils_natdiscovery") is None, reason="needs coturn: apt-get install -y coturn")
def test_an_independent_client_names_the_same_behaviour() -> None:
    pairs = list(itertools.product(("EIM", "ADM", "APDM"), ("EIF", "ADF", "APDF")))
    routers = [{"mapping": m, "filtering": f, "port_allocation": "random"} for m, f in pairs]
    said = dict(zip(pairs, in_sandbox("independent_client", routers), strict=True))
    wrong = {pair: text for pair, text in said.items() if not all(WORDS[word] in text for word in pair)}
    assert wrong == {}
