"""An extension that is broken is one line that names its package, whatever is broken; every kind is loaded alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from extension import install, run

GROUPS = ["overlays", "probes", "events", "hosts", "simulations"]
BROKEN = [
    ("import no_such_module", "cannot be loaded: No module named 'no_such_module'"),
    ("x = 1", "cannot be loaded: .* has no attribute 'Odd'"),
    ("class Odd:\n    def __init__(self):\n        raise ValueError('two\\nlines')", "loaded: ValueError: two lines"),
    ("class Odd:\n    def __init__(self, wanted):\n        pass", "cannot be loaded: TypeError: .*wanted"),
    ("raise SystemExit('leave')", "cannot be loaded: SystemExit: leave"),
    ("class Odd:\n    name = 'even'", "is not named 'odd'"),
]
LOAD = """
from harness.errors import MissingPrerequisite
try:
    {load}
except MissingPrerequisite as error:
    print(error)
"""


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_is_wrong_is_one_line_with_the_package(tmp_path: Path, group: str) -> None:
    load = "from harness.model.extensions import extensions; extensions('overlaybench.GROUP')".replace("GROUP", group)
    if group == "overlays":
        load = "from harness.overlay.registry import load_overlay; load_overlay('odd')"
    for number, (source, said) in enumerate(BROKEN):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = install(folder, group=f"overlaybench.{group}", name="odd", source=source, attribute="Odd")
        done = run(environment, "-c", LOAD.format(load=load))
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert line.startswith(f"{group}: odd: outside_odd:Odd of the package outside_odd 1.0 "), line
        assert re.search(said, line), line
        assert line.endswith("to get it: " + ("see CONTRIBUTING.md" if "named" in said[:12] else UPGRADE)), line


UPGRADE = "pip install --upgrade outside_odd"
NAMED = "class Odd:\n    name = 'odd'"


@pytest.mark.parametrize(
    ("group", "load"),
    [
        ("overlays", "from harness.overlay.registry import load_overlay; load_overlay('odd')"),
        ("probes", "from harness.probes.registry import probes; probes()"),
        ("events", "from harness.timeline.registry import events; events()"),
    ],
)
def test_what_does_not_offer_the_contract_is_refused(tmp_path: Path, group: str, load: str) -> None:
    environment = install(tmp_path, group=f"overlaybench.{group}", name="odd", source=NAMED, attribute="Odd")
    done = run(environment, "-c", LOAD.format(load=load))
    assert "of the package outside_odd 1.0 does not offer the contract; to get it: see CONTRIBUTING.md" in done.stdout


def test_a_broken_overlay_stops_a_run_of_it_with_one_line_and_no_run_of_another(tmp_path: Path) -> None:
    source = "class Odd:\n    def __init__(self):\n        raise RuntimeError('no licence')"
    environment = install(tmp_path, group="overlaybench.overlays", name="odd", source=source, attribute="Odd")
    for overlay, code in (("odd", 3), ("underlay", 0)):
        scenario = tmp_path / f"{overlay}.yaml"
        scenario.write_text(f"description: x\ntopology: two-sites\noverlays: {{{overlay}: }}\nprobes: [path]\n")
        done = run(environment, "overlaybench", "plan", str(scenario))
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert ("RuntimeError: no licence" in done.stderr) is (overlay == "odd")
