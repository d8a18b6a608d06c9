"""One table of the record's fields; records of schema 1 are read, reported and compared as before."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from result_samples import Maker

from harness.report.markup import markdown_of
from harness.report.measured import tables_by_condition
from harness.results.compare import compare
from harness.results.frame import ARROW_SCHEMA
from harness.results.lines import OtherSchema, parse_line, read_lines
from harness.results.loading import load
from harness.results.record import FIELDS, SCHEMA_VERSION, Record, fields_of
from harness.results.store import ResultFolderError, RunFolder

ROOT = Path(__file__).parents[2]
PAIR = {"overlay": "refmesh", "mode": "mesh", "nat_a": "full-cone", "nat_b": "symmetric"}
PUBLISHED = ("demo", "nat-matrix")


def as_schema_1(record: Record) -> bytes:
    row = {item.name: record.as_dict()[item.name] for item in fields_of(1)}
    return json.dumps(row | {"schema": 1}).encode() + b"\n"


def test_the_table_declares_each_field_rightly() -> None:
    assert [item.since for item in FIELDS] == sorted(item.since for item in FIELDS)
    assert max(item.since for item in FIELDS) == SCHEMA_VERSION
    for item in fields(Record):
        if item.metadata["null"]:
            assert item.default is None
        if item.metadata["since"] > 1:  # what writes records of an earlier shape need not be changed for it
            default = item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc]
            assert default == item.metadata["before"]
    assert ARROW_SCHEMA.names == [item.name for item in fields(Record)]


def test_a_record_of_schema_1_is_read_with_what_it_lacks_filled_in() -> None:
    records = Maker().trial("t1", **PAIR)
    lines = read_lines(as_schema_1(record) for record in records)
    assert lines.problems == [] and lines.finished == {"t1"}
    assert lines.records == [record.as_dict() | {"schema": 1} for record in records]
    assert {row["engine"] for row in lines.records} == {"emulated"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"host": "here"}, "unknown field 'host'"),  # schema 1 has none
        ({"outcome": "fine"}, "outcome 'fine' is none of ok"),
        ({"path": "straight"}, "path 'straight' is none of direct"),
        ({"repeat": True}, "repeat must be a whole number"),
        ({"value": "1"}, "value must be a number or null"),
        ({"nat_a": 3}, "nat_a must be text or null"),
        ({"seed": 2**64}, "seed must be a whole number below"),
        ({"params": []}, "params must be an object"),
        ({"run": None}, "run must be text"),
    ],
)
def test_what_is_no_record_is_refused_with_the_field(change: dict[str, object], error: str) -> None:
    line = json.dumps(json.loads(as_schema_1(Maker().trial("t1", **PAIR)[0])) | change).encode()
    with pytest.raises(ValueError, match=error):
        parse_line(line)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, True, "1", None])
def test_another_version_is_told_apart_from_a_broken_line(version: object) -> None:
    row = Maker().trial("t1", **PAIR)[0].as_dict() | {"schema": version}
    with pytest.raises(OtherSchema, match="this program reads 1 to 3"):
        parse_line(json.dumps(row).encode())


def test_a_folder_of_schema_1_goes_on_in_the_present_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    folder.records_path.write_bytes(b"".join(as_schema_1(record) for record in Maker().trial("t1", **PAIR)))
    folder.append(Maker().trial("t2", **PAIR, repeat=1))
    folder.finish()
    records = load(folder.path).records
    assert records.groupby("trial", observed=True)["schema"].unique().map(list).to_dict() == {
        "t1": [1],
        "t2": [SCHEMA_VERSION],
    }
    assert set(records["pair"].astype(str)) == {"{}"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_folder_of_schema_1_loads_reports_and_compares(name: str) -> None:
    results = load(ROOT / "results" / name)
    assert set(results.records["schema"]) == {1}
    assert list(results.records.columns) == ARROW_SCHEMA.names
    assert set(results.records["engine"].astype(str)) == {"emulated"} and results.records["host"].isna().all()
    assert results.manifest["schema"] == 1 and len(results.trials) == len(results.plan)
    markdown = markdown_of(tables_by_condition(results.pairs))
    assert "| refmesh mesh " in markdown
    comparison = compare(results.records, results.records)
    assert comparison.changes and not comparison.regressions


def test_the_demos_figures_are_those_that_were_published() -> None:
    """What no rule changed since: counts, times, throughput and shares of the run that the README shows."""
    trials = load(ROOT / "results" / "demo").trials
    mesh = trials[trials["mode"] == "mesh"]
    direct = mesh.groupby("overlay")["hole_punch_success"].agg(["sum", "size"])
    assert {name: tuple(row) for name, row in zip(direct.index, direct.to_numpy(), strict=True)} == {
        "nebula": (9, 18),
        "refmesh": (15, 18),
    }
    medians = trials[trials["path"] == "direct"].groupby(["overlay", "mode"])["tcp_throughput_mbit"].median().round(1)
    assert medians["refmesh", "mesh"] == 42.5 and medians["nebula", "mesh"] == 40.6


def test_a_parquet_of_a_later_version_alone_is_refused_not_empty(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 9, "scenario": "demo"}, [])
    folder.records_path.unlink()
    pq.write_table(pa.Table.from_pandas(pd.DataFrame({"schema": [9], "colour": ["red"]})), folder.parquet_path)
    with pytest.raises(ResultFolderError, match="no version that overlaybench can read"):
        load(folder.path)
