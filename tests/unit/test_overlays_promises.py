"""What every adapter promises where no UDP, or TCP to port 443 alone, gets out; and where its servers stand. Pure."""

from __future__ import annotations

import re

import pytest
from test_overlays import OURS, rows_of_page, trial_of

from harness.model.nat_words import Egress
from harness.overlay.contract import PromisesPaths
from harness.overlay.registry import load_overlay


@pytest.mark.parametrize("name", [name for name in OURS if name != "underlay"])
def test_every_overlay_says_what_becomes_of_it_where_udp_or_more_is_blocked(name: str) -> None:
    overlay = load_overlay(name)
    assert isinstance(overlay, PromisesPaths)
    for mode in overlay.modes:
        trial = trial_of(name, mode)
        for egress in (Egress.NO_UDP, Egress.TCP_443):
            promised = set(overlay.paths_behind(egress, trial))
            assert promised and promised <= {"none", "relayed", "direct"}
            assert mode == "mesh" or len(promised - {"none"}) <= 1
        # Whoever lets less out promises no more.
        if overlay.paths_behind(Egress.NO_UDP, trial) == ("none",):
            assert overlay.paths_behind(Egress.TCP_443, trial) == ("none",)


@pytest.mark.parametrize(
    ("name", "options", "promised"),
    [
        ("refmesh", {}, ("relayed",)),
        ("refmesh", {"tls_port": 0}, ("none",)),
        ("refmesh", {"tls_port": 8443}, ("none",)),
        ("openvpn-tcp", {}, ("relayed",)),
        ("openvpn-tcp", {"port": 1194}, ("none",)),
        ("openvpn", {"port": 443}, ("none",)),
        ("frp", {}, ("none",)),
        ("frp", {"proxy": "stcp"}, ("relayed",)),
    ],
)
def test_a_promise_follows_the_options(name: str, options: dict[str, object], promised: tuple[str, ...]) -> None:
    overlay = load_overlay(name)
    assert isinstance(overlay, PromisesPaths)
    assert overlay.paths_behind(Egress.TCP_443, trial_of(name, "hub", options=options)) == promised


def test_servers_stand_where_most_networks_let_their_members_out() -> None:
    """Where something is promised behind TLS alone, 443 stands in the files or on the command lines."""
    for name in OURS:
        overlay = load_overlay(name)
        for mode in sorted(overlay.modes) if isinstance(overlay, PromisesPaths) else ():
            trial = trial_of(name, mode)
            if overlay.paths_behind(Egress.TCP_443, trial) != ("none",):
                deployment = overlay.render(trial)
                told = [*(file.text for file in deployment.files), *(str(one.argv) for one in deployment.services)]
                assert any(re.search(r"\b443\b|https:", text) for text in told), name


def test_the_page_tells_what_every_overlay_promises_where_little_gets_out() -> None:
    rows = rows_of_page("As their makers would deploy them")
    aliases = {"openvpn-tap": "openvpn", "openvpn-tap-tcp": "openvpn-tcp", "refmesh-tap": "refmesh"}
    aliases |= {"nebula-go": "nebula", "tor-single": "tor"}
    for name in set(OURS) - {"underlay"}:
        overlay = load_overlay(name)
        assert isinstance(overlay, PromisesPaths)
        for column, egress in ((4, Egress.NO_UDP), (5, Egress.TCP_443)):
            told = set(re.findall(r"direct|relayed|none", re.sub(r"\(.*\)", "", rows[aliases.get(name, name)][column])))
            promised = {path for mode in overlay.modes for path in overlay.paths_behind(egress, trial_of(name, mode))}
            assert told == (promised if promised == {"none"} else promised - {"none"}), (name, egress)


def test_the_page_tells_where_a_mode_without_a_relay_reaches_nobody() -> None:
    rows = rows_of_page("As their makers would deploy them")
    for name in set(OURS) & set(rows):
        overlay = load_overlay(name)
        assert isinstance(overlay, PromisesPaths)
        for column, egress in ((4, Egress.NO_UDP), (5, Egress.TCP_443)) if "direct" in overlay.modes else ():
            told = re.search(r"`direct`: ([a-zA-Z ]+)", rows[name][column])
            alone = overlay.paths_behind(egress, trial_of(name, "direct"))
            if rows[name][column] != "none" and "none" in alone:
                assert told is not None, (name, egress)
                assert set(re.findall("direct|none", told.group(1))) == set(alone), (name, egress)
            else:
                assert told is None, (name, egress)
