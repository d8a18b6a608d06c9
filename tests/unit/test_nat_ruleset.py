"""Rulesets and what they are made from, as text; what they do is the lab tests' matter."""

from __future__ import annotations

import enum
import re
from dataclasses import replace

import pytest

from harness.calibration.nat_cases import all_cases
from harness.model.nat import ALIASES, NatBehaviour, parse_nat
from harness.nat.acceptance import samples
from harness.nat.forgetting import filled_by_packets
from harness.nat.ports import RouterPorts, blocks_with_newcomers, port_blocks
from harness.nat.rules_nat import reassigned_blocks
from harness.nat.ruleset import render_ruleset, router_sysctls
from harness.scenario.load import load_topology
from harness.topology.wiring import router_ports

PORTS = RouterPorts("r-eth0", ("45.45.1.1", "45.45.1.2"), ("r-eth1",), ("10.0.0.0/24",), lan_prefixes=("fd00:1::/64",))


def test_a_ruleset_depends_on_nothing_but_its_arguments() -> None:
    for alias in ALIASES.values():
        assert render_ruleset(alias.behaviour, PORTS, seed=3) == render_ruleset(alias.behaviour, PORTS, seed=3)
    sequential = parse_nat("symmetric-sequential")
    assert render_ruleset(sequential, PORTS, seed=3) != render_ruleset(sequential, PORTS, seed=4)


def test_tables_bear_the_promised_names_and_replace_what_was_there() -> None:
    for alias in ALIASES.values():
        text = render_ruleset(alias.behaviour, PORTS, seed=1)
        opened = re.findall(r"^table (\w+) (\w+) {$", text, re.MULTILINE)
        assert opened
        for family, name in opened:
            assert name.startswith(("nat_", "filter_"))
            assert text.index(f"delete table {family} {name}\n") < text.index(f"table {family} {name} {{")


def test_no_generated_number_is_written_into_a_header() -> None:
    """nft 1.1 refuses that, and 1.0.6 gets the byte order wrong; a packet mark and a map take such numbers in both."""
    for case in all_cases():
        for line in render_ruleset(case.behaviour, PORTS, seed=1).splitlines():
            if found := re.search(r" set (numgen|jhash|symhash) ", line):
                assert line[: found.start()].endswith("meta mark") or " map {" in line[found.end() :], line


def test_nothing_is_dropped_for_lack_of_a_tracking_entry() -> None:
    """What the harness leaves untracked for its baseline passes every router that forwards the family at all."""
    for alias in ALIASES.values():
        text = render_ruleset(alias.behaviour, PORTS, seed=1)
        forward = text[text.index("chain forward {\n\t\ttype filter hook forward priority filter;") :].splitlines()
        assert forward[2].strip() == "ct state untracked accept"


def test_a_plain_router_has_no_nat_table_and_filters_nothing() -> None:
    text = render_ruleset(parse_nat("none"), PORTS, seed=1)
    assert "nat_v4 {" not in text
    assert "ct state new drop" not in text


def test_sysctls_carry_the_lifetimes() -> None:
    settings = router_sysctls(parse_nat({"alias": "full-cone", "udp_lifetime_s": 42}))
    assert settings["net.netfilter.nf_conntrack_udp_timeout_stream"] == "42"
    assert settings["net.ipv4.ip_forward"] == "1"
    assert router_sysctls(parse_nat("ipv6-only"))["net.ipv4.ip_forward"] == "0"
    assert router_sysctls(parse_nat("dual-stack"))["net.ipv6.conf.all.forwarding"] == "1"


