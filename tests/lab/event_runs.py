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
    """How one event's recorded moments and the packets at its sender's port differ, in s.

    `begin_s` and `end_s`: the last packet that passed before it, and the first after it, from when it took effect and
    was over. `passed_during` is the last that passed from when it took effect, `lost_before` the first that was lost
    from when it began to be done, and so on for its end: negative where the record is right.
    """

    event: str
    begin_s: float
    end_s: float
    passed_meanwhile: int
    wrong_s: dict[str, float]


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
    passed, lost = _sent(run)
    found = []
    for begin, end in zip(run.happened[::2], run.happened[1::2], strict=True):
        from_s, to_s = begin["effective_s"], end["effective_s"]
        middle_s = (from_s + to_s) / 2
        last = max(moment for moment in passed if moment < middle_s)
        first = min(moment for moment in passed if moment > middle_s)
        meanwhile = sum(from_s + margin_s < moment < to_s - margin_s for moment in passed)
        wrong = {
            "lost before it began": begin["began_s"] - min(at for at in lost if middle_s - 1.5 < at),
            "passed once it had taken effect": last - from_s,
            "passed before its end began": end["began_s"] - first,
            "lost once it was over": max(at for at in lost if at < middle_s + 1.5) - to_s,
        }
        found.append(Moments(begin["do"], last - from_s, first - to_s, meanwhile, wrong))
    return found


def _sent(run: Run) -> tuple[list[float], list[float]]:
    """Return when echo requests left that arrived, and those that did not.

    By the kernel's stamps at the sender's port, Unix time in s.
    """
    found: dict[int, list[float]] = {}
    with PcapNgReader(str(run.folder / "overlay-continuity.pcapng")) as packets:
        for packet in packets:
            data = bytes(packet)
            if data[12:14] == b"\x08\x00" and data[23] == 1 and data[34] == 8:
                found.setdefault(int.from_bytes(data[40:42]), []).append(float(packet.time))
    # Each request passes the port of its sender first; one that is lost on the way passes no other.
    passed = sorted(min(times) for times in found.values() if len(times) > 1)
    return passed, sorted(times[0] for times in found.values() if len(times) == 1)
