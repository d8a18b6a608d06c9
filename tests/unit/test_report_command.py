"""Folders of results through the commands: `report`, `compare`, and a copy to be published."""

import io
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_runs import folder_of
from result_samples import Maker
from rich.console import Console

from harness.commands.compare import compare_command
from harness.commands.publish import publish_command
from harness.commands.report import report_command
from harness.errors import ScenarioError
from harness.report.html import write_report
from harness.report.publish import publish
from harness.report.terminal import print_results
from harness.results.loading import load
from harness.results.store import ResultFolderError, RunFolder


def test_report_command_writes_the_page_or_prints_tables(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", without=frozenset({"latency", "throughput", "lab"}))
    done = CliRunner().invoke(report_command, [str(folder.path)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(folder.path / "report.html"))
    wide = (folder.path / "plots" / "time-to-direct.svg").read_text()
    assert CliRunner().invoke(report_command, [str(folder.path), "--style", "paper"]).exit_code == 0
    assert 'width="239.7' in (folder.path / "plots" / "time-to-direct.svg").read_text()  # 3.33 in = 239.76 pt
    assert 'width="360pt"' in wide
    done = CliRunner().invoke(report_command, [str(folder.path), "--format", "md"])
    assert done.stdout.startswith("### Overlays\n\n| overlay ")
    assert isinstance(CliRunner().invoke(report_command, [str(tmp_path)]).exception, ResultFolderError)
    assert "| 10 direct " in done.stdout and "| 2 relayed " in done.stdout


def test_the_same_records_give_the_same_summary(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=6)
    tables = []
    for _ in range(2):
        folder.finish()
        tables.append((folder.path / "summary.csv").read_bytes())
    assert b"order statistics of 6 runs" in tables[0]
    assert tables[0] == tables[1]


def test_compare_command_exit_codes_and_forms(tmp_path: Path) -> None:
    base, same = folder_of(tmp_path / "a", seed=1), folder_of(tmp_path / "b", seed=2)
    slow = folder_of(tmp_path / "c", seed=3, slower_ms=9.0)
    run = CliRunner().invoke
    equal = run(compare_command, [str(base.path), str(same.path)])
    assert equal.exit_code == 0
    assert "No regression found" in equal.stdout
    worse = run(compare_command, [str(base.path), str(slow.path), "--html", str(tmp_path / "diff.html")])
    assert worse.exit_code == 1
    assert "| refmesh mesh" in worse.stdout
    assert '<h2 id="verdict">' in (tmp_path / "diff.html").read_text()
    data = json.loads(run(compare_command, [str(base.path), str(slow.path), "--json"]).stdout)
    assert data["regressions"] > 5
    assert run(compare_command, [str(base.path), str(slow.path), "--min-effect", "20"]).exit_code == 0
    nowhere = run(compare_command, [str(base.path), str(tmp_path / "nowhere")])
    assert isinstance(nowhere.exception, ResultFolderError) and nowhere.exception.exit_code == 2


def test_commands_that_read_results_import_nothing_of_the_lab() -> None:
    code = """
import sys
import harness.commands.compare, harness.commands.publish, harness.commands.report, harness.commands.site
import harness.commands.trend
lab = ["mininet", "pyroute2", "scapy", "overlays"]
lab += ["harness." + part for part in ("lab", "nat", "link", "probes")]
bad = [name for name in sys.modules if any(name == one or name.startswith(one + ".") for one in lab)]
assert not bad, bad
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_published_copy_is_small_and_can_be_loaded_and_compared(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=2, seed=1)
    (tmp_path / "out" / "old").mkdir(parents=True)
    (tmp_path / "out" / "manifest.json").write_text("{}")
    readme = publish(folder.path, tmp_path / "out")
    assert not (tmp_path / "out" / "old").exists()
    assert "| refmesh mesh " in readme.read_text()
    assert all((tmp_path / "out" / name).is_file() for name in re.findall(r"\((plots/\S+)\)", readme.read_text()))
    assert len(load(tmp_path / "out").records) == len(folder.read().records)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < 700_000
    write_report(tmp_path / "out")
    assert (tmp_path / "out" / "summary.csv").read_bytes() == (folder.path / "summary.csv").read_bytes()
    other = folder_of(tmp_path / "b", seed=2)
    assert CliRunner().invoke(compare_command, [str(tmp_path / "out"), str(other.path)]).exit_code == 0


@pytest.mark.parametrize("drop", [{"path"}, {"latency", "throughput"}, {"lab", "deploy"}])
def test_a_run_that_lacks_probes_has_a_page_all_the_same(tmp_path: Path, drop: set[str]) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    for trial in Maker().campaign(1):
        folder.append([record for record in trial if record.probe not in drop])
    folder.finish()
    text = write_report(folder.path).read_text()
    assert ("Not measured." in text) == bool(drop & {"latency", "throughput"})


def test_conditions_get_sections_of_their_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "sweep"}, [])
    kept = {"throughput", "trial"}
    for mtu in (1280, 1400, 1500):
        for trial in Maker(params={"mtu": mtu, "nat_a": "x"}).campaign(1):
            rows = [record for record in trial if record.probe in kept]
            name = f"{trial[0].trial}-{mtu}"
            folder.append([replace(record, trial=name, nat_a=None, nat_b=None) for record in rows])
    folder.finish()
    text = write_report(folder.path).read_text()
    assert text.count("<h3>mtu=1280</h3>") == 4
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", text)]
    assert 4 in levels and all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert (folder.path / "plots" / "tcp-throughput-mbit-3.svg").is_file()
    assert "no NAT x no NAT" in text
    out = io.StringIO()
    print_results(load(folder.path).records, Console(file=out))
    assert [f"Overlays: mtu={mtu}" in out.getvalue() for mtu in (1280, 1400, 1500)] == [True] * 3
    for form, mark in (("md", "## mtu=1280\n"), ("latex", "\\caption{Overlays, mtu=1280. ")):
        done = CliRunner().invoke(report_command, [str(folder.path), "--format", form])
        assert done.stdout.count(mark) == 1
        assert len(re.findall(r"^(?:\| )?underlay ", done.stdout, re.MULTILINE)) == 3


def test_a_folder_that_is_only_read_is_reported_elsewhere(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", without=frozenset({"latency", "throughput", "lab"}))
    name = str(load(folder.path).trials["trial"].iloc[0])
    (folder.path / "trials" / name).mkdir(parents=True)
    (folder.path / "trials" / name / "ping.log").write_text("64 bytes from b")
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    out = tmp_path / "elsewhere" / "report"
    done = CliRunner().invoke(report_command, [str(folder.path), "--out", str(out)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(out / "report.html"))
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert {"report.html", "summary.csv", "plots"} == {path.name for path in out.iterdir()}
    assert (out / "plots" / "time-to-direct.pdf").is_file()
    assert f'href="../../run/trials/{name}/ping.log"' in (out / "report.html").read_text()


def test_each_table_of_a_paper_is_a_file_with_label_caption_and_intervals(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=6)
    out = tmp_path / "tables"
    done = CliRunner().invoke(report_command, [str(folder.path), "--format", "latex", "--out", str(out)])
    assert done.exit_code == 0
    files = {path.stem: path.read_text() for path in out.iterdir()}
    assert done.stdout.split() == [str(out / f"{name}.tex") for name in files] or len(files) == len(done.stdout.split())
    for name, text in files.items():
        assert f"\\label{{tab:{name}}}" in text and text.count("\\caption{") == 1
        assert "\\footnotesize" in text and "resizebox" not in text, "all of one size"
    assert re.search(r"& [\d.]+ \(6 cells\) ", files["overlays"]), "a median over chosen NATs"
    underlay = next(line for line in files["overlays"].splitlines() if line.startswith("underlay "))
    assert "[" not in underlay and "cells)" in underlay
    of_one = next(line for line in files["overlays"].splitlines() if "& 6 relayed &" in line)
    assert re.search(r"& [\d.]+ \[[\d.]+, [\d.]+\] ", of_one), "a median of one cell with its interval"
    assert "In parentheses" in files["overlays"]
    done = CliRunner().invoke(report_command, [str(folder.path), "--format", "md", "--out", str(tmp_path / "md")])
    assert {path.suffix for path in (tmp_path / "md").iterdir()} == {".md"}


def test_publishing_replaces_a_copy_and_nothing_else(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=1, seed=1)
    adapter = folder.path / "adapters" / "cafe-mine.yaml"
    adapter.parent.mkdir()
    adapter.write_text("name: mine\n")
    out = tmp_path / "out"
    for _ in range(2):
        done = CliRunner().invoke(publish_command, [str(folder.path), str(out)])
        assert (done.exit_code, done.stdout.strip()) == (0, str(out / "README.md")), done.exception
    assert (out / "adapters" / adapter.name).read_text() == "name: mine\n"
    assert "Written by `overlaybench publish`" in (out / "README.md").read_text()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("harness.report.publish.readme_of", lambda _results: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(folder.path, out)
    assert (out / "README.md").exists() and not list(tmp_path.glob(".out*")), "what cannot be written replaces nothing"
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.tex").write_text("years of work")
    for place in (own, folder.path, tmp_path):
        refused = CliRunner().invoke(publish_command, [str(folder.path), str(place)]).exception
        assert isinstance(refused, ScenarioError) and "not a published copy that could be replaced" in str(refused)
    assert (own / "thesis.tex").exists() and folder.manifest_path.exists()
    for wrong in (out, own):
        refused = CliRunner().invoke(publish_command, [str(wrong), str(tmp_path / "new")]).exception
        assert isinstance(refused, ResultFolderError) and not (tmp_path / "new").exists()
