"""Load runs alone, latency with latency, waiting with waiting; no trial starves."""

from __future__ import annotations

import random

from harness.hosts.turns import Turns


def test_waiting_trials_run_side_by_side_up_to_the_limit() -> None:
    turns = Turns(jobs=2)
    turns.want("a", "waiting")
    turns.want("b", "waiting")
    assert turns.grant() == ["a", "b"]
    assert not turns.may_admit


def test_quiet_waits_until_the_last_waiting_trial_is_through() -> None:
    turns = Turns(jobs=3)
    for name in "ab":
        turns.want(name, "waiting")
    turns.grant()
    turns.want("a", "shared")
    assert turns.grant() == []
    assert turns.may_admit
    turns.want("b", "shared")
    assert turns.grant() == ["a", "b"]
    assert not turns.may_admit


def test_load_is_alone_and_goes_before_new_trials() -> None:
    turns = Turns(jobs=3)
    for name in "abc":
        turns.want(name, "waiting")
    turns.grant()
    for name in "abc":
        turns.want(name, "exclusive")
    assert turns.grant() == ["a"]
    assert turns.grant() == []
    turns.leave("a")
    assert not turns.may_admit
    assert turns.grant() == ["b"]
    turns.leave("b")
    assert turns.grant() == ["c"]
    turns.leave("c")
    assert turns.may_admit


def test_any_campaign_ends_and_never_mixes() -> None:
    """A random walk over hundreds of trials: the invariants hold and everything gets done."""
    rng = random.Random(7)
    turns, waiting, done = Turns(jobs=4), [f"t{i}" for i in range(300)], 0
    steps = {
        name: rng.choice([["shared", "exclusive", "shared"], ["shared"], ["exclusive"], []]).copy() for name in waiting
    }
    held: dict[str, str] = {}
    wants: dict[str, str] = {}
    while waiting or held or wants:
        while waiting and turns.may_admit:
            name = waiting.pop(0)
            wants[name] = "waiting"
            turns.want(name, "waiting")
        for name in turns.grant():
            held[name] = wants.pop(name)
        kinds = set(held.values())
        assert len(kinds) == 1
        assert "exclusive" not in kinds or len(held) == 1
        assert len(held) + len(wants) <= 4
        name = rng.choice(list(held))
        del held[name]
        if steps[name]:
            wants[name] = steps[name].pop(0)
            turns.want(name, wants[name])  # type: ignore[arg-type]
        else:
            turns.leave(name)
            done += 1
    assert done == 300
