"""Inside a sandbox: refmesh under the restrictions of the README's systemd units, made by hand. Prints JSON.

No systemd runs in a sandbox, so what the units ask for is done as systemd.exec(5) says: the file system read-only but
for the state and runtime folders, a /tmp of its own, a capability bounding set, no new privileges.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from refmesh_lab import NUMBERS, Lab, enter, must

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from test_refmesh_units import units

ENVIRONMENT = Path(sys.executable).parents[1]
KNOWN = {
    "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus", "CapabilityBoundingSet",
    "NoNewPrivileges", "ProtectSystem", "PrivateTmp", "StateDirectory", "RuntimeDirectory", "RuntimeDirectoryPreserve",
}  # fmt: skip


def service(name: str) -> dict[str, str]:
    """Return the [Service] section of a unit; one with a setting that is not done by hand below is refused."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(units()[name])
    section = dict(parser["Service"])
    if unknown := set(section) - KNOWN:
        raise SystemExit(f"{name}: this lab does not know {unknown}")
    return section


def furnish(pid: int, configs: Path) -> None:
    """Give a host folders of its own for what an administrator installs, and make all else read-only."""
    names = ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache")
    kept = " ".join(f"/etc/{name}" for name in names if Path("/etc", name).exists())
    must(pid, "sh", "-c", f"mkdir -p /run/keep && cp {kept} {configs}/* /run/keep")
    for folder in ("/opt", "/var/lib", "/tmp"):
        must(pid, "mount", "-t", "tmpfs", "-o", "nodev,nosuid", "none", folder)
    must(pid, "sh", "-c", f"mkdir /opt/refmesh && mount --bind {ENVIRONMENT} /opt/refmesh")
    must(pid, "sh", "-c", "mount -t tmpfs none /etc && cp /run/keep/* /etc/ && rm -r /run/keep")
    must(pid, "mkdir", "-p", "/etc/refmesh")


def restrict(pid: int, settings: dict[str, str]) -> None:
    assert settings["ProtectSystem"] == "strict"
    writable = []
    for kind, top in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run")):
        folder = f"{top}/{settings[kind]}"
        writable.append(folder)
        must(pid, "sh", "-c", f"mkdir -p {folder} && mount --bind {folder} {folder}")
    mounts = [line.split()[4] for line in must(pid, "cat", "/proc/self/mountinfo").splitlines()]
    spared = ("/dev", "/proc", "/sys")
    for place in sorted(set(mounts), key=len):
        if place.startswith(spared) or place in writable or (settings["PrivateTmp"] == "yes" and place == "/tmp"):
            continue
        if not Path(f"/proc/{pid}/root{place}").exists():
            continue  # a later mount hides it
        done = subprocess.run(
            enter(pid, "mount", "-o", "remount,bind,ro", place), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{place} cannot be made read-only: {done.stderr}")


def argv(settings: dict[str, str], instance: str, command: str = "ExecStart") -> list[str]:
    capabilities = [name.lower().removeprefix("cap_") for name in settings["CapabilityBoundingSet"].split()]
    bounds = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    wrapper = ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all"]
    if settings["NoNewPrivileges"] == "yes":
        wrapper.append("--no-new-privs")
    return [*wrapper, "--", *settings[command].replace("%i", instance).split()]


def start(lab: Lab, name: str, settings: dict[str, str]) -> None:
    daemon = subprocess.Popen(enter(lab.hosts[name], *argv(settings, name)), stderr=subprocess.PIPE, text=True, cwd="/")
    lab.daemons[name] = daemon
    assert daemon.stderr is not None
    said = ""
    for line in daemon.stderr:
        said += line
        if line.startswith("refmesh: ready"):
            os.set_blocking(daemon.stderr.fileno(), False)
            return
    raise SystemExit(f"{name} ended with {daemon.wait()}: {said}")


def main() -> None:
    """Installs as the README says, runs, reloads, ends, starts again."""
    lab = Lab("ipv4")
    folder = Path(tempfile.mkdtemp(prefix="refmesh-units-"))
    refmesh = [sys.executable, "-m", "overlays.refmesh"]
    init = ["init", str(folder / "net"), "--system", "--member", "a", "--member", "b", "--server", "s=45.9.0.9"]
    subprocess.run([*refmesh, *init], check=True, capture_output=True)
    tls = (folder / "net" / "s.yaml").read_text().replace("tls_port: 0", "tls_port: 443")
    (folder / "net" / "s.yaml").write_text(tls)
    node, server = service("refmesh@.service"), service("refmesh-server@.service")
    for name in NUMBERS:
        furnish(lab.hosts[name], folder / "net")
        settings = server if name == "s" else node
        install = f"install -D -m 600 /etc/{name}.yaml /etc/refmesh/{name}.yaml"
        must(lab.hosts[name], "sh", "-c", f"cp /etc/policy /etc/refmesh/ && {install}")
        restrict(lab.hosts[name], settings)
    shutil.rmtree(folder)
    result: dict[str, Any] = {}
    refused = subprocess.run(enter(lab.hosts["a"], "touch", "/etc/refmesh/x"), capture_output=True, check=False)
    result["read_only"] = bool(refused.returncode)
    start(lab, "s", server)
    for name in "ab":
        start(lab, name, node)
    status = ["/opt/refmesh/bin/refmesh", "status", "--json", "--config", "/etc/refmesh/a.yaml"]
    end = time.monotonic() + 20
    while time.monotonic() < end:
        (peer,) = json.loads(must(lab.hosts["a"], *status))["peers"] or [{"path": "none"}]
        if peer["path"] == "direct":
            break
        time.sleep(0.1)
    result["path"] = peer["path"]
    result["answered"] = lab.pings("a", "10.77.0.2", 3)
    reload_ = subprocess.run(
        enter(lab.hosts["a"], *argv(node, "a", "ExecReload")), capture_output=True, text=True, check=False
    )
    result["reload"] = [reload_.returncode, reload_.stderr.strip()]
    ends = {}
    for name in NUMBERS:
        lab.daemons[name].terminate()
        ends[name] = lab.daemons[name].wait(20)
    result["ends"] = ends
    result["state"] = sorted(must(lab.hosts["a"], "ls", "/var/lib/refmesh/a").split())
    result["sockets"] = must(lab.hosts["a"], "ls", "/run/refmesh").split()
    start(lab, "s", server)
    start(lab, "a", node)
    wrong = subprocess.run(
        enter(lab.hosts["a"], *argv(node, "nobody")), capture_output=True, text=True, check=False, cwd="/"
    )
    result["wrong"] = wrong.returncode
    print(json.dumps(result))


if __name__ == "__main__":
    main()
