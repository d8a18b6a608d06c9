"""Every event happens to every adapter: a defined outcome, a lab that is whole afterwards, and nothing left behind.

One trial an adapter, in which all events happen one after the other, each undone before the next. `make test` takes a
sample of adapters; with OVERLAYBENCH_EVERY_EVENT=1, as in `make test-all`, all that this machine has.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.overlay.install import missing
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import kinds_of
from harness.timeline.registry import events
from tests.lab.late_trials import ENDS_EARLY, TOO_BUSY
from tests.lab.running import machine_state, overlaybench, processes_naming, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]

# On `two-uplinks`; what has no end is done by itself.
EVENTS = {
    "block_udp": "to: ra, for_s: 0.5",
    "change_address": "to: rb, addresses: [45.45.2.9], for_s: 0.5",
    "change_nat": "to: ra, nat: symmetric, for_s: 0.5",
    "firewall": "to: ra, captive_portal: true, for_s: 0.5",
    "kill": "to: a, for_s: 0.5",
    "link_change": "to: ra, link: {delay_ms: 30, loss_percent: 2}, over_s: 0.3, for_s: 0.5",
    "link_down": "to: ra, for_s: 0.5",
    "move": "to: a, into: lan_b, for_s: 0.5",
    "partition": "to: a, away_from: b, for_s: 0.5",
    "reboot": "to: ra",
    "remove_member": "to: b, for_s: 0.5",
    "renew_ip": "to: a, for_s: 0.5",
    "restart": "to: b",
    "sleep": "to: a, for_s: 0.5",
    "stop": "to: s, for_s: 0.5",
    "switch_uplink": "to: a, via: ra2, for_s: 0.5",
}
# On `parties`: a third member is needed to join two others.
OF_THREE = {"add_member": "to: p3"}
# No lab can make a clock jump.
REFUSED = {"clock_jump"}
SAMPLE = {"refmesh", "openvpn"}
EVERY_S = 1.2
SCENARIO = """\
description: all events, one after the other
topology: {topology}
params: {params}
overlays: {{{name}: {mode}}}
probes:
  path: {{deadline_s: 40}}
  latency: {{duration_s: 0.5}}
  stream: {{connections: 1, duration_s: 0.2, integrity_mb: 0}}
  continuity: {{duration_s: {duration_s}}}
timeline:
"""
TWO = "{nat_a: port-restricted, nat_b: port-restricted, link_a: {delay_ms: 2}, link_b: {delay_ms: 2}}"
THREE = "{n: 3, nat: port-restricted, link: {delay_ms: 2}}"


def cases() -> list[tuple[str, str]]:
    found = []
    for name in overlay_names():
        adapter = load_overlay(name)
        wanted = os.environ.get("OVERLAYBENCH_EVERY_EVENT") or name in SAMPLE
        if wanted and kinds_of(adapter) != {"content"}:
            found.append((name, "underlay" if name == "underlay" else min(adapter.modes, key=_first)))
    return found


def _first(mode: str) -> int:
    return ("mesh", "hub", "relay", "direct").index(mode)


def test_no_event_is_left_out() -> None:
    assert EVENTS.keys() | OF_THREE.keys() | REFUSED == events().keys()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "mode"), cases(), ids=[name for name, _ in cases()])
def test_every_event_happens_and_leaves_a_whole_lab(name: str, mode: str, tmp_path: Path) -> None:
    happen(tmp_path, name, mode, EVENTS, topology="two-uplinks", params=TWO)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "mode"), cases(), ids=[name for name, _ in cases()])
def test_who_joins_leaves_a_whole_lab(name: str, mode: str, tmp_path: Path) -> None:
    happen(tmp_path, name, mode, OF_THREE, topology="parties", params=THREE)


def happen(tmp_path: Path, name: str, mode: str, wanted: dict[str, str], **where: str) -> None:
    """Run one trial in which these events happen, and hold what is left against what there was."""
    lacking = missing(load_overlay(name).requirements())
    if lacking:
        pytest.skip(f"{name} needs {lacking[0].program}: {lacking[0].install}")
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    items = [
        f"  - {{at_s: {EVERY_S * (place + 1):g}, do: {event}, {said}}}\n"
        for place, (event, said) in enumerate(wanted.items())
    ]
    # Each begins on time only where those before it are done by then; the end waits for the last to be undone.
    duration_s = EVERY_S * (len(wanted) + 2) + 6
    file.write_text(SCENARIO.format(name=name, mode=mode or "", duration_s=duration_s, **where) + "".join(items))
    before = machine_state()
    done = overlaybench("run", str(file), "--out", str(out), "--no-report", timeout_s=200)
    assert processes_naming(str(out)) == []
    assert machine_state() == before
    lines = records(out)
    (end,) = (line for line in lines if line["probe"] == "trial")
    said = f"{end['error']}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert end["outcome"] in ("ok", "failed", "invalid"), said
    if end["outcome"] == "invalid":
        assert any(why in str(end["error"]) for why in TOO_BUSY), said
        if any(why in str(end["error"]) for why in ENDS_EARLY):
            pytest.skip(f"this machine was too busy for the events: {end['error']}")
    happened = json.loads((out / "trials" / end["trial"] / "timeline.json").read_text())
    assert [one["do"] for one in happened if not one["undone"]] == list(wanted), said
    undone = [event for event in wanted if "for_s" in wanted[event]]
    assert sorted(one["do"] for one in happened if one["undone"]) == sorted(undone)
    moments = [line for line in lines if line["metric"] == "event_at_s"]
    assert len(moments) == len(happened) and all(line["value"] is not None for line in moments)
    # A service that is back without its configuration never recovers, whatever its product can.
    logs = [path.read_text() for path in out.glob("trials/*/nodes/*/restarting.log")]
    assert not [line for text in logs for line in text.splitlines() if "ended with status" in line], logs
    if end["outcome"] == "ok" and name != "underlay":
        assert any(line["metric"].startswith("underlay_") and line["value"] for line in lines), "it still stands"
