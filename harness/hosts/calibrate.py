"""Whether NATs and links are on this machine what they say, asked before it measures: by `overlaybench calibrate`."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

from harness.hosts.running import run_until
from harness.link.choose import choose_backend
from harness.model.nat import ALIASES
from harness.model.trial import Trial

# One case for each thing that a link does: a wait, a loss, a rate with its queue.
LINK_CASES: Final = ("delay-10ms", "loss-2%", "rate-10mbit-1400")
PATIENCE_S: Final = 300.0
COMMAND: Final = (sys.executable, "-m", "harness.cli", "calibrate")
# `overlaybench calibrate nat` takes no more.
MOST_JOBS: Final = 64


def calibrate(trials: Sequence[Trial], jobs: int, ended: threading.Event | None = None) -> dict[str, Any]:
    """Try the NATs of these trials that have a name, and links of their own backends if any is impaired.

    `jobs` NATs are tried side by side, or as many as `overlaybench calibrate nat` takes. What runs is
    killed when `ended` is set, or when this process is killed.

    Returns:
        `ok`; `nat` and `link` with how many cases were tried and what was wrong with each that was; `lateness_p99_us`,
        the worst of the link cases: how late frames were delivered.
    """
    found: dict[str, Any] = {"ok": True}
    ended = ended or threading.Event()
    routers = [router for trial in trials for router in trial.topology.routers.values()]
    names = sorted({router.nat.label for router in routers} & ALIASES.keys())
    if names:
        words = [word for name in names for word in ("--only", name)]
        said = _asked(ended, "nat", "--jobs", str(min(jobs, MOST_JOBS)), *words)
        found["nat"] = {"cases": said.get("cases", 0), "wrong": said.get("error") or _wrong_nats(said)}
    if backends := _backends(trials):
        words = [word for name in LINK_CASES for word in ("--only", name)]
        said = _asked(ended, "link", *words, *(word for name in backends for word in ("--backend", name)))
        findings = said.get("findings", [])
        found["link"] = {"cases": len(findings), "wrong": said.get("error") or _wrong_links(findings)}
        late = [one["observed"] for one in findings if one["metric"] == "helper_lateness_p99"]
        found["lateness_p99_us"] = round(max(late), 1) if late else None
    found["ok"] = not any(found.get(kind, {}).get("wrong") for kind in ("nat", "link"))
    return found


def _backends(trials: Sequence[Trial]) -> list[str]:
    """Return what carries the impaired links of these trials on this machine; what it has besides is none of theirs."""
    wanted = {(trial.links, tuple(links)) for trial in trials if (links := trial.topology.impaired_links())}
    return sorted({choose_backend(choice, links).name for choice, links in wanted})


def _wrong_nats(said: dict[str, Any]) -> str:
    wrong = [one for one in said["results"] if not one["passed"]]
    return "; ".join(f"{one['name']}: {', '.join(one['differences']) or one['error']}" for one in wrong)


def _wrong_links(findings: Sequence[dict[str, Any]]) -> str:
    wrong = [one for one in findings if not one["ok"]]
    return "; ".join(
        f"{one['backend']} {one['case']}: {one['metric']} is {one['observed']:.4g} {one['unit']}, "
        f"not within {one['low']:.4g} to {one['high']:.4g}"
        for one in wrong
    )


def _asked(ended: threading.Event, kind: str, *words: str) -> dict[str, Any]:
    """Return what `overlaybench calibrate` says as JSON; `error` where it says nothing of the kind."""
    if ended.is_set():
        return {"error": "calibrating was given up"}
    ran = run_until((*COMMAND, kind, "--json", *words), ended, PATIENCE_S)
    if ran is None:
        return {"error": f"calibrating did not end within {PATIENCE_S:g} s"}
    out, complaint, status = ran
    try:
        return dict(json.loads(out))
    except ValueError:
        said = complaint.strip().splitlines()
        return {"error": said[-1] if said else f"status {status}"}
