"""What a topology may say: segments, hosts, routers, who takes part. Pure; addresses are IPv4 unless said otherwise."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.model.document import did_you_mean
from harness.model.link import LinkProfile, parse_link
from harness.model.nat import NatBehaviour, parse_nat

# Linux limits an interface name to 15 characters, and Mininet appends `-eth12` to the node's name.
NODE_NAME = r"^[a-z][a-z0-9_]{0,8}$"
NodeName = Annotated[str, Field(pattern=NODE_NAME)]

Nat = Annotated[NatBehaviour, BeforeValidator(parse_nat)]
Link = Annotated[LinkProfile, BeforeValidator(parse_link)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(_Strict):
    """A topology's parameter; without `default` a scenario must give it."""

    type: Literal["nat", "link", "int", "float", "str"]
    default: Any = None
    required: bool = False
    help: str = ""

    @model_validator(mode="after")
    def _default_or_required(self) -> Parameter:
        if self.required and self.default is not None:
            raise ValueError("a required parameter has no default")
        if not self.required and self.default is None:
            raise ValueError("needs a `default`, or `required: true`")
        return self


class TopologyHeader(_Strict):
    """The first document of a topology file: what it is and what it takes. Never a template."""

    description: str
    parameters: dict[str, Parameter] = {}


class Attachment(_Strict):
    """Where an interface is plugged in. `link` lies between the node and the segment; *up* is away from the node."""

    on: NodeName
    addresses: tuple[IPv4Address, ...] = Field(min_length=1)
    link: Link = Field(default_factory=lambda: parse_link("ideal"))

    @model_validator(mode="before")
    @classmethod
    def _one_address(cls, data: Any) -> Any:
        if isinstance(data, dict) and "address" in data:
            if "addresses" in data:
                raise ValueError("give `address` or `addresses`, not both")
            data = {key: value for key, value in data.items() if key != "address"} | {"addresses": [data["address"]]}
        return data


class Segment(_Strict):
    """A LAN or an exchange, one Linux bridge."""

    subnet: IPv4Network


class Host(Attachment):
    """A node that runs things; `via` is its router, absent on the Internet segment itself."""

    via: NodeName | None = None


class Outside(Attachment):
    """A router's side towards the Internet; `via` is the next router, if any (a CPE behind a carrier's NAT)."""

    via: NodeName | None = None


class Router(_Strict):
    """A NAT box: one outside, one or more inside networks."""

    nat: Nat
    outside: Outside
    inside: tuple[Attachment, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _one_inside(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("inside"), dict):
            data = data | {"inside": [data["inside"]]}
        return data


class MininetClass(_Strict):
    """Any Mininet user's `Topo`, by import path, with the constructor's keyword arguments."""

    path: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    params: dict[str, Any] = {}
    search: str = ""


class Topology(_Strict):
    """A resolved topology: no template, no alias, every address known.

    Either ours (`segments`, `routers`) or a Mininet class; then `hosts` holds what its `Topo` gives them, on the
    segment that stands for its switches.
    """

    name: str = ""
    segments: dict[NodeName, Segment] = {}
    hosts: dict[str, Host] = Field(min_length=1)
    routers: dict[NodeName, Router] = {}
    members: tuple[str, ...] = Field(min_length=1)
    server: str | None = None
    mininet: MininetClass | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Topology:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def plugs(self) -> dict[str, list[Attachment]]:
        """Every node's attachments, in the order of its interfaces: a router's outside is the first."""
        plugs: dict[str, list[Attachment]] = {name: [host] for name, host in self.hosts.items()}
        plugs |= {name: [router.outside, *router.inside] for name, router in self.routers.items()}
        return plugs

    def impaired_links(self) -> list[LinkProfile]:
        """The links that need a backend."""
        return [plug.link for plugs in self.plugs().values() for plug in plugs if plug.link.impaired]

    def address(self, node: str) -> IPv4Address:
        """A node's first underlay address; of a router the outside one."""
        return self.plugs()[node][0].addresses[0]

    def interface(self, attachment: Attachment, address: IPv4Address) -> IPv4Interface:
        """The address with the prefix length of its segment."""
        return IPv4Interface(f"{address}/{self.segments[attachment.on].subnet.prefixlen}")

    def routers_of(self, host: str) -> list[str]:
        """The routers in front of a host, nearest first; empty for a public one."""
        chain: list[str] = []
        upstream = self.hosts[host].via
        while upstream is not None and upstream not in chain:
            chain.append(upstream)
            upstream = self.routers[upstream].outside.via
        return chain


def _problems(topology: Topology) -> list[str]:
    found: list[str] = []
    hosts, routers, segments = topology.hosts, topology.routers, topology.segments
    found += [f"{name} is both a host and a router" for name in hosts.keys() & routers.keys()]
    found += [f"{name} is both a segment and a node" for name in segments.keys() & (hosts.keys() | routers.keys())]
    taken: dict[tuple[str, IPv4Address], str] = {}
    for node, attachments in topology.plugs().items():
        for plug in attachments:
            if plug.on not in segments:
                found.append(f"{node}: there is no segment {plug.on}{did_you_mean(plug.on, segments)}")
                continue
            subnet = segments[plug.on].subnet
            for address in plug.addresses:
                if address not in subnet:
                    found.append(f"{node}: address {address} is not in {plug.on}'s subnet {subnet}")
                if (plug.on, address) in taken:
                    found.append(f"{node}: address {address} is {taken[plug.on, address]}'s already")
                taken[plug.on, address] = node
    upstream = {name: host.via for name, host in hosts.items()} | {name: r.outside.via for name, r in routers.items()}
    for node, via in upstream.items():
        if via is None:
            continue
        if via not in routers:
            found.append(f"{node}: via: there is no router {via}{did_you_mean(via, routers)}")
        elif topology.plugs()[node][0].on not in {inside.on for inside in routers[via].inside}:
            found.append(f"{node}: via: {via} has no inside on the same segment")
    found += [
        f"members: there is no host {name}{did_you_mean(name, hosts)}" for name in topology.members if name not in hosts
    ]
    if len(set(topology.members)) != len(topology.members):
        found.append("members: a host stands twice")
    if topology.server is not None and topology.server not in hosts:
        found.append(f"server: there is no host {topology.server}{did_you_mean(topology.server, hosts)}")
    return found
