"""What the plugin collects, and what it leaves to others."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SCENARIO = """\
description: two NATs, the underlay alone
topology: two-sites
params: {nat_a: full-cone}
matrix:
  nat_b: [full-cone, symmetric]
overlays: {underlay: }
probes: {path: {deadline_s: 5}}
expect:
  - when: {nat_b: full-cone}
    path: direct
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "some.yaml").write_text(SCENARIO)
    (pytester.path / "other.yaml").write_text("expect: nothing of ours\n")
    (pytester.path / "silent.yaml").write_text(SCENARIO[: SCENARIO.index("expect:")])
    pytester.makepyfile(test_python="def test_python(): pass")
    return pytester


def test_one_test_per_cell_that_something_is_expected_of(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--collect-only", "-q")
    listed = [line for line in result.outlines if "::" in line]
    assert [line for line in listed if line.startswith("some.yaml")] == ["some.yaml::underlay_full-cone"]
    assert not any(line.startswith(("other.yaml", "silent.yaml")) for line in listed)
    assert "test_python.py::test_python" in listed


def test_only_leaves_python_tests_out(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--collect-only", "-q", "--overlaybench-only")
    assert [line for line in result.outlines if "::" in line] == ["some.yaml::underlay_full-cone"]


def test_a_broken_scenario_is_an_error_that_names_the_line(project: pytest.Pytester) -> None:
    (project.path / "some.yaml").write_text(SCENARIO.replace("    path: direct", "    pathh: direct"))
    result = project.runpytest_subprocess("--overlaybench-only")
    assert result.ret != 0
    assert any("some.yaml:10" in line and "pathh" in line for line in result.outlines), result.outlines


def test_a_scenario_that_expects_nothing_is_skipped_in_sight(project: pytest.Pytester) -> None:
    (project.path / "some.yaml").write_text(SCENARIO[: SCENARIO.index("expect:")] + "expect: []\n")
    result = project.runpytest_subprocess("--overlaybench-only", "-rs")
    result.assert_outcomes(skipped=1)
    assert any("nothing is judged: `expect` says nothing of any of its 2 trials" in line for line in result.outlines)


def test_python_test_runs_do_not_load_the_harness(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_python="""
        import sys

        def test_python():
            assert not {"pandas", "mininet", "pydantic", "harness.campaign.run"} & set(sys.modules)
        """
    )
    for path in Path(project.path).glob("*.yaml"):
        path.unlink()
    project.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)
