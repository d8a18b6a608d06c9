"""Runs a timeline in a real lab, as a user would, and finds what came of each event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        done = overlaybench("run", str(file), "--out", str(self.out), timeout_s=110)
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
