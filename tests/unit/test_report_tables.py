"""Tables for terminal, pipe, Markdown and LaTeX; verdict sentences; plots' data; Flent export."""

import gzip
import io
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import PAIR
from result_samples import Maker
from rich.console import Console

from bench.publish import publish
from harness.commands.compare import compare_command
from harness.commands.report import report_command
from harness.report.html import write_report
from harness.report.markup import latex_text, to_latex, to_markdown
from harness.report.measured import all_tables
from harness.report.plots.heatmap import matrix_of, shade
from harness.report.plots.latency import distributions
from harness.report.tables import TextTable, overview, path_matrix
from harness.report.terminal import print_results
from harness.report.topology import draw_topology
from harness.report.verdict import verdict
from harness.results.flent import export
from harness.results.frame import records_frame
from harness.results.loading import load
from harness.results.pairs import pairs_frame
from harness.results.store import ResultFolderError, RunFolder


def frame_of(maker: Maker | None = None, repeats: int = 1) -> pd.DataFrame:
    trials = (maker or Maker()).campaign(repeats)
    return records_frame([record.as_dict() for trial in trials for record in trial])


def folder_of(path: Path, repeats: int = 2, without: frozenset[str] = frozenset(), **settings: float) -> RunFolder:
    """Return a run's folder, without the probes that a test has no use for: each plot takes a quarter of a second."""
    folder = RunFolder(path)
    folder.create({"schema": 1, "scenario": "demo", "started_at": "2026-11-23T12:00:00+00:00"}, [])
    for trial in Maker(**settings).campaign(repeats):  # type: ignore[arg-type]
        folder.append([record for record in trial if record.probe not in without])
    folder.close()
    return folder


def test_overview_has_a_row_per_subject_with_the_underlay_first() -> None:
    table = overview(pairs_frame(frame_of()))
    assert [row[0] for row in table.rows][:2] == ["underlay", "nebula mesh"]
    rows = [(row[0], row[1], row[3]) for row in table.rows]
    assert ("refmesh mesh", "5/6 cells", "5 direct") in rows and ("refmesh mesh", "", "1 relayed") in rows
    assert ("openvpn hub", "-", "6 relayed") in rows
    assert "not ok" not in table.header


def test_what_did_not_count_is_a_column_when_there_is_any() -> None:
    maker = Maker()
    rows = [record.as_dict() for trial in maker.campaign(1) for record in trial]
    rows += [record.as_dict() for record in maker.ended("bad", "invalid", **PAIR)]
    table = overview(pairs_frame(records_frame(rows)))
    nebula = next(row for row in table.rows if row[0] == "nebula mesh")
    assert nebula[-1] == "1 invalid"
    assert nebula[1] == "5/6 cells"


def test_every_table_tells_the_layer_where_records_do() -> None:
    layers = {"underlay": "L3", "refmesh": "L3", "nebula": "L3", "openvpn": "L2"}
    rows = [record.as_dict() for trial in Maker(full=True).campaign(1) for record in trial]
    plain, told = (
        pairs_frame(records_frame([row | {"layer": layer_of(row["overlay"])} for row in rows]))
        for layer_of in (lambda _overlay: None, layers.__getitem__)
    )
    before, after = all_tables(plain), all_tables(told)
    assert len(before) == len(after) > 3
    for one, other in zip(before, after, strict=True):
        if one.title == "Paths by NAT pair":
            assert "openvpn hub (L2)" in other.header or "openvpn hub (L2)" in {row[0] for row in other.rows}
            continue
        assert "layer" not in one.header and other.header == (one.header[0], "layer", *one.header[1:])
        assert [(row[0], *row[2:]) for row in other.rows] == list(one.rows)
        assert {row[1] for row in other.rows if row[0].startswith("openvpn")} <= {"L2"}
        assert other.numeric == {place + 1 for place in one.numeric}
    assert "& L2 &" in to_latex(after[0])


def test_a_median_beyond_the_deadline_is_said_as_such() -> None:
    records = frame_of()
    late = records["metric"].astype(str).eq("time_to_direct_s")
    records.loc[late, "value"] = np.nan
    nebula = next(row for row in overview(pairs_frame(records)).rows if row[0] == "nebula mesh")
    assert nebula[2] == ">15"


def test_path_matrix_counts_when_runs_disagree() -> None:
    records = frame_of(repeats=2)
    first = records["trial"].astype(str).eq("refmesh-mesh-full-cone-full-cone-0")
    records["path"] = records["path"].astype(object)
    records.loc[first & records["path"].notna(), "path"] = "relayed"
    table = path_matrix(pairs_frame(records))
    row = next(row for row in table.rows if row[0] == "full-cone x full-cone")
    assert sorted(row[table.header.index("refmesh mesh")].split(", ")) == ["direct 1/2", "relayed 1/2"]


