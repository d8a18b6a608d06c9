"""What this machine must have before anything is started, and the command that gets it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.errors import MissingPrerequisite
from harness.link.choose import require_backend
from harness.model.trial import Trial
from harness.nat.programs import MINIUPNPD, TAYGA
from harness.overlay.contract import Overlay
from harness.overlay.install import missing as missing_requirements
from harness.sandbox.unshare import why_no_user_namespaces

# Programs that measure or build, and the Debian package of each.
MEASURING_TOOLS: Final = {
    "nft": "nftables",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
    "irtt": "irtt",
    "mnexec": "mininet",
}
TUN: Final = Path("/dev/net/tun")


def require_for(trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> None:
    """Check that this machine can run these trials of these overlays, before anything is started.

    Raises:
        MissingPrerequisite: names all that is missing and one command that gets it.
    """
    require_machine(overlays)
    missing: dict[str, str] = {}
    for trial in trials:
        for name, settings in trial.probes.items():
            missing |= {f"{what} (probe {name})": remedy for what, remedy in settings.missing().items()}
    if missing:
        raise MissingPrerequisite(", ".join(missing), " && ".join(dict.fromkeys(missing.values())))
    for choice in {trial.links for trial in trials}:
        links = {link for trial in trials if trial.links == choice for link in trial.topology.impaired_links()}
        if links:
            require_backend(choice, list(links))
    if any(router.nat.port_mapping for trial in trials for router in trial.topology.routers.values()):
        MINIUPNPD.require()
    if any(router.nat.nat64 for trial in trials for router in trial.topology.routers.values()):
        TAYGA.require()
        remedy = tun_remedy()
        if remedy is not None:
            raise MissingPrerequisite(f"access to {TUN} (nat64)", remedy)


def require_machine(overlays: Mapping[str, Overlay]) -> None:
    """Check that this machine can run these overlays at all.

    Raises:
        MissingPrerequisite: names all that is missing and one command that gets it.
    """
    forbidden = why_no_user_namespaces()
    if forbidden is not None:
        raise forbidden
    missing: dict[str, str] = {
        f"the program `{program}`": f"apt-get install -y {package}"
        for program, package in MEASURING_TOOLS.items()
        if shutil.which(program) is None
    }
    for name, overlay in overlays.items():
        missing |= {
            f"the program `{requirement.program}` (overlay {name})": requirement.install
            for requirement in missing_requirements(overlay.requirements())
        }
    needs_tun = [name for name, overlay in overlays.items() if overlay.layer in ("L2", "L3") and name != "underlay"]
    remedy = tun_remedy()
    if needs_tun and remedy is not None:
        missing[f"access to {TUN}"] = remedy
    if missing:
        raise MissingPrerequisite(", ".join(missing), " && ".join(dict.fromkeys(missing.values())))


def tun_remedy() -> str | None:
    """Return the command that makes /dev/net/tun usable; None where it is."""
    if not TUN.exists():
        return "sudo modprobe tun"
    return None if os.access(TUN, os.R_OK | os.W_OK) else f"sudo chmod 0666 {TUN}"
