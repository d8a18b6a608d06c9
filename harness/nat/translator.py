"""The translator of a NAT64 router: tayga, which translates headers, behind the router's own IPv4 NAT.

tayga is stateless: every inside host gets an IPv4 address of a range that nobody else sees, and packets for the
well-known prefix come out of its TUN interface as IPv4. To the router's rules that interface is one more inside. So
mappings, filters, lifetimes and ports are those of the behaviour, as a stateful NAT64 has them (RFC 6146); and so
networks deploy it.
"""

from __future__ import annotations

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError
from harness.model.nat64 import PREFIX
from harness.nat.ports import TRANSLATOR_INTERFACE
from harness.nat.programs import TAYGA
from harness.nat.router_daemon import RouterDaemon
from harness.sandbox.namespace import netlink_inside

# Set aside for protocols (RFC 6890): neither a site's nor a carrier's.
POOL = "192.0.0.0/24"
_OWN = "192.0.0.1"
# By itself it takes one of the well-known prefix, which versions 0.9.4 and 0.9.5 then refuse.
_OWN_IPV6 = "fd64:ff9b::1"
_CONFIGURATION = "/run/tayga.conf"


def tayga_configuration() -> str:
    """Return the daemon's configuration file."""
    own = f"ipv4-addr {_OWN}\nipv6-addr {_OWN_IPV6}\n"
    return f"tun-device {TRANSLATOR_INTERFACE}\n{own}prefix {PREFIX}\ndynamic-pool {POOL}\n"


def start_tayga(pid: int) -> RouterDaemon:
    """Start the daemon in a router's namespaces, and lead both ways to it.

    Args:
        pid: the process that holds the router's network and mount namespace, with a /run of its own.

    Raises:
        MissingPrerequisite: there is no tayga on this machine.
        LabError: it does not start, or the kernel refuses what leads to it; it is stopped then.
    """
    TAYGA.require()
    argv = [TAYGA.name, "-n", "-d", "-c", _CONFIGURATION]
    daemon = RouterDaemon(pid, TAYGA.name, argv, configuration=(_CONFIGURATION, tayga_configuration()))
    with daemon.starting(), netlink_inside(pid) as netlink:
        daemon.wait_until(lambda: bool(netlink.link_lookup(ifname=TRANSLATOR_INTERFACE)))
        try:
            _lead_to(netlink)
        except NetlinkError as error:
            raise LabError(f"nothing can be led to {TAYGA.name}: {error}") from None
    return daemon


def _lead_to(netlink: IPRoute) -> None:
    """Set the translator's interface up, with both routes over it."""
    index = next(iter(netlink.link_lookup(ifname=TRANSLATOR_INTERFACE)), None)
    if index is None:
        raise LabError(f"{TAYGA.name} has taken its interface away again")
    netlink.link("set", index=index, state="up")
    for network in (POOL, str(PREFIX)):
        netlink.route("replace", dst=network, oif=index)
