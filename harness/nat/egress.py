"""What a router lets out at all, asked before everything else."""

from __future__ import annotations

from harness.errors import LabError
from harness.model.nat import Egress
from harness.nat import discovery_tcp
from harness.nat.field import GRACE_S, Field
from harness.nat.simulated import Endpoint

TLS_PORT = 443


def answers(field: Field, patience_s: float = 0.4) -> bool:
    """Whether the primary server answers over UDP within the time."""
    bound = field.open()
    ask = field.send(bound)
    came = field.wire.pump(lambda: ask.answer is not None, patience_s)
    field.close(bound)
    return came


def egress_test(field: Field) -> Egress:
    """What may leave: UDP, TCP to any port, TCP to port 443. One that comes through proves that the others do not.

    Raises:
        LabError: nothing does.
    """
    bound = field.open()
    udp = field.send(bound)
    stranger = field.strangers[0]
    door = discovery_tcp.listener(field, stranger, TLS_PORT)
    # Three SYNs to each: TCP would send a lost one again only after a second.
    ports = [field.primary, Endpoint(stranger.address, TLS_PORT)]
    tcp, tls = ([discovery_tcp.call(field, field.inside[0], to) for _ in range(3)] for to in ports)

    def is_open(calls: list[discovery_tcp.Call]) -> bool:
        return any(made.state == "open" for made in calls)

    field.until(lambda: udp.answer is not None or is_open(tls))
    field.wire.pump(lambda: udp.answer is not None or is_open(tcp), field.retransmit_s)
    field.wire.pump(lambda: udp.answer is not None, GRACE_S)
    field.close(bound)
    discovery_tcp.hang_up(field, *tcp, *tls)
    field.wire.forget(door)
    if udp.answer is not None:
        return Egress.ANY
    if is_open(tcp):
        return Egress.NO_UDP
    if is_open(tls):
        return Egress.TCP_443
    raise LabError("neither UDP nor TCP leaves the router")
