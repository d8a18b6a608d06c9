"""The path of content, from counts and fetches that were made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from path_pair import A_OWN, A_PUBLIC, B_OWN, B_PUBLIC, DEADLINE_S, SERVER, SINCE, A, B, target, values

from harness.lab.counters import Flow
from harness.model.words import Verdict
from harness.probes import contentpath
from harness.probes.contentpath import Fetch, found_of
from harness.probes.measurement import Target
from harness.probes.pathfigures import figures_of
from harness.probes.verdict import path_of_content

MB = 1_000_000


def counts(*, a_direct: int = 0, a_server: int = 0, b_direct: int = 0, b_server: int = 0) -> dict[Flow, int]:
    """Return what left `a` and reached `b`, directly and by way of the server; some acknowledgements the other way."""
    return {
        Flow("lan_a", A_OWN, B_PUBLIC): a_direct,
        Flow("lan_a", A_OWN, SERVER): a_server,
        Flow("lan_b", A_PUBLIC, B_OWN): b_direct,
        Flow("lan_b", SERVER, B_OWN): b_server,
        Flow("lan_a", SERVER, A_OWN): 300_000,
        Flow("lan_b", B_OWN, SERVER): 300_000,
    }


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ({"a_direct": MB, "b_direct": MB, "a_server": 20_000}, "direct"),
        ({"a_server": MB, "b_server": MB, "a_direct": 20_000}, "relayed"),
        # Stored on the server, and fetched from both: it left once, and came in two ways.
        ({"a_server": MB, "a_direct": MB // 2, "b_server": MB // 2, "b_direct": MB // 2}, "mixed"),
        ({"a_direct": MB, "b_direct": MB // 2}, "none"),
        ({}, "none"),
    ],
)
def test_the_path_of_content_is_that_of_its_bytes(seen: Mapping[str, int], verdict: str) -> None:
    assert path_of_content(counts(**seen), A, B, MB) == verdict


def test_the_path_of_content_has_a_direction() -> None:
    seen = counts(a_direct=MB, b_direct=MB)
    assert path_of_content(seen, B, A, MB) == "none"


def fetches(*ways: Verdict | None, every_s: float = 2.0) -> list[Fetch]:
    """Return fetches that ended one after the other; None: it failed."""
    return [
        Fetch(103.0 + n * every_s, way or "none", None if way else "fetch ended with status 1")
        for n, way in enumerate(ways)
    ]


def test_content_connects_with_its_first_fetch_and_is_direct_with_the_first_that_is() -> None:
    found = found_of(fetches(None, "relayed", "mixed", "direct"), 110.0, SINCE)
    assert values(found) == {
        "connect_success": 1,
        "time_to_connect_s": 5.0,
        "ready_to_connect_s": 3.0,
        "hole_punch_success": 1,
        "time_to_direct_s": 9.0,
        "ready_to_direct_s": 7.0,
    }


def test_the_last_fetch_in_time_is_the_verdict() -> None:
    assert found_of(fetches("direct", "relayed"), 110.0, SINCE).verdict == "relayed"
    late = found_of(fetches("relayed", "direct", every_s=20.0), 110.0, SINCE)
    assert (late.verdict, late.direct_s) == ("relayed", None)


def test_content_that_never_came_says_why() -> None:
    found = found_of(fetches(None, None), 110.0, SINCE)
    (first, *_) = figures_of(target(), found, DEADLINE_S)
    assert (first.value, first.path, first.outcome) == (0, "none", "failed")
    assert first.error == "no content was fetched within 10 s: fetch ended with status 1"


def test_a_pair_that_waited_for_another_has_as_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [103.0]
    monkeypatch.setattr(contentpath.time, "time", lambda: clock[0])
    monkeypatch.setattr(contentpath.time, "sleep", lambda _s: None)

    def fetched(pair: Target, *_: object) -> Fetch:
        clock[0] += 4.0
        return Fetch(clock[0], "direct" if pair.src == "b" else "relayed")

    monkeypatch.setattr(contentpath, "_fetched", fetched)
    made: Any = Target
    lab = SimpleNamespace(seed=1)
    pairs = [made(lab=lab, src=src, dst="c", mode="mesh", folder=tmp_path) for src in "ab"]
    found = contentpath.find_content_paths(pairs, DEADLINE_S, SINCE)
    # The first goes on until 10 s after the start, and the second begins then.
    assert clock[0] == 115.0
    assert values(found["a", "c"])["hole_punch_success"] == 0
    assert values(found["b", "c"])["time_to_direct_s"] == values(found["a", "c"])["time_to_connect_s"] == 7.0
