"""WireGuard's mesh over access links: direct after a few round trips, never after WireGuard's own 5 s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.running import overlaybench, records

pytestmark = pytest.mark.lab


# Either shows that no timer of WireGuard's own is waited for; on long links it takes longer to show.
@pytest.mark.parametrize(("delay_ms", "bound_s"), [(5, 2.5), pytest.param(100, 4.5, marks=pytest.mark.nightly)])
def test_the_time_to_a_direct_path_is_round_trips(tmp_path: Path, delay_ms: int, bound_s: float) -> None:
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(
        "description: access links\ntopology: two-sites\n"
        f"params: {{link_a: {{delay_ms: {delay_ms}}}, link_b: {{delay_ms: {delay_ms}}}}}\n"
        "pairs: {parameters: [nat_a, nat_b], values: [port-restricted, symmetric]}\n"
        "overlays: {wireguard: mesh}\nprobes: {path: {deadline_s: 10}}\nrepeats: 2\nexpect: oracle\n"
    )
    done = overlaybench("run", str(scenario), "--out", str(tmp_path / "run"), "--no-report")
    seen = [line for line in records(tmp_path / "run") if line["metric"] == "time_to_direct_s"]
    assert done.returncode == 0, (done.stdout + done.stderr, seen)
    times = [line["value"] for line in seen if line["nat_a"] == line["nat_b"] == "port-restricted"]
    assert len(times) == 2
    assert all(isinstance(one, float) and one < bound_s for one in times), times
