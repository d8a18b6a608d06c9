"""What several files of tests stand on: a finished run, whose report takes seconds to draw, and an empty machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from matplotlib.figure import Figure
from result_samples import EVIL, PAIR, Maker

from harness.report.html import write_report
from harness.report.plots import figure
from harness.results.store import RunFolder

# The longest: what is begun last is waited for alone. Left to itself xdist begins with the files of many tests, which
# these do not have.
_LONG = (
    *(
        "test_dask.py",
        "test_site_pages.py",
        "test_report_command.py",
        "test_report_page.py",
        "test_simulation_population.py",
        "test_site_browser.py",
        "test_simulation_verdicts.py",
        "test_trend_command.py",
        "test_simulation_memory.py",
    ),
    *("test_simulation_overtime.py", "test_campaign_killed.py", "test_simulation_parts.py"),
    *("test_results_schema.py", "test_trend_search.py", "test_published.py", "test_dask_ssh.py"),
    "test_results_hosts.py",
)
# An example that takes long tells of a machine that is busy, not of what is tested.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
_SAMPLES = {"rtt_p50_ms": "rtt.csv", "loaded_rtt_p50_ms": "loaded-rtt.csv"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    items.sort(key=lambda item: _LONG.index(item.path.name) if item.path.name in _LONG else len(_LONG))


class _Blank:
    """A canvas on which nothing is drawn; its files are there, and short."""

    fixed_dpi = 72

    def __init__(self, _figure: Figure) -> None:
        pass

    def print_png(self, path: Path, **_: object) -> None:
        path.write_bytes(b"png")

    def print_pdf(self, path: Path, **_: object) -> None:
        path.write_bytes(b"pdf")


@pytest.fixture(scope="session", autouse=True)
def only_svg_is_drawn() -> Iterator[None]:
    """Let plots be drawn once, for the page: PNG and PDF take most of a report's time, and some hundred tests make one.

    test_report_plots.py looks at both, and draws them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "FigureCanvasAgg", _Blank)
        patch.setattr(figure, "FigureCanvasPdf", _Blank)
        yield


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of every probe with its report, some trials in trouble, and markup in what others wrote."""
    folder = RunFolder(tmp_path_factory.mktemp("reported") / "run")
    maker = Maker(full=True)
    manifest = {"schema": 1, "scenario": "demo", "scenario_text": f"description: {EVIL}", "description": EVIL}
    folder.create(manifest, [])
    for trial in maker.campaign(1):
        name = trial[0].trial
        evidence = folder.path / "trials" / name
        evidence.mkdir(parents=True)
        for base_ms, file in ((40, "rtt.csv"), (90, "loaded-rtt.csv")):
            rows = [f"{i},{i / 100},{base_ms + i % 7}" if i % 50 else f"{i},{i / 100}," for i in range(1, 100)]
            (evidence / file).write_text("\n".join(["seq,sent_s,rtt_ms", *rows]))
        (evidence / "daemon.log").write_text(f"{EVIL} & more\n")
        (evidence / "ssh_host").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n")
        where = {metric: f"trials/{name}/{file}" for metric, file in _SAMPLES.items()}
        folder.append([replace(r, evidence=where[r.metric]) if r.metric in where else r for r in trial])
    for outcome in ("failed", "unsupported", "invalid", "error"):
        folder.append(maker.ended(f"t-{outcome}", outcome, **PAIR))
    folder.finish()
    write_report(folder.path)
    return folder.path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine with nothing but a folder `bin`, in which a test puts the programs that it wants there to be."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("harness.overlay.search_path._ADMIN_PATHS", ())
    return folder
