"""What `check` says of events that would bring together who is parted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_timeline_check import GROUP, planned, refused


def test_whoever_shares_a_router_with_others_is_parted_alone_or_not_at_all(tmp_path: Path) -> None:
    assert planned(tmp_path, "{at_s: 1, do: partition, to: a, away_from: s}", topology="same-site", params="{}")
    moves = "{at_s: 1, do: move, to: p2, into: r1}", "{at_s: 1, do: move, to: p4, into: r3}"
    parted = "{at_s: 5, do: partition, to: p1, away_from: p3}"
    assert planned(tmp_path, moves[0], parted, **GROUP)
    said = refused(tmp_path, *moves, parted, **GROUP)
    assert "mine.yaml:9: timeline[2]: partition: others are behind r1 and behind r3" in said


ASIDE = "{at_s: 1, do: partition, to: a, away_from: b, for_s: 6}"


@pytest.mark.parametrize(
    ("items", "field", "said"),
    [
        (
            (ASIDE, "{at_s: 2, do: move, to: a, into: rb}"),
            "timeline[1]",
            "it begins while partition a at 1 s lasts: a and",
        ),
        ((ASIDE, "{after: direct, do: move, to: a, into: lan_b}"), "timeline[1]", "a and b share a router"),
        (
            ("{at_s: 0.5, do: move, to: a, into: rm, for_s: 3}", "{at_s: 0.6, do: move, to: b, into: lan_a}", ASIDE),
            "timeline[0]",
            "it ends while partition a at 1 s lasts: a and b share a router",
        ),
    ],
)
def test_who_is_parted_is_not_put_behind_one_router(
    tmp_path: Path, items: tuple[str, ...], field: str, said: str
) -> None:
    text = refused(tmp_path, *items, topology="roaming")
    assert said in text and field in text


@pytest.mark.parametrize(
    "item",
    [
        "{at_s: 2, do: move, to: a, into: rm, for_s: 2}",
        "{at_s: 2, do: renew_ip, to: b}",
        "{at_s: 2, do: change_address, to: ra, addresses: [45.45.9.9], for_s: 10}",
        "{at_s: 8, do: move, to: a, into: rb}",
    ],
)
def test_who_is_parted_may_get_other_addresses(tmp_path: Path, item: str) -> None:
    assert planned(tmp_path, ASIDE, item, topology="roaming", probes="{path: {}, continuity: {duration_s: 20}}")
