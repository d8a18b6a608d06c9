"""The site in a real Chromium: from disk, phone and desktop, dark and light, by keyboard and for screen readers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_checks import chromium
from site_samples import run_of

from harness.site.build import write_site

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the Python package playwright is missing; to get it: ./setup.sh test"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright",
    reason="the Python package axe-playwright-python is missing; to get it: ./setup.sh test",
)

KINDS = (
    "index.html",
    "overlays/nebula.html",
    "metrics/rtt-p50-ms.html",
    "runs/demo-r1/nebula.html",
    "runs/demo-r1/report.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    folders = [run_of(root / "old", "r1", "1.0"), run_of(root / "new", "r22", "2.0", hosts=True, without="latency")]
    return write_site(folders, tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("requestfailed", lambda request: errors.append(request.url))
    yield opened
    opened.close()
    assert errors == []


@pytest.mark.parametrize("name", KINDS)
def test_nothing_keeps_anybody_out(site: Path, page: playwright.Page, name: str) -> None:
    """No rule of axe-core is broken and nothing sticks out sideways, wide and light as narrow and dark.

    Colours do not depend on the width, nor places on colours: each is looked at once.
    """
    page.goto((site / name).as_uri())
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page, options={"preload": False}).response["violations"]
        assert [(one["id"], one["nodes"][0]["target"]) for one in found] == [], (width, scheme)


def _rows(page: playwright.Page) -> list[str]:
    return [text.split("\n")[0] for text in page.locator(".cards tbody tr:visible th").all_inner_texts()]


def test_filters_choose_rows_and_columns_and_can_be_passed_on(
    site: Path, page: playwright.Page, browser: playwright.Browser
) -> None:
    page.goto((site / "index.html").as_uri())
    assert page.locator("#count").inner_text() == "10 of 10 rows"
    page.get_by_label("overlay", exact=True).select_option("nebula")
    page.get_by_label("version", exact=True).select_option("2.0")
    page.get_by_label("NAT", exact=True).select_option("symmetric")
    assert page.locator("#count").inner_text() == "1 of 10 rows"
    heads = page.locator(".cards thead th:visible").all_inner_texts()
    assert len(heads) == 4 and all("symmetric" in head for head in heads[1:])
    other = browser.new_page()
    other.goto(page.url)
    assert other.locator("#count").inner_text() == "1 of 10 rows"
    other.get_by_role("button", name="Show all").click()
    # A form is reset after the event that tells of it.
    playwright.expect(other.locator("#count")).to_have_text("10 of 10 rows")
    other.get_by_label("host", exact=True).select_option(index=2)
    assert len(_rows(other)) == 5 and all("hole" in row or "connected" in row for row in _rows(other))
    other.close()


def test_a_cell_leads_to_its_figures_and_on_to_its_evidence_by_keyboard(site: Path, page: playwright.Page) -> None:
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    cell = page.locator("[id='demo-r1.nebula.mesh-symmetric-symmetric'] a")
    cell.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/demo-r1/nebula.html#mesh-symmetric-symmetric")
    page.get_by_role("link", name="t-failed").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/report.html#trial-t-failed")
    page.locator("#trial-t-failed[open]").wait_for()
    assert "broke" in page.locator("#trial-t-failed pre").first.inner_text()


def test_it_can_be_read_without_scripts(site: Path, browser: playwright.Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert len(_rows(page)) == 10 and not page.locator("#filters").is_visible()
    context.close()
