"""The `netem` backend: the kernel impairs; we tell it by tc, read back what it took and raise where that differs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import CommandFailed, LabError
from harness.link.accounting import Accounting, DirectionCounts
from harness.link.backend import Accountable, Cable
from harness.link.netem_plan import Qdisc, netem_plan, netem_refusals, read_back_problems
from harness.link.offload import WHOLE_FRAMES
from harness.link.quantiles import Shape, netem_table
from harness.model.link import LinkProfile

_SHAPES: Final[tuple[Shape, ...]] = ("uniform", "normal", "pareto")


class NetemBackend:
    """netem on the middle interfaces: what comes in at one leaves at the other, and is impaired as it leaves.

    A seed has no effect: kernels before 6.6 and tc before 6.6 have no way to give one.
    """

    name = "netem"

    def refusals(self, profile: LinkProfile) -> list[str]:
        """Return what netem cannot do: see `LinkBackend.refusals`."""
        return netem_refusals(profile)

    def start(self, cables: Sequence[Cable], *, netns_pid: int, seed: int, workdir: Path) -> NetemLinks:
        """See `LinkBackend.start`."""
        del seed
        workdir.mkdir(parents=True, exist_ok=True)
        for shape in _SHAPES:
            (workdir / f"overlaybench-{shape}.dist").write_text(netem_table(shape))
        return NetemLinks(cables, _Tools(netns_pid, workdir))


class _Tools:
    """tc and its kin in the links' namespace; every failure is raised."""

    def __init__(self, netns_pid: int, tables: Path) -> None:
        self._enter = ["nsenter", "--target", str(netns_pid), "--net", "--"] if netns_pid != os.getpid() else []
        self._environment = {**os.environ, "TC_LIB_DIR": str(tables.resolve())}

    def run(self, *argv: str) -> str:
        done = subprocess.run([*self._enter, *argv], capture_output=True, text=True, env=self._environment, check=False)
        # tc warns on stderr and goes on where it ignores a word; ignored words are wrong links.
        if done.returncode or done.stderr.strip():
            raise CommandFailed(argv, done.returncode, done.stderr)
        return done.stdout

    def qdiscs(self, interface: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run("tc", "-s", "-j", "qdisc", "show", "dev", interface) or "[]"))


class NetemLinks:
    """Links carried by the kernel; see `RunningLinks`."""

    accounts_for: tuple[Accountable, ...] = ()

    def __init__(self, cables: Sequence[Cable], tools: _Tools) -> None:
        self._tools = tools
        self._cables = {cable.name: cable for cable in cables}
        self._profiles: dict[str, LinkProfile] = {}
        self.applied: Mapping[str, Mapping[str, Any]] = {}
        for cable in cables:
            for interface, other in ((cable.near, cable.far), (cable.far, cable.near)):
                # A bundle that segmentation offload leaves whole would be delayed, counted and lost as one.
                for name in WHOLE_FRAMES:
                    tools.run("ethtool", "-K", interface, name, "off")
                tools.run("tc", "qdisc", "add", "dev", interface, "clsact")
                redirect = ("action", "mirred", "egress", "redirect", "dev", other)
                tools.run("tc", "filter", "add", "dev", interface, "ingress", "matchall", *redirect)
            self._apply(cable, cable.profile)

    def change(self, cable: str, profile: LinkProfile) -> None:
        """Change a link: see `RunningLinks.change`. Frames under way are dropped: tc replaces whole trees of qdiscs."""
        if cable not in self._cables:
            raise ValueError(f"no link {cable!r}; there are {', '.join(self._cables)}")
        refusals = netem_refusals(profile)
        if refusals:
            raise ValueError(f"link {cable}: {'; '.join(refusals)}")
        self._apply(self._cables[cable], profile)

    def _apply(self, cable: Cable, profile: LinkProfile) -> None:
        applied: dict[str, Any] = {}
        for way, interface, receiver in (("up", cable.far, cable.near), ("down", cable.near, cable.far)):
            direction = getattr(profile, way)
            plan = netem_plan(direction) if direction.impaired else []
            # veth drops what is longer than the receiving end's MTU: the link's own, whatever the node believes.
            self._tools.run("ip", "link", "set", "dev", receiver, "mtu", str(direction.mtu_bytes))
            reported = self._tools.qdiscs(interface)
            if any(qdisc.get("root") and qdisc.get("kind") == "netem" for qdisc in reported):
                self._tools.run("tc", "qdisc", "del", "dev", interface, "root")
            for qdisc in plan:
                self._add(interface, qdisc)
            reported = self._tools.qdiscs(interface)
            problems = read_back_problems(plan, reported, interface)
            if problems:
                raise LabError(
                    f"link {cable.name} {way}: the kernel did not take what tc was told: {'; '.join(problems)}"
                )
            applied[way] = [{key: qdisc.get(key) for key in ("kind", "handle", "options")} for qdisc in reported]
        self._profiles[cable.name] = profile
        self.applied = {**self.applied, cable.name: applied}

    def _add(self, interface: str, qdisc: Qdisc) -> None:
        place = ("root",) if qdisc.parent == "root" else ("parent", qdisc.parent)
        self._tools.run(
            "tc", "qdisc", "add", "dev", interface, *place, "handle", qdisc.handle, qdisc.kind, *qdisc.words
        )

    def accounting(self) -> Accounting:
        """Return the kernel's packet and drop counts: see `RunningLinks.accounting`; it keeps no account of lateness.

        netem counts a lost frame and one that found the queue full alike, as dropped; with a rate below it, the drops
        of the rate's queue are told apart.
        """
        counts: dict[str, dict[str, DirectionCounts]] = {}
        for name, cable in self._cables.items():
            counts[name] = {}
            for way, interface in (("up", cable.far), ("down", cable.near)):
                seen = {qdisc.get("handle"): qdisc for qdisc in self._tools.qdiscs(interface)}
                root, queue = seen.get("1:", {}), seen.get("2:", {})
                drops, queue_drops = int(root.get("drops", 0)), int(queue.get("drops", 0))
                counts[name][way] = DirectionCounts(
                    sent=int(root.get("packets", 0)),
                    sent_bytes=int(root.get("bytes", 0)),
                    lost=max(drops - queue_drops, 0),
                    queue_drops=queue_drops,
                )
        delay_ms = {
            name: {"up": profile.up.delay_ms, "down": profile.down.delay_ms} for name, profile in self._profiles.items()
        }
        return Accounting(backend="netem", counts=counts, delay_ms=delay_ms)

    def close(self) -> None:
        """Do nothing: the qdiscs go with the links' namespace."""
