"""What a topology is made of: segments, hosts, routers and where they are plugged in. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyAddress, IPvAnyNetwork, model_validator

from harness.model.family import Address, Family, Network, family_of
from harness.model.link import LinkProfile, parse_link
from harness.model.nat import NatBehaviour, parse_nat

# Linux limits an interface name to 15 characters, and Mininet appends `-eth12` to the node's name.
NODE_NAME = r"^[a-z][a-z0-9_]{0,8}$"
NodeName = Annotated[str, Field(pattern=NODE_NAME)]
# Held by the topology's rules: a Mininet class calls its NATs, and their interfaces, what it likes.
RouterName = Annotated[str, Field(json_schema_extra={"pattern": NODE_NAME})]

Nat = Annotated[NatBehaviour, BeforeValidator(parse_nat)]
Link = Annotated[LinkProfile, BeforeValidator(parse_link)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(data: Any, one: str, many: str) -> Any:
    """Rewrite `one: X` as `many: [X]`."""
    if not isinstance(data, dict) or one not in data:
        return data
    if many in data:
        raise ValueError(f"give `{one}` or `{many}`, not both")
    return {key: value for key, value in data.items() if key != one} | {many: [data[one]]}


class Attachment(_Strict):
    """Where an interface is plugged in. `link` lies between the node and the segment; *up* is away from the node.

    `addresses` may be of both IP versions; the first of each is the node's own, the others are a router's pool.
    """

    on: NodeName
    addresses: tuple[IPvAnyAddress, ...] = Field(min_length=1)
    link: Link = Field(default_factory=lambda: parse_link("ideal"))

    @model_validator(mode="before")
    @classmethod
    def _one_address(cls, data: Any) -> Any:
        return _listed(data, "address", "addresses")

    @property
    def ipv4(self) -> tuple[IPv4Address, ...]:
        """Its IPv4 addresses."""
        return tuple(address for address in self.addresses if isinstance(address, IPv4Address))

    @property
    def ipv6(self) -> tuple[IPv6Address, ...]:
        """Its IPv6 addresses."""
        return tuple(address for address in self.addresses if isinstance(address, IPv6Address))

    def of(self, family: Family) -> tuple[Address, ...]:
        """Return its addresses of one IP version."""
        return self.ipv4 if family == "ipv4" else self.ipv6


class Segment(_Strict):
    """A LAN or an exchange, one Linux bridge, with a subnet of one IP version or of each."""

    subnets: tuple[IPvAnyNetwork, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _one_subnet(cls, data: Any) -> Any:
        return _listed(data, "subnet", "subnets")

    @model_validator(mode="after")
    def _one_of_each(self) -> Segment:
        if len({subnet.version for subnet in self.subnets}) < len(self.subnets):
            raise ValueError("a segment has one IPv4 subnet, one IPv6 subnet, or one of each")
        return self

    @property
    def ipv4(self) -> IPv4Network | None:
        """Its IPv4 subnet, if it has one."""
        return next((subnet for subnet in self.subnets if isinstance(subnet, IPv4Network)), None)

    @property
    def ipv6(self) -> IPv6Network | None:
        """Its IPv6 subnet, if it has one."""
        return next((subnet for subnet in self.subnets if isinstance(subnet, IPv6Network)), None)

    def of(self, family: Family) -> Network | None:
        """Return its subnet of one IP version, if it has one."""
        return self.ipv4 if family == "ipv4" else self.ipv6


class Host(Attachment):
    """A node that runs things; `via` is its router, absent on the Internet segment itself."""

    via: RouterName | None = None


class Outside(Attachment):
    """A router's side towards the Internet; `via` is the next router, if any (a CPE behind a carrier's NAT)."""

    via: RouterName | None = None


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

    def inside_on(self, segment: str) -> Attachment | None:
        """Return its side on one of its inside networks."""
        return next((attachment for attachment in self.inside if attachment.on == segment), None)

    def forwards(self, family: Family) -> bool:
        """Tell whether its behaviour lets anything of that IP version through."""
        return self.nat.ipv4 if family == "ipv4" else self.nat.ipv6_filtering is not None

    def carries(self, family: Family, segment: str) -> bool:
        """Tell whether hosts on an inside network get through it in that IP version: it needs addresses too."""
        inside = self.inside_on(segment)
        ends = bool(self.outside.of(family)) and inside is not None and bool(inside.of(family))
        return ends and self.forwards(family)


class MininetClass(_Strict):
    """Any Mininet user's `Topo`, by import path, with the constructor's keyword arguments."""

    path: Annotated[str, Field(pattern=r"^[\w.-]+:\w+$")]
    params: dict[str, Any] = {}
    search: str = ""


def families_of(attachment: Attachment) -> tuple[Family, ...]:
    """Return the IP versions of an attachment's addresses, in their order."""
    return tuple(dict.fromkeys(family_of(address) for address in attachment.addresses))
