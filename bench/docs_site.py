"""What MkDocs asks while it builds the documentation: pages from outside of docs/, and links as they lead in the site.

Pages are written for people who read the repository; there a link to the results is `../results/README.md`. In the
site all pages lie in one folder, and what lies outside of the documentation has no page: its links become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that lie elsewhere in the repository.
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "results.md": "results/README.md"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside, and the published pictures that pages show."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    for path in sorted((ROOT / "results").glob("*/plots/*.svg")):
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001  # MkDocs' names
    """Return the page with its links as they lead inside the site."""
    source = ROOT / PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return "".join(
        part if number % 2 else _LINK.sub(lambda match: _link(match, source.parent), part)
        for number, part in enumerate(re.split(r"(^```.*?^```|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL))
    )


def _link(match: re.Match[str], folder: Path) -> str:
    """Return one link, rewritten where it leads out of the documentation's folder."""
    picture, text, target, place = match[1], match[2], match[3], match[4] or ""
    if ":" in target:
        return match[0]
    path = (folder / target).resolve()
    own = {(ROOT / source).resolve(): name for name, source in PAGES.items()}
    if path in own:
        return f"[{text}]({own[path]}{place})"
    if path.is_relative_to(ROOT / "docs"):
        return f"{picture}[{text}]({path.relative_to(ROOT / 'docs')}{place})"
    if path.suffix == ".svg":
        return f"{picture}[{text}]({path.relative_to(ROOT)})"
    # Published runs have their place on the scoreboard, and code is read in the repository.
    return text if path.exists() else match[0]