def test_port_blocks_never_overlap_and_fill_one_address_after_the_other() -> None:
    behaviour = parse_nat({"alias": "cgn", "pool_size": 2})
    blocks = port_blocks(behaviour, PORTS)
    assert len(blocks) == 2 * (64512 // 512)
    used = [(block.address, port) for block in blocks for port in range(block.first, block.first + block.size)]
    assert len(used) == len(set(used))
    assert min(port for _, port in used) == 1024
    assert [block.subscriber for block in blocks[:2]] == ["10.0.0.1", "10.0.0.2"]


def test_who_is_inside_has_a_block_wherever_his_address_lies() -> None:
    topology = load_topology("cgnat").resolve({"nat_carrier": "cgn"})
    blocks = port_blocks(topology.routers["rc"].nat, router_ports(topology, "rc"))
    # The two customers, and the observer of the trial's check.
    assert [block.subscriber for block in blocks[:3]] == [
        "10.128.1.1",
        "10.128.2.1",
        "10.128.0.2",
    ]  # the last is the observer's
    assert len({block.subscriber for block in blocks}) == len(blocks) == 64512 // 512


def test_a_newcomer_has_a_block_of_nobody_s_and_all_others_keep_theirs() -> None:
    behaviour = parse_nat({"alias": "cgn", "port_block_size": 16128})  # four blocks
    before = replace(PORTS, wan_addresses=("45.45.1.1",), subscribers=("10.0.0.7", "10.0.0.8"))
    held = port_blocks(behaviour, before)
    assert [block.subscriber for block in held] == ["10.0.0.7", "10.0.0.8", "10.0.0.1", "10.0.0.2"]
    came = replace(before, subscribers=("10.0.0.250", "10.0.0.8"))
    blocks = blocks_with_newcomers(held, behaviour, came, before.subscribers)
    assert [block.subscriber for block in blocks] == ["10.0.0.7", "10.0.0.8", "10.0.0.250", "10.0.0.2"]
    assert [(one.address, one.first) for one in blocks] == [(one.address, one.first) for one in held]
    script = reassigned_blocks(held, blocks).splitlines()
    assert script == [
        "delete element ip nat_v4 block { 10.0.0.1 : jump block_2 }",
        "delete element ip nat_v4 home { 10.0.0.1 : 45.45.1.1 }",
        "add element ip nat_v4 block { 10.0.0.250 : jump block_2 }",
        "add element ip nat_v4 home { 10.0.0.250 : 45.45.1.1 }",
    ]
    full = replace(before, subscribers=("10.0.0.250", "10.0.0.251", "10.0.0.252", "10.0.0.8"))
    last = blocks_with_newcomers(blocks, behaviour, full, came.subscribers)
    assert {block.subscriber for block in last} == set(full.subscribers)
    assert last[1:3] == blocks[1:3]
    with pytest.raises(ValueError, match="need 2 external addresses"):
        blocks_with_newcomers(
            last, behaviour, replace(full, subscribers=(*full.subscribers, "10.0.0.9")), full.subscribers
        )
    assert reassigned_blocks(held, held) == ""


def test_a_newcomer_to_a_small_network_has_a_block_that_nobody_had_yet() -> None:
    behaviour, hosts = parse_nat("cgn"), ("10.0.0.1", "10.0.0.2")
    before = replace(PORTS, lan_networks=("10.0.0.0/30",), subscribers=hosts)
    held = port_blocks(behaviour, before)
    came = replace(before, subscribers=(*hosts, "192.168.1.250"))  # behind a home that does not translate
    blocks = blocks_with_newcomers(held, behaviour, came, hosts)
    assert blocks == port_blocks(behaviour, came) and len(blocks) == 3
    script = reassigned_blocks(held, blocks)
    assert "chain block_2 {" in script and "offset 2048" in script and "delete" not in script


def test_a_home_without_a_nat_shares_the_carrier_s_ports() -> None:
    topology = load_topology("cgnat").resolve({"nat_a": "ds-lite", "nat_carrier": "cgn"})
    subscribers = router_ports(topology, "rc").subscribers
    assert "192.168.1.2" in subscribers  # a, whom the carrier sees as he is
    assert "192.168.2.2" not in subscribers  # b, behind a NAT of his own


def test_what_a_router_has_too_few_addresses_for_is_refused() -> None:
    with pytest.raises(ValueError, match="pool_size 3"):
        render_ruleset(parse_nat({"alias": "symmetric", "pool_size": 3}), PORTS, seed=1)
    crowd = RouterPorts(
        "w", ("45.45.1.1",), ("l",), ("10.0.0.0/16",), tuple(f"10.0.{n // 250}.{n % 250}" for n in range(200))
    )
    with pytest.raises(ValueError, match="need 2 external addresses"):
        render_ruleset(parse_nat("cgn"), crowd, seed=1)


def test_a_router_that_forgets_empties_every_map_that_packets_fill() -> None:
    """An `elements` of the script's own (blocks, homes) stays; so does what no packet fills."""
    capped = parse_nat({"alias": "cgn", "filtering": "ADF", "session_cap": 5, "ipv6_filtering": "ADF"})
    found = list(filled_by_packets(render_ruleset(capped, PORTS, seed=1)))
    assert found == [
        *(("ip", "nat_v4", name) for name in ("out_udp", "fresh_udp", "out_tcp", "fresh_tcp", "back", "contacted")),
        *(("inet", "filter_router", name) for name in ("sessions_v4", "sessions_v6", "open_v6")),
    ]
    assert list(filled_by_packets(render_ruleset(parse_nat("none"), PORTS, seed=1))) == []


def test_calibration_covers_every_combination_that_the_model_allows() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) > 600
    triples = {(c.behaviour.mapping, c.behaviour.filtering, c.behaviour.port_allocation) for c in cases}
    assert len([triple for triple in triples if triple[0] != "none"]) == 36
    covered = {alias for alias in ALIASES if any(case.name.split(":")[0] == alias for case in cases)}
    assert covered == set(ALIASES)


def test_the_doctor_has_nft_asked_about_every_alias_and_axis_value() -> None:
    found = samples()
    assert set(ALIASES) <= set(found)
    for axis in NatBehaviour.model_fields:
        seen = [getattr(behaviour, axis) for label, behaviour in found.items() if label.startswith(f"{axis}=")]
        default = NatBehaviour.model_fields[axis].default
        assert len(set(seen)) == len(seen) or axis == "port_mapping"
        assert any(value != default for value in seen), axis
        if isinstance(default, enum.Enum):
            assert set(seen) == set(type(default))
