"""The overlay contract, looked at inside a sandbox; started by `harness.conformance.examination`.

`python -m harness.conformance.enter FOLDER LAYER all|paths` makes the sandbox (as whoever calls), in which this deploys
what FOLDER/job.json says, for an overlay of that layer: all of the contract, or the paths of its streams or contents
alone. It prints one JSON object: what was seen, fact by fact. Judging is `harness.conformance.judge`'s business.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from harness.conformance import interface_peer
from harness.conformance.interface_peer import BULK_BYTES, bulk
from harness.conformance.streams import Streams, look_at_content, outside
from harness.errors import LabError, OverlaybenchError
from harness.lab import counters
from harness.lab.network import Lab
from harness.lab.process import Daemon
from harness.lab.tap import Tap
from harness.model.topology import Topology
from harness.model.words import SEEKING_DIRECT
from harness.overlay.search_path import search_path
from harness.probes.burst import judge_now
from harness.probes.measurement import Target
from harness.probes.pathfigures import Since, figures_of
from harness.probes.seek import Search, find_paths
from harness.sandbox.mounts import make_private
from harness.sandbox.unshare import run_as_init_check
from harness.trial.deploy import RunningOverlay
from harness.trial.messages import Job

_PEER = str(Path(interface_peer.__file__).resolve())


def look_at_all(job: Job, folder: Path, layer: str) -> dict[str, Any]:
    """Deploy on a lab and look at everything that the contract promises of each kind of endpoint."""
    trial, deployment = job.trial, job.deployment
    probe = trial.probes.path
    assert probe is not None
    lab = Lab(trial.topology, seed=trial.seed, link_choice="auto", workdir=folder)
    seen: dict[str, Any] = {"kinds": sorted(deployment.kinds), "helpers": trial.topology.helpers}
    lab.start()
    counters.install(lab.watched_ports())
    a, b = trial.topology.members[:2]
    overlay = RunningOverlay(lab, deployment, folder)
    tap = Tap(sorted(lab.port_of(name) for name in (a, b)), folder / "members.pcapng", lab.beside)
    overlay.start()
    seen["ready_s"] = overlay.time_to_ready_s
    if deployment.endpoints:
        seen |= _look_at_interfaces(job, lab, folder, tap, overlay)
        seen |= _look_at_frames(job, lab, folder, layer)
    tap.close()
    if deployment.contents:
        end = deployment.contents[0]
        seen |= look_at_content(_target(job, lab, folder, end.src, end.dst))
    streams = Streams(lab, deployment, folder, a, b) if deployment.streams else None
    if streams is not None:
        seen |= streams.look(trial.mode, probe.deadline_s)
    if "claims" not in seen:  # asked after the traffic: some know of their path only then
        seen["claims"] = overlay.claims()
    overlay.check_alive()
    if trial.mode in SEEKING_DIRECT and deployment.kinds - {"content"}:
        if streams is not None:
            streams.hold()
        _kill_server(overlay, trial.topology)
        if streams is not None:
            seen |= streams.without_server()
        if deployment.endpoints:
            seen["answered_without_server"] = _answered(lab, folder, a, deployment.endpoints[b].address, count=60)
            seen["path_without_server"] = judge_now(_target(job, lab, folder, a, b), probe.burst_packets)
    if streams is not None:
        streams.stop()
    seen["outside"] = outside(counters.read(), trial.topology, deployment)
    overlay.stop()
    seen["statuses"] = {name: [daemon.where, daemon.status] for name, daemon in overlay.daemons.items()}
    seen["outlasted"] = {
        name: f"{daemon.outlasted}; it said last: {daemon.tail[-300:].strip()}"
        for name, daemon in overlay.daemons.items()
        if daemon.outlasted
    }
    seen["may_hang"] = sorted(service.name for service in deployment.services if service.may_hang)
    lab.stop()
    return seen


def look_at_paths(job: Job, folder: Path) -> dict[str, Any]:
    """Deploy and see alone whether streams connect, and which way new ones go before the time is over; else content."""
    trial, probe = job.trial, job.trial.probes.path
    assert probe is not None
    lab = Lab(trial.topology, seed=trial.seed, link_choice="auto", workdir=folder)
    lab.start()
    counters.install(lab.watched_ports())
    overlay = RunningOverlay(lab, job.deployment, folder)
    overlay.start()
    seen: dict[str, Any] = {}
    if job.deployment.streams:
        streams = Streams(lab, job.deployment, folder, *trial.topology.members[:2])
        seen |= streams.look_at_path(trial.mode, probe.deadline_s)
        streams.stop()
    else:
        end = job.deployment.contents[0]
        seen |= look_at_content(_target(job, lab, folder, end.src, end.dst))
    seen["claims"] = overlay.claims()
    overlay.check_alive()
    overlay.stop()
    lab.stop()
    return seen


def _look_at_interfaces(job: Job, lab: Lab, folder: Path, tap: Tap, overlay: RunningOverlay) -> dict[str, Any]:
    """Look at the path, its claim, and bulk both ways."""
    probe, deployment = job.trial.probes.path, job.deployment
    assert probe is not None
    a, b = job.trial.topology.members[:2]
    there = _target(job, lab, folder, a, b)
    seen: dict[str, Any] = {}
    since = Since(overlay.running_since(), overlay.ready_unix_s)
    search = Search(probe.deadline_s, probe.interval_ms / 1000, 1200, probe.burst_packets)
    found = find_paths([there], search, tap, since)
    for one in figures_of(there, found[there.pair], probe.deadline_s):
        seen[one.metric] = one.value
        seen["path"] = one.path
    seen["claims"] = overlay.claims()
    seen["answered_back"] = _answered(lab, folder, b, deployment.endpoints[a].address, count=20)
    seen["bulk_intact"] = _bulk(lab, folder, b, a, deployment.endpoints[b].address)
    # A mesh may use its relay while a direct path settles again (tinc, while a path's MTU is unknown); not for long.
    settles_until = time.monotonic() + (10.0 if job.trial.mode == "mesh" else 0.0)
    seen["path_after_bulk"] = judge_now(there, probe.burst_packets)
    while seen["path_after_bulk"] != "direct" and time.monotonic() < settles_until:
        seen["path_after_bulk"] = judge_now(there, probe.burst_packets)
    return seen


def _look_at_frames(job: Job, lab: Lab, folder: Path, layer: str) -> dict[str, Any]:
    """Look at what only L2 carries: ARP and multicast."""
    a, b = job.trial.topology.members[:2]
    interface = job.deployment.endpoints[a].interface
    return {"neighbours": _neighbours(lab, a, interface), "multicast": _multicast(lab, folder, (a, b), job, layer)}


def _target(job: Job, lab: Lab, folder: Path, src: str, dst: str) -> Target:
    ends = [job.deployment.endpoints.get(name) for name in (src, dst)]
    addresses = [None if end is None else end.address for end in ends]
    contents = {(one.src, one.dst): one for one in job.deployment.contents}
    return Target(
        lab=lab,
        src=src,
        dst=dst,
        src_address=addresses[0],
        dst_address=addresses[1],
        contents=contents,
        mode=job.trial.mode,
        folder=folder,
    )


def _answered(lab: Lab, folder: Path, src: str, address: object, count: int) -> float:
    argv = ["ping", "-n", "-q", "-i", "0.05", "-c", str(count), "-W", "2", str(address)]
    pinger = Daemon(lab.nodes[src], argv, log=folder / f"back-{src}.log", cwd=folder, env={})
    pinger.wait(count * 0.05 + 10)
    pinger.stop()
    # ping counts a hub's ICMP redirects as if they were answers and stops early: what it sent is the measure.
    found = re.search(r"(\d+) packets transmitted, (\d+) received", pinger.text)
    return int(found.group(2)) / max(1, int(found.group(1))) if found else 0.0


def _helper(lab: Lab, folder: Path, node: str, *arguments: object) -> Daemon:
    argv = [sys.executable, _PEER, *map(str, arguments)]
    return Daemon(lab.nodes[node], argv, log=folder / f"{arguments[0]}.log", cwd=folder, env={})


def _bulk(lab: Lab, folder: Path, receiver: str, sender: str, address: object) -> bool:
    sink = _helper(lab, folder, receiver, "--receive", address)
    _require_listening(sink)
    source = _helper(lab, folder, sender, "--send", address)
    sent = source.wait(60)
    source.stop()
    digest = hashlib.sha256(bulk()).hexdigest()
    # From a sender that has failed no digest comes.
    intact = sent == 0 and sink.wait_for_line(f"{BULK_BYTES} {digest}", 30)
    sink.stop()
    return intact


def _require_listening(peer: Daemon) -> None:
    if not peer.wait_for_line("listening", 10):
        raise LabError(f"no peer of ours at {peer.where}: {peer.tail or '(silent)'}")


def _neighbours(lab: Lab, node: str, interface: str | None) -> int:
    """How many hardware addresses the node has learned on the overlay's interface: what ARP brought."""
    said = lab.nodes[node].check_output(["ip", "-j", "neighbour", "show", "dev", str(interface)])
    return sum("lladdr" in entry for entry in json.loads(said or "[]"))


