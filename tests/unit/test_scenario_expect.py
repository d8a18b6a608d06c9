"""What `expect` may say: numbers with bounds, and that nothing in it can pass because nothing is judged."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from harness.errors import ScenarioError
from harness.model.expectation import ExpectedNumber
from harness.model.reference import scenario_reference, scenario_schema
from harness.model.trial import Trial
from harness.scenario.planned import plan_trials

GOOD = """\
description: numbers
topology: two-sites
matrix: {nat_a: [full-cone, symmetric]}
overlays: {underlay: , refmesh: [mesh, relay]}
probes: [path, latency, throughput]
expect:
  - when: {mode: mesh}
    path: [direct, relayed]
    added_rtt_p50_ms: {max: 5, path: direct}
  - tcp_throughput_ratio: {min: 0.25}
"""


def planned(tmp_path: Path, text: str) -> list[Trial]:
    file = tmp_path / "scenario.yaml"
    file.write_text(text)
    return plan_trials(str(file)).trials


def problems_of(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, text)
    return [str(problem).removeprefix(f"{tmp_path}/scenario.yaml:") for problem in caught.value.problems]


def test_each_trial_carries_the_bounds_that_match_it(tmp_path: Path) -> None:
    found = {trial.id: trial.expected_numbers for trial in planned(tmp_path, GOOD)}
    share = ExpectedNumber(metric="tcp_throughput_ratio", min=0.25)
    assert found["refmesh_relay_symmetric_r1"] == (share,)
    assert found["refmesh_mesh_symmetric_r1"] == (
        ExpectedNumber(metric="added_rtt_p50_ms", max=5, path=("direct",)),
        share,
    )
    assert found["underlay_symmetric_r1"] == (), "the baseline is meant only where it is named"


def test_a_multiple_of_the_underlay_may_be_bounded_above_one(tmp_path: Path) -> None:
    text = GOOD.replace("two-sites", "parties").replace("matrix: {nat_a: [full-cone, symmetric]}\n", "")
    text = text.replace("throughput]", "throughput, rounds]") + "  - chatty_underlay_ratio: {max: 3}\n"
    (bound,) = [one for one in planned(tmp_path, text)[-1].expected_numbers if one.metric == "chatty_underlay_ratio"]
    assert bound.max == 3
    (problem,) = problems_of(tmp_path, text.replace("max: 3", "max: -1"))
    assert "is a multiple (0 or more)" in problem


def test_the_last_bound_of_a_metric_on_the_same_paths_holds(tmp_path: Path) -> None:
    text = GOOD + (
        "  - when: {mode: relay}\n    tcp_throughput_ratio: {min: 0.1}\n"
        "  - when: {overlay: underlay}\n    time_to_connect_s: {max: 1}\n"
        "  - when: {mode: relay}\n    tcp_throughput_ratio: {min: 0.2, path: relayed}\n"
    )
    found = {trial.id: trial.expected_numbers for trial in planned(tmp_path, text)}
    assert [(one.min, one.path) for one in found["refmesh_relay_symmetric_r1"]] == [(0.1, ()), (0.2, ("relayed",))]
    assert [one.metric for one in found["underlay_symmetric_r1"]] == ["time_to_connect_s"]


SHARE, ADDED = "expect[1].tcp_throughput_ratio", "expect[0].added_rtt_p50_ms"


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        (
            "tcp_throughput_ratio",
            "tcp_underlay_s",
            10,
            "expect[1].tcp_underlay_s: unknown key, and no such metric (did you mean tcp_throughput_ratio?)",
        ),
        (
            "added_rtt_p50_ms",
            "added_rtt_p50",
            9,
            "expect[0].added_rtt_p50: unknown key, and no such metric (did you mean added_rtt_p50_ms?)",
        ),
        ("{min: 0.25}", "0.25", 10, f"{SHARE}: expected a bound such as {{min: 0.25}} or {{max: 0.25}}, got 0.25"),
        ("{min: 0.25}", "{min: 25}", 10, f"{SHARE}: is a ratio (0 to 1), which 25 is not"),
        ("{min: 0.25}", "{}", 10, f"{SHARE}: bounds nothing: give `min`, `max` or both"),
        ("{min: 0.25}", "{min: 0.5, max: 0.4}", 10, f"{SHARE}: nothing is at least 0.5 and at most 0.4"),
        ("{min: 0.25}", "{minn: 0.25}", 10, f"{SHARE}.minn: unknown key (did you mean min?)"),
        ("{min: 0.25}", "{min: .nan}", 10, f"{SHARE}.min: input should be a finite number"),
        ("max: 5,", "max: 5 ms,", 9, f"{ADDED}.max: input should be a valid number, got '5 ms'"),
        ("path: direct}", "path: dirct}", 9, f"{ADDED}.path: expected 'direct',"),
        (
            "[path, latency, throughput]",
            "[path, throughput]",
            9,
            f"{ADDED}: is measured by the probe latency, which `probes` does not name",
        ),
        ("{mode: mesh}", "{mode: mehs}", 7, "expect[0].when.mode: no trial has mehs (did you mean mesh?)"),
        ("{mode: mesh}", "{mood: mesh}", 7, "expect[0].when.mood: no trial has such a key (did you mean mode?)"),
        (
            "{mode: mesh}",
            "{overlay: underlay, mode: mesh}",
            7,
            "expect[0].when: no trial has all of these together: nothing would be judged",
        ),
        ("    path: [direct, relayed]", "    pathh: direct", 8, "expect[0].pathh: unknown key (did you mean path?)"),
        ("tcp_throughput_ratio: {min: 0.25}", "when: {mode: relay}", 10, "expect[1]: says nothing"),
    ],
)
def test_what_cannot_be_judged_is_refused_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, complaint: str
) -> None:
    assert old in GOOD
    (found,) = problems_of(tmp_path, GOOD.replace(old, new))
    assert found.startswith(f"{line}: {complaint}")


def test_repeating_until_something_is_certain_that_nobody_measures_is_refused(tmp_path: Path) -> None:
    text = GOOD + "until: {metric: udp_goodput_mbit, half_width: 0.1}\n"
    assert problems_of(tmp_path, text) == [
        "11: until.metric: udp_goodput_mbit is measured by the probe udp, which `probes` does not name"
    ]


def test_a_repeat_that_another_run_has_is_no_mistake(tmp_path: Path) -> None:
    text = GOOD.replace("{mode: mesh}", "{repeat: 3}").replace("path: [direct, relayed]", "outcome: ok")
    assert len(planned(tmp_path, text)) == 6


def test_the_schema_and_the_page_know_of_numbers() -> None:
    schema = scenario_schema()
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace("min: 0.25", "min: much")), schema)
    assert "| any metric | a mapping, see a bound | |" in scenario_reference()
    assert "numbers" not in json.dumps(schema["$defs"]["Expectation"]["properties"])


CARRIER = """\
description: a carrier on 100.64/10
---
segments:
  internet: {subnet: 45.45.0.0/16}
  carrier: {subnet: 100.64.0.0/10}
hosts:
  a: {on: carrier, address: 100.64.0.77, via: ra}
  b: {on: internet, address: 45.45.3.1}
  s: {on: internet, address: 45.45.0.10}
routers:
  ra:
    nat: full-cone
    outside: {on: internet, address: 45.45.1.1}
    inside: {on: carrier, address: 100.64.0.1}
members: [a, b]
server: s
"""


def test_an_overlays_range_that_the_underlay_has_is_refused_where_it_is_known(tmp_path: Path) -> None:
    (tmp_path / "carrier.yaml").write_text(CARRIER)
    text = (
        "description: x\ntopology: carrier.yaml\noverlays:\n  underlay:\n  nebula: mesh\n  refmesh: mesh\n"
        "  tailscale: mesh\nprobes: [path]\n"
    )
    assert problems_of(tmp_path, text) == [
        "7: overlays.tailscale: tailscale gives its members addresses of 100.64.0.0/24, but a has 100.64.0.77 in the "
        "underlay, ra has 100.64.0.1 in the underlay: packets to that address would never leave the host"
    ]
    beside = CARRIER.replace("address: 100.64.0.", "address: 100.65.0.")
    (tmp_path / "carrier.yaml").write_text(beside)
    assert len(planned(tmp_path, text)) == 4
