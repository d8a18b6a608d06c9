"""Mininet's nodes without their cost: no shell until one is used, netlink instead of one `ifconfig` a call.

The Mininet API stays whole (`cmd`, `popen`, `setIP`, the CLI), so that any user's `Topo` and scripts work.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mininet.node import Node
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import CommandFailed, LabError
from harness.lab.command import Ended, run_command
from harness.sandbox.namespace import hold_namespace, inside_network_of, netlink_inside, release_namespaces

# linux/rtnetlink.h: RT_SCOPE_LINK.
_SCOPE_LINK = 253
# linux/if_addr.h: without asking whether another node has it.
_IFA_F_NODAD = 0x02


class QuietNode(Node):  # type: ignore[misc]  # Mininet has no types
    """A Mininet node whose shell starts on the first `cmd`, not at birth."""

    inNamespace: bool  # noqa: N815  # Mininet's name
    pid: int  # 0 once the node has ended
    _netlink: IPRoute | None = None

    @classmethod
    def setup(cls) -> None:
        """Do nothing: Mininet looks for its programs here with a `which` each; `overlaybench doctor` does that once."""

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: ARG002, N802  # Mininet's signature
        """Make the node's namespaces; the name is Mininet's, the shell comes later."""
        self.pid = hold_namespace(self.name) if self.inNamespace else os.getpid()

    @property
    def netlink(self) -> IPRoute:
        """A netlink socket inside the node, opened on first use and kept."""
        if self._netlink is None:
            self._netlink = netlink_inside(self.pid)
        return self._netlink

    def close_netlink(self) -> None:
        """Close the socket; the next use opens another."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _ensure_shell(self) -> None:
        if self.shell is not None:
            return
        holder = self.pid
        opts = f"-cda{holder}" if self.inNamespace else "-cd"
        in_namespace, self.inNamespace = self.inNamespace, False
        try:
            Node.startShell(self, mnopts=opts)
        finally:
            self.inNamespace = in_namespace
            self.pid = holder

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Run Mininet's `sendCmd`, with the shell started if this is its first command."""
        self._ensure_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """Run Mininet's `cmd`; it ignores exit codes, so the harness itself uses `check_output`."""
        self._ensure_shell()
        return super().cmd(*args, **kwargs)

    def check_output(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 20.0) -> str:
        """Run a program in the node and return its stdout.

        Raises:
            CommandFailed: with argv, status and the end of stderr.
            CommandTimedOut: it did not end in time.
        """
        done = self.run(argv, stdin=stdin, timeout_s=timeout_s)
        if done.returncode != 0:
            raise CommandFailed(argv, done.returncode, done.stderr or done.stdout, self.name)
        return done.stdout

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run a program in the node to its end, whatever that is. Raises CommandTimedOut."""
        return run_command(
            argv, timeout_s=timeout_s, where=self.name, enter=self.enter(()), stdin=stdin, cwd=cwd, env=env
        )

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return the argv that runs `argv` inside this node."""
        return ["mnexec", "-a", str(self.pid), *argv] if self.inNamespace else list(argv)

    def delete_route(self, network: str) -> None:
        """Forget the route to `network` (CIDR)."""
        self._netlink_call("route", "del", dst=network)

    def forget_route(self, network: str, gateway: str) -> None:
        """Forget the route to `network` (CIDR or `default`) by `gateway`, if the kernel has not yet done so."""
        try:
            self.netlink.route("del", dst=network, gateway=gateway)
        except NetlinkError as error:
            if error.code != errno.ESRCH:
                raise LabError(f"node {self.name}: route to {network} by {gateway}: {error}") from error

    def has_address(self, address: str) -> bool:
        """Tell whether one of the node's interfaces has the address."""
        return any(found.get_attr("IFA_ADDRESS") == address for found in self.netlink.get_addr())

    def says(self, argv: Sequence[str], pattern: str, cwd: Path, *, timeout_s: float = 10.0) -> bool:
        """Tell whether a program ends with 0 and prints a match. Raises CommandTimedOut."""
        done = self.run(argv, timeout_s=timeout_s, cwd=cwd)
        return done.returncode == 0 and re.search(pattern, done.stdout) is not None

    def interface_index(self, name: str) -> int:
        """Return the kernel's index of one of the node's interfaces.

        Raises:
            LabError: there is none of that name.
        """
        found = self.netlink.link_lookup(ifname=name)
        if not found:
            raise LabError(f"node {self.name} has no interface {name}")
        return int(found[0])


