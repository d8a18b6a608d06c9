"""Links that are not what they say are found: by the check of a trial, and by the calibration."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.link.choose import netem_missing
from tests.lab.link_lab import PREAMBLE, in_sandbox

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("scratch")]


def test_the_check_finds_links_that_are_not_what_they_say() -> None:
    code = """
told = {"delay_ms": 20}
answers = {}
real = {"as told": told, "not impaired": "ideal", "twice": {"delay_ms": 40}, "one way": {"up": told}}
for name, spec in real.items():
    with rig(spec) as made:
        looks = []
        while not looks or (len(looks) < 2 and name == "as told" and looks[0][0]):  # a trial looks twice as well
            begin = time.monotonic()
            seen = check_paths([PathToCheck("a to b", made.a, B_ADDRESS, (parse_link(told),))])[0]
            looks.append([seen.problem, time.monotonic() - begin])
        answers[name] = looks[-1]
out(answers)
"""
    answers = in_sandbox(PREAMBLE + code)
    assert answers["as told"][0] is None
    for name in ("not impaired", "twice", "one way"):
        assert "declared links add up to 40.01 ms" in answers[name][0] or "40.00 ms" in answers[name][0], name
    # A fifth of a second and the round trip; the bound is for a busy machine, and far below a wait for a lost answer.
    assert all(seconds < 2 for _, seconds in answers.values()), answers


def test_require_paths_makes_a_trial_invalid() -> None:
    code = """
from harness.errors import LabNotAsDeclared
with rig("ideal") as made:
    try:
        require_paths([PathToCheck("a to b", made.a, B_ADDRESS, (parse_link("dsl"),))])
        out("no error")
    except LabNotAsDeclared as error:
        out([error.outcome, str(error)])
"""
    outcome, text = in_sandbox(PREAMBLE + code)
    assert outcome == "invalid"
    assert text.startswith("path a to b: round trips take")


def test_calibrate_proves_the_cases_asked_for_and_refuses_what_it_does_not_know() -> None:
    def calibrate(*words: str) -> subprocess.CompletedProcess[str]:
        code = "from harness.commands.calibrate_link import calibrate_link_command as c; c()"
        argv = [sys.executable, "-c", code, "--json", "--backend", "userlink", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    good = calibrate("--only", "loss-10%", "--only", "duplicate")
    document = json.loads(good.stdout)
    # Whether the machine is idle enough for exact timing is not this test's business; shares do not depend on it.
    shares = [finding for finding in document["findings"] if finding["unit"] in ("%", "packets")]
    assert len(shares) >= 5
    assert all(finding["ok"] for finding in shares), good.stderr
    assert good.returncode == (0 if document["ok"] else 1)
    assert {finding["case"] for finding in document["findings"]} == {"loss-10%", "duplicate-5%"}
    assert calibrate("--only", "no such case").returncode == 2
    if netem_missing() is not None:
        assert calibrate("--backend", "netem").returncode == 2
