"""An event is one file and one line of registration: the worked example, as a package of its own, is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from extension import install, run

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
SCENARIO = """\
description: stall
topology: two-sites
overlays: {refmesh: mesh}
probes: {path: , continuity: {duration_s: 8}}
timeline: [{at_s: 2, do: stall, to: a, for_s: 2, hard: false}]
"""


def example() -> str:
    """Return the page's code."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class Stall(" in block)
    return str(code)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One in which the example is installed."""
    folder = tmp_path_factory.mktemp("outside")
    return install(folder, group="overlaybench.events", name="stall", source=example(), attribute="Stall")


def test_plan_has_it_with_its_settings(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    done = run(environment, "overlaybench", "plan", str(tmp_path / "mine.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    (trial,) = json.loads(done.stdout)
    (item,) = trial["timeline"]
    assert (item["do"], item["to"], item["settings"]) == ("stall", "a", {"hard": False})


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("hard", "hart", "mine.yaml:5: timeline[0]: stall: unknown key hart (did you mean hard?)"),
        ("to: a", "to: ra", "mine.yaml:5: timeline[0].to: stall cannot be done to ra (did you mean a?)"),
    ],
)
def test_check_knows_what_it_can_be_told(
    environment: dict[str, str], tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO.replace(right, wrong))
    done = run(environment, "overlaybench", "check", str(tmp_path / "mine.yaml"))
    assert done.returncode == 2 and said in done.stderr + done.stdout


def test_the_page_follows(environment: dict[str, str]) -> None:
    code = "from harness.model.reference import scenario_reference; print(scenario_reference())"
    done = run(environment, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "## `timeline: do: stall`" in done.stdout


def test_without_it_there_is_no_such_event(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    done = run({}, "overlaybench", "check", str(tmp_path / "mine.yaml"))
    assert done.returncode == 2 and "timeline[0]: unknown event stall" in done.stderr + done.stdout
