"""How long and how large a plan will be: by past runs, by likeness, or as a bound; and a column for what is swept."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.results.forecast import Trial, forecast, past_of, shown_size, shown_time
from harness.results.loading import Results

PATH = {"path": {"deadline_s": 10.0}, "latency": None}


def run_of(folder: Path, trials: list[tuple[str, str, float, str]], wall_s: int = 0, evidence: int = 0) -> Results:
    """Return a past run: (overlay, mode, seconds, outcome) a trial, each with so many bytes of evidence."""
    plan = [
        {"id": f"t{number}", "overlay": overlay, "mode": mode, "probes": PATH}
        for number, (overlay, mode, _, _) in enumerate(trials)
    ]
    for entry in plan:
        if evidence:
            (folder / "trials" / entry["id"] / "nodes").mkdir(parents=True)
            (folder / "trials" / entry["id"] / "nodes" / "log").write_bytes(b"x" * evidence)
    rows = [
        {"trial": f"t{number}", "probe": "trial", "metric": "duration_s", "value": seconds, "outcome": outcome}
        for number, (_, _, seconds, outcome) in enumerate(trials)
    ]
    minutes, seconds_left = divmod(wall_s, 60)
    manifest = {"started_at": "2026-01-01T00:00:00+00:00"}
    if wall_s:
        manifest["ended_at"] = f"2026-01-01T00:{minutes:02}:{seconds_left:02}+00:00"
    return Results(folder, manifest, plan, pd.DataFrame(rows), ())


def test_the_likest_past_trials_tell(tmp_path: Path) -> None:
    past = past_of(
        [run_of(tmp_path, [("a", "mesh", 10.0, "ok"), ("a", "mesh", 14.0, "failed"), ("b", "hub", 30.0, "ok")])]
    )
    other = {"path": {"deadline_s": 5.0}}
    assert past.duration_s(Trial("a", "mesh", PATH)) == (12.0, "overlay, mode and probes")
    assert past.duration_s(Trial("a", "mesh", other)) == (12.0, "overlay, mode and kinds of probes")
    assert past.duration_s(Trial("c", "mesh", other)) == (14.0, "kinds of probes")
    assert past.duration_s(Trial("c", "mesh", {"mtu": {}}, own_s=20.0)) == (25.0, "own")


def test_trials_that_ended_early_tell_nothing(tmp_path: Path) -> None:
    past = past_of(
        [
            run_of(
                tmp_path, [("a", "mesh", 10.0, "ok"), ("a", "mesh", 1.0, "invalid"), ("a", "mesh", 0.0, "unsupported")]
            )
        ]
    )
    assert past.duration_s(Trial("a", "mesh", PATH))[0] == 10.0
    assert past.trials == 1


def test_wall_clock_is_by_how_many_ran_at_once_and_size_by_the_evidence(tmp_path: Path) -> None:
    past = past_of([run_of(tmp_path, [("a", "mesh", 30.0, "ok")] * 4, wall_s=40, evidence=2_000_000)])
    found = forecast([Trial("a", "mesh", PATH)] * 8, past)
    assert (found.wall_s, found.at_once, found.size) == (80.0, 3.0, 16_000_000)
    assert found.text == (
        "8 trials: about 80 s and 16.0 MB (8 by past trials of the same overlay, mode and probes, 3.0 at once as there)"
    )


def test_a_run_that_stood_still_says_nothing_of_wall_clock(tmp_path: Path) -> None:
    past = past_of([run_of(tmp_path, [("a", "mesh", 30.0, "ok")], wall_s=3000)])
    assert past.at_once is None


def test_without_past_runs_it_is_a_bound_and_says_so() -> None:
    found = forecast([Trial("a", "mesh", PATH, own_s=20.0)] * 4, past_of([]))
    assert (
        found.text == "4 trials: up to about 2 min (4 by what their probes may take at most, as if one after the other)"
    )


def test_how_many_unlike_runs_had_at_once_halves_no_bound(tmp_path: Path) -> None:
    past = past_of([run_of(tmp_path, [("a", "mesh", 30.0, "ok")] * 4, wall_s=40)])
    alone = forecast([Trial("b", "hub", {}, own_s=20.0)] * 4, past_of([]))
    assert (forecast([Trial("b", "hub", {}, own_s=20.0)] * 4, past).wall_s, past.at_once) == (alone.wall_s, 3.0)


@pytest.mark.parametrize(("seconds", "said"), [(12, "12 s"), (460, "8 min"), (9000, "2 h 30 min")])
def test_times_and_sizes_are_said_as_people_do(seconds: float, said: str) -> None:
    assert shown_time(seconds) == said
    assert (shown_size(1_500_000), shown_size(2.5e9)) == ("1.5 MB", "2.5 GB")


SWEPT = """\
description: what is swept has a column
topology: two-sites
params: {nat_a: full-cone, nat_b: symmetric}
matrix:
  link_a: [{delay_ms: 5}, {delay_ms: 50}]
  ip: [v4, dual]
overlays: {underlay: , refmesh: mesh}
probes: {path: {deadline_s: 5}}
"""


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments], catch_exceptions=False)


def test_every_swept_parameter_has_a_column_and_repeats_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SWEPT)
    done = plan(str(tmp_path / "mine.yaml"), "--repeats", "2")
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["trial", "overlay", "mode", "nat_a", "nat_b", "link", "ip", "link_a", "expected", "path"]
    assert len(rows) == 2 * 2 * 2 * 2
    assert {"v4", "dual"} <= set(done.stdout.split()) and '{"delay_ms": 50}' in done.stdout
    assert "16 trials: up to about" in done.stderr
    assert "link_a" not in plan("smoke").stdout.splitlines()[0], "what is not swept has none"


def test_json_stays_the_list_of_trials(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SWEPT)
    assert len(json.loads(plan(str(tmp_path / "mine.yaml"), "--json").stdout)) == 8


def test_a_past_run_tells_through_the_command(tmp_path: Path) -> None:
    done = plan("demo", "--from", str(Path(__file__).parents[2] / "results" / "demo"))
    assert "by past trials of the same overlay, mode and" in done.stderr
    assert "at once as there" in done.stderr
    assert CliRunner().invoke(cli, ["plan", "demo", "--from", str(tmp_path)]).exception is not None
