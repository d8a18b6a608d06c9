"""The choice of the backend that carries a lab's links on this machine."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, get_args

from harness.errors import MissingPrerequisite
from harness.link.backend import LinkBackend
from harness.link.helper import helper_argv
from harness.link.netem_backend import NetemBackend
from harness.link.userlink_backend import UserlinkBackend
from harness.model.link import LinkProfile
from harness.model.words import LinkBackendName
from harness.sandbox.unshare import user_namespace

_BUILD: Final = "apt-get install -y gcc libc6-dev && rm -f .venv/.setup-* && make setup"
_log = logging.getLogger(__name__)


def choose_backend(
    wanted: str = "auto", profiles: Sequence[LinkProfile] = (), *, traces_from: Path | None = None
) -> LinkBackend:
    """Return the backend for links of these profiles; `auto` is the compiled helper wherever there is one.

    It accounts for its lateness and repeats its losses: a trial is as valid on one kernel as on another. Without it
    `auto` is netem where kernel and profiles allow it, else the helper in pure Python, each with a warning.
    `traces_from` is where relative paths of trace files start. Raises MissingPrerequisite where the machine lacks what
    was asked for.
    """
    netem = NetemBackend()
    match wanted:
        case "netem":
            why_not = netem_missing()
            if why_not is not None:
                raise why_not
            return netem
        case "userlink":
            if helper_argv() is None:
                raise MissingPrerequisite("the compiled link helper", _BUILD)
            return UserlinkBackend("userlink", traces_from=traces_from)
        case "userlink-python":
            return UserlinkBackend("userlink-python", traces_from=traces_from)
        case "auto":
            if helper_argv() is not None:
                return UserlinkBackend("userlink", traces_from=traces_from)
            if netem_missing() is None and not any(netem.refusals(profile) for profile in profiles):
                _log.warning(
                    "links are carried by netem, whose lateness is not accounted for. To have the helper in C: %s",
                    _BUILD,
                )
                return netem
            _log.warning(
                "links are carried by the pure-Python helper: right, but above some 20,000 frames a second late. "
                "To have the C one: %s",
                _BUILD,
            )
            return UserlinkBackend("userlink-python", traces_from=traces_from)
    raise ValueError(f"no link backend {wanted!r}: auto, {', '.join(get_args(LinkBackendName))}")


def automatic() -> LinkBackendName:
    """Return the backend that carries impaired links under `links: auto` on this machine.

    Links that netem cannot do are the Python helper's where this is netem.
    """
    if helper_argv() is not None:
        return "userlink"
    return "netem" if netem_missing() is None else "userlink-python"


def require_backend(wanted: str, profiles: Sequence[LinkProfile]) -> LinkBackend:
    """Choose as `choose_backend` does, and check that it can do every profile; to be called before a run starts.

    Raises MissingPrerequisite that names each profile and why not.
    """
    backend = choose_backend(wanted, profiles)
    refused = [f"{profile.label}: {reason}" for profile in profiles for reason in backend.refusals(profile)]
    if refused:
        what = f"a link backend {wanted!r} for {'; '.join(dict.fromkeys(refused))}"
        raise MissingPrerequisite(what, "write `links: auto` or `links: userlink` in the scenario")
    return backend


@cache
def netem_missing() -> MissingPrerequisite | None:
    """Return what netem lacks on this machine, None where it works; tried in a namespace that is gone afterwards."""
    for program in ("tc", "unshare"):
        if shutil.which(program) is None:
            return MissingPrerequisite(f"the program `{program}`", "apt-get install -y iproute2 util-linux")
    script = (
        "ip link add name va type veth peer name vb && tc qdisc add dev va root handle 1: netem delay 1ms && "
        "tc qdisc add dev va parent 1:1 tbf rate 1mbit burst 4000b limit 9000b && tc qdisc add dev va clsact && "
        "tc filter add dev va ingress matchall action mirred egress redirect dev vb"
    )
    argv = ["unshare", *user_namespace(), "--net", "--", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return MissingPrerequisite(
        f"netem in the kernel ({said[0] if said else 'tc failed'})",
        "modprobe -a sch_netem sch_tbf act_mirred cls_matchall, or use the userlink backend",
    )
