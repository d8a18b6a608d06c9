"""A probe is one file and one line of registration: the worked example, as a package of its own, is seen everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from extension import install, run

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
SCENARIO = """\
description: hops
topology: two-sites
overlays: {underlay: }
probes:
  path:
  latency:
  hops: {attempts: 2}
"""
LOOK = """
import json, sys
import pandas as pd
from harness.model.reference import scenario_reference, scenario_schema
from harness.model.probes import declared_probes
from harness.probes.registry import probes
from harness.report.terminal import print_results
from harness.results.frame import records_frame
from harness.results.metrics import METRICS, reference_table
from harness.results.record import Record
rows = [
    Record(run="r", scenario="s", trial="t", repeat=1, seed=1, overlay="o", mode="mesh", topology="t", started_at="",
           probe=probe, metric=metric, unit=unit, value=value, src=src, dst=dst, path=path)
    for probe, metric, unit, value, src, dst, path in (
        ("path", "connect_success", "1", 1.0, "a", "b", "direct"),
        ("hops", "hops", "count", 3.0, "a", "b", None),
        ("trial", "duration_s", "s", 1.0, None, None, None),
    )
]
from rich.console import Console
print_results(records_frame([row.as_dict() for row in rows]), Console(file=sys.stderr, width=200))
print(json.dumps({
    "order": list(probes()),
    "schema": scenario_schema()["$defs"]["Probes"]["properties"],
    "page": scenario_reference(),
    "metric": METRICS["hops"].definition,
    "table": reference_table(),
    "labs": sorted(name for name in sys.modules if name.split(".")[0] in ("mininet", "pyroute2", "scapy")
                   or name.startswith("harness.lab")),
}))
"""


def example() -> str:
    """Return the page's code."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class Hops(" in block)
    return str(code)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One in which the example is installed."""
    folder = tmp_path_factory.mktemp("outside")
    return install(folder, group="overlaybench.probes", name="hops", source=example(), attribute="Hops")


def test_check_and_plan_know_it(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO)
    done = run(environment, "overlaybench", "plan", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert [trial["probes"]["hops"] for trial in json.loads(done.stdout)] == [{"attempts": 2}]
    file.write_text(SCENARIO.replace("attempts", "attempst"))
    done = run(environment, "overlaybench", "check", str(file))
    assert done.returncode == 2
    assert "mine.yaml:7: probes.hops.attempst: unknown key (did you mean attempts?)" in done.stderr + done.stdout


def test_schema_pages_metrics_columns_and_order_follow(environment: dict[str, str]) -> None:
    done = run(environment, "-c", LOOK)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    places = [seen["order"].index(name) for name in ("path", "latency", "hops", "mtu")]
    assert places == sorted(places), seen["order"]
    assert seen["schema"]["hops"]["anyOf"][0] == {"$ref": "#/$defs/HopsSettings"}
    assert (
        "## `probes: hops`" in seen["page"] and "| `attempts` | a whole number, >= 1 and <= 20 | `3` |" in seen["page"]
    )
    assert seen["metric"].startswith("Routers that a packet crosses") and "| `hops` |" in seen["table"]
    header, row = (line for line in done.stderr.splitlines() if re.match(r" ?(overlay |o.mesh)", line))
    assert "hops" in header and "3" in row.split()
    assert seen["labs"] == [], "a report must load no lab"


def test_without_it_there_is_no_such_probe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO)
    done = run({}, "overlaybench", "check", str(file))
    assert done.returncode == 2 and "probes.hops: unknown key" in done.stderr + done.stdout


def test_what_is_registered_under_a_name_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    found = install(tmp_path, group="overlaybench.probes", name="jumps", source=example(), attribute="Hops")
    done = run(found, "overlaybench", "list", "probes")
    assert (
        done.returncode == 3
        and "probes: jumps: outside_jumps:Hops of the package outside_jumps 1.0 is not named 'jumps'" in done.stderr
    )
    assert "Traceback" not in done.stderr
