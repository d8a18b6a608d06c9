"""When an event took effect, and how far apart regions are: measured, so with the machine for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import PcapNgReader

from tests.lab.event_runs import Run
from tests.lab.running import overlaybench, records

pytestmark = pytest.mark.lab


def sent_and_arrived(run: Run) -> list[float]:
    """Unix times at which echo requests that arrived had left their sender, by the kernel's stamps at its port."""
    found: dict[int, list[float]] = {}
    with PcapNgReader(str(run.folder / "overlay-continuity.pcapng")) as packets:
        for packet in packets:
            data = bytes(packet)
            if data[12:14] == b"\x08\x00" and data[23] == 1 and data[34] == 8:
                found.setdefault(int.from_bytes(data[40:42]), []).append(float(packet.time))
    # Each request passes the port of its sender first; one that is lost on the way passes no other.
    return sorted(min(times) for times in found.values() if len(times) > 1)


def test_events_take_effect_within_10_ms_of_what_is_recorded(tmp_path: Path) -> None:
    """Measured at the links' ends: the last packet that passed before, the first one that passed after."""
    run = Run(
        tmp_path,
        "underlay: ",
        "{at_s: 1, do: link_down, to: ra, for_s: 1}",
        "{at_s: 4, do: partition, to: a, away_from: b, for_s: 1}",
        "{at_s: 7, do: link_change, to: ra, for_s: 1, link: {delay_ms: 3, loss_percent: 100}}",
        duration_s=9,
        interval_ms=2,
    )
    passed = sent_and_arrived(run)
    slack_s = 0.010 + 0.004  # two packets
    for begin, end in zip(run.happened[::2], run.happened[1::2], strict=True):
        silent = [moment for moment in passed if begin["effective_s"] + slack_s < moment < end["effective_s"] - slack_s]
        assert silent == [], f"{begin['do']}: packets passed meanwhile"
        last = max(moment for moment in passed if moment < begin["effective_s"] + slack_s)
        first = min(moment for moment in passed if moment > end["effective_s"] - slack_s)
        assert abs(last - begin["effective_s"]) < slack_s, begin["do"]
        assert abs(first - end["effective_s"]) < slack_s, begin["do"]
        assert 1000 * (begin["effective_s"] - begin["due_s"]) < 200


def test_three_continents_are_as_far_apart_as_they_say(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(
        "description: x\ntopology: regions\noverlays: {underlay: }\nprobes: {path: {}, latency: {duration_s: 1}}\n"
    )
    done = overlaybench("run", str(file), "--out", str(out))
    trips = {(line["src"], line["dst"]): line["value"] for line in records(out) if line["metric"] == "rtt_p50_ms"}
    expected = {("p1", "p2"): 90, ("p1", "p3"): 230, ("p2", "p3"): 150}
    assert trips == {pair: pytest.approx(rtt_ms, rel=0.03) for pair, rtt_ms in expected.items()}, done.stdout
