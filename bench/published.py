"""README.md's and docs/claim.md's tables and those of published runs (CSV and LaTeX, too), made from the folders alone.

    python -m bench.published            writes them again
    python -m bench.published --check    exit code 1 where one is not what its folder says

`make results` calls it; a test holds the pages against the folders.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.claim_page import filled
from harness.report.hubcost import hub_cost
from harness.report.publish import table_files
from harness.report.published_page import readme_of
from harness.report.terminal import print_results
from harness.results.loading import Results, load

ROOT = Path(__file__).resolve().parents[1]
_BEGIN, _END = "<!-- demo -->\n", "<!-- end of demo -->"


def demo_of(results: Results) -> str:
    """Return what README.md says of the demo: where it was run, and what it prints into a pipe."""
    said = io.StringIO()
    print_results(results.records, Console(file=said, width=200))
    manifest = results.manifest
    lines = "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())
    commit, processors = str(manifest["overlaybench_commit"])[:7], manifest["machine"]["cpus"]
    return (
        f"What it prints, here with `--repeat {manifest['repeats']}` (commit {commit}, {processors} processors, "
        f"{results.trials['trial'].nunique()} trials in {_took(manifest)}; fibre at `a`, Wi-Fi at `b`, 20 ms round "
        f"trip to the server):\n\n```\n{lines}\n```\n"
    )


def _took(manifest: dict[str, Any]) -> str:
    began, ended = (datetime.fromisoformat(manifest[key]) for key in ("started_at", "ended_at"))
    minutes, seconds = divmod(round((ended - began).total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def pages(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each page with the text that it should have."""
    for manifest in sorted((root / "results").glob("*/manifest.json")):
        results = load(manifest.parent)
        yield manifest.parent / "README.md", readme_of(results)
        if (tables := manifest.parent / "tables").is_dir() and (chapter := hub_cost(results)) is not None:
            yield from ((tables / name, text) for name, text in table_files(chapter).items())
        if manifest.parent.name == "demo":
            page = root / "README.md"
            before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
            yield page, f"{before}{_BEGIN}{demo_of(results)}{rest[rest.index(_END) :]}"
    claim = root / "docs" / "claim.md"
    if claim.exists():
        yield claim, filled(claim.read_text(encoding="utf-8"), root / "results")


def left_over(wanted: Collection[Path], root: Path = ROOT) -> list[Path]:
    """Return the tables of published runs that are not among the pages that their folders make."""
    return sorted(path for path in (root / "results").glob("*/tables/*") if path not in wanted)


def renew(root: Path = ROOT) -> list[Path]:
    """Write the pages that are not what their folders say, remove tables that no folder makes; return both."""
    wanted = dict(pages(root))
    changed = stale(wanted)
    for path in changed:
        path.write_text(wanted[path], encoding="utf-8")
    gone = left_over(wanted, root)
    for path in gone:
        path.unlink()
    return [*changed, *gone]


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the pages that are not there, or not what their folders say."""
    return [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        wanted = dict(pages())
        wrong = [*stale(wanted), *left_over(wanted)]
        for path in wrong:
            print(f"{path}: not what its folder says; python -m bench.published")
        sys.exit(bool(wrong))
    for path in renew():
        print(path)


if __name__ == "__main__":
    main()
