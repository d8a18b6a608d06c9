"""Scenario files as tests, run for real: one cell passes, one fails with its evidence, JUnit XML has both."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SCENARIO = """\
description: the underlay's path, expected rightly for one NAT and wrongly for the other
topology: two-sites
params: {nat_a: full-cone}
matrix:
  nat_b: [full-cone, symmetric]
overlays: {underlay: }
probes: {path: {deadline_s: 5}}
expect:
  - when: {nat_b: full-cone}
    path: direct
  - when: {nat_b: symmetric}
    path: relayed
"""


@pytest.mark.lab
@pytest.mark.waits
def test_a_cell_passes_and_a_cell_fails_with_its_evidence(pytester: pytest.Pytester) -> None:
    (pytester.path / "paths.yaml").write_text(SCENARIO)
    result = pytester.runpytest_subprocess(
        "paths.yaml", "--overlaybench-only", "--overlaybench-out=out", "--junitxml=junit.xml"
    )
    result.assert_outcomes(passed=1, failed=1)
    told = "\n".join(result.outlines)
    assert "expected path relayed, it was direct" in told
    assert "Traceback" not in told
    cases = {case.attrib["name"]: case for case in ET.parse(pytester.path / "junit.xml").iter("testcase")}
    failed = cases["underlay_symmetric"]
    assert failed.find("failure") is not None
    evidence = next(p.attrib["value"] for p in failed.iter("property") if p.attrib["name"] == "evidence")
    assert (pytester.path / evidence).is_dir()
    assert any(Path(pytester.path / evidence).iterdir())


@pytest.mark.lab
@pytest.mark.waits
def test_only_selected_cells_run(pytester: pytest.Pytester) -> None:
    (pytester.path / "paths.yaml").write_text(SCENARIO)
    result = pytester.runpytest_subprocess(
        "paths.yaml", "--overlaybench-only", "--overlaybench-out=out", "-k", "full-cone"
    )
    result.assert_outcomes(passed=1, deselected=1)
    trials = list(pytester.path.glob("out/*/trials/*"))
    assert [trial.name for trial in trials] == ["underlay_full-cone_r1"]
