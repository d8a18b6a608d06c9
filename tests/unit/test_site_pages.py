"""The site's pages: the library's numbers in the right cells, links that lead somewhere, nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from click.testing import CliRunner
from made_runs import folder_of
from result_samples import EVIL, Maker
from site_samples import run_of

from harness.commands.site import site_command
from harness.report.plots.heatmap import matrix_of
from harness.results.clusters import estimate, estimates
from harness.results.loading import load
from harness.results.store import ResultFolderError, RunFolder
from harness.site.build import SiteFolderError, write_site
from harness.site.figures import cells_of
from harness.site.gather import gather
from harness.site.pages import Pages
from harness.site.tables import metric_tables, success_tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [run_of(root / "old", "r1", "1.0"), run_of(root / "new", "r22", "2.0", hosts=True)]


@pytest.fixture(scope="module")
def site(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    (out / "docs").mkdir()
    (out / "docs" / "index.html").write_text("<!doctype html><title>docs</title>")
    return write_site(folders, out).parent


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "srcset", "action", "poster", "data"}:
                self.links.append((tag, value or ""))


def test_every_link_leads_to_a_page_and_to_a_place_on_it(site: Path) -> None:
    pages = {path.resolve(): _Page(path) for path in site.rglob("*.html")}
    assert {path.parent.name for path in pages} >= {"overlays", "metrics", "demo-r1", "demo-r22"}
    seen = 0
    for path, page in pages.items():
        assert len(set(page.ids)) == len(page.ids), path
        for tag, link in page.links:
            if link == "data:,":
                continue
            assert not re.match(r"[a-z]+:|//|/", link), (path, link, "nothing comes from elsewhere")
            target, place = urldefrag(link)
            there = (path.parent / unquote(target)).resolve() if target else path
            assert there.is_file(), (path, link)
            assert there.is_relative_to(site.resolve())
            if place:
                assert unquote(place) in pages[there].ids, (path, link)
            seen += tag == "a"
    assert seen > 500


def test_a_cell_says_what_the_library_says(folders: list[Path]) -> None:
    runs = gather(folders)
    cells = cells_of(runs)
    shown = {
        (row.subject.run.key, row.subject.overlay, row.subject.mode, nats): cell
        for table in success_tables(cells)
        for row in table.rows
        if not row.subject.part
        for nats, cell in zip(table.columns, row.cells, strict=True)
    }
    for run in runs:
        for subject in (("nebula", "mesh"), ("refmesh", "mesh")):
            matrix = matrix_of(
                load(run.results.path).pairs.query("overlay == @subject[0] and mode == @subject[1]"), *subject
            )
            assert matrix is not None
            for nats, cell in matrix.cells.items():
                found = shown[(run.key, *subject, nats)]
                assert found is not None
                assert found.text == f"{cell.k}/{cell.n}"
                assert found.lines[0] == f"{100 * cell.low:.0f} to {100 * cell.high:.0f} %"
    # A failed trial counts as a failure, an invalid one not at all; both are said.
    failed = shown["demo-r1", "nebula", "mesh", ("symmetric", "symmetric")]
    assert failed is not None and failed.text == "0/4" and "1 failed, 1 invalid" in failed.lines


def test_paths_and_versions_and_runs_have_rows_of_their_own_and_machines_besides(folders: list[Path]) -> None:
    cells = cells_of(gather(folders))
    metric = next(metric for metric in gather(folders)[0].metrics if metric.name == "rtt_p50_ms")
    (table,) = metric_tables(cells, metric)
    rows = [
        (row.subject.run.key, row.subject.version, row.what, row.subject.machine)
        for row in table.rows
        if (row.subject.overlay, row.subject.mode) == ("nebula", "mesh")
    ]
    one, two = (f"CPU h{number}, 2 CPUs, 6.1" for number in (1, 2))
    parts = [
        ("demo-r22", "2.0", path, f"h{n}, {machine}")
        for n, machine in ((1, one), (2, two))
        for path in ("direct", "relayed")
    ]
    whole = [("demo-r1", "1.0", path, one) for path in ("direct", "relayed")]
    whole += [("demo-r22", "2.0", path, "") for path in ("direct", "relayed")]
    assert sorted(rows) == sorted(parts + whole)
    pairs = load(folders[0]).pairs
    own = pairs[(pairs["overlay"] == "nebula") & (pairs["nat_a"] == "full-cone") & (pairs["nat_b"] == "symmetric")]
    expected = estimate("rtt_p50_ms", list(own["rtt_p50_ms"]), list(own["trial"]))
    (figure,) = (
        cell.figures["rtt_p50_ms", "direct"]
        for cell in cells
        if cell.subject.run.key == "demo-r1"
        and cell.subject.overlay == "nebula"
        and cell.nats == ("full-cone", "symmetric")
    )
    assert figure == expected


def test_many_estimates_at_once_are_those_one_by_one() -> None:
    asked = [
        ("rtt_p50_ms", [1.0, 2.0, 4.0, 3.0, 9.0, 5.0, 7.0], list("abcdefg")),
        ("rtt_p50_ms", [1.0, 2.0, 4.0], list("aab")),
        ("hole_punch_success", [1.0, 0.0], list("ab")),
        ("time_to_direct_s", [1.0, float("inf"), 2.0, 3.0, 4.0, 5.0], list("abcdef")),
        ("time_to_direct_s", [1.0], ["a"]),
    ]
    assert [str(one) for one in estimates(asked)] == [str(estimate(*one)) for one in asked]


def test_an_overlays_page_says_what_it_can_and_how_it_was_deployed(site: Path) -> None:
    text = (site / "overlays" / "nebula.html").read_text()
    for said in ("mesh, direct and relay", "UDP 4242; <code>punchy</code> on", "Debian package nebula", "Lighthouse"):
        assert said in text, said
    assert "added RTT (ms)" in text, "what it costs"


def test_an_overlay_that_is_not_installed_has_its_figures_all_the_same(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    trial = Maker().trial("t1", overlay="elsewhere", mode="mesh", nat_a="full-cone", nat_b="symmetric")
    folder.append(trial)
    runs = gather([folder.path])
    text = Pages(runs, cells_of(runs), docs=False).overlay("elsewhere")
    assert "Its adapter was not installed where this page was made" in text and ">1/1</a>" in text


def test_what_others_wrote_is_text(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert EVIL not in page.read_text(), page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; broke" in (site / "runs" / "demo-r1" / "nebula.html").read_text()


def test_the_end_of_a_log_is_on_the_runs_page_and_what_is_missing_is_no_number(site: Path) -> None:
    text = (site / "runs" / "demo-r1" / "report.html").read_text()
    assert "it said no" in text and "plots/" not in text and "trials/" not in text
    for page in site.rglob("*.html"):
        shown = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.DOTALL)
        assert not re.findall(r"\b(?:nan|NaN|None|inf)\b", shown), page


def test_the_same_folders_give_the_same_site_and_what_is_gone_goes(
    folders: list[Path], site: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    done = CliRunner().invoke(site_command, [str(folders[0]), str(folders[1]), "--out", str(out)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(out / "index.html"))
    names = {path.relative_to(site) for path in site.rglob("*.html")} - {Path("docs/index.html")}
    assert names == {path.relative_to(out) for path in out.rglob("*.html")}
    for name in names:
        same = (out / name).read_text() == (site / name).read_text()
        assert same == ("/" in str(name) and name.name == "report.html"), name  # the others link the documentation
    (out / "mine.txt").write_text("mine")
    write_site(folders[:1], out)
    assert not (out / "runs" / "demo-r22" / "report.html").exists()
    assert (out / "mine.txt").read_text() == "mine"
    assert json.loads((out / "site.json").read_text())["runs"] == ["demo-r1"]


def test_folders_that_cannot_be_are_refused(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ResultFolderError, match="contains the same run as"):
        gather([folders[0], folders[0]])
    with pytest.raises(ResultFolderError, match="not a result folder"):
        write_site([tmp_path], tmp_path / "out")
    with pytest.raises(SiteFolderError, match="is a result folder"):
        write_site(folders, folders[0])
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(SiteFolderError, match="overlaybench did not make"):
        write_site(folders, tmp_path)
    assert SiteFolderError.exit_code == ResultFolderError.exit_code == 2


def test_parameters_that_a_run_varied_are_conditions_and_those_of_other_runs_are_not(tmp_path: Path) -> None:
    left_out = frozenset({"throughput", "latency", "lab", "deploy"})
    one = folder_of(tmp_path / "one", 1, left_out, run="one", params={"mtu": 1280})
    two = folder_of(tmp_path / "two", 1, left_out, run="two", params={"mtu": 1400, "idle": 3})
    titles = {cell.condition.title for cell in cells_of(gather([one.path, two.path]))}
    assert titles == {"two-sites, dsl, mtu=1280", "two-sites, dsl, mtu=1400"}


def test_published_runs_of_every_schema_have_a_front_page() -> None:
    runs = gather(sorted(path.parent for path in (ROOT / "results").glob("*/manifest.json")))
    assert {run.results.manifest["schema"] for run in runs} >= {1, 3}
    cells = cells_of(runs)
    text = Pages(runs, cells, docs=False).front()
    assert text.count('<section class="condition"') == len(success_tables(cells)) >= 8
    assert len(text) < 600_000, "91 pairs of access types in six conditions are most of it"
    simulated = sum(len(run.results.trials) for run in runs if run.results.manifest["scenario"] == "field")
    in_labs = sum(len(run.results.trials) for run in runs) - simulated
    assert simulated and f"{in_labs} trials in labs and {simulated} simulated." in text, (
        "nobody deployed what was simulated"
    )
