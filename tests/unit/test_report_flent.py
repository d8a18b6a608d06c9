"""Series of round-trip times as files that Flent reads."""

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
from made_runs import folder_of
from result_samples import PAIR, Maker

from harness.commands.report import report_command
from harness.results.flent import export
from harness.results.loading import load
from harness.results.store import RunFolder


def test_flent_itself_reads_the_export(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", repeats=1)
    records = folder.records_path.read_text().splitlines()
    evidence = folder.path / "trials" / "x.csv"
    evidence.write_text("seq,sent_s,rtt_ms\n" + "".join(f"{i},{i / 20},{i % 5 + 10}\n" for i in range(1, 100)))
    changed = [line.replace('"evidence": null', '"evidence": "trials/x.csv"') for line in records]
    folder.records_path.write_text("\n".join(changed) + "\n")
    done = CliRunner().invoke(report_command, [str(folder.path), "--format", "md", "--flent", str(tmp_path / "flent")])
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "flent").iterdir())
    assert len(files) == 36
    with gzip.open(files[0], "rt") as file:
        data = json.load(file)
    assert len(data["x_values"]) == len(data["results"]["Ping (ms) ICMP"])
    flent = Path(sys.executable).with_name("flent")
    stats = subprocess.run(
        [flent, "-i", files[0], "-f", "stats"], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert "Median:      12.000000 ms" in stats.stdout


def test_each_pair_of_members_is_a_file_for_flent(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create({"schema": 1, "scenario": "three"}, [])
    (folder.path / "x.csv").write_text("seq,sent_s,rtt_ms\n0,0.0,10\n1,0.1,11\n")
    *records, end = Maker(params={"ip": "v6"}).trial("t1", **PAIR)
    (rtt,) = [replace(one, evidence="x.csv") for one in records if one.metric == "rtt_p50_ms"]
    folder.append([rtt, replace(rtt, dst="c"), end])
    paths = export(load(folder.path), tmp_path / "flent")
    assert [path.name for path in paths] == ["ping-t1-a-b.flent.gz", "ping-t1-a-c.flent.gz"]
    with gzip.open(paths[1], "rt") as file:
        metadata = json.load(file)["metadata"]
    assert (metadata["LOCAL_HOST"], metadata["HOST"], metadata["IP_VERSION"]) == ("a", "c", 6)
