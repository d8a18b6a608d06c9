"""Which port mapping protocols a router speaks: each is asked for a mapping, which a stranger then tries."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct

from harness.errors import LabError
from harness.model.nat import PortMappingProtocol
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint
from harness.nat.portmap import PMP_PORT, UPNP_PORT
from harness.nat.responder import Stranger
from harness.nat.wire import Vantage, port_of

_UDP = 17
_LIFETIME_S = 600
_PATIENCE_S = 2.0

_SOAP = """<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" \
s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>\
<u:AddPortMapping xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"><NewRemoteHost></NewRemoteHost>\
<NewExternalPort>{port}</NewExternalPort><NewProtocol>UDP</NewProtocol><NewInternalPort>{port}</NewInternalPort>\
<NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled>\
<NewPortMappingDescription>calibration</NewPortMappingDescription><NewLeaseDuration>600</NewLeaseDuration>\
</u:AddPortMapping></s:Body></s:Envelope>"""


def port_mapping_test(setup: DiscoverySetup, gateway: str) -> tuple[PortMappingProtocol, ...]:
    """Test by which protocols an inside host gets a mapping that lets a stranger in.

    Raises:
        LabError: a mapping was promised and nothing came in by it.
    """
    asking = {
        PortMappingProtocol.UPNP_IGD: ask_upnp,
        PortMappingProtocol.NAT_PMP: ask_nat_pmp,
        PortMappingProtocol.PCP: ask_pcp,
    }
    place = setup.inside[0]
    probe = setup.open()
    address = setup.mapped(probe).address
    setup.close(probe)
    spoken = []
    for protocol, ask in asking.items():
        bound = setup.open()
        external_port = ask(place, gateway, port_of(bound))
        if external_port is None:
            continue
        stranger = Stranger(setup.wire, setup.strangers[0])
        stranger.send(Endpoint(address, external_port))
        if not setup.until(lambda bound=bound: bool(setup.inbox[bound])):  # type: ignore[misc]
            raise LabError(f"{protocol} gave port {external_port}, but nothing comes in by it")
        spoken.append(protocol)
    return tuple(spoken)


def ask_nat_pmp(place: Vantage, gateway: str, port: int) -> int | None:
    """Ask for a UDP mapping by NAT-PMP (RFC 6886 section 3.3); return the external port, or None."""
    answer = _datagram(place, gateway, struct.pack("!BBHHHI", 0, 1, 0, port, port, _LIFETIME_S))
    if answer is None or len(answer) < 16:
        return None
    version, opcode, result, _, internal, external, _ = struct.unpack("!BBHIHHI", answer[:16])
    return external if (version, opcode, result, internal) == (0, 129, 0, port) else None


def ask_pcp(place: Vantage, gateway: str, port: int) -> int | None:
    """Ask for a UDP mapping by PCP MAP (RFC 6887 sections 7.1 and 11.1); return the external port, or None."""
    mapped = ipaddress.IPv6Address(f"::ffff:{place.address}").packed
    nonce = port.to_bytes(12, "big")
    anywhere = ipaddress.IPv6Address("::ffff:0.0.0.0").packed
    request = struct.pack("!BBHI16s", 2, 1, 0, _LIFETIME_S, mapped)
    request += struct.pack("!12sB3xHH16s", nonce, _UDP, port, port, anywhere)
    answer = _datagram(place, gateway, request)
    if answer is None or len(answer) < 60:
        return None
    version, opcode, _, result = struct.unpack_from("!BBBB", answer)
    returned, _, internal, external = struct.unpack_from("!12sB3xHH", answer, 24)
    return external if (version, opcode, result, returned, internal) == (2, 0x81, 0, nonce, port) else None


def ask_upnp(place: Vantage, gateway: str, port: int) -> int | None:
    """Ask for a UDP mapping by UPnP IGD (WANIPConnection:1, AddPortMapping); return the external port, or None."""
    body = _SOAP.format(port=port, client=place.address).encode()
    head = (
        f"POST /ctl/IPConn HTTP/1.1\r\nHost: {gateway}:{UPNP_PORT}\r\nContent-Type: text/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        'SOAPAction: "urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"\r\n\r\n'
    )
    with place.raw(socket.SOCK_STREAM) as stream:
        stream.settimeout(_PATIENCE_S)
        try:
            stream.connect((gateway, UPNP_PORT))
            stream.sendall(head.encode() + body)
            answer = stream.recv(4096)
        except OSError:
            return None
    return port if re.match(rb"HTTP/1\.[01] 200 ", answer) else None


def _datagram(place: Vantage, gateway: str, request: bytes) -> bytes | None:
    """Send one request to the gateway's port mapping port, once more if it is not answered; return the answer."""
    with place.raw(socket.SOCK_DGRAM) as plain:
        plain.settimeout(_PATIENCE_S / 2)
        plain.connect((gateway, PMP_PORT))
        for _ in range(2):
            with contextlib.suppress(OSError):
                plain.send(request)
                return plain.recv(2048)
    return None
