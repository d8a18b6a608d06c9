"""The words of NAT behaviour, as RFC 4787 and its neighbours use them."""

from __future__ import annotations

from enum import StrEnum


class Mapping(StrEnum):
    """Which external port an internal endpoint gets for a new destination (RFC 4787 section 4.1)."""

    NONE = "none"  # no translation: a router
    EIM = "endpoint-independent"
    ADM = "address-dependent"
    APDM = "address-and-port-dependent"

    @property
    def short(self) -> str:
        """The usual abbreviation, `none` where there is no NAT."""
        return self.value if self is Mapping.NONE else self.name

    @classmethod
    def _missing_(cls, value: object) -> Mapping | None:
        return next((member for member in cls if str(value).upper() == member.name), None)


class Filtering(StrEnum):
    """Whose packets may come in to an internal endpoint (RFC 4787 section 5)."""

    NONE = "none"  # all, at any time: no firewall
    EIF = "endpoint-independent"
    ADF = "address-dependent"
    APDF = "address-and-port-dependent"

    @property
    def short(self) -> str:
        """The usual abbreviation, `none` where nothing is filtered."""
        return self.value if self is Filtering.NONE else self.name

    @classmethod
    def _missing_(cls, value: object) -> Filtering | None:
        return next((member for member in cls if str(value).upper() == member.name), None)


class PortAllocation(StrEnum):
    """Which port a new mapping gets; a port in use by another mapping is never given out again (RFC 4787 REQ-3a)."""

    PRESERVING = "preserving"  # the internal port if it is free, a random one if not
    RANDOM = "random"
    SEQUENTIAL = "sequential"
    BLOCK = "block"  # a random port of the subscriber's own block (RFC 7422)


class Hairpinning(StrEnum):
    """What becomes of a packet from inside to an external address of the same NAT (RFC 4787 section 6)."""

    OFF = "off"
    EXTERNAL_SOURCE = "external-source"  # as REQ-9 asks; passes the filter like any packet from outside
    INTERNAL_SOURCE = "internal-source"  # only the destination is translated; not filtered


class Refresh(StrEnum):
    """Which packets keep a UDP mapping alive (RFC 4787 section 4.3; outbound ones always do, REQ-6)."""

    OUTBOUND = "outbound"
    BOTH = "both"


class Pooling(StrEnum):
    """How a NAT of several external addresses chooses among them (RFC 4787 section 4.1)."""

    PAIRED = "paired"  # one external address per internal one
    ARBITRARY = "arbitrary"  # a random one per mapping


class Unsolicited(StrEnum):
    """The reaction to a packet from outside that is for no mapping or does not pass the filter."""

    DROP = "drop"
    REJECT = "reject"  # ICMP port unreachable, or a TCP reset
    POISONS = (
        "poisons"  # stock Linux with an open INPUT chain: the entry it leaves takes the port away from that peer's flow
    )


class PortMappingProtocol(StrEnum):
    """How a host inside can ask for a mapping."""

    UPNP_IGD = "upnp-igd"
    NAT_PMP = "nat-pmp"  # RFC 6886
    PCP = "pcp"  # RFC 6887


class Fragments(StrEnum):
    """What becomes of a datagram that comes in fragments."""

    CARRY = "carry"  # in any order (RFC 4787 REQ-14a)
    DROP = "drop"


class Egress(StrEnum):
    """What the inside may send out at all."""

    ANY = "any"
    NO_UDP = "no-udp"
    TCP_443 = "tcp-443"
