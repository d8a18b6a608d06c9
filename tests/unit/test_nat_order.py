"""The order of NATs in tables follows from what they do, for every alias and for labels made of axes."""

import pytest

from harness.model.nat import ALIASES, parse_nat
from harness.model.nat_order import nat_rank


def test_every_alias_has_a_place_by_its_behaviour() -> None:
    unknown = nat_rank("of another program")
    assert all(nat_rank(name) < unknown for name in ALIASES)
    assert all(nat_rank(alias.behaviour.axes_label)[0] == nat_rank(name)[0] for name, alias in ALIASES.items())


def test_from_the_most_permissive_to_the_least() -> None:
    expected = [
        *("none", "firewall", "full-cone", "cgn", "address-restricted", "port-restricted", "home-router"),
        *("address-symmetric", "symmetric-sequential", "symmetric", "udp-blocked", "tls-only", "something else"),
    ]
    shuffled = sorted(expected)
    assert sorted(shuffled, key=nat_rank) == expected


@pytest.mark.parametrize(
    ("label", "after", "before"),
    [
        (parse_nat({"alias": "symmetric", "udp_lifetime_s": 30}).label, "symmetric", "udp-blocked"),
        ("home-router+symmetric", "symmetric", "udp-blocked"),
        (parse_nat({"port_mapping": ["upnp-igd", "nat-pmp", "pcp"]}).label, "port-restricted", "symmetric"),
        ("EIM/APDF/preserving,egress=no-udp", "symmetric", "tls-only"),
        ("EIM/APDF/of-another-program", "address-restricted", "symmetric"),
    ],
)
def test_labels_of_axes_and_of_several_routers(label: str, after: str, before: str) -> None:
    assert nat_rank(after) < nat_rank(label) < nat_rank(before)
