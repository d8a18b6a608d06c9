"""What may happen to a running router: reboot, new address, other behaviour, UDP blocked, another policy.

`harness.timeline` makes events of them.

A router that is told to behave otherwise forgets everything: a changed rule alone would leave existing flows as they
were, which no equipment does.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.model.nat import NatBehaviour
from harness.nat import policies
from harness.nat import portal as portal_program
from harness.nat.forgetting import empty_sets, filled_by_packets, flush_connections
from harness.nat.portmap import start_miniupnpd
from harness.nat.ports import FULL_MTU_BYTES, PortBlock, RouterPorts, blocks_with_newcomers, port_blocks
from harness.nat.router_daemon import RouterDaemon
from harness.nat.rules_nat import reassigned_blocks
from harness.nat.ruleset import render_ruleset, router_sysctls
from harness.nat.translator import start_tayga

_UDP_BLOCK = "inet filter_udp_block"
# Nothing passes while rules are replaced, until the old ones' connections are forgotten and the daemons run. A packet
# of such a connection would write its mapping, with the address that it had, into the new rules' maps, and what the
# host sends afterwards would be translated by it. One for a daemon that does not run would be answered with an error.
_RELOAD = "inet filter_reload"
_SHUT = f"""table {_RELOAD} {{
	chain prerouting {{
		type filter hook prerouting priority -450; policy accept;
		iifname != "lo" drop
	}}
}}
"""
_OPEN = f"table {_RELOAD}\ndelete table {_RELOAD}\n"


class RouterNode(Protocol):
    """What a lab's node must offer; Mininet's `LabNode` has it."""

    pid: int

    def check_output(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 20.0) -> str:
        """Run a program in the node and return what it prints; raises CommandFailed, CommandTimedOut."""

    def write_sysctls(self, settings: dict[str, str]) -> None:
        """Set sysctls in the node; raises LabError."""


@dataclass
class RunningRouter:
    """A router of a running lab and what it is at the moment. `ruleset` is the script that was loaded last."""

    node: RouterNode
    behaviour: NatBehaviour
    ports: RouterPorts
    seed: int
    ruleset: str = ""
    _blocks: tuple[PortBlock, ...] = ()
    _once_inside: set[str] = field(default_factory=set)  # since the rules were loaded
    _is_shut: bool = False
    _daemons: list[RouterDaemon] = field(default_factory=list)
    _portal: RouterDaemon | None = None
    _ended: list[str] = field(default_factory=list)

    def load(self) -> None:
        """Make the router behave as declared, with empty tables.

        Raises:
            CommandFailed: nft refused the ruleset.
            MissingPrerequisite: the machine has no port mapping daemon or translator, and the behaviour asks for one.
            LabError: the kernel refused a sysctl.
            ValueError: the router has too few addresses for its behaviour.
        """
        ruleset = render_ruleset(self.behaviour, self.ports, seed=self.seed)
        blocks = port_blocks(self.behaviour, self.ports)
        with self.shut():
            self.stop_daemons()  # one could write what it was asked for into the new rules
            self.node.check_output(["nft", "-f", "-"], stdin=ruleset)
            self.ruleset, self._blocks, self._once_inside = ruleset, blocks, {*self.ports.subscribers}
            self.node.write_sysctls(router_sysctls(self.behaviour))
            if self.ports.line_mtu_bytes < FULL_MTU_BYTES:
                # One that does not know its line's MTU sends what the line then loses.
                mtu_bytes = self.ports.line_mtu_bytes if self.behaviour.mtu_errors else FULL_MTU_BYTES
                self.node.check_output(["ip", "link", "set", self.ports.wan, "mtu", str(mtu_bytes)])
            self.forget()
            if self.behaviour.nat64:
                self._daemons.append(start_tayga(self.node.pid))
            if self.behaviour.port_mapping:
                self._daemons.append(start_miniupnpd(self.node.pid, self.behaviour, self.ports))

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Let nothing in from any side during the block, in which the router is not whole: senders meet silence.

        One that has no rules yet stays open: nobody is sending. Blocks may be nested.

        Raises:
            CommandFailed: nft refused.
        """
        if self._is_shut or not self.ruleset:
            yield
            return
        self.node.check_output(["nft", "-f", "-"], stdin=_SHUT)
        self._is_shut = True
        try:
            yield
        finally:
            self._is_shut = False
            self.node.check_output(["nft", "-f", "-"], stdin=_OPEN)

    def admit(self, subscribers: tuple[str, ...]) -> None:
        """Give those a block of ports who are inside from now on, where allocation is by block; all mappings stay.

        Raises:
            CommandFailed: nft refused.
            ValueError: they need more ports than the pool has.
        """
        self.ports = replace(self.ports, subscribers=subscribers)
        blocks = blocks_with_newcomers(self._blocks, self.behaviour, self.ports, self._once_inside)
        self._once_inside |= {*subscribers}
        if blocks != self._blocks:
            self.node.check_output(["nft", "-f", "-"], stdin=reassigned_blocks(self._blocks, blocks))
            self._blocks = blocks

    def forget(self) -> None:
        """Lose all mappings and sessions and keep the rules, which is quicker than loading them again.

        What passes meanwhile may be remembered: nobody must be sending.

        A sequence of ports goes on where it is, and a policer's bucket stays as full as it is. What hosts have asked
        for by a port mapping protocol stays.

        Raises:
            LabError: the kernel refused.
        """
        flush_connections(self.node.pid)
        empty_sets(self.node.pid, list(filled_by_packets(self.ruleset)))

    def stop_daemons(self) -> None:
        """End the port mapping daemon and the translator, where there are any."""
        self._ended += self._ended_now(self._daemons)
        for daemon in self._daemons:
            daemon.stop()
        self._daemons.clear()

    def ended_daemons(self) -> list[str]:
        """Say which daemons have ended by themselves since the router was made: from then on it was not as declared."""
        running = self._daemons if self._portal is None else [*self._daemons, self._portal]
        return [*self._ended, *self._ended_now(running)]

    @staticmethod
    def _ended_now(daemons: Sequence[RouterDaemon]) -> list[str]:
        return [why for daemon in daemons if (why := daemon.why_ended()) is not None]

    def reboot(self) -> None:
        """Lose all mappings and sessions. Raises as `load` does."""
        self.load()

    def change_behaviour(self, behaviour: NatBehaviour) -> None:
        """Behave differently from now on; all mappings are lost. Raises as `load` does."""
        self.behaviour = behaviour
        self.load()

    def change_address(self, addresses: tuple[str, ...], prefix_length: int, gateway: str | None = None) -> None:
        """Take other external addresses, as after a reconnection; all mappings are lost.

        Args:
            addresses: the new ones, the router's own first.
            prefix_length: of all of them.
            gateway: the default route's, which goes when the last old address does.

        Raises:
            CommandFailed: an address or the route was refused.
        """
        wan = self.ports.wan
        commands = [f"address add {address}/{prefix_length} dev {wan}" for address in addresses]
        commands += [f"address del {address}/{prefix_length} dev {wan}" for address in self.ports.wan_addresses]
        # Deleting a primary address may take its secondaries along (promote_secondaries is off by default).
        commands += [f"address replace {address}/{prefix_length} dev {wan}" for address in addresses]
        if gateway is not None:
            commands.append(f"route replace default via {gateway} dev {wan}")
        self.node.check_output(["sysctl", "-qw", f"net.ipv4.conf.{wan.replace('.', '/')}.promote_secondaries=1"])
        with self.shut():
            self.node.check_output(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
            self.ports = replace(self.ports, wan_addresses=addresses)
            self.load()

    def block_udp(self) -> None:
        """Let no UDP through from now on; what TCP has stays. Raises CommandFailed."""
        self.node.check_output(
            ["nft", "-f", "-"],
            stdin=f"table {_UDP_BLOCK} {{\n\tchain forward {{\n"
            "\t\ttype filter hook forward priority filter - 2; policy accept;\n"
            "\t\tct state untracked accept\n\t\tmeta l4proto udp drop\n\t}\n}\n",
        )

    def unblock_udp(self) -> None:
        """Let UDP through again; mappings that lived all the time still do. Raises CommandFailed."""
        self.node.check_output(["nft", "-f", "-"], stdin=f"table {_UDP_BLOCK}\ndelete table {_UDP_BLOCK}\n")

    def set_policy(self, text: str, *, portal: bool = False) -> None:
        """Let through from now on what a policy (`harness.nat.policies`) says; `portal`: it has web pages answered.

        The policy before it is in force until then. A portal that follows a portal is the same process.

        Raises:
            CommandFailed: nft refused the policy.
            LabError: the portal does not start.
        """
        if portal and self._portal is None:
            self._portal = _start_portal(self.node.pid)
        self.node.check_output(["nft", "-f", "-"], stdin=text)
        if not portal:
            self._stop_portal()

    def clear_policy(self) -> None:
        """Let through what the router's own rules do; safe to call twice. Raises CommandFailed."""
        self.node.check_output(["nft", "-f", "-"], stdin=policies.no_policy())
        self._stop_portal()

    def _stop_portal(self) -> None:
        if self._portal is not None:
            self._ended += self._ended_now([self._portal])
            self._portal.stop()
            self._portal = None


def _start_portal(pid: int) -> RouterDaemon:
    """Start the portal's web server in a router's network, and wait until it listens."""
    program = [sys.executable, "-I", "-S", str(Path(portal_program.__file__).resolve()), str(policies.PORTAL_PORT)]
    daemon = RouterDaemon(pid, "the captive portal", program)
    daemon.wait_until(lambda: daemon.said().startswith("listening"))
    return daemon
