"""`overlaybench site`: folders in, a folder of static pages out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import OverlaybenchError
from harness.report.evidence import Evidence
from harness.report.html import report_page
from harness.results.files import write_atomically
from harness.site.figures import cells_of
from harness.site.gather import Run, gather, slug
from harness.site.pages import Pages

# What of all runs' evidence is set into their reports, so that a site of many runs stays small.
_EVIDENCE_BYTES = 2_000_000
_EVIDENCE_BYTES_A_RUN = 400_000
# Half a megabyte each, where every probe ran.
_MOST_DRAWN = 4
MANIFEST = "site.json"


class SiteFolderError(OverlaybenchError):
    """The folder for the site holds something else."""

    exit_code = 2


def write_site(folders: Sequence[Path], out: Path) -> Path:
    """Write the site of some result folders into `out`, replacing one that is there, and return its front page.

    Whatever else lies in `out` stays, documentation in `docs` say, which the pages then link. Needs no privileges and
    writes nowhere else.

    Raises:
        ResultFolderError: a folder is no result folder, or two hold the same run.
        SiteFolderError: `out` has an index.html that no site of ours wrote, or is a result folder itself.
    """
    previous = _files_of(out)
    runs = gather(folders)
    cells = cells_of(runs)
    pages = Pages(runs, cells, docs=(out / "docs" / "index.html").is_file())
    written: dict[str, str] = {}

    def write(name: str, text: str) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        written[name] = text

    for name, text in pages.assets().items():
        write(name, text)
    for run in runs:
        write(f"runs/{run.key}/report.html", _report(run, len(runs)))
        for overlay in sorted(set(run.pairs["overlay"])):
            write(f"runs/{run.key}/{slug(overlay)}.html", pages.cells(run, overlay))
    for overlay in pages.overlays():
        write(f"overlays/{slug(overlay)}.html", pages.overlay(overlay))
    for metric in pages.metrics():
        write(f"metrics/{slug(metric.name)}.html", pages.metric(metric))
    write("index.html", pages.front())
    for name in previous - set(written):
        (out / name).unlink(missing_ok=True)
    about = {"runs": [run.key for run in runs], "files": sorted(written)}
    write_atomically(out / MANIFEST, (json.dumps(about, indent=1) + "\n").encode())
    return out / "index.html"


def _report(run: Run, runs: int) -> str:
    budget = min(_EVIDENCE_BYTES_A_RUN, _EVIDENCE_BYTES // runs)
    evidence = Evidence(run.results.path, budget, linked=False)
    with tempfile.TemporaryDirectory() as plots:  # the page has its plots in itself
        return report_page(run.results, Path(plots), evidence, home="../../index.html", most_drawn=_MOST_DRAWN)


def _files_of(out: Path) -> set[str]:
    """Return the files of the site that is there, none where there is no site yet."""
    if (out / "manifest.json").exists():
        raise SiteFolderError(f"{out}: is a result folder; choose another folder for the site")
    try:
        data = json.loads((out / MANIFEST).read_bytes())
        names = {str(name) for name in data["files"]}
    except FileNotFoundError:
        if (out / "index.html").exists():
            raise SiteFolderError(
                f"{out}: has an index.html that overlaybench did not make; choose another folder"
            ) from None
        return set()
    except (ValueError, KeyError, TypeError):
        raise SiteFolderError(f"{out / MANIFEST}: cannot be read; remove it or choose another folder") from None
    root = out.resolve()
    return {name for name in names if (root / name).resolve().is_relative_to(root)}
