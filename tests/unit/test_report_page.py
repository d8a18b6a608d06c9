"""The page itself: self-contained, sound, safe, and usable in a real browser at any width, light and dark."""

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_checks import ask_page
from result_samples import EVIL, PAIR, Maker

from harness.report.html import write_report
from harness.results.store import RunFolder


@pytest.fixture
def page(reported: Path) -> Path:
    return reported / "report.html"


class _Outline(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids[value or ""] += 1


def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    outline = _Outline(page.read_text())
    loaded = [value for tag, name, value in outline.attributes if name in {"src", "srcset", "data", "action", "poster"}]
    assert loaded == []
    links = [value for tag, name, value in outline.attributes if tag == "link" and name == "href"]
    assert links == ["data:,"]
    assert not re.search(r"@import|url\((?!#)", page.read_text())


def test_links_lead_to_files_that_are_there(page: Path) -> None:
    outline = _Outline(page.read_text())
    targets = [value for tag, name, value in outline.attributes if tag == "a" and name == "href"]
    assert any(target.startswith("trials/") for target in targets)
    for target in targets:
        assert target.startswith("#") or (page.parent / target).is_file(), target
        assert not target.startswith("#") or target[1:] in outline.ids


def test_ids_are_unique_and_labels_point_at_them(page: Path) -> None:
    outline = _Outline(page.read_text())
    assert [name for name, count in outline.ids.items() if count > 1] == []
    for _, name, value in outline.attributes:
        if name == "aria-labelledby":
            assert set(value.split()) <= outline.ids.keys(), value


def test_what_others_wrote_is_text_not_markup(page: Path) -> None:
    text = page.read_text()
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text


def test_keys_are_linked_and_not_set_in(page: Path) -> None:
    assert '/ssh_host"' in page.read_text()
    assert "b3BlbnNzaC1rZXk" not in page.read_text()


def test_what_is_missing_is_not_printed_as_a_number(page: Path) -> None:
    shown = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r"\b(?:nan|NaN|None|inf)\b", shown)


def test_every_plot_has_its_files(page: Path) -> None:
    plots = page.parent / "plots"
    names = {path.stem for path in plots.iterdir()}
    assert {"latency-cdf", "latency-ccdf", "time-to-direct", "tcp-throughput-mbit", "hole-punch-nebula-mesh"} <= names
    assert {"loaded-latency-cdf", "rtt-rise-p50-ms", "owd-p50-ms", "udp-goodput-mbit", "path-mtu-bytes"} <= names
    assert {"underlay-bytes-per-byte", "underlay-packets-per-mb", "server-bytes-per-byte", "cpu-s-per-gb"} <= names
    for name in names:
        assert {path.suffix for path in plots.glob(f"{name}.*")} == {".svg", ".png", ".pdf", ".csv"}
    assert len((plots / "latency-cdf.csv").read_text().splitlines()) > 100


@pytest.mark.nightly  # test_site_pages.py has a page and its plots twice as well
def test_the_same_records_give_the_same_page_and_plots(reported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(reported, copy, ignore=shutil.ignore_patterns("report.html", "plots"))
    write_report(copy)
    names = [path.relative_to(reported) for path in (reported / "plots").iterdir()] + [Path("report.html")]
    assert len(names) > 60
    for name in names:
        assert (copy / name).read_bytes() == (reported / name).read_bytes(), name


def test_evidence_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.log"
    secret.write_text("the secret")
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [])
    maker = Maker()
    for trial in ("../..", "t2"):
        folder.append(maker.ended(trial, "failed", **PAIR))
    (folder.path / "trials" / "t2").mkdir()
    (folder.path / "trials" / "t2" / "link.log").symlink_to(secret)
    assert "the secret" not in write_report(folder.path).read_text()


def test_trials_that_began_on_a_busy_machine_are_said_on_top_of_the_page(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    busy = {"t1": {"share": 0.83, "waited_s": 5.1, "by": "pressure", "began_busy": True}}
    folder.create({"schema": 1, "scenario": "demo", "busy": busy}, [])
    folder.append(Maker().ended("t1", "failed", **PAIR))
    page = write_report(folder.path).read_text()
    assert (
        "1 of 1 trials that load the machine began while other processes were waiting for its processors (up to "
        "83\N{NO-BREAK SPACE}%" in page
    )


def test_a_run_without_any_finished_trial_has_a_page(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "demo"}, [{"id": "t1"}])
    assert "No trial has finished yet" in write_report(folder.path).read_text()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [500, 1200])
