"""Changes where a node of a running lab is plugged in, which addresses it has, and whom it sends everything to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from harness.errors import LabError
from harness.lab import counters
from harness.lab.network import Lab
from harness.lab.routes import Route, routers_inside, routes_of
from harness.lab.wires import LabBridge, sandbox_netlink
from harness.model.family import Address, family_of
from harness.model.nodes import Host
from harness.model.topology import Topology
from harness.topology.wiring import announced_mtus, router_ports


def place_host(lab: Lab, host: str, placed: Host) -> float:
    """Plug a host in where `placed` says, with its addresses and its router; the lab's topology says so afterwards.

    Its cable is out for as long as that takes: the host sees its carrier go and come.

    Returns:
        When its cable was pulled, Unix time in seconds: from then on it is not reached where it was.

    Raises:
        LabError: the kernel or a tool refused.
    """
    before = lab.topology.hosts[host]
    changed = lab.topology.model_copy(update={"hosts": {**lab.topology.hosts, host: placed}})
    port = lab.port_of(host)
    netlink = sandbox_netlink()
    (index,) = netlink.link_lookup(ifname=port) or (None,)
    if index is None:
        raise LabError(f"there is no port {port} of {host} in the sandbox")
    admit_subscribers(lab, changed)
    netlink.link("set", index=index, state="down")
    pulled_s = time.time()
    with becoming(lab, changed):
        _plug_in(lab, host, changed)
    lab.settle_neighbours()
    netlink.link("set", index=index, state="up")
    if placed.on != before.on:
        counters.reinstall(lab.watched_ports())
    return pulled_s


def _plug_in(lab: Lab, host: str, changed: Topology) -> None:
    """Do to a host whose cable is out what its place in another topology asks for."""
    before, placed = lab.topology.hosts[host], changed.hosts[host]
    node, interface, port = lab.nodes[host], lab.interface(host, 0), lab.port_of(host)
    if placed.on != before.on:
        _move_port(lab, host, before.on, placed.on)
        (index,) = sandbox_netlink().link_lookup(ifname=port)
        sandbox_netlink().link("set", index=index, master=_bridge(lab, placed.on).bridge_index)
    commands = [
        f"address del {one}/{lab.topology.prefix_length(before, one)} dev {interface}" for one in before.addresses
    ]
    commands += [f"address add {one}/{changed.prefix_length(placed, one)} dev {interface}" for one in placed.addresses]
    node.check_output(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
    if placed.on != before.on:  # as the kernel drops those that an interface had
        lab.routes_down.get((host, interface), []).clear()
    _reroute(lab, changed, host)


@contextlib.contextmanager
def becoming(lab: Lab, topology: Topology) -> Iterator[None]:
    """Let a lab have another topology after the block, in which that is made so.

    What follows the topology fits both meanwhile: hosts that are parted stay parted.
    """
    for follow in lab.followers.values():
        follow((lab.topology, topology))
    yield
    lab.topology = topology
    for follow in lab.followers.values():
        follow((topology,))


def admit_subscribers(lab: Lab, topology: Topology) -> None:
    """Let every router that allocates ports by block have one for each host that it sees inside in a topology.

    Raises:
        LabError: nft refused, or a router has too few ports.
    """
    for name, router in lab.routers.items():
        try:
            router.admit(router_ports(topology, name).subscribers)
        except ValueError as error:
            raise LabError(f"router {name}: {error}") from error


def send_by(lab: Lab, node: str, router: str) -> None:
    """Let a host, or a router's outside, send everything to another router on its segment.

    Raises:
        LabError: the kernel refused.
    """
    topology = lab.topology
    if node in topology.hosts:
        placed = topology.hosts[node].model_copy(update={"via": router})
        changed = topology.model_copy(update={"hosts": {**topology.hosts, node: placed}})
    else:
        outside = topology.routers[node].outside.model_copy(update={"via": router})
        described = topology.routers[node].model_copy(update={"outside": outside})
        changed = topology.model_copy(update={"routers": {**topology.routers, node: described}})
    with becoming(lab, changed):
        _reroute(lab, changed, node)


def _reroute(lab: Lab, topology: Topology, changed: str) -> None:
    """Give a node the routes that a topology has for it, and others those that depend on whom it sends by."""
    set_routes(lab, topology, changed)
    if any(len(routers) > 1 for routers in routers_inside(topology).values()):
        # Hosts of a Mininet class have the routes that its author gave them.
        others = topology.routers if topology.mininet is not None else lab.topology.attachments()
        for other in others:
            if other != changed and routes_of(topology, other) != routes_of(lab.topology, other):
                set_routes(lab, topology, other)


def set_routes(lab: Lab, topology: Topology, name: str) -> None:
    """Give a node the routes that a topology has for it, in place of those that the lab's present one has for it.

    What leads over an interface that is down comes when it is up again.

    Raises:
        LabError: the kernel refused one.
    """
    announced = announced_mtus(topology)
    routes = routes_of(topology, name)
    kept = {(route.family, route.network) for route in routes}
    for route in routes_of(lab.topology, name):
        # An IPv6 route by a gateway outlives the address that it was reached with.
        if (route.family, route.network) not in kept:
            _forget(lab, name, route)
    for route in routes:
        put_route(lab, topology, name, route, announced.get(ip_address(route.gateway)))


def put_route(lab: Lab, topology: Topology, name: str, route: Route, mtu_bytes: int | None) -> None:
    """Give a node a route in place of any other to that network; where its interface is down, when that comes up.

    Args:
        topology: what the lab is to be.
        mtu_bytes: what the way carries; None: as much as the interface.

    Raises:
        LabError: the kernel refused.
    """
    interface = _towards(lab, topology, name, ip_address(route.gateway))
    waiting = lab.routes_down.get((name, interface))
    if waiting is None:
        lab.nodes[name].add_route(route.network, route.gateway, mtu_bytes)
        return
    family = "-4" if route.family == "ipv4" else "-6"
    head = ["ip", family, "route", "replace", route.network]
    waiting[:] = [argv for argv in waiting if argv[:4] != head[:4] or not _same_network(argv[4], route.network)]
    metric = [] if mtu_bytes is None else ["mtu", str(mtu_bytes)]
    waiting.append([*head, "via", route.gateway, "dev", interface, *metric])


def _forget(lab: Lab, name: str, route: Route) -> None:
    lab.nodes[name].forget_route(route.network, route.gateway)
    for (node, _), waiting in lab.routes_down.items():
        if node == name:
            by = ["via", route.gateway]
            waiting[:] = [argv for argv in waiting if not _same_network(argv[4], route.network) or argv[5:7] != by]


def _same_network(one: str, other: str) -> bool:
    """Whether two networks are one: `ip route show` prints that of a single address without its length."""
    return one == other or ("default" not in {one, other} and ip_network(one) == ip_network(other))


def _towards(lab: Lab, topology: Topology, name: str, gateway: Address) -> str:
    """Return a node's interface on the segment on which a gateway is."""
    attached = topology.attachments()[name]
    number = next(n for n, one in enumerate(attached) if _is_on(topology, one.on, gateway))
    return lab.interface(name, number)


def _is_on(topology: Topology, segment: str, address: Address) -> bool:
    subnet = topology.segments[segment].of(family_of(address))
    return subnet is not None and address in subnet


def _bridge(lab: Lab, segment: str) -> LabBridge:
    assert lab.net is not None
    found = lab.net.nameToNode[segment]
    assert isinstance(found, LabBridge)
    return found


def _move_port(lab: Lab, host: str, old: str, new: str) -> None:
    """Keep Mininet's own account of which port is whose: the lab's counters stand where it says."""
    interface = lab.nodes[host].intfList()[0]
    link = interface.link
    port = link.intf2 if link.intf1 is interface else link.intf1
    _bridge(lab, old).delIntf(port)
    port.node = _bridge(lab, new)
    port.node.addIntf(port)