def test_of_many_overlays_each_has_a_row_of_paths() -> None:
    maker = Maker()
    one = {"nat_a": "full-cone", "nat_b": "symmetric"}
    trials = [maker.trial(f"t{i}", overlay=f"overlay{i}", mode="hub", **one) for i in range(9)]
    table = path_matrix(pairs_frame(records_frame([record.as_dict() for trial in trials for record in trial])))
    assert table.header == ("overlay", "full-cone x symmetric")
    assert table.rows[0] == ("overlay0 hub", "relayed") and len(table.rows) == 9


def test_rarer_probes_have_tables_of_their_own_and_only_where_they_ran() -> None:
    plain = all_tables(pairs_frame(frame_of()))
    assert [table.title for table in plain] == ["Overlays", "Paths by NAT pair"]
    alone = [r.as_dict() for r in Maker().trial("t", overlay="underlay", mode="underlay", nat_a="x", nat_b="x")]
    assert [table.title for table in all_tables(pairs_frame(records_frame(alone)))] == ["Overlays"]
    load, costs, sizes = all_tables(pairs_frame(frame_of(Maker(full=True))))[2:]
    assert load.header == ("overlay", "TCP both ways Mbit/s", "RTT ms", "its p95 ms", "rise ms", "lost", "UDP Mbit/s")
    assert {row[0]: row[1:] for row in sizes.rows}["nebula mesh, direct"] == ("1420", "1340", "5/5")  # the worse way's
    assert {row[0]: row[1:] for row in sizes.rows}["nebula mesh, relayed"] == ("1420", "1340", "1/1")
    assert {row[0]: row[1:] for row in sizes.rows}["refmesh relay"] == ("1420", "1420", "0/6")
    rows = {row[0]: dict(zip(costs.header, row, strict=True)) for row in costs.rows}
    assert rows["underlay"]["server B/B"] == "-"
    assert rows["openvpn hub"]["server B/B"] == "1.100"
    assert 1.9 < float(rows["underlay"]["underlay B/B"]) < float(rows["refmesh relay"]["underlay B/B"])


def test_a_pipe_gets_whole_lines_without_colours() -> None:
    out = io.StringIO()
    print_results(frame_of(), Console(file=out))
    text = out.getvalue()
    assert "\x1b" not in text
    assert any("refmesh mesh" in line and "5 direct" in line for line in text.splitlines())


def test_an_80_column_terminal_cuts_nothing() -> None:
    out = io.StringIO()
    print_results(frame_of(), Console(file=out, width=80, force_terminal=True, color_system=None))
    text = out.getvalue().replace("\u00a0", " ")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert "refmesh relay" in text


def test_markdown_and_latex_escape() -> None:
    table = TextTable("A & B", ("x|y", "n"), (("50 %", "1"), ("a_b", "22")), frozenset({1}), ">15")
    markdown = to_markdown(table).splitlines()
    assert markdown[0] == "| x\\|y |   n |"
    assert markdown[1] == "| ---- | --: |"
    latex = to_latex(table)
    assert r"A \& B. $>$15" in latex
    assert r"50 \% & 1 \\" in latex
    assert r"a\_b & 22 \\" in latex
    assert latex_text("\\{~^") == r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}"


def test_verdict_is_three_sentences_with_numbers() -> None:
    sentences = verdict(pairs_frame(frame_of(repeats=3)))
    assert len(sentences) == 3
    assert "All 108 trials ran" in sentences[0]
    assert "refmesh mesh in 5 of 6 pairs of NATs (never for symmetric x symmetric)" in sentences[1]
    one = frame_of(repeats=3)
    one = one[(one["nat_a"] == "full-cone") & (one["nat_b"] == "symmetric")]
    # A rate with an interval is of one cell: over cells it would be that of their choice.
    assert "refmesh mesh in 3 of 3 trials (95 % interval 44 to 100 %)" in verdict(pairs_frame(one))[1]
    assert (
        "in the median of each overlay: over a direct path" in sentences[2] and "over a relay or hub +2" in sentences[2]
    )


def test_the_verdict_pools_no_overlay_with_another() -> None:
    """One overlay adds 1.5 ms and the other 31.5: what lies between them would be that of neither."""
    slow = frame_of(Maker(slower_ms=30.0), repeats=3)
    both = pd.concat([frame_of(repeats=3), slow[slow["overlay"] == "nebula"].assign(overlay="slow")])
    both["trial"] = both["overlay"].astype(str) + both["trial"].astype(str)
    (cost,) = (one for one in verdict(pairs_frame(both)) if one.startswith("Against"))
    assert re.search(r"over a direct path \+1\.\d to \+31\.\d ms round trip", cost), cost


def test_a_verdict_over_several_conditions_says_so() -> None:
    both = pd.concat([frame_of(Maker(params={"mtu": mtu})).assign(run=str(mtu)) for mtu in (1280, 1500)])
    both["trial"] = both["trial"].astype(str) + both["run"]
    assert "in the median of each overlay over 2 conditions: over a direct path" in verdict(pairs_frame(both))[2]