def _multicast(lab: Lab, folder: Path, pair: tuple[str, str], job: Job, layer: str) -> bool:
    ends, (sender, receiver) = job.deployment.endpoints, pair
    ear = _helper(lab, folder, receiver, "--hear", ends[receiver].address)
    _require_listening(ear)
    mouth = _helper(lab, folder, sender, "--call", ends[sender].address)
    heard = ear.wait_for_line("heard", 10.0 if layer == "L2" else 1.0)
    for helper in (mouth, ear):
        helper.stop()
    return heard


def _kill_server(overlay: RunningOverlay, topology: Topology) -> None:
    """Kill whatever runs on the public nodes."""
    for daemon in overlay.daemons.values():
        if daemon.where in (topology.server, *topology.helpers):
            daemon.send(signal.SIGKILL)
            daemon.wait(5)


def main() -> None:
    """Look, report."""
    given, layer, what = sys.argv[1:]
    folder = Path(given).resolve()
    run_as_init_check()
    os.environ["PATH"] = search_path()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.chdir(folder)
    job = Job.model_validate_json((folder / "job.json").read_text())
    make_private(folder)
    try:
        seen = look_at_paths(job, folder) if what == "paths" else look_at_all(job, folder, layer)
    except OverlaybenchError as error:
        seen = {"error": str(error)}
    json.dump(seen, report)
    report.flush()


if __name__ == "__main__":
    main()
