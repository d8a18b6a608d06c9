"""Makes a small copy of a run for the repository: tables, plots, numbers and the evidence behind them.

    python -m bench.publish RUN_DIR OUT_DIR

The copy has the manifest, the plan, records.parquet, evidence.tar.xz (what `python -m tests.recompute` needs to make
the records again, without keys), the plots as SVG, and a README.md with verdict, tables, machine and the command that
repeats the run; a copy below results/ renews README.md's tables, too (`bench.published`). `harness.results.load`,
`overlaybench compare` and `report` read it; the last makes summary.csv and the plots' CSV again, which would double
what a repository carries. `make results` runs and publishes all that the repository has. A run in which parties
computed has the tables of its chapter on what a hub costs as CSV and LaTeX in tables/ as well.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

from bench.published import ROOT, readme_of, renew
from harness.report.html import write_report
from harness.report.hubcost import hub_cost
from harness.report.markup import to_csv, to_latex
from harness.results.loading import load
from harness.results.store import RunFolder


def publish(run_dir: Path, out_dir: Path) -> Path:
    """Write the copy and return the path of its README.md; what was there before of that kind is replaced."""
    RunFolder(run_dir).finish()
    write_report(run_dir)
    if out_dir.exists():
        shutil.rmtree(out_dir)
    (out_dir / "plots").mkdir(parents=True)
    for name in ("manifest.json", "records.parquet"):
        shutil.copyfile(run_dir / name, out_dir / name)
    keep_evidence(run_dir, out_dir / "evidence.tar.xz")
    plan = json.loads((run_dir / "plan.json").read_text())
    (out_dir / "plan.json").write_text(json.dumps(plan, separators=(",", ":")))
    chapter = hub_cost(load(out_dir))
    for path in sorted((run_dir / "plots").iterdir()):
        # Of a sweep, each of whose conditions has plots of its own, those over all of them: `report` makes the others.
        if path.suffix == ".svg" and (chapter is None or path.stem.startswith("hub-")):
            shutil.copyfile(path, out_dir / "plots" / path.name)
    if chapter is not None:
        (out_dir / "tables").mkdir()
        for table in chapter.tables:
            stem = out_dir / "tables" / re.sub(r"[^a-z]+", "-", table.title.lower())
            stem.with_suffix(".csv").write_text(to_csv(table), encoding="utf-8")
            stem.with_suffix(".tex").write_text(to_latex(table), encoding="utf-8")
    readme = out_dir / "README.md"
    readme.write_text(readme_of(load(out_dir)), encoding="utf-8")
    return readme


# What each figure that evidence tells can be made from again (`python -m tests.recompute`).
_KEPT = (
    "-rtt.csv",
    "-ping.log",
    "-pings.csv",
    "-burst-flows.txt",
    "-cost.json",
    "-forward.json",
    "-backward.json",
    "-both.json",
    "-at-once.json",
    "-mtu-watch.csv",
    "handshake.json",
    "idle.json",
    "-rounds.csv",
    "-rounds.json",
    "-availability.csv",
    "-availability.json",
    "-availability-pings.log",
    "timeline.json",
)
# What every ping of the MTU probe said.
_KEPT_LOGS = re.compile(r"-mtu-[a-z0-9_]+\.log$")


def keep_evidence(run_dir: Path, archive: Path) -> None:
    """Write the evidence behind the records as a compressed archive that is the same for the same run.

    Of job.json the trial alone is kept: the deployment next to it has keys.
    """
    with tarfile.open(archive, "w:xz", preset=9) as kept:
        # Files of one name next to each other: they compress better so.
        for path in sorted((run_dir / "trials").glob("*/*"), key=lambda path: (path.name, path)):
            if path.name == "job.json":
                data = json.dumps({"trial": json.loads(path.read_text())["trial"]}, sort_keys=True).encode()
            elif path.name.endswith(_KEPT) or _KEPT_LOGS.search(path.name):
                data = path.read_bytes()
            else:
                continue
            entry = tarfile.TarInfo(str(path.relative_to(run_dir)))
            entry.size = len(data)
            kept.addfile(entry, io.BytesIO(data))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    options = parser.parse_args()
    print(publish(options.run_dir, options.out_dir))
    if options.out_dir.resolve().parent == ROOT / "results":
        print(*renew(), sep="\n")


if __name__ == "__main__":
    main()
