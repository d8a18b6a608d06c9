"""report.html: one self-contained page, made from the result folder's files alone."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from harness.report.tables import overview, path_matrix
from harness.results.files import write_atomically
from harness.results.frame import records_frame
from harness.results.store import RunFolder
from harness.results.trials import trials_frame


def write_report(run_dir: Path) -> Path:
    """Writes DIR/report.html and returns its path. Raises ResultFolderError when DIR is no result folder."""
    folder = RunFolder(run_dir)
    manifest = folder.manifest()
    lines = folder.read()
    trials = trials_frame(records_frame(lines.records))
    environment = Environment(
        loader=PackageLoader("harness.report", "."), autoescape=select_autoescape(["html", "j2"]), trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        manifest=manifest,
        tables=[overview(trials), path_matrix(trials)],
        problems=lines.problems,
        trials=trials.sort_values("trial").to_dict("records"),
    )
    path = folder.path / "report.html"
    write_atomically(path, page.encode())
    return path
