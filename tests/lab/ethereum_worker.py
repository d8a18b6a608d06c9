"""Deploys Ethereum on a lab and tells how far `a` gets at `b`; run by test_ethereum_lab.py.

`ethereum_worker.py FOLDER` makes the sandbox (as whoever calls), and in it deploys FOLDER/job.json, publishes a file at
`b` and waits at `a` until it is there or SECONDS are over. It prints one JSON object.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import OverlaybenchError
from harness.lab.network import Lab
from harness.lab.process import Daemon
from harness.overlay.search_path import search_path
from harness.sandbox.mounts import make_private
from harness.sandbox.unshare import sandbox_argv
from harness.trial.deploy import RunningOverlay
from harness.trial.messages import Job
from overlays.ethereum.adapter import Reached, reached

SECONDS = 25.0
FRONT_OF_B = "45.45.2.1"


def look(job: Job, folder: Path) -> dict[str, Any]:
    """Deploy, try, ask."""
    lab = Lab(job.trial.topology, seed=1, link_choice="auto", workdir=folder)
    lab.start()
    overlay = RunningOverlay(lab, job.deployment, folder)
    overlay.start()
    way = next(one for one in job.deployment.contents if (one.src, one.dst) == ("b", "a"))
    put, got = overlay.node_folder("b") / "put", overlay.node_folder("a") / "got"
    put.write_bytes(os.urandom(300_000))

    def run(node: str, argv: tuple[str, ...], words: dict[str, str], timeout_s: float) -> Daemon:
        filled = [words.get(word, word) for word in argv]
        command = Daemon(lab.nodes[node], filled, log=folder / f"{node}.log", cwd=overlay.node_folder(node), env={})
        command.wait(timeout_s)
        command.stop()
        return command

    published = run("b", way.publish, {"{file}": str(put)}, 20)
    found = re.search(way.identifier, published.text)
    assert found is not None, published.tail
    run("a", way.fetch, {"{file}": str(got), "{id}": found.group(1)}, SECONDS)
    deadline = time.monotonic() + SECONDS
    seen = reached("a", "b", FRONT_OF_B, overlay.claims())
    while seen == Reached(discovery=False, rlpx=False) and time.monotonic() < deadline:
        time.sleep(0.5)  # discovery announces nothing but in its log, which `claims` reads
        seen = reached("a", "b", FRONT_OF_B, overlay.claims())
    overlay.stop()
    lab.stop()
    return asdict(seen) | {"intact": got.exists() and got.read_bytes() == put.read_bytes()}


def main() -> None:
    """Enter the sandbox, look, report."""
    folder = Path(sys.argv[1]).resolve()
    if len(sys.argv) == 2:
        argv = sandbox_argv([sys.executable, __file__, str(folder), "inside"])
        os.execvp(argv[0], argv)
    os.environ["PATH"] = search_path()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.chdir(folder)
    job = Job.model_validate_json((folder / "job.json").read_text())
    make_private(folder)
    try:
        seen = look(job, folder)
    except OverlaybenchError as error:
        seen = {"error": str(error)}
    json.dump(seen, report)
    report.flush()


if __name__ == "__main__":
    main()
