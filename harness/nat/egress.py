"""What a router lets out at all, tested before everything else."""

from __future__ import annotations

from harness.errors import LabError
from harness.model.nat import Egress
from harness.nat import discovery_tcp
from harness.nat.discovery_setup import DiscoverySetup
from harness.nat.packet import Endpoint

TLS_PORT = 443


def answers(setup: DiscoverySetup, patience_s: float = 0.4) -> bool:
    """Tell whether the primary server answers over UDP within the time."""
    bound = setup.open()
    ask = setup.send(bound)
    came = setup.wire.pump(lambda: ask.answer is not None, patience_s)
    setup.close(bound)
    return came


def egress_test(setup: DiscoverySetup) -> Egress:
    """Test what may leave: UDP, TCP to any port, TCP to port 443. One that comes through rules the others out.

    Raises:
        LabError: nothing does.
    """
    bound = setup.open()
    udp = setup.send(bound)
    stranger = setup.strangers[0]
    door = discovery_tcp.listener(setup, stranger, TLS_PORT)
    # Three SYNs to each: TCP would send a lost one again only after a second.
    ports = [setup.primary, Endpoint(stranger.address, TLS_PORT)]
    tcp, tls = ([discovery_tcp.call(setup, setup.inside[0], to) for _ in range(3)] for to in ports)

    def is_open(calls: list[discovery_tcp.Call]) -> bool:
        return any(made.state == "open" for made in calls)

    setup.until(lambda: udp.answer is not None or is_open(tls))
    # The other TCP, which a router may block as well, has that time too.
    setup.wire.pump(lambda: udp.answer is not None, setup.retransmit_s)
    setup.close(bound)
    discovery_tcp.hang_up(setup, *tcp, *tls)
    setup.wire.forget(door)
    if udp.answer is not None:
        return Egress.ANY
    if is_open(tcp):
        return Egress.NO_UDP
    if is_open(tls):
        return Egress.TCP_443
    raise LabError("neither UDP nor TCP leaves the router")