def test_matrix_holds_k_n_and_few() -> None:
    trials = pairs_frame(frame_of(repeats=10))
    group = trials[(trials["overlay"] == "refmesh") & (trials["mode"] == "mesh")]
    matrix = matrix_of(group, "refmesh", "mesh")
    assert matrix is not None
    assert matrix.nats_a == ("full-cone", "port-restricted", "symmetric")
    cell = matrix.cells["symmetric", "symmetric"]
    assert (cell.k, cell.n, cell.few, cell.paths) == (0, 10, False, ("relayed",))
    hub = trials[trials["mode"] == "hub"]
    assert matrix_of(hub, "openvpn", "hub") is None
    assert shade(0) != shade(0.5) != shade(1)


def test_lost_packets_keep_the_distribution_below_one() -> None:
    trials = pairs_frame(frame_of())
    name = trials["trial"].iloc[0]
    rtt = [10.0] * 90 + [np.nan] * 10
    samples = pd.DataFrame({"trial": name, "src": "a", "dst": "b", "seq": range(100), "sent_s": 0.0, "rtt_ms": rtt})
    data = distributions(samples, trials)
    assert data[np.isfinite(data["rtt_ms"])]["probability"].max() < 0.91
    assert data["packets"].iloc[0] == 100


def test_topology_is_drawn_and_told() -> None:
    topology = {
        "hosts": {
            "a": {"on": "lan", "addresses": ["192.168.1.2"], "via": "ra"},
            "b": {"on": "carrier", "addresses": ["10.0.0.2"], "via": "rc"},
            "s": {"on": "internet", "addresses": ["45.45.0.10"]},
        },
        "routers": {
            "ra": {"outside": {"addresses": ["10.0.0.1"], "via": "rc"}},
            "rc": {"outside": {"addresses": ["45.45.0.1"]}},
        },
    }
    drawing = draw_topology(topology, {"ra": "symmetric", "rc": "<cgnat>"})
    assert drawing is not None
    assert drawing.text.startswith("a is behind ra (symmetric), then rc (<cgnat>)")
    assert "&lt;cgnat&gt;" in drawing.svg and "<cgnat>" not in drawing.svg
    assert draw_topology({"hosts": {}}, {}) is None


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
    assert b"bootstrap" in tables[0]
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


def test_flent_itself_reads_the_export(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=1)
    records = folder.records_path.read_text().splitlines()
    evidence = folder.path / "trials" / "x.csv"
    evidence.write_text("seq,sent_s,rtt_ms\n" + "".join(f"{i},{i / 20},{i % 5 + 10}\n" for i in range(1, 100)))
    changed = [line.replace('"evidence": null', '"evidence": "trials/x.csv"') for line in records]
    folder.records_path.write_text("\n".join(changed) + "\n")
    done = CliRunner().invoke(report_command, [str(folder.path), "--format", "md", "--flent", str(tmp_path / "flent")])
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "flent").iterdir())
    assert len(files) == 36
    with gzip.open(files[0], "rt") as file:
        data = json.load(file)
    assert len(data["x_values"]) == len(data["results"]["Ping (ms) ICMP"])
    flent = Path(sys.executable).with_name("flent")
    stats = subprocess.run(
        [flent, "-i", files[0], "-f", "stats"], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert "Median:      12.000000 ms" in stats.stdout


def test_each_pair_of_members_is_a_file_for_flent(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "three"}, [])
    (folder.path / "x.csv").write_text("seq,sent_s,rtt_ms\n0,0.0,10\n1,0.1,11\n")
    *records, end = Maker(params={"ip": "v6"}).trial("t1", **PAIR)
    (rtt,) = [replace(one, evidence="x.csv") for one in records if one.metric == "rtt_p50_ms"]
    folder.append([rtt, replace(rtt, dst="c"), end])
    paths = export(load(folder.path), tmp_path / "flent")
    assert [path.name for path in paths] == ["ping-t1-a-b.flent.gz", "ping-t1-a-c.flent.gz"]
    with gzip.open(paths[1], "rt") as file:
        metadata = json.load(file)["metadata"]
    assert (metadata["LOCAL_HOST"], metadata["HOST"], metadata["IP_VERSION"]) == ("a", "c", 6)


def test_report_and_compare_import_nothing_of_the_lab() -> None:
    code = """
import sys
import harness.commands.report, harness.commands.compare, harness.results.loading
lab = ["mininet", "pyroute2", "scapy", "overlays"]
lab += ["harness." + part for part in ("lab", "nat", "link", "probes")]
bad = [name for name in sys.modules if any(name == one or name.startswith(one + ".") for one in lab)]
assert not bad, bad
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_published_copy_is_small_and_can_be_loaded_and_compared(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=2, seed=1)
    (tmp_path / "out" / "old").mkdir(parents=True)
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
