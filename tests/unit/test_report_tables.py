"""Tables of a report: what their rows and columns are, and how terminal, pipe, Markdown and LaTeX show them."""

import io

import numpy as np
from made_runs import frame_of
from result_samples import PAIR, Maker
from rich.console import Console

from harness.report.markup import latex_text, to_latex, to_markdown
from harness.report.measured import all_tables
from harness.report.tables import TextTable, overview, path_matrix
from harness.report.terminal import print_results
from harness.results.frame import records_frame
from harness.results.pairs import pairs_frame


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
    assert load.header == (
        "overlay",
        "TCP both ways (Mbit/s)",
        "RTT (ms)",
        "RTT p95 (ms)",
        "rise (ms)",
        "lost",
        "UDP (Mbit/s)",
    )
    assert {row[0]: row[1:] for row in sizes.rows}["nebula mesh, direct"] == ("1420", "1340", "5/5")  # the worse way's
    assert {row[0]: row[1:] for row in sizes.rows}["nebula mesh, relayed"] == ("1420", "1340", "1/1")
    assert {row[0]: row[1:] for row in sizes.rows}["refmesh relay"] == ("1420", "1420", "0/6")
    rows = {row[0]: dict(zip(costs.header, row, strict=True)) for row in costs.rows}
    assert rows["underlay"]["server bytes/byte"] == "-"
    assert rows["openvpn hub"]["server bytes/byte"] == "1.100"
    assert 1.9 < float(rows["underlay"]["underlay bytes/byte"]) < float(rows["refmesh relay"]["underlay bytes/byte"])


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
