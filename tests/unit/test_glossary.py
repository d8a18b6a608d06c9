"""The glossary has every abbreviation that the documentation uses, and explains each term once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
# Names, which stand for nothing longer here, and words in capitals that are values of files and commands.
NAMES = frozenset(
    (
        *("AMD", "BSD", "DuckDB", "EPYC", "GPL", "OpenVPN", "PyPI", "QEMU", "TU", "WebRTC"),
        *("ALL", "CHANGELOG", "CITATION", "CONTRIBUTING", "FILE", "INPUT", "NaN", "PATH", "PWD", "README"),
        *("REPOSITORY", "SCHEDULER"),
    )
)
NOT_PROSE = (r"```.*?```", r"`[^`]*`", r"\]\([^)]*\)", r"https?://\S+", r"<[^>]*>")
ABBREVIATION = re.compile(r"(?<![\w/.-])([A-Z][A-Za-z]*[A-Z][A-Z0-9]*|[A-Z]+\d+|\d+[A-Z]{3,})s?(?!\w)")


def prose(text: str) -> str:
    """Return the text without code and addresses."""
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return text


def terms() -> list[str]:
    """Return what the glossary's tables explain, a term each."""
    rows = [line.split("|")[1] for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [term.strip() for row in rows for term in re.split(r"[,;]", row)]


def test_the_glossary_has_every_abbreviation_of_the_documentation() -> None:
    known = {word for term in terms() for word in re.split(r"[ -]", term)} | NAMES
    pages = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page != GLOSSARY)]
    used = {page.name: set(ABBREVIATION.findall(prose(page.read_text(encoding="utf-8")))) for page in pages}
    assert {name: sorted(found - known) for name, found in used.items() if found - known} == {}


def test_each_term_is_explained_once() -> None:
    twice = [term for term, count in Counter(terms()).items() if count > 1 and term not in {"cell", "word", "short"}]
    assert not twice
