"""What a scenario may say of a NAT, and what it may not."""

from __future__ import annotations

import itertools
import re

import pytest

from harness.model.nat import ALIASES, Filtering, Mapping, NatBehaviour, PortAllocation, parse_nat


def test_every_alias_is_a_behaviour_of_its_own_that_its_label_names() -> None:
    assert len({alias.behaviour for alias in ALIASES.values()}) == len(ALIASES)
    for name, alias in ALIASES.items():
        assert parse_nat(name).label == name
        assert alias.stands_for


def test_label_names_the_axes_where_no_alias_does() -> None:
    assert parse_nat({"mapping": "EIM", "filtering": "ADF", "port_allocation": "random"}).label == "EIM/ADF/random"
    assert parse_nat({"alias": "symmetric", "udp_lifetime_s": 20}).label == "APDM/APDF/random,udp_lifetime_s=20"
    assert parse_nat({"alias": "symmetric", "udp_lifetime_s": 300}).label == "symmetric"


def test_short_and_long_words_mean_the_same() -> None:
    short = parse_nat({"mapping": "ADM", "filtering": "APDF"})
    assert short == parse_nat({"mapping": "address-dependent", "filtering": "address-and-port-dependent"})
    assert parse_nat(short) is short


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("symetric", "(did you mean symmetric?)"),
        ({"filtring": "EIF"}, "(did you mean filtering?)"),
        ({"alias": "full-con"}, "(did you mean full-cone?)"),
        ({"mapping": "XIM"}, "not 'XIM'"),
        ({"udp_lifetime_s": 0}, "udp_lifetime_s"),
        ({"port_allocation": "preserving", "port_step": 2}, "cannot follow a sequence"),
        ({"port_allocation": "sequential", "port_step": 0}, "one port"),
        ({"port_allocation": "random", "port_block_size": 64}, "block allocation"),
        ({"mapping": "none", "filtering": "APDF", "hairpinning": "external-source"}, "needs a mapping"),
        ({"mapping": "EIM", "filtering": "none"}, "its least is EIF"),
        ({"mapping": "APDM", "hairpinning": "external-source"}, "the same as off"),
        ({"pooling": "arbitrary"}, "pool_size 2"),
        ({"pooling": "arbitrary", "pool_size": 2, "port_allocation": "block"}, "paired"),
        ({"unsolicited": "poisons", "filtering": "ADF"}, "stock Linux"),
        ({"mapping": "none", "filtering": "none", "unsolicited": "reject"}, "nothing is unsolicited"),
        ({"ipv4": False}, "forward nothing"),
        ({"ipv4": False, "ipv6_filtering": "EIF"}, "nothing to map"),
    ],
)
def test_the_impossible_is_refused_with_the_reason_in_one_line(spec: str | dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        parse_nat(spec)
    assert "\n" not in str(caught.value)


def test_every_mapping_filtering_and_allocation_go_together() -> None:
    nats = itertools.product(list(Mapping)[1:], list(Filtering)[1:], PortAllocation)
    assert len({NatBehaviour(mapping=m, filtering=f, port_allocation=p) for m, f, p in nats}) == 36


def test_a_behaviour_survives_json() -> None:
    for alias in ALIASES.values():
        assert NatBehaviour.model_validate_json(alias.behaviour.model_dump_json()) == alias.behaviour
