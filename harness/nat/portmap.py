"""The port mapping service of a router: miniupnpd (UPnP IGD, NAT-PMP, PCP), its chains, configuration and process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.model.nat import NatBehaviour, PortMappingProtocol
from harness.nat.ports import RouterPorts
from harness.nat.programs import MINIUPNPD
from harness.nat.router_daemon import RouterDaemon
from harness.sandbox.namespace import inside_network_of

UPNP_PORT = 5000
PMP_PORT = 5351
TABLE = "inet nat_upnp"
_CONFIGURATION = "/run/miniupnpd.conf"


def port_mapping_table(ports: RouterPorts) -> Iterator[str]:
    """Yield the lines of the table that miniupnpd fills, indented; it translates before the router's own table."""
    yield from (
        "\tchain upnp_forward {",
        "\t}",
        "\tchain upnp_prerouting {",
        "\t}",
        "\tchain upnp_postrouting {",
        "\t}",
    )
    yield "\tchain prerouting {"
    yield "\t\ttype nat hook prerouting priority dstnat - 1; policy accept;"
    yield f'\t\tiifname "{ports.wan}" jump upnp_prerouting'
    yield "\t}"


def miniupnpd_configuration(behaviour: NatBehaviour, ports: RouterPorts) -> str:
    """Return the daemon's configuration file."""
    switches = {
        "enable_upnp": PortMappingProtocol.UPNP_IGD in behaviour.port_mapping,
        "enable_natpmp": PortMappingProtocol.NAT_PMP in behaviour.port_mapping,
    }
    lines = [
        f"ext_ifname={ports.wan}",
        *(f"listening_ip={lan}" for lan in ports.lans),
        f"port={UPNP_PORT}",
        *(f"{name}={'yes' if on else 'no'}" for name, on in switches.items()),
        "upnp_table_name=nat_upnp",
        "upnp_nat_table_name=nat_upnp",
        "upnp_forward_chain=upnp_forward",
        "upnp_nat_chain=upnp_prerouting",
        "upnp_nat_postrouting_chain=upnp_postrouting",
        "uuid=6f7665726c-6179-6265-6e63-680000000001",
        "allow 1024-65535 0.0.0.0/0 1024-65535",
        "deny 0-65535 0.0.0.0/0 0-65535",
    ]
    return "\n".join(lines) + "\n"


def start_miniupnpd(pid: int, behaviour: NatBehaviour, ports: RouterPorts) -> RouterDaemon:
    """Start the daemon in a router's namespaces, and wait until it listens.

    Args:
        pid: the process that holds the router's network and mount namespace, with a /run of its own.

    Raises:
        MissingPrerequisite: there is no miniupnpd on this machine.
        LabError: it does not start.
    """
    MINIUPNPD.require()
    argv = [MINIUPNPD.name, "-d", "-f", _CONFIGURATION, "-P", "/run/miniupnpd.pid"]
    daemon = RouterDaemon(
        pid, MINIUPNPD.name, argv, configuration=(_CONFIGURATION, miniupnpd_configuration(behaviour, ports))
    )
    wanted = f":{PMP_PORT:04X} " if PortMappingProtocol.PCP in behaviour.port_mapping else f":{UPNP_PORT:04X} "
    daemon.wait_until(lambda: _listens(pid, wanted))
    return daemon


def _listens(pid: int, port: str) -> bool:
    with inside_network_of(pid):
        tables = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("udp", "udp6", "tcp", "tcp6")]
    return any(port in line.split("rem_address", maxsplit=1)[0] for table in tables for line in table.splitlines())