def test_nothing_sticks_out_sideways(page: Path, width: int, dark: bool) -> None:
    script = """
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      return [document.documentElement.scrollWidth, innerWidth, document.querySelectorAll("svg").length];
    """
    scroll, inner, pictures = ask_page(page, script, width=width, dark=dark)
    assert scroll <= inner
    assert pictures >= 6


def test_what_is_hidden_in_a_far_column_does_not_widen_the_page(page: Path) -> None:
    script = """
      const cells = "<td style='min-width: 900px'>x</td>".repeat(3) + "<td>y<span class='hidden'>hidden</span></td>";
      document.querySelector(".wide").innerHTML = `<table><tbody><tr>${cells}</tr></tbody></table>`;
      return [document.documentElement.scrollWidth, innerWidth, document.querySelector(".wide").scrollWidth];
    """
    scroll, inner, inside = ask_page(page, script, width=1200)
    assert scroll <= inner < inside


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_without_sideways_scrolling(page: Path, dark: bool) -> None:
    """The page in a frame of 390 px, since a headless window cannot be that narrow: media queries see the frame."""
    script = """
      const frame = document.createElement("iframe");
      frame.width = 390; frame.height = 800; frame.style.border = "0";
      const loaded = new Promise((done) => { frame.onload = done; });
      frame.srcdoc = document.documentElement.outerHTML.replace(/<script>[^]*?<\\/script>/g, "");
      document.body.append(frame);
      await loaded;
      const inside = frame.contentDocument;
      inside.querySelectorAll("details").forEach((d) => { d.open = true; });
      const wide = [...inside.body.querySelectorAll("*")].filter((e) => !e.closest(".hidden, .skip")
        && !e.parentElement.closest(".wide, pre, svg") && e.getBoundingClientRect().right > 390.5);
      return [frame.contentWindow.innerWidth, inside.documentElement.scrollWidth,
        inside.querySelectorAll("section").length, wide.map((e) => e.tagName + " " + e.className).slice(0, 5)];
    """
    width, scroll, sections, wide = ask_page(page, script, dark=dark)
    assert (width, wide) == (390, [])
    assert scroll <= width
    assert sections >= 6


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_enough(page: Path, dark: bool) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 between text and what is behind it, for every text on the page and in the plots."""
    script = """
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92
        : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] > 0.9) return c; } return [255, 255, 255]; };
      const bad = [];
      const texts = "p, td, th, a, summary, figcaption, h1, h2, h3, li, pre, strong, small, svg text";
      for (const e of document.querySelectorAll(texts)) {
        if (!e.textContent.trim() || e.closest(".hidden, .matrix svg")) continue;
        const style = getComputedStyle(e);
        const ink = parse(e.closest("svg") ? style.fill : style.color);
        const [a, b] = [light(ink), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push(`${e.tagName} ${e.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
      }
      return bad.slice(0, 8);
    """
    assert ask_page(page, script, dark=dark) == []


def test_dark_is_dark_and_light_is_light(page: Path) -> None:
    script = "return getComputedStyle(document.body).backgroundColor;"
    assert ask_page(page, script, dark=False) == "rgb(255, 255, 255)"
    assert ask_page(page, script, dark=True) == "rgb(20, 23, 26)"


def test_the_filter_finds_trials(page: Path) -> None:
    script = """
      const shown = () => [...document.querySelectorAll(".trial")].filter((t) => !t.hidden).length;
      const all = shown();
      const find = document.getElementById("find"), outcome = document.getElementById("outcome");
      find.value = "openvpn symmetric"; find.dispatchEvent(new Event("input"));
      const some = shown();
      find.value = ""; outcome.value = "invalid"; outcome.dispatchEvent(new Event("change"));
      return [all, some, shown(), document.getElementById("count").textContent];
    """
    assert ask_page(page, script) == [40, 3, 1, "1 of 40"]


def test_the_keyboard_reaches_everything_that_scrolls_or_opens(page: Path) -> None:
    script = """
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      const overflow = (e) => getComputedStyle(e).overflowX;
      const scrolls = [...document.querySelectorAll("*")].filter((e) => ["auto", "scroll"].includes(overflow(e)));
      const unreachable = scrolls.filter((e) => e.tabIndex < 0);
      const first = document.querySelector("a, button, input, [tabindex]");
      return [scrolls.length > 3, unreachable.length, first.textContent, document.querySelectorAll("main").length];
    """
    assert ask_page(page, script) == [True, 0, "To the content", 1]
