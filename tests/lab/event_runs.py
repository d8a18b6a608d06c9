"""Runs a timeline in a real lab, as a user would, and finds what came of each event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.utils import PcapNgReader

from tests.lab.running import overlaybench, processes_naming, records

SCENARIO = """\
description: events
topology: {topology}
params: {params}
overlays: {{{overlays}}}
probes: {{path: {{deadline_s: 10}}, continuity: {{duration_s: {duration_s}, interval_ms: {interval_ms}}}}}
timeline:
"""
ALIKE = "{nat_a: port-restricted, nat_b: port-restricted, link_a: fibre, link_b: fibre}"


class Run:
    """A scenario of one trial that was run: what happened, and what the continuity probe found."""

    def __init__(self, tmp_path: Path, overlays: str, *items: str, **given: Any) -> None:
        file, self.out = tmp_path / "mine.yaml", tmp_path / "run"
        said = {"topology": "two-sites", "params": ALIKE, "duration_s": 10, "interval_ms": 50} | given
        file.write_text(SCENARIO.format(overlays=overlays, **said) + "".join(f"  - {item}\n" for item in items))
        done = overlaybench("run", str(file), "--out", str(self.out), "--no-report", timeout_s=110)
        assert (self.out / "records.jsonl").exists(), done.stderr
        lines = records(self.out)
        (end,) = (line for line in lines if line["probe"] == "trial")
        assert end["outcome"] in ("ok", "invalid"), done.stderr + done.stdout
        assert processes_naming(str(self.out)) == []
        self.folder = self.out / "trials" / end["trial"]
        self.happened = json.loads((self.folder / "timeline.json").read_text())
        self.lines = [line for line in lines if line["probe"] == "continuity"]

    def line(self, metric: str, phase: str | None, pair: str = "ab") -> dict[str, Any]:
        ends = {None, *(pair if len(pair) == 2 else pair.split("-"))}
        (found,) = (
            line
            for line in self.lines
            if (line["metric"], line["phase"]) == (metric, phase) and {line["src"], line["dst"]} <= ends
        )
        return found

    def value(self, metric: str, phase: str | None, pair: str = "ab") -> float | None:
        return self.line(metric, phase, pair)["value"]

    def path(self, phase: str, pair: str = "ab") -> str | None:
        return self.line("phase_answered_ratio", phase, pair)["path"]


@dataclass(frozen=True)
class Moments:
    """How one event's recorded moments and the packets at its sender's port differ, in s."""

    event: str
    begin_s: float
    end_s: float
    passed_meanwhile: int


def moments(tmp_path: Path, margin_s: float) -> list[Moments]:
    """Let three events stop an underlay's packets, each for a second, and hold what is recorded against the packets.

    What passes later than `margin_s` after an event and earlier than that before its end has passed meanwhile.
    """
    run = Run(
        tmp_path,
        "underlay: ",
        "{at_s: 1, do: link_down, to: ra, for_s: 1}",
        "{at_s: 4, do: partition, to: a, away_from: b, for_s: 1}",
        "{at_s: 7, do: link_change, to: ra, for_s: 1, link: {delay_ms: 3, loss_percent: 100}}",
        duration_s=9,
        interval_ms=2,
    )
    passed, found = _sent_and_arrived(run), []
    for begin, end in zip(run.happened[::2], run.happened[1::2], strict=True):
        from_s, to_s = begin["effective_s"], end["effective_s"]
        middle_s = (from_s + to_s) / 2
        last = max(moment for moment in passed if moment < middle_s)
        first = min(moment for moment in passed if moment > middle_s)
        meanwhile = sum(from_s + margin_s < moment < to_s - margin_s for moment in passed)
        found.append(Moments(begin["do"], last - from_s, first - to_s, meanwhile))
    return found


def _sent_and_arrived(run: Run) -> list[float]:
    """Return when echo requests that arrived had left, by the kernel's stamps at the sender's port (Unix time, s)."""
    found: dict[int, list[float]] = {}
    with PcapNgReader(str(run.folder / "overlay-continuity.pcapng")) as packets:
        for packet in packets:
            data = bytes(packet)
            if data[12:14] == b"\x08\x00" and data[23] == 1 and data[34] == 8:
                found.setdefault(int.from_bytes(data[40:42]), []).append(float(packet.time))
    # Each request passes the port of its sender first; one that is lost on the way passes no other.
    return sorted(min(times) for times in found.values() if len(times) > 1)
