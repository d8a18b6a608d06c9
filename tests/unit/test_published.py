"""The pages that show published runs are what the stored folders say under today's rules."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.published import ROOT, left_over, pages, renew


def test_every_page_is_what_its_folder_says() -> None:
    found = dict(pages())
    assert {path.relative_to(ROOT).as_posix() for path in found} >= {"README.md", "results/demo/README.md"}
    for path, text in found.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: python -m bench.published"


def test_a_page_that_is_not_is_written_anew_and_the_rest_of_it_is_kept(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "demo", tmp_path / "results" / "demo")
    (tmp_path / "README.md").write_text("before\n<!-- demo -->\nof long ago\n<!-- end of demo -->\nafter\n")
    assert renew(tmp_path) == [tmp_path / "README.md"]
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("before\n<!-- demo -->\nWhat it prints") and page.endswith("<!-- end of demo -->\nafter\n")
    assert "long ago" not in page and "NATs" in page
    assert renew(tmp_path) == []


def test_a_table_that_no_folder_makes_any_more_is_told_and_removed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "claim-outage", tmp_path / "results" / "claim-outage")
    tables = tmp_path / "results" / "claim-outage" / "tables"
    old = tables / "what-a-hub-cost-once.csv"
    tables.mkdir(exist_ok=True)
    old.write_text("of an earlier rule")
    assert left_over(dict(pages(tmp_path)), tmp_path) == [old]
    assert old in renew(tmp_path) and not old.exists()
