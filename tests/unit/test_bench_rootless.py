"""What the rootless benchmark counts, and that asking for help runs nothing. Pure."""

from __future__ import annotations

import pytest

from bench import hosts
from bench.rootless import causes_of, tally


def end(overlay: str, outcome: str, error: str | None = None) -> dict[str, object]:
    return {
        "probe": "trial",
        "metric": "duration_s",
        "value": 1.0,
        "overlay": overlay,
        "outcome": outcome,
        "error": error,
    }


LATE = "link ra-internet up: 12 of 300 frames over 1000 us late (p99 2300 us) while latency was measured"


def test_causes_are_named_without_links_and_numbers() -> None:
    both = f"{LATE}; link rb-internet down: 3 frames dropped before userlink saw them"
    assert list(causes_of(both)) == [
        "N of N frames over N us late while latency was measured",
        "N frames dropped before userlink saw them",
    ]


def test_valid_is_what_counts_whether_or_not_it_succeeded() -> None:
    lines = [end("refmesh", "invalid", LATE), end("refmesh", "ok"), end("nebula", "failed"), end("nebula", "error")]
    lines += [
        {"probe": "lab", "metric": "link_lateness_p99_us", "value": float(v), "overlay": "x"} for v in (80, 90, 4000)
    ]
    found = tally(lines)
    assert (found["trials"], found["valid"]) == (4, 2)
    assert found["invalid_by_overlay"] == {"refmesh": 1}
    assert found["lateness_p99_us"] == {"median": 90.0, "worst": 4000.0}
    assert list(found["causes"].values()) == [1]


def test_asking_a_benchmark_for_help_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is of a quarter of a minute, or of root's namespaces, that nobody asked for."""

    def runs(*_: object) -> None:
        raise AssertionError

    for name in ("engine", "station", "rate"):
        monkeypatch.setattr(hosts, name, runs)
    for words in (["--help"], ["quick"]):
        monkeypatch.setattr("sys.argv", ["hosts", *words])
        with pytest.raises(SystemExit):
            hosts.main()
    assert "in ms a trial" in capsys.readouterr().out
