"""What many hosts cost: the engine's own share, and when a rate of two hosts is none."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from bench import hosts
from harness.hosts import pool as pools


def test_a_thousand_trials_cost_the_engine_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processor time, in the best of three: others who compute here empty its caches, too."""
    monkeypatch.setattr(pools, "harness_commit", pools.harness_commit)
    monkeypatch.setattr(platform, "python_version", platform.python_version)
    took_s: list[float] = []
    while len(took_s) < 3 and min(took_s, default=1.0) >= 1.0:
        found = hosts.engine()
        assert found["trials"] == 1000
        took_s.append(found["engine_cpu_s"])
    assert min(took_s) < 1.0


GOOD: dict[str, Any] = {"trial": "t", "outcome": "ok", "error": None}


@pytest.mark.parametrize(
    ("ends", "manifest", "said"),
    [
        ([GOOD | {"host": "a"}, GOOD | {"host": "b", "outcome": "failed"}], {}, ""),
        ([GOOD | {"host": "a"}, GOOD | {"host": "a"}], {}, "trials ran on 1"),
        ([GOOD | {"host": "a"}, GOOD | {"host": "b"}], {"hosts_lost": ["x"]}, "hosts_lost: ['x']"),
        (
            [GOOD | {"host": "a"}, GOOD | {"host": "b"}],
            {"hosts_refused": {"b": "late"}},
            "hosts_refused: {'b': 'late'}",
        ),
        ([GOOD | {"host": "a"}, GOOD | {"host": "b", "outcome": "error", "error": "x"}], {}, "t: error (x)"),
    ],
)
def test_a_rate_of_two_hosts_is_told_only_where_two_have_worked(
    ends: list[dict[str, Any]], manifest: dict[str, Any], said: str
) -> None:
    assert hosts.not_a_rate(2, ends, manifest) == said
