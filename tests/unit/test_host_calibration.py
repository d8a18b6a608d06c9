"""What a host is asked to prove before it measures: the run's own NATs and links, by commands that it takes."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.calibrate_link import calibrate_link_command
from harness.commands.calibrate_nat import calibrate_nat_command
from harness.hosts import calibrate as calibrating
from harness.hosts import serving
from harness.hosts.calibrate import LINK_CASES, calibrate
from harness.hosts.station_messages import Calibrate
from harness.scenario.planned import plan_trials

SCENARIO = """\
description: x
topology: two-sites
matrix: {nat_a: [full-cone, symmetric], nat_b: [full-cone], link_a: [ideal, LINK]}
overlays: {underlay: }
probes: [path]
links: BACKEND
"""
NATS = {"cases": 2, "results": [{"name": "full-cone", "passed": True, "differences": [], "error": None}]}
LATE = {"backend": "userlink", "case": "delay-10ms", "metric": "helper_lateness_p99", "observed": 21.04, "unit": "us"}
LINKS = {"findings": [{**LATE, "low": 0.0, "high": 100.0, "ok": True}]}


def asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    link: str = "lte",
    backend: str = "userlink",
    jobs: int = 2,
    said: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return what a calibration comes to, and what was asked, by kind."""
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace("LINK", link).replace("BACKEND", backend))
    asked: dict[str, tuple[str, ...]] = {}

    def answer(_ended: threading.Event, kind: str, *words: str) -> dict[str, Any]:
        asked[kind] = words
        return (said or {}).get(kind, {"nat": NATS, "link": LINKS}[kind])

    monkeypatch.setattr(calibrating, "_asked", answer)
    monkeypatch.setattr("harness.link.choose.helper_argv", lambda: ["helper"])
    monkeypatch.setattr("harness.link.choose.netem_missing", lambda: None)
    return calibrate(plan_trials(str(tmp_path / "mine.yaml")).trials, jobs), asked


def test_a_machine_of_many_processors_asks_for_no_more_jobs_than_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = asked_for(tmp_path, monkeypatch, jobs=192)
    assert asked["nat"] == ("--jobs", "64", "--only", "full-cone", "--only", "symmetric")
    done = CliRunner().invoke(calibrate_nat_command, ["--only", "no-such-nat", *asked["nat"][:2]])
    assert "no-such-nat: no case has such a name" in str(done.exception)


@pytest.mark.parametrize(("wanted", "carrier"), [("auto", "userlink"), ("userlink", "userlink"), ("netem", "netem")])
def test_links_are_proved_by_what_carries_them_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, carrier: str
) -> None:
    """Another backend of the machine may be wrong: no trial of this run meets it."""
    found, asked = asked_for(tmp_path, monkeypatch, backend=wanted)
    only = tuple(word for name in LINK_CASES for word in ("--only", name))
    assert asked["link"] == (*only, "--backend", carrier)
    assert found == {
        "ok": True,
        "nat": {"cases": 2, "wrong": ""},
        "link": {"cases": 1, "wrong": ""},
        "lateness_p99_us": 21.0,
    }
    assert {option.opts[0] for option in calibrate_link_command.params} >= {"--only", "--backend", "--json"}


def test_ideal_links_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = asked_for(tmp_path, monkeypatch, link="{delay_ms: 0}")
    assert set(asked) == {"nat"} and set(found) == {"ok", "nat"}


@pytest.mark.parametrize(
    ("said", "kind", "wrong"),
    [
        (
            {
                "nat": {
                    "results": [{"name": "full-cone", "passed": False, "differences": ["APDF", "TTL"], "error": None}]
                }
            },
            "nat",
            "full-cone: APDF, TTL",
        ),
        (
            {"nat": {"results": [{"name": "a", "passed": False, "differences": [], "error": "stuck"}]}},
            "nat",
            "a: stuck",
        ),
        ({"nat": {"error": "status 3"}}, "nat", "status 3"),
        ({"link": {"error": "it did not end"}}, "link", "it did not end"),
        (
            {"link": {"findings": [{**LATE, "low": 0.0, "high": 20.0, "ok": False}]}},
            "link",
            "userlink delay-10ms: helper_lateness_p99 is 21.04 us, not within 0 to 20",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_phrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], kind: str, wrong: str
) -> None:
    found, _ = asked_for(tmp_path, monkeypatch, said=said)
    assert not found["ok"] and found[kind]["wrong"] == wrong


def test_an_answer_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    said = calibrating._asked(never, "nat", "--jobs", "65")["error"]
    assert said.startswith("Error: Invalid value for '--jobs': 65 is not")
    monkeypatch.setattr(calibrating, "PATIENCE_S", 0.01)
    monkeypatch.setattr(calibrating, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    assert calibrating._asked(never, "nat") == {"error": "calibrating did not end within 0.01 s"}


def test_a_station_whose_client_has_gone_gives_its_calibration_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def until_given_up(_trials: object, _jobs: int, ended: threading.Event) -> dict[str, Any]:
        begun.set()
        assert ended.wait(60)
        monkeypatch.setattr(calibrating, "COMMAND", ("false",))
        return calibrating._asked(ended, "link")

    monkeypatch.setattr(serving.calibrate, "calibrate", until_given_up)

    async def go() -> None:
        way: Any = object()
        station = serving.Station(way, way, label="x", jobs=1, silence_s=60.0, scratch=tmp_path)
        asking = asyncio.create_task(station._answer(Calibrate()))
        await asyncio.to_thread(begun.wait)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    began = time.monotonic()
    asyncio.run(go())  # which waits for the thread
    assert time.monotonic() - began < 60
