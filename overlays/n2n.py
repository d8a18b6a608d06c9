"""n2n 1.3: Ethernet between edges, introduced by a supernode that also relays (edge(8), supernode(1)).

It punches holes by itself and has a switch for neither relay nor direct only, so `mesh` is all that it can be asked.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    InterfaceAddress,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import addresses_of, check_options, device, server_of
from overlays.ways_out import NOTHING

NETWORK = IPv4Network("10.13.0.0/24")
PORT = 7654
COMMUNITY = "trial"


class N2n:
    """Supernode on the public node, an edge a member."""

    name = "n2n"
    modes: frozenset[Mode] = frozenset({"mesh"})
    layer: Layer = "L2"
    needs_server = True
    network = NETWORK

    def requirements(self) -> Sequence[Requirement]:
        """One Debian package holds both programs. The edge tells its version in its help."""
        install = "apt-get install -y n2n"
        return (
            Requirement(
                program="edge",
                install=install,
                debian="n2n",
                version_argv=("edge", "-h"),
                version_pattern=r"v\.?(\d+(?:\.\d+)+)",
            ),
            Requirement(program="supernode", install=install, debian="n2n"),
        )

    def render(self, trial: Trial) -> Deployment:
        """Command lines alone: n2n has no files.

        Raises:
            ValueError: an option; n2n takes none.
        """
        check_options(trial)
        server = server_of(trial)
        addresses = {m: a for m, a in addresses_of(trial, NETWORK).items() if m != server}
        key = secrets.token_hex(8)
        where = f"{trial.topology.address(server)}:{PORT}"
        return Deployment(
            services=(
                Service(
                    name="supernode",
                    node=server,
                    argv=("supernode", "-l", str(PORT), "-v"),
                    ready=(LogLine(pattern="ready|listening|started"),),
                ),
                *(_edge(member, address, where, key) for member, address in addresses.items()),
            ),
            endpoints={m: IpEndpoint(address=address, interface=_device(m)) for m, address in addresses.items()},
            claims=tuple(ClaimSource(name=f"edge-{m}", node=m, service=f"edge-{m}") for m in addresses),
        )

    def technique(self, mode: Mode) -> str | None:
        """Registrations are sent to the address that the supernode saw, and acknowledged to where they came from."""
        return "peer-reflexive" if mode == "mesh" else None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:  # noqa: ARG002 - the same in all
        """Return `none`: version 1 is UDP alone."""
        return NOTHING

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:
        """Read the source's list of peers that answer it directly; it gives their number and no names.

        More would be in a verbose log, a dozen lines a packet, which costs nine tenths of the throughput.
        """
        del dst
        log = evidence.get(f"edge-{src}", "")
        if not log:
            return None
        others = sum(name.startswith("edge-") for name in evidence) - 1
        sizes = re.findall(r"Operational peers list size=(\d+)", log)
        direct = int(sizes[-1]) if sizes else 0
        if direct in (0, others):
            return "direct" if direct else "relayed"
        return None


def _device(node: str) -> str:
    return device("n2n", node)


def _mac(address: IPv4Address) -> str:
    return "02:6e:32:6e:00:" + f"{int(address) & 0xFF:02x}"


def _edge(member: str, address: IPv4Address, where: str, key: str) -> Service:
    argv = [
        *("edge", "-d", _device(member), "-a", str(address), "-s", str(NETWORK.netmask), "-c", COMMUNITY, "-k", key),
        *("-l", where, "-m", _mac(address), "-u", "0", "-g", "0", "-r", "-M", "1400"),
    ]
    return Service(
        name=f"edge-{member}",
        node=member,
        argv=tuple(argv),
        ready=(InterfaceAddress(address=address),),
        after=("supernode",),
    )
