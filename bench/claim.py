"""Measures the claim on this machine and publishes it, figures of docs/claim.md included.

    python -m bench.claim run          some 25 minutes; wants the machine for itself
    python -m bench.claim publish      results/claim, results/claim-outage, docs/claim.md

`run` goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.published import ROOT, renew
from harness.overlay.install import missing
from harness.overlay.registry import load_overlay
from harness.report.publish import publish
from harness.scenario.planned import plan_trials

# Scenario, the name of its run and of what is published, and options: outages are looked at side by side, but not by so
# many that their own computing decides how many rounds are done.
PARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("claim-small", "claim", ()),
    ("claim-outage", "claim-outage", ("--jobs", "4")),
)
# Six are the fewest whose range covers 95 % of where the median may be.
REPEATS = 6


def run(out: Path) -> int:
    """Run both parts, one after the other, with the overlays that are there; returns the worse of their exit codes."""
    worst = 0
    for scenario, name, options in PARTS:
        folder = out / name
        argv = [sys.executable, "-m", "harness.cli", "run", scenario, "--repeat", str(REPEATS), "--out", str(folder)]
        argv += options
        for overlay in there(scenario):
            argv += ["--only", f"overlay={overlay}"]
        done = subprocess.run([*argv, *(["--resume"] if folder.exists() else [])], check=False, cwd=ROOT)
        worst = max(worst, done.returncode)
    return worst


def there(scenario: str) -> list[str]:
    """Return the scenario's overlays whose programs this machine has; says which it leaves out."""
    wanted = dict.fromkeys(trial.overlay for trial in plan_trials(scenario).trials)
    lacking = {name: missing(load_overlay(name).requirements()) for name in wanted}
    for name, requirements in lacking.items():
        if requirements:
            print(f"{scenario}: without {name}; to have it: {requirements[0].install}", file=sys.stderr)
    return [name for name, requirements in lacking.items() if not requirements]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "publish"))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where the runs are; default runs/")
    options = parser.parse_args()
    if options.what == "run":
        sys.exit(run(options.runs))
    for _, name, _ in PARTS:
        print(publish(options.runs / name, ROOT / "results" / name))
    for page in renew():
        print(page)


if __name__ == "__main__":
    main()
