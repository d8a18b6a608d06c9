"""What the documents say is what the program does."""

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import matplotlib as mpl
import pytest
from result_samples import Maker

from harness.results.frame import ARROW_SCHEMA
from harness.results.loading import load
from harness.results.metrics import metrics_in_tables, reference_table
from harness.results.record import reference_table as fields_table
from harness.results.store import RunFolder
from harness.results.summary import COLUMNS

ROOT = Path(__file__).parents[2]
MODES = ("hub", "mesh", "relay")


def test_the_readme_lists_every_metric_as_it_is() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    table = text[text.index("<!-- metrics -->\n") + 17 : text.index("<!-- end of metrics -->")]
    assert table == reference_table()


def test_the_readme_lists_every_field_as_it_is() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    table = text[text.index("<!-- fields -->\n") + 16 : text.index("<!-- end of fields -->")]
    assert table == fields_table()


def test_the_readme_names_every_field_and_column() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    assert set(ARROW_SCHEMA.names) <= named
    assert set(COLUMNS) - {"estimate"} <= named


def test_the_programs_of_the_analysis_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("agg")
    folder = RunFolder(tmp_path / "runs" / "demo")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    (folder.path / "rtt.csv").write_text("seq,sent_s,rtt_ms\n0,1000.5,10.5\n1,1000.6,\n2,1000.7,11\n")
    for trial in Maker(params={"nat_a": "symmetric"}).campaign(2):
        where = {"evidence": "rtt.csv"}
        folder.append([type(r)(**{**r.as_dict(), **where}) if r.metric == "rtt_p50_ms" else r for r in trial])
    folder.finish()
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "analysis.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(programs) == 5
    names: dict[str, object] = {}
    for program in programs:
        exec(program, names)  # noqa: S102  # our own document
    assert {path.name for path in tmp_path.glob("*.png")} == {"direct.png", "cost.png", "latency.png"}
    (queries,) = re.findall(r"```sql\n(.*?)```", page, flags=re.DOTALL)
    punched, added = (duckdb.sql(query).fetchall() for query in queries.split(";") if query.strip())
    assert punched == [("nebula", "mesh", 10, 12), ("refmesh", "mesh", 10, 12)]
    subjects = [("nebula", "mesh"), ("openvpn", "hub"), *(("refmesh", mode) for mode in MODES)]
    assert [row[:2] for row in added] == [*subjects, ("underlay", "underlay")]
    samples = names["run"].rtt_samples  # type: ignore[attr-defined]
    assert samples["sent_s"].min() == 0
    assert samples["rtt_ms"].isna().sum() == 72


def test_every_published_run_loads_as_it_is() -> None:
    """The folders under results/ that are in the repository: complete, small, and without this machine's paths."""
    folders = [path.parent for path in (ROOT / "results").glob("*/manifest.json") if path.parent.name[:4] != "run-"]
    for folder in folders:
        run = load(folder)
        assert len(run.records) and not run.problems, folder
        assert (folder / "README.md").exists() and sorted((folder / "plots").glob("*.svg")), folder
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = {
            kind: sum(path.stat().st_size for path in files if (path.suffix == ".xz") == kind) for kind in (True, False)
        }
        # Of what was simulated the records are all evidence that there is: a record of each of some 25,000 worlds.
        most = 3_000_000 if run.manifest.get("engine") == "simulated" else 1_000_000
        assert size[False] < most and size[True] < 1_000_000, (folder, "figures and evidence each")
        assert not re.search(r'"/(tmp|root|home|work)/', (folder / "manifest.json").read_text()), folder


def test_the_way_in_stays_a_function_whatever_was_imported_before() -> None:
    code = (
        "import pkgutil, importlib, harness.results as r\n"
        "[importlib.import_module('harness.results.' + m.name) for m in pkgutil.iter_modules(r.__path__)]\n"
        "from harness.results import load\n"
        "assert callable(load)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_frames_have_the_dtypes_that_the_page_says(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    for trial in Maker().campaign(1):
        folder.append(trial)
    folder.finish()
    run = load(folder.path)
    page = (ROOT / "docs" / "analysis.md").read_text()
    table = page[page.index("| Frame |") : page.index("## Three plots")]
    said: dict[str, dict[str, set[str]]] = {}
    names: list[str] = []
    for line in table.strip().splitlines()[2:]:
        frames, columns, dtypes, _ = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"`(\w+)`", frames) or names  # a row without a name goes on with the last one
        for name in names:
            for column in re.findall(r"`(\w+)`", columns) or [columns]:
                said.setdefault(name, {})[column] = {word.split()[0] for word in dtypes.split(", ")}
    assert set(said) == {"records", "pairs", "trials", "summary", "rtt_samples", "loaded_rtt_samples"}
    in_tables = {metric.name for metric in metrics_in_tables()}
    for name, columns_of in said.items():
        for column, dtype in getattr(run, name).dtypes.items():
            rest = "metrics" if name in {"pairs", "trials"} and column in in_tables else "all others"
            assert str(dtype) in columns_of.get(str(column), columns_of.get(rest, set())), (name, column, dtype)
