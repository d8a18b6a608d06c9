"""`calibrate link`: every backend of the machine carries every case, and the outcome is judged.

A backend's cases run in sandboxes of their own, one after another: timing is what is measured, and cases side by side
would measure each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from harness.calibration.link_cases import CASES, Case
from harness.calibration.link_judge import CABLE, Finding, compare, judge
from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig, python
from harness.calibration.link_traffic import run_stream
from harness.errors import CommandFailed, LabError
from harness.link.choose import choose_backend, netem_missing
from harness.link.helper import helper_argv
from harness.sandbox.mounts import make_private
from harness.sandbox.program import ending_in_one_line, require_enough
from harness.sandbox.unshare import run_as_init_check, sandbox_argv

# A tmpfs of the sandbox's own after `make_private`: it needs no room on the machine's disk, and leaves nothing there.
SCRATCH: Final = "/run"
SEED: Final = 20_260_101
ATTEMPTS: Final = 3
_TIMING_UNITS: Final = frozenset({"us", "ms", "Mbit/s"})
_BY_NAME: Final = {case.name: case for case in CASES}
# What the Python helper is for is small rates; it says itself when it cannot keep up.
_TOO_FAST_FOR_PYTHON: Final = 9000.0


def available_backends() -> list[str]:
    """Return the backends that this machine has, best first."""
    found = [] if netem_missing() is not None else ["netem"]
    # The Python helper is what a machine without a compiler has; elsewhere it is used only on request.
    return [*found, "userlink" if helper_argv() is not None else "userlink-python"]


def suits(backend: str, case: Case) -> bool:
    """Tell whether the backend can do the case at all."""
    if choose_backend(backend).refusals(case.profile):
        return False
    return backend != "userlink-python" or case.stream.count / case.stream.duration_s < _TOO_FAST_FOR_PYTHON


def calibrate(
    cases: Sequence[Case],
    backends: Sequence[str],
    *,
    jobs: int = 1,
    report: Callable[[Sequence[Finding]], None] = lambda _: None,
) -> list[Finding]:
    """Return all findings; `report` is called with those of each case as it ends.

    Raises LabError where a case could not be run.
    """
    work = [(backend, case.name) for case in cases for backend in backends if suits(backend, case)]
    groups = [work[i::jobs] for i in range(jobs) if work[i::jobs]]
    samples: dict[str, dict[str, Sequence[float]]] = {}
    findings: list[Finding] = []

    def run_group(group: list[tuple[str, str]]) -> None:
        for answer in _in_sandbox(group):
            found = [Finding(**finding) for finding in answer["findings"]]
            samples.setdefault(answer["case"], {})[answer["backend"]] = answer["delays_ms"]
            findings.extend(found)
            report(found)

    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        list(pool.map(run_group, groups))
    for name, by_backend in samples.items():
        # A full queue gives every backend its own pattern of drops; delays are what can be compared.
        comparable = {key: value for key, value in by_backend.items() if value}
        if "rate" not in _BY_NAME[name].checks and len(comparable) > 1:
            found = compare(name, comparable)
            findings.extend(found)
            report(found)
    return findings


def _in_sandbox(group: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    argv = sandbox_argv(python("harness.calibration.link_calibrate", json.dumps(group)))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    require_enough(done.returncode, done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(group):
        raise CommandFailed(argv[:-1], done.returncode, done.stderr)
    return answers


def run_case(case: Case, backend: str) -> dict[str, Any]:
    """Run one case in this sandbox; return the findings and a sample of the delays, JSON-ready.

    Only what rests on timing gets another chance: then the machine was busy. A share that is wrong is wrong.
    """
    attempt = 0
    while attempt < ATTEMPTS:
        attempt += 1
        findings, delays_ms = _attempt(case, backend)
        wrong = [finding for finding in findings if not finding.ok]
        if not any(finding.unit in _TIMING_UNITS or finding.metric.startswith("ks_") for finding in wrong):
            break
    step = max(1, len(delays_ms) // 2000)
    plain = [asdict(replace(finding, attempts=attempt)) for finding in findings]
    return {"case": case.name, "backend": backend, "findings": plain, "delays_ms": delays_ms[::step]}


def _attempt(case: Case, backend: str) -> tuple[list[Finding], list[float]]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        if case.trace is not None:
            (Path(folder) / "trace").write_text(case.trace)
        chosen = choose_backend(backend, traces_from=Path(folder))
        with Rig(chosen, case.profile, seed=SEED, workdir=Path(folder)) as rig:
            sockets = rig.udp_socket(rig.a, A_ADDRESS), rig.udp_socket(rig.b, B_ADDRESS, 7)
            longest_ms = case.profile.up.delay_ms + 100
            seen = run_stream(case.stream, *sockets, patience_s=longest_ms / 1000 + 0.1)
            if rig.links is None:
                raise LabError(f"case {case.name} impairs nothing")
            account = rig.links.accounting()
    findings = judge(case, backend, seen, seed=SEED, seeded=backend != "netem")
    counts = account.counts[CABLE]["up"]
    if backend != "netem":
        late = counts.lateness_us(0.99)
        bound = max(1000.0, 50 * case.profile.up.delay_ms)
        # Nothing was sent where every packet was too long: no lateness then.
        findings.append(Finding(backend, case.name, "helper_lateness_p99", "us", 0, late or 0.0, 0, bound, counts.sent))
        drops = counts.ingress_drops + counts.send_errors
        findings.append(Finding(backend, case.name, "helper_drops", "packets", 0, drops, 0, 0, counts.received))
    return findings, seen.delays_ms


def main(words: Sequence[str]) -> None:
    """Run the cases named in the JSON list of (backend, case), an answer a line."""
    run_as_init_check()
    make_private(None)
    for backend, name in json.loads(words[0]):
        print(json.dumps(run_case(_BY_NAME[name], backend)), flush=True)


if __name__ == "__main__":
    with ending_in_one_line():
        main(sys.argv[1:])
