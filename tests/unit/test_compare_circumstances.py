"""What two runs were asked for and made under: named where it differs, and left out where it is another measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from compared_runs import run_of, verdict
from result_samples import Maker

from harness.commands.compare import compare_command
from harness.probes.registry import probes
from harness.results.cells import cell_key
from harness.results.compare import compare
from harness.results.differences import differences
from harness.results.frame import records_frame
from harness.results.loading import Results
from harness.results.store import RunFolder
from harness.results.summary import summarise

MACHINE = {"cpu_model": "x", "cpus": 2, "architecture": "arm", "kernel": "6.1", "load_1min": 0.1}


def made(trial: dict[str, Any] | None = None, **manifest: object) -> Results:
    plan = [
        {"id": "t_r1", "repeat": 1, "overlay": "nebula", "probes": {"continuity": {"duration_s": 60}}, **(trial or {})}
    ]
    return Results(Path("x"), {"machine": MACHINE, "topology": "two-sites", **manifest}, plan, run_of(1), ())


def outage(seconds: float) -> list[dict[str, Any]]:
    return [{"do": "link_down", "to": "a", "at_s": [5.0], "after": None, "for_s": [seconds], "settings": {}}]


def test_runs_alike_have_nothing_to_name() -> None:
    same = {"timeline": outage(5), "options": {"mtu": 1400}, "links": "auto", "captures": None}
    found = differences(made(same, topology_sha256="a", busy={}), made(same, topology_sha256="a", busy={}))
    assert (found.remarks, found.left_out, found.same_lab) == ((), (), True)


def test_another_timeline_is_named_and_what_goes_through_it_left_out() -> None:
    """The link was down for 5 s in one run and for 55 s in the other: 18 regressions, and no remark."""
    found = differences(made({"timeline": outage(5)}), made({"timeline": outage(55)}))
    assert found.remarks == (
        "timeline differs: link_down a at 5 s for 5 s in the base, link_down a at 5 s for 55 s in the new run",
    )
    assert set(found.left_out) >= {metric.name for metric in probes()["continuity"].metrics}
    assert "rtt_p50_ms" not in found.left_out
    assert differences(made({}), made({"timeline": outage(5)})).remarks == (
        "timeline differs: none in the base, link_down a at 5 s for 5 s in the new run",
    )


def test_more_of_a_timeline_in_cells_that_one_run_has_alone_is_no_difference() -> None:
    """What was swept is told apart by parameters: only cells of both are asked."""
    base, new = made({"timeline": outage(5)}), made({"timeline": outage(5)})
    new.plan.append({**new.plan[0], "id": "t_long_r1", "timeline": outage(55)})
    assert differences(base, new).remarks == ()


def test_other_options_and_another_carrier_of_links_are_named() -> None:
    found = differences(made({"options": {"mtu": 1400}, "links": "userlink"}), made({"options": {}, "links": "netem"}))
    assert 'options of nebula differ: {"mtu": 1400} in the base, none in the new run' in found.remarks
    assert "requested link backends differ: userlink and netem" in found.remarks


def test_another_content_of_the_topology_is_named_and_its_lab_no_control() -> None:
    found = differences(made(topology_sha256="a"), made(topology_sha256="b"))
    assert found.remarks == ("the content of topology two-sites differs, so that the labs are not the same",)
    assert not found.same_lab
    other = differences(made(topology_sha256="a"), made(topology_sha256="b", topology="four-sites"))
    assert other.same_lab, "another name is a condition, which the comparison names"
    rtt = run_of(6, seed=2)["metric"].astype(str).isin(["rtt_p50_ms", "underlay_rtt_p50_ms"])
    slower = run_of(6, seed=2).assign(value=run_of(6, seed=2)["value"].where(~rtt, run_of(6, seed=2)["value"] * 1.5))
    assert verdict(compare(run_of(6, seed=1), slower), "nebula mesh", "rtt_p50_ms") == "machine moved"
    assert verdict(compare(run_of(6, seed=1), slower, same_lab=False), "nebula mesh", "rtt_p50_ms") == "regression"


def test_trials_that_began_on_a_busy_machine_are_counted() -> None:
    busy = {f"t{number}": {"began_busy": number < 30} for number in range(36)}
    (remark,) = differences(made(busy={}), made(busy=busy)).remarks
    assert remark == "trials that began while the machine was busy: 0 of 36 in the base, 30 of 36 in the new run"


def test_rights_are_named() -> None:
    assert differences(made(privileged=False), made(privileged=True)).remarks == (
        "only one was run as root: the new run",
    )


def carried(run: pd.DataFrame, backend: str, loss: float = 0.0) -> pd.DataFrame:
    lost = run["metric"].astype(str) == "loss_ratio"
    return run.assign(link_backend=backend, value=run["value"].where(~lost, loss))


def test_links_of_several_backends_are_never_compared() -> None:
    """The same lossy links by netem, which drops bundles, gave regressions of loss."""
    base, new = carried(run_of(6, seed=1), "userlink", 0.01), carried(run_of(6, seed=2), "netem", 0.03)
    found = compare(base, new)
    assert found.changes == []
    assert found.matching.only_base and found.matching.only_new
    other = carried(run_of(6, seed=3), "netem", 0.03)
    both = compare(pd.concat([base, other.assign(trial="n" + other["trial"].astype(str))]), new)
    assert {cell.cell.rsplit(", ")[-1] for change in both.changes for cell in change.cells} == {"netem"}
    assert both.regressions == []


def test_labs_without_links_to_emulate_are_compared_whatever_the_others_have() -> None:
    base, new = carried(run_of(3, seed=1), "none"), run_of(3, seed=2).assign(link_backend=None)
    assert compare(base, new).changes


def test_a_trial_that_failed_before_its_lab_stood_is_of_the_cell_of_the_others() -> None:
    base, new = carried(run_of(6, seed=1), "userlink"), carried(run_of(6, seed=2), "userlink")
    overlays = new["overlay"].astype(str) == "nebula"
    ends = overlays & (new["metric"].astype(str) == "duration_s")
    failed = new[~overlays | ends].assign(
        outcome=new["outcome"].astype(str).where(~ends, "failed"),
        link_backend=new["link_backend"].where(~ends, "none"),
    )
    assert verdict(compare(base, failed), "nebula mesh", "trial_success") == "regression"
    other = carried(run_of(1, seed=3), "netem")
    both = pd.concat([failed, other.assign(trial="n" + other["trial"].astype(str))])
    (count,) = set(summarise(failed).loc[lambda s: s["overlay"] == "nebula", "failed"])
    assert count == 6
    assert set(summarise(both)["link_backend"]) >= {"userlink", "netem"}


def test_the_summary_pools_no_two_backends() -> None:
    """Both in one folder were one row of loss, 0.015 with an interval from 0 to 0.03."""
    one, other = carried(run_of(3, seed=1), "userlink", 0.0), carried(run_of(3, seed=2), "netem", 0.03)
    folder = pd.concat([one, other.assign(trial="n" + other["trial"].astype(str))], ignore_index=True)
    rows = summarise(folder).loc[lambda s: (s["metric"] == "loss_ratio") & (s["src"] != "")]
    assert rows.groupby("link_backend")["estimate"].unique().map(list).to_dict() == {"netem": [0.03], "userlink": [0.0]}


def test_a_trial_that_is_planned_is_of_the_cell_of_its_records() -> None:
    """Until it runs nobody knows what will emulate its links."""
    record = Maker().one("x", "rtt_p50_ms", "ms", 1.0, link_backend="userlink").as_dict()
    assert cell_key(record) == cell_key({key: value for key, value in record.items() if key != "link_backend"})


def test_a_share_of_the_underlay_s_rate_is_the_machine_s_too() -> None:
    """A processor twice as quick carried twice the share of the same link, which was called an improvement."""
    base, new = run_of(6, seed=1), run_of(6, seed=2)
    share = (new["metric"].astype(str) == "tcp_throughput_ratio") & (new["overlay"].astype(str) != "underlay")
    half = new.assign(value=new["value"].where(~share, new["value"] / 2))
    assert compare(base, half, same_machine=False).regressions == []
    assert "tcp_throughput_ratio" in compare(base, half, same_machine=False).left_out
    assert verdict(compare(base, half), "nebula mesh", "tcp_throughput_ratio") == "regression"


@pytest.mark.parametrize("backend", ["netem", "userlink"])
def test_runs_without_a_cell_in_common_are_told_why(tmp_path: Path, backend: str) -> None:
    paths = []
    for number, carrier in enumerate(("userlink", backend)):
        folder = RunFolder(tmp_path / f"{number}")
        folder.create({"schema": 3, "scenario": "demo", "machine": MACHINE, "link_backends": [carrier]}, [])
        for trial in Maker(seed=number).campaign():
            folder.append([type(one)(**{**one.as_dict(), "link_backend": carrier}) for one in trial])
        folder.close()
        paths.append(str(folder.path))
    done = CliRunner().invoke(compare_command, paths)
    assert done.exit_code == (2 if backend == "netem" else 0)
    assert ("links were emulated by userlink and by netem" in done.stderr) == (backend == "netem")


def test_frames_of_records_keep_their_order() -> None:
    """What emulated the links is looked up by condition, whatever the frame's index is."""
    records = [
        Maker().one("x", "rtt_p50_ms", "ms", n, trial=f"t{n}", link_backend=who).as_dict()
        for n, who in enumerate(("userlink", "none", "userlink"))
    ]
    frame = records_frame(records).iloc[::-1]
    assert set(summarise(frame)["link_backend"]) == {"userlink"}