class LabNode(QuietNode):
    """A host: a namespace set held open by an idle process, configured over netlink."""

    def config(
        self,
        mac: str | None = None,
        ip: str | None = None,
        defaultRoute: str | None = None,  # noqa: N803  # Mininet's name
        lo: str = "up",
        **_params: Any,
    ) -> dict[str, Any]:
        """Configure as Mininet's `config` does, over netlink; loopback is index 1 in every network namespace."""
        if mac is not None:
            self.setMAC(mac)
        if ip is not None:
            self.setIP(ip)
        if defaultRoute is not None:
            self.setDefaultRoute(defaultRoute)
        self.netlink.link("set", index=1, state=lo)
        return {}

    def setDefaultRoute(self, intf: Any = None) -> None:  # noqa: N802
        """Set the default route in Mininet's forms: an interface, or text such as `via 10.0.0.1` or `dev h1-eth0`."""
        text = str(intf)
        words = text.split() if " " in text else ["dev", text]
        pairs = dict(zip(words[::2], words[1::2], strict=False))
        route: dict[str, Any] = {"dst": "default"}
        if "via" in pairs:
            route["gateway"] = pairs["via"]
        if "dev" in pairs:
            route["oif"] = self.interface_index(pairs["dev"])
        if "via" not in pairs:  # everybody is a neighbour
            route |= {"dst": "0.0.0.0/0", "family": socket.AF_INET, "scope": _SCOPE_LINK}
        self._netlink_call("route", "replace", **route)

    def add_route(self, network: str, gateway: str, mtu_bytes: int | None = None) -> None:
        """Send `network` (CIDR) to `gateway`; a longer packet is answered, where the MTU is given."""
        metrics = {} if mtu_bytes is None else {"metrics": {"mtu": mtu_bytes}}
        self._netlink_call("route", "replace", dst=network, gateway=gateway, **metrics)

    def add_address(self, interface: str, address: str, prefix_length: int) -> None:
        """Give an interface one more address, usable at once."""
        flags = {"flags": _IFA_F_NODAD} if ":" in address else {}
        index = self.interface_index(interface)
        self._netlink_call("addr", "add", index=index, address=address, prefixlen=prefix_length, **flags)

    def delete_address(self, interface: str, address: str, prefix_length: int) -> None:
        """Take an address of an interface away."""
        index = self.interface_index(interface)
        self._netlink_call("addr", "del", index=index, address=address, prefixlen=prefix_length)

    def set_interface(self, name: str, state: str) -> None:
        """Set an interface `up` or `down`: done when this returns, no program is started for it.

        Raises:
            LabError: there is none of that name, or the kernel refused.
        """
        self._netlink_call("link", "set", index=self.interface_index(name), state=state)

    def write_sysctls(self, settings: Mapping[str, str]) -> None:
        """Set per-namespace sysctls: /proc/sys/net shows the network namespace of the process that opens it.

        As sysctl(8) has it, a `/` in a name stands for a dot that does not part: that of an interface `eth0.7`.

        Raises:
            LabError: the kernel has no such setting or refuses the value.
        """
        with inside_network_of(self.pid):
            for key, value in settings.items():
                try:
                    sysctl_path(key).write_text(value)
                except OSError as error:
                    raise LabError(f"node {self.name}: sysctl {key}={value}: {error.strerror}") from error

    def read_sysctls(self, names: Sequence[str]) -> dict[str, str]:
        """Return the node's own values, without those that this kernel or namespace does not have."""
        with inside_network_of(self.pid):
            paths = {name: sysctl_path(name) for name in names}
            return {name: " ".join(path.read_text().split()) for name, path in paths.items() if path.exists()}

    def _netlink_call(self, kind: str, verb: str, **arguments: Any) -> None:
        try:
            getattr(self.netlink, kind)(verb, **arguments)
        except NetlinkError as error:
            raise LabError(f"node {self.name}: {kind} {verb} {arguments}: {error}") from error

    def terminate(self) -> None:
        """End the shell, if there is one, and the namespaces."""
        self.close_netlink()
        if self.shell is not None:
            self.shell.kill()
            self.cleanup()
        if self.inNamespace and self.pid:
            release_namespaces([self.pid])
        self.pid = 0


def sysctl_path(name: str) -> Path:
    """Return the file of a sysctl; a `/` in its name stands for a dot that parts nothing."""
    return Path("/proc/sys", *(part.replace("/", ".") for part in name.split(".")))
