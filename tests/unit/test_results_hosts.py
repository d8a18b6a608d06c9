"""Runs over several hosts, made up with known truths: spread, paired differences, cells that one host saw alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from compared_runs import run_of, verdict
from result_samples import Maker

from harness.report.facts import machine
from harness.report.hosts import hosts_chapter
from harness.results.compare import compare
from harness.results.differences import differences
from harness.results.frame import records_frame
from harness.results.hosts import alike, effects, paired, seen_on_one, seen_once
from harness.results.loading import Results
from harness.results.pairs import pairs_frame

SLOW = 1.5


def dealt(run: pd.DataFrame, hosts: dict[str, float], deal: Any) -> pd.DataFrame:
    """Return a run whose blocks were dealt to hosts, each of which makes round trips longer by its factor."""
    host = [deal(repeat, nat, list(hosts)) for repeat, nat in zip(run["repeat"], run["nat_a"].astype(str), strict=True)]
    factor = np.where(run["metric"].astype(str) == "rtt_p50_ms", [hosts[name] for name in host], 1.0)
    return run.assign(host=host, value=run["value"] * factor)


def in_turn(repeat: int, _nat: str, names: list[str]) -> str:
    return names[repeat % len(names)]


def by_nat(_repeat: int, nat: str, names: list[str]) -> str:
    return names[nat == "full-cone"]


def results(run: pd.DataFrame, kinds: dict[str, str], **manifest: Any) -> Results:
    hosts = {key: {"name": f"rack-{key}", "machine": {"cpu_model": kind, "cpus": 4}} for key, kind in kinds.items()}
    return Results(Path("x"), {"hosts": hosts, **manifest}, [], run, ())


def test_the_spread_between_hosts_is_told_and_differences_are_taken_within() -> None:
    run = dealt(run_of(6, seed=1), {"a": 1.0, "b": SLOW}, in_turn)
    rows = pairs_frame(run)
    found = {(one.subject, one.metric, one.path): one for one in effects(rows)}
    mesh = found[("nebula", "mesh"), "rtt_p50_ms", "direct"]
    # Half as much again, relative to a middle between the two.
    assert mesh.spread == pytest.approx((SLOW - 1) / ((SLOW + 1) / 2), rel=0.1)
    assert mesh.by_host["b"] / mesh.by_host["a"] == pytest.approx(SLOW, rel=0.1)
    assert found[("nebula", "mesh"), "tcp_throughput_mbit", "direct"].spread < 0.05
    assert mesh.within is not None and found[("underlay", "underlay"), "rtt_p50_ms", "direct"].within is None
    single = pairs_frame(run_of(6, seed=1).assign(host="a"))
    single = single[single["path"] == "direct"]
    honest = np.median(paired(single, ("nebula", "mesh"), "rtt_p50_ms"))
    assert honest <= mesh.within.value <= SLOW * honest * 1.1 + 1


def test_a_path_that_came_by_chance_is_no_effect_of_its_host() -> None:
    """Two equal hosts, one cell: on the first 8 of 10 trials are direct (4 ms), on the second 2, the others relayed."""
    maker, rows = Maker(), []
    for repeat in range(20):
        host = "xy"[repeat % 2]
        direct = repeat // 2 < (8 if host == "x" else 2)
        for overlay, mode in (("underlay", "underlay"), ("nebula", "mesh")):
            same = {"trial": f"{overlay}{repeat}", "repeat": repeat, "seed": repeat, "overlay": overlay, "mode": mode}
            pair = same | {"src": "a", "dst": "b", "path": "direct" if direct or mode == "underlay" else "relayed"}
            rtt = 3.0 if mode == "underlay" else 4.0 if direct else 41.0
            for one in (
                maker.one("path", "connect_success", "1", 1, **pair),
                maker.one("latency", "rtt_p50_ms", "ms", rtt + 0.001 * repeat, **pair),
                maker.one("trial", "duration_s", "s", 5, **same),
            ):
                rows.append(one.as_dict() | {"host": host})
    found = {one.path: one for one in effects(pairs_frame(records_frame(rows))) if one.subject[0] == "nebula"}
    assert set(found) == {"direct", "relayed"}
    for path, added in (("direct", 1.0), ("relayed", 38.0)):
        one = found[path]
        assert one.spread < 0.01 and one.within is not None and one.within.n == 10
        assert one.within.low == pytest.approx(added) and one.within.high == pytest.approx(added)
    two = pairs_frame(records_frame(rows + [row | {"trial": f"z{row['trial']}", "nat_a": "symmetric"} for row in rows]))
    assert all(np.isnan(one.within.low) for one in effects(two) if one.within is not None), "cells were chosen"


def test_a_block_that_lost_its_host_is_not_paired_across_two() -> None:
    run = run_of(6, seed=1).assign(host="a")
    moved = (run["overlay"].astype(str) == "nebula") & (run["repeat"] == 2)
    whole = paired(pairs_frame(run), ("nebula", "mesh"), "rtt_p50_ms")
    rest = paired(pairs_frame(run.assign(host=np.where(moved, "b", "a"))), ("nebula", "mesh"), "rtt_p50_ms")
    assert 0 < len(rest) == len(whole) * 5 / 6


def test_cells_that_one_host_saw_alone_are_counted_and_said() -> None:
    hosts = {"a": 1.0, "b": 1.0}
    assert seen_on_one(pairs_frame(dealt(run_of(6, seed=1), hosts, in_turn)))[0] == 0
    run = dealt(run_of(6, seed=1), hosts, by_nat)
    alone, repeated = seen_on_one(pairs_frame(run))
    assert alone == repeated > 0
    lost = {"hosts_refused": {"c": "Python there is 3.12.0"}, "hosts_lost": [{"host": "a", "trial": "t"}]}
    chapter = hosts_chapter(results(run, {"a": "x", "b": "y"}, **lost))
    assert chapter is not None
    text = " ".join(chapter.sentences)
    assert f"{alone} of {repeated} cells with several repeats ran on one host only" in text
    assert "Hosts that were refused: c: Python there is 3.12.0." in text
    assert "1 trial lost the host that ran it, and had to be repeated." in text
    assert [row[:3] for row in chapter.tables[0].rows] == [
        ("rack-a", str(run[run["host"] == "a"]["trial"].nunique()), "4 x x"),
        ("rack-b", str(run[run["host"] == "b"]["trial"].nunique()), "4 x y"),
    ]
    assert hosts_chapter(results(run.assign(host="a"), {"a": "x"})) is None


def test_what_became_of_hosts_is_said_where_one_ran_all() -> None:
    run = run_of(6, seed=1).assign(host="a")
    lost = [{"host": "b", "trial": name} for name in ("t", "t", "u")]
    refused = {"hosts_refused": {"c": "Python there is 3.12.0", "rack-a": "its calibration failed: late"}}
    made = results(run, {"a": "x", "b": "y"}, **refused, hosts_lost=lost)
    made.manifest["hosts"]["b"]["calibration"] = {"ok": True}
    chapter = hosts_chapter(made)
    assert chapter is not None
    assert chapter.sentences == [
        f"{len(made.trials)} trials ran on one host, rack-a.",
        "Hosts that were refused: c: Python there is 3.12.0.",
        "Hosts that were refused for part of the run: rack-a: its calibration failed: late.",
        "Hosts that were admitted but ran no trial: rack-b.",
        "2 trials lost the host that ran them, 3 times in all, and had to be repeated.",
    ]
    assert [row[0] for row in chapter.tables[0].rows] == ["rack-a"]


def test_cells_of_one_trial_cannot_tell_nats_from_hosts() -> None:
    run = dealt(run_of(1, seed=1), {"a": 1.0, "b": 1.0}, by_nat)
    once = seen_once(pairs_frame(run))
    chapter = hosts_chapter(results(run, {"a": "x", "b": "y"}))
    assert once > 1 and chapter is not None
    assert any(said.startswith(f"{once} cells had a single trial each: a difference") for said in chapter.sentences)
    more = hosts_chapter(results(dealt(run_of(6, seed=1), {"a": 1.0, "b": 1.0}, in_turn), {"a": "x", "b": "y"}))
    assert more is not None and not any("had one trial" in said for said in more.sentences)


def test_a_host_that_ran_nothing_is_no_machine_of_the_run() -> None:
    run = run_of(6, seed=1).assign(host="a")
    idle, alone = results(run, {"a": "x", "b": "y"}), results(run, {"a": "x"})
    found = differences(alone, idle)
    assert found.same_machine and not any(remark.startswith("hosts differ") for remark in found.remarks)
    assert alike(idle, idle)[0] is run, "no second kind measured anything"


def test_each_hosts_processors_are_told() -> None:
    rack1 = {"virtual": True, "kept_awake": "latency request", "stolen_s": 3.5}
    said = dict(machine({"processors": {"hosts": {"rack1": rack1, "rack2": {"virtual": False}}}}))
    assert set(said) == {"virtual machine, rack1"}
    assert "kept from halting" in said["virtual machine, rack1"] and "gave 3.50 s" in said["virtual machine, rack1"]


def test_runs_that_were_dealt_otherwise_to_unlike_hosts_are_compared_like_with_like() -> None:
    """The same program twice, but the slow kind got other blocks: pooled that is a regression, by kind it is none."""
    kinds = {"a": "fast", "b": "slow"}

    def asked(**settings: Any) -> pd.DataFrame:
        run = run_of(8, **settings)
        return run[run["overlay"].isin(["underlay", "nebula"])]

    base = dealt(asked(seed=1), {"a": 1.0, "b": 2.0}, lambda repeat, _nat, names: names[repeat % 4 == 3])
    new = dealt(asked(seed=2), {"a": 1.0, "b": 2.0}, lambda repeat, _nat, names: names[repeat % 4 != 3])
    one, two = results(base, kinds), results(new, kinds)
    assert differences(one, two).same_machine
    assert verdict(compare(base, new), "nebula mesh", "rtt_p50_ms") in {"regression", "machine moved"}
    fair = compare(*alike(one, two))
    assert verdict(fair, "nebula mesh", "rtt_p50_ms") not in {"regression", "improvement", "machine moved"}
    slower = asked(seed=2, slower_ms=30.0)
    worse = dealt(slower, {"a": 1.0, "b": 2.0}, lambda repeat, _nat, names: names[repeat % 4 != 3])
    assert verdict(compare(*alike(one, results(worse, kinds))), "nebula mesh", "rtt_p50_ms") == "regression"
    same = results(base, {"a": "fast", "b": "fast"})
    assert alike(same, same)[0] is base, "twins are one kind"
